--- Reads over both shards.

SELECT user_id, name FROM users;

SELECT * FROM users;

SELECT order_id, total FROM orders WHERE total > 200;

SELECT * FROM users WHERE user_id > 190;

SELECT * FROM users WHERE user_id BETWEEN 10 AND 14;

SELECT * FROM users WHERE user_id IN (1, 2, 3, 4) ORDER BY user_id;

SELECT * FROM users WHERE user_id = ANY ('{5,6,7}'::bigint[]) ORDER BY user_id;

SELECT * FROM users WHERE user_id NOT IN (SELECT 1) AND user_id < 5 ORDER BY user_id;

SELECT user_id FROM users WHERE user_id = 1 OR vip ORDER BY user_id;

SELECT user_id FROM users WHERE user_id IS NOT DISTINCT FROM 7;

SELECT user_id FROM users WHERE user_id = 7.0;

SELECT * FROM tags;

SELECT * FROM documents;

SELECT * FROM inventory ORDER BY product_id;

SELECT * FROM payments;

SELECT * FROM shipments;

SELECT * FROM reviews;

SELECT * FROM users WHERE false;

SELECT user_id FROM users WHERE name = 'nobody' ORDER BY user_id;

SELECT order_id FROM orders ORDER BY order_id LIMIT 10;

SELECT order_id FROM orders ORDER BY order_id LIMIT 10 OFFSET 20;

SELECT order_id FROM orders ORDER BY order_id DESC LIMIT 10 OFFSET 990;

SELECT order_id FROM orders ORDER BY order_id OFFSET 995;

SELECT order_id FROM orders ORDER BY order_id OFFSET 5000;

SELECT order_id FROM orders ORDER BY order_id LIMIT 0;

SELECT order_id FROM orders ORDER BY order_id LIMIT ALL OFFSET 990;

SELECT order_id FROM orders ORDER BY order_id LIMIT NULL OFFSET 990;

SELECT order_id FROM orders ORDER BY order_id FETCH FIRST 5 ROWS ONLY;

SELECT order_id FROM orders ORDER BY order_id OFFSET 3 ROWS FETCH NEXT ROW ONLY;

SELECT order_id, total FROM orders ORDER BY total DESC, order_id LIMIT 30;

SELECT order_id FROM orders ORDER BY total DESC, order_id LIMIT 10;

SELECT order_id, placed_at FROM orders ORDER BY placed_at, order_id LIMIT 20;

SELECT order_id FROM orders ORDER BY placed_at DESC, order_id LIMIT 20;

SELECT order_id, note FROM orders ORDER BY note NULLS FIRST, order_id LIMIT 20;

SELECT order_id, note FROM orders ORDER BY note NULLS LAST, order_id LIMIT 100;

SELECT order_id, note FROM orders ORDER BY note DESC, order_id LIMIT 20;

SELECT order_id, note FROM orders ORDER BY note DESC NULLS LAST, order_id LIMIT 20;

SELECT user_id, birth_date FROM users ORDER BY birth_date, user_id;

SELECT user_id, birth_date FROM users ORDER BY birth_date DESC NULLS LAST, user_id DESC;

SELECT user_id, name FROM users ORDER BY name, user_id;

SELECT user_id, email FROM users ORDER BY email DESC;

SELECT user_id FROM users ORDER BY country, name DESC, user_id;

SELECT user_id, vip FROM users ORDER BY vip DESC, user_id;

SELECT user_id, balance FROM users ORDER BY balance DESC, user_id LIMIT 25;

SELECT user_id, external_id FROM users ORDER BY external_id;

SELECT review_id, rating FROM reviews ORDER BY rating, review_id;

SELECT tag, n FROM tags ORDER BY tag;

SELECT tag, n FROM tags ORDER BY n;

SELECT tag, n FROM tags ORDER BY n DESC;

SELECT tag, small FROM tags ORDER BY small NULLS FIRST;

SELECT * FROM orders ORDER BY 2 DESC LIMIT 7;

SELECT total AS order_id, order_id AS x FROM orders ORDER BY order_id, x LIMIT 20;

SELECT o.order_id FROM orders o ORDER BY o.status, o.order_id LIMIT 20;

SELECT user_id, order_id FROM orders ORDER BY user_id, order_id;

-- refused
SELECT order_id FROM orders ORDER BY orders.order_id USING < LIMIT 3;

SELECT upper(name), length(email) FROM users WHERE vip ORDER BY user_id;

SELECT order_id, total * 2 AS double, total::int FROM orders WHERE user_id < 5 ORDER BY order_id;

