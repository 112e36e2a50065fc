--- Colocated joins, subqueries, WITH.

SELECT u.name, o.order_id FROM users u JOIN orders o ON o.user_id = u.user_id WHERE u.user_id = 39 ORDER BY 2;

SELECT u.name, o.order_id FROM users u JOIN orders o USING (user_id) WHERE u.user_id = 39 ORDER BY 2;

SELECT * FROM users u JOIN orders o USING (user_id) WHERE user_id = 39 ORDER BY order_id;

SELECT o.order_id, i.line, i.quantity * i.unit_price FROM users u, orders o, order_items i WHERE u.user_id = o.user_id AND o.user_id = i.user_id AND o.order_id = i.order_id AND i.user_id = 39 ORDER BY 1, 2;

SELECT u.user_id, o.order_id FROM users u LEFT JOIN orders o ON o.user_id = u.user_id WHERE u.user_id = 39 ORDER BY 2;

SELECT u.user_id, o.order_id FROM users u LEFT JOIN orders o ON o.user_id = u.user_id AND o.total > 1000000 WHERE u.user_id = 39;

SELECT u.user_id, o.order_id FROM users u RIGHT JOIN orders o ON o.user_id = u.user_id WHERE o.user_id = 39 ORDER BY 2;

SELECT o.order_id, p.method, s.carrier FROM orders o LEFT JOIN payments p USING (user_id, order_id) LEFT JOIN shipments s USING (user_id, order_id) WHERE o.user_id = 39 ORDER BY 1;

SELECT count(*) FROM users u JOIN orders o ON true WHERE u.user_id = 39 AND o.user_id = 39;

SELECT i.line, p.name, p.price FROM order_items i JOIN products p ON p.product_id = i.product_id WHERE i.user_id = 39 ORDER BY i.order_id, i.line;

SELECT c.name, count(*) FROM order_items i JOIN products p USING (product_id) JOIN categories c USING (category_id) WHERE i.user_id = 39 GROUP BY c.name ORDER BY c.name;

SELECT v.on_hand, p.name FROM inventory v JOIN products p USING (product_id) WHERE v.product_id = 8;

SELECT u.name FROM users u WHERE u.user_id = 39 AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.user_id);

SELECT u.name FROM users u WHERE u.user_id = 39 AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.user_id AND o.total < 0);

SELECT name, (SELECT count(*) FROM orders o WHERE o.user_id = u.user_id) FROM users u WHERE u.user_id = 39;

SELECT name FROM users WHERE user_id = 39 AND user_id IN (SELECT user_id FROM orders);

SELECT name FROM users WHERE user_id IN (SELECT user_id FROM orders WHERE user_id = 39);

SELECT order_id FROM (SELECT * FROM orders WHERE user_id = 39) x ORDER BY 1;

SELECT order_id FROM (SELECT * FROM orders) x WHERE x.user_id = 39 ORDER BY 1;

SELECT who FROM (SELECT user_id AS who FROM orders) x WHERE who = 3;

SELECT name, x.order_id FROM users u, LATERAL (SELECT * FROM orders o WHERE o.user_id = u.user_id ORDER BY order_id LIMIT 1) x WHERE u.user_id = 39;

SELECT g, order_id FROM generate_series(1, 2) g, orders WHERE user_id = 39 ORDER BY 1, 2;

WITH mine AS (SELECT * FROM orders WHERE user_id = 39) SELECT count(*), sum(total) FROM mine;

WITH mine AS (SELECT * FROM orders) SELECT order_id FROM mine WHERE user_id = 39 ORDER BY 1;

WITH mine AS MATERIALIZED (SELECT * FROM orders WHERE user_id = 39), top AS (SELECT max(total) AS total FROM mine) SELECT order_id FROM mine JOIN top USING (total) ORDER BY 1;

WITH one AS (SELECT 1 AS one) SELECT one, order_id FROM one, orders WHERE user_id = 39 ORDER BY 2;

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n ORDER BY 1;

WITH RECURSIVE tree AS (SELECT category_id, name, 0 AS depth FROM categories WHERE parent_id IS NULL UNION ALL SELECT c.category_id, c.name, depth + 1 FROM categories c JOIN tree t ON c.parent_id = t.category_id) SELECT * FROM tree ORDER BY depth, category_id;

--- Over both shards.
SELECT u.user_id, o.order_id FROM users u JOIN orders o ON o.user_id = u.user_id WHERE o.total > 300;

SELECT u.name, o.total FROM users u JOIN orders o USING (user_id) ORDER BY o.total DESC, o.order_id LIMIT 5;

SELECT u.user_id, o.order_id FROM users u LEFT JOIN orders o ON o.user_id = u.user_id AND o.total > 500;

SELECT i.line, p.name FROM order_items i LEFT JOIN products p ON p.product_id = i.product_id WHERE i.quantity > 3;

SELECT user_id FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.user_id AND o.status = 'returned') ORDER BY user_id;

SELECT user_id FROM users u WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.user_id) ORDER BY user_id;

SELECT count(*) FROM orders o JOIN order_items i USING (user_id, order_id) JOIN products p USING (product_id) WHERE p.price > 100;

SELECT name, (SELECT name FROM categories c WHERE c.category_id = 1) FROM users WHERE vip ORDER BY user_id;

SELECT u.user_id FROM users u WHERE u.country IN (SELECT 'DE') ORDER BY 1;

--- Refused: rows that meet only across shards.
-- refused
SELECT * FROM users u JOIN orders o ON o.order_id = u.user_id;

-- refused
SELECT * FROM users u JOIN orders o ON true WHERE u.user_id = 1 AND o.user_id = 2;

-- refused
SELECT * FROM inventory v JOIN order_items i USING (product_id);

-- refused
SELECT * FROM users u FULL JOIN orders o ON o.user_id = u.user_id;

-- refused
SELECT * FROM products p LEFT JOIN order_items i ON i.product_id = p.product_id;

-- refused
SELECT * FROM users u WHERE u.user_id = 39 AND EXISTS (SELECT 1 FROM orders o WHERE o.total > 5);

-- refused
SELECT * FROM users WHERE user_id IN (SELECT user_id FROM orders LIMIT 1);

-- refused
SELECT * FROM (SELECT * FROM orders LIMIT 5) x WHERE x.user_id = 39;

-- refused
SELECT * FROM products WHERE EXISTS (SELECT 1 FROM order_items);

-- refused
WITH x AS (SELECT * FROM orders) SELECT * FROM x a, x b WHERE a.user_id = 1 AND b.user_id = 2;

-- refused
SELECT * FROM orders o JOIN settings s ON s.name = o.status WHERE o.user_id = 39;

-- refused
SELECT * FROM settings, ledger;

-- refused
SELECT (SELECT count(*) FROM orders);

-- refused
SELECT o.order_id, c.relname FROM orders o JOIN pg_class c ON c.relname = o.status;
