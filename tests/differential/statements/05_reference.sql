--- Tables with a copy on every shard, tables on one shard, no table.

SELECT * FROM products WHERE product_id = 5;

SELECT * FROM products ORDER BY product_id;

SELECT category_id, count(*), avg(price), min(weight_kg), max(attributes->>'color') FROM products GROUP BY category_id ORDER BY category_id;

SELECT p.name, c.name FROM products p JOIN categories c USING (category_id) ORDER BY p.product_id LIMIT 10;

SELECT DISTINCT category_id FROM products ORDER BY 1;

SELECT sum(weight_kg) IS NOT NULL, avg(price) FROM products;

SELECT name, rank() OVER (PARTITION BY category_id ORDER BY price DESC, product_id) FROM products ORDER BY product_id;

SELECT name FROM categories WHERE parent_id IS NULL UNION SELECT 'more' ORDER BY 1;

SELECT a.category_id, b.category_id FROM categories a JOIN categories b ON a.parent_id = b.category_id ORDER BY 1;

SELECT name FROM products WHERE price = (SELECT max(price) FROM products) ORDER BY 1;

SELECT product_id FROM products WHERE product_id = 1 FOR UPDATE;

SELECT * FROM ledger ORDER BY id;

SELECT what, sum(amount) FROM ledger GROUP BY what ORDER BY what;

SELECT * FROM settings ORDER BY name;

SELECT name, value FROM settings WHERE name = 'theme';

SELECT l.what, p.name FROM ledger l JOIN products p ON p.product_id = l.id ORDER BY 1;

-- rollback
INSERT INTO products VALUES (900, 1, 'NEW-1', 'new', 9.99, NULL, '{}', true, '2024-01-01');
SELECT * FROM products WHERE product_id = 900;
UPDATE products SET price = price * 2 WHERE product_id = 900 RETURNING price;
DELETE FROM products WHERE product_id = 900;
SELECT count(*) FROM products WHERE product_id = 900;

INSERT INTO products VALUES (901, 1, 'NEW-2', 'new', 9.99, 1.5, '{"a": 1}', true, '2024-01-01'), (902, 1, 'NEW-3', 'newer', 8, NULL, '{}', false, '2024-01-02') RETURNING product_id, price, attributes;
SELECT * FROM products WHERE product_id > 900 ORDER BY product_id;
SELECT i.line FROM order_items i JOIN products p USING (product_id) WHERE i.user_id = 39 AND p.product_id > 900;
UPDATE products SET name = upper(name), weight_kg = 2 WHERE product_id > 900;
DELETE FROM products WHERE product_id > 900 RETURNING name;
DELETE FROM products WHERE product_id > 900;

INSERT INTO products VALUES (1, 1, 'DUP', 'dup', 1, NULL, '{}', true, '2024-01-01');

INSERT INTO products VALUES (903, 12345, 'FK', 'fk', 1, NULL, '{}', true, '2024-01-01');

INSERT INTO products VALUES (904, 1, 'CHECK', 'check', -1, NULL, '{}', true, '2024-01-01');

INSERT INTO products (product_id) VALUES (905);

INSERT INTO products VALUES (1, 1, 'DUP', 'dup', 1, NULL, '{}', true, '2024-01-01') ON CONFLICT DO NOTHING;

UPDATE products SET price = price WHERE false;

-- rollback
UPDATE categories SET name = name || '!' WHERE category_id < 3 RETURNING category_id, name;
SELECT name FROM categories WHERE category_id < 3 ORDER BY category_id;

-- rollback
INSERT INTO ledger (what) VALUES ('x') RETURNING what;

-- rollback
UPDATE settings SET value = 'light' WHERE name = 'theme' RETURNING *;

INSERT INTO settings VALUES ('theme', 'twice');

--- Values that would differ between the copies.
-- refused
UPDATE products SET price = random() WHERE product_id = 1;

-- refused
INSERT INTO products VALUES (906, 1, 'NOW', 'now', 1, NULL, '{}', true, now());

-- refused
INSERT INTO products VALUES (906, 1, 'NOW', 'now', 1, NULL, '{}', true, 'now');

-- refused
DELETE FROM products WHERE product_id IN (SELECT product_id FROM order_items);

-- refused
WITH gone AS (DELETE FROM products WHERE product_id = 1 RETURNING *) SELECT * FROM gone;

-- refused
INSERT INTO ledger (what) SELECT name FROM users;
