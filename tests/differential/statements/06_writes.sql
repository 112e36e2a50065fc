--- INSERT, UPDATE and DELETE on sharded tables.

-- rollback
INSERT INTO users VALUES (1001, 'a@example.com', 'Ann', 'DE', '1990-01-01', true, 1.50, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"x": 1}', '2024-01-01');
SELECT * FROM users WHERE user_id = 1001;
SELECT count(*) FROM users;

-- rollback
INSERT INTO tags (tag, n) VALUES ('one', 1) RETURNING *;
SELECT * FROM tags WHERE tag = 'one';

-- rollback
INSERT INTO tags (tag) VALUES ('default') RETURNING n;

-- rollback
INSERT INTO tags (n, tag) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e');
SELECT tag, n FROM tags WHERE n < 6 ORDER BY tag;

-- rollback
INSERT INTO tags (n, tag) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e') RETURNING tag, n * 2 AS double;

-- refused
INSERT INTO tags (n, tag) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, DEFAULT);

INSERT INTO tags (n, tag) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e');
SELECT tag, n FROM tags ORDER BY tag;
INSERT INTO tags (n, tag) VALUES (1, 'a'), (20, 'f') ON CONFLICT DO NOTHING;
INSERT INTO tags (n, tag) VALUES (10, 'a'), (20, 'b'), (30, 'g') ON CONFLICT (tag) DO UPDATE SET n = EXCLUDED.n + tags.n;
INSERT INTO tags (n, tag) VALUES (10, 'a'), (20, 'b') ON CONFLICT (tag) DO UPDATE SET n = 0 WHERE tags.n > 15 RETURNING tag, n;
SELECT tag, n FROM tags ORDER BY tag;
UPDATE tags SET n = n + 100 WHERE tag IN ('a', 'b', 'c');
UPDATE tags SET n = n + 100 WHERE tag = ANY ('{d,e}') RETURNING tag, n;
UPDATE tags SET n = n + 1000 WHERE n > 100;
UPDATE tags SET n = 0 WHERE tag = 'a' RETURNING *;
DELETE FROM tags WHERE tag = 'a';
DELETE FROM tags WHERE tag = 'a';
DELETE FROM tags WHERE tag IN ('b', 'c') RETURNING tag;
DELETE FROM tags WHERE n > 1000;
DELETE FROM tags WHERE tag IN ('f', 'g');
SELECT tag, n FROM tags ORDER BY tag;