SELECT user_id, preferences->>'theme' AS theme FROM users ORDER BY user_id LIMIT 20;

SELECT order_id FROM orders WHERE placed_at < now() ORDER BY order_id LIMIT 5;

SELECT order_id FROM orders WHERE placed_at >= '2025-06-01' AND placed_at < '2025-07-01' ORDER BY placed_at, order_id;

SELECT user_id FROM users WHERE email LIKE 'a%' ORDER BY user_id;

SELECT user_id FROM users WHERE name ~ '^[A-C]' ORDER BY user_id;

SELECT user_id FROM users WHERE preferences @> '{"newsletter": true}' ORDER BY user_id LIMIT 10;

SELECT 1 FROM users WHERE user_id < 4;

SELECT count(*) FROM users;

SELECT count(*) AS n FROM orders WHERE status = 'delivered';

SELECT count(note) FROM orders;

SELECT count(*), count(note), sum(total), min(total), max(total) FROM orders;

SELECT min(order_id), max(order_id), sum(order_id) FROM orders;

SELECT min(placed_at), max(placed_at) FROM orders;

SELECT min(birth_date), max(birth_date) FROM users;

SELECT min(name), max(name), min(email) FROM users;

SELECT sum(quantity), min(quantity), max(quantity) FROM order_items;

SELECT sum(rating), min(rating), max(rating) FROM reviews;

SELECT sum(small), min(small), max(small) FROM tags;

SELECT sum(total) FROM orders WHERE false;

SELECT count(*), sum(total), min(note), max(placed_at) FROM orders WHERE status = 'nothing';

SELECT count(*) FILTER (WHERE total > 100) FROM orders;

-- refused
SELECT sum(quantity * unit_price) FROM order_items;

SELECT max(balance) AS "most", min(balance) AS "least" FROM users WHERE vip;

SELECT count(*) FROM users u JOIN orders o ON o.user_id = u.user_id WHERE u.vip;

SELECT count(*) FROM tags;

SELECT sum(n), max(n) FROM tags;

--- Refused.
-- refused
SELECT status, count(*) FROM orders GROUP BY status;

-- refused
SELECT status FROM orders GROUP BY status;

-- refused
SELECT count(*) FROM orders HAVING count(*) > 1;

-- refused
SELECT DISTINCT status FROM orders;

-- refused
SELECT DISTINCT ON (user_id) user_id, order_id FROM orders ORDER BY user_id, order_id;

-- refused
SELECT avg(total) FROM orders;

-- refused
SELECT stddev(total) FROM orders;

-- refused
SELECT count(DISTINCT user_id) FROM orders;

-- refused
SELECT array_agg(order_id) FROM orders;

-- refused
SELECT string_agg(name, ',' ORDER BY name) FROM users;

-- refused
SELECT sum(weight) FROM tags;

-- refused
SELECT sum(ratio) FROM tags;

-- refused
SELECT order_id, row_number() OVER (ORDER BY total) FROM orders;

-- refused
SELECT order_id FROM orders UNION SELECT user_id FROM users;

-- refused
SELECT order_id FROM orders UNION ALL SELECT user_id FROM users;

-- refused
SELECT order_id FROM orders WHERE user_id = 1 UNION ALL SELECT order_id FROM orders WHERE user_id = 2;

-- refused
SELECT order_id FROM orders INTERSECT SELECT user_id FROM users;

-- refused
SELECT order_id FROM orders ORDER BY order_id FOR UPDATE;

-- refused
SELECT order_id FROM orders FOR SHARE;

-- refused
SELECT order_id FROM orders WHERE random() < 2;

-- refused
SELECT order_id FROM orders ORDER BY lower(status);

-- refused
SELECT order_id FROM orders ORDER BY total + 1;

-- refused
SELECT order_id FROM orders ORDER BY order_id FETCH FIRST 5 ROWS WITH TIES;

-- refused
SELECT order_id FROM orders ORDER BY order_id LIMIT 2 + 3;

-- refused
SELECT count(*) + 1 FROM orders;

-- refused
SELECT status, count(*) FROM orders WHERE user_id < 10 GROUP BY status;

-- refused
SELECT * FROM users TABLESAMPLE BERNOULLI (10);

-- refused
SELECT count(*) FROM orders LIMIT 1;

-- refused
SELECT id, body FROM documents ORDER BY took;

-- refused
SELECT user_id FROM users ORDER BY preferences;

-- refused
SELECT tag FROM tags ORDER BY random();