-- rollback
INSERT INTO tags VALUES ('x', 1, 1.5, '\x01', 2, 2.5, 'c', 'l'), ('y', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT * FROM tags WHERE tag IN ('x', 'y') ORDER BY tag;

-- rollback
INSERT INTO orders VALUES (3, 5001, 'paid', 10, 'USD', '2025-01-01', NULL), (4, 5002, 'paid', 20, 'USD', '2025-01-01', 'note'), (5, 5003, 'pending', 30.123, 'EUR', '2025-01-01', '');
INSERT INTO order_items VALUES (3, 5001, 1, 5, 2, 9.99), (4, 5002, 1, 6, 1, 1);
SELECT * FROM orders WHERE order_id > 5000 ORDER BY order_id;
UPDATE orders SET status = 'shipped', total = total + 1 WHERE user_id = 39 AND order_id = 5001 RETURNING *;
SELECT sum(total) FROM orders WHERE user_id IN (3, 4, 5) AND order_id > 5000;

-- rollback
UPDATE orders SET note = 'seen' WHERE user_id = 39;
SELECT count(*) FROM orders WHERE note = 'seen';

-- rollback
UPDATE orders SET note = 'all';
SELECT count(*) FROM orders WHERE note = 'all';

-- rollback
UPDATE orders SET note = 'some' WHERE user_id IN (1, 2, 3, 4, 5) AND status = 'delivered' RETURNING user_id, order_id, note;

-- rollback
UPDATE orders SET total = 0 WHERE order_id = 77;
SELECT user_id, total FROM orders WHERE order_id = 77;

-- rollback
UPDATE orders o SET note = u.name FROM users u WHERE u.user_id = o.user_id AND u.user_id = 39 RETURNING o.order_id, o.note;

-- rollback
UPDATE orders o SET note = u.name FROM users u WHERE u.user_id = o.user_id AND u.vip;
SELECT count(*) FROM orders WHERE note IS NOT NULL;

-- rollback
UPDATE order_items i SET unit_price = p.price FROM products p WHERE p.product_id = i.product_id AND i.user_id = 39;

-- rollback
UPDATE orders SET note = (SELECT name FROM users u WHERE u.user_id = orders.user_id) WHERE user_id = 39 RETURNING note;

-- rollback
UPDATE users SET preferences = preferences || '{"new": true}', balance = DEFAULT, birth_date = NULL WHERE user_id = 39;

-- rollback
UPDATE users SET (name, country) = ('Nobody', 'XX') WHERE user_id = 39 RETURNING name, country;

-- rollback
UPDATE orders SET user_id = 39, note = 'same key' WHERE user_id = 39 AND order_id < 100;

-- rollback
UPDATE users SET name = 'x' WHERE user_id = 100000;

-- rollback
UPDATE users SET name = 'x' WHERE false;

-- rollback
DELETE FROM reviews WHERE user_id = 9;

-- rollback
DELETE FROM reviews WHERE user_id IN (1, 2, 3, 4, 5, 6, 7, 8, 9) RETURNING review_id, rating;

-- rollback
DELETE FROM reviews WHERE rating < 4;
SELECT count(*) FROM reviews;

-- rollback
DELETE FROM reviews;
SELECT count(*) FROM reviews;

-- rollback
DELETE FROM order_items i USING orders o WHERE o.user_id = i.user_id AND o.order_id = i.order_id AND i.user_id = 39 AND o.total > 50;

-- rollback
DELETE FROM order_items i USING orders o WHERE o.user_id = i.user_id AND o.order_id = i.order_id AND o.status = 'cancelled';

-- rollback
WITH gone AS (DELETE FROM reviews WHERE user_id = 9 RETURNING *) SELECT count(*), max(rating) FROM gone;

-- rollback
WITH new AS (SELECT 'w' AS tag) INSERT INTO tags (tag, n) VALUES ('w', 3) RETURNING tag;

-- rollback
INSERT INTO orders SELECT user_id, order_id + 10000, status, total, currency, placed_at, note FROM orders WHERE user_id = 39;
SELECT count(*) FROM orders WHERE user_id = 39;

-- rollback
INSERT INTO orders SELECT user_id, order_id + 10000, status, total, currency, placed_at, note FROM orders WHERE user_id = 39 RETURNING order_id;

-- rollback
MERGE INTO products p USING categories c ON c.category_id = p.product_id WHEN MATCHED AND p.product_id < 0 THEN DELETE;

-- rollback
INSERT INTO documents (id, body) VALUES ('d0eebc99-9c0b-4ef8-bb6d-6bb9bd380a14', 'x'), ('e0eebc99-9c0b-4ef8-bb6d-6bb9bd380a15', 'y') RETURNING id;
UPDATE documents SET parts = ARRAY['p'], took = '1 hour' WHERE id = 'd0eebc99-9c0b-4ef8-bb6d-6bb9bd380a14' RETURNING id, parts, took;
DELETE FROM documents WHERE body = 'y' RETURNING id;

-- rollback
INSERT INTO users (user_id, email, name, country, vip, balance, external_id, preferences, created_at) VALUES (1001, lower('A@B'), initcap('ann'), 'DE', 1 = 1, 1 + 1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', jsonb_build_object('a', 1), '2024-01-01'::timestamptz + interval '1 day') RETURNING *;

-- rollback
INSERT INTO tags (tag, n) VALUES ('k1', (SELECT max(product_id) FROM products)), ('k2', 2), ('k3', 3), ('k4', 4) RETURNING tag, n;

INSERT INTO users SELECT * FROM users WHERE false AND user_id = 39;

--- Refused.
-- refused
UPDATE orders SET user_id = 43 WHERE user_id = 39;

-- refused
UPDATE users SET user_id = user_id + 1000 WHERE user_id = 39;

-- refused
INSERT INTO tags (tag, n) VALUES ('a', 1) ON CONFLICT (tag) DO UPDATE SET tag = 'b';

-- refused
INSERT INTO tags (n) VALUES (1);

-- refused
INSERT INTO tags DEFAULT VALUES;

-- refused
INSERT INTO tags (tag) VALUES (lower('A'));

-- refused
INSERT INTO users (user_id, name) VALUES (1000 + 1, 'x');

-- refused
INSERT INTO orders SELECT user_id, order_id + 10000, status, total, currency, placed_at, note FROM orders;

-- refused
INSERT INTO orders SELECT 40, order_id + 10000, status, total, currency, placed_at, note FROM orders WHERE user_id = 39;

-- refused
DELETE FROM orders WHERE order_id IN (SELECT order_id FROM order_items);

-- refused
UPDATE orders o SET note = u.name FROM users u WHERE u.user_id = o.order_id;

-- refused
MERGE INTO orders o USING users u ON u.user_id = o.user_id AND o.user_id = 39 WHEN MATCHED THEN DELETE;

-- refused
WITH gone AS (DELETE FROM reviews RETURNING *) SELECT count(*) FROM gone;
