--- DDL on listed and other tables. Each case cleans up.

CREATE TABLE scratch (a int PRIMARY KEY, b text);
INSERT INTO scratch VALUES (1, 'one'), (2, 'two');
SELECT * FROM scratch ORDER BY a;
ALTER TABLE scratch ADD COLUMN c int DEFAULT 5;
SELECT * FROM scratch ORDER BY a;
CREATE INDEX scratch_b ON scratch (b);
UPDATE scratch SET c = 6 WHERE a = 1 RETURNING *;
TRUNCATE scratch;
SELECT count(*) FROM scratch;
DROP TABLE scratch;
SELECT * FROM scratch;

CREATE TABLE IF NOT EXISTS users (user_id bigint);

DROP TABLE IF EXISTS nowhere;

ALTER TABLE orders ADD COLUMN extra integer DEFAULT 3;
SELECT order_id, extra FROM orders WHERE user_id = 39 ORDER BY order_id LIMIT 2;
SELECT order_id, extra FROM orders ORDER BY order_id LIMIT 2;
UPDATE orders SET extra = 4 WHERE user_id = 39;
SELECT sum(extra) FROM orders;
ALTER TABLE orders DROP COLUMN extra;
SELECT * FROM orders WHERE user_id = 39 ORDER BY order_id LIMIT 2;

ALTER TABLE products ADD COLUMN extra text;
SELECT product_id, extra FROM products ORDER BY product_id LIMIT 2;
ALTER TABLE products DROP COLUMN extra;

CREATE INDEX orders_by_total ON orders (total);
SELECT count(*) FROM pg_indexes WHERE indexname = 'orders_by_total';
DROP INDEX orders_by_total;

COMMENT ON TABLE users IS 'those who buy';
SELECT obj_description('users'::regclass);
COMMENT ON TABLE users IS NULL;

CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
SELECT twice(21);
SELECT twice(user_id::int) FROM users WHERE user_id = 39;
SELECT twice(user_id::int) FROM users WHERE user_id < 6;
SELECT user_id FROM users WHERE user_id = twice(3);
DROP FUNCTION twice;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
SELECT 'ok'::text::mood::text, enum_range(NULL::mood)::text;
DROP TYPE mood;

CREATE SCHEMA attic;
CREATE TABLE attic.boxes (id int);
INSERT INTO attic.boxes VALUES (1), (2);
SELECT sum(id) FROM attic.boxes;
DROP TABLE attic.boxes;
DROP SCHEMA attic;

CREATE VIEW cheap AS SELECT product_id, price FROM products WHERE price < 20;
SELECT definition FROM pg_views WHERE viewname = 'cheap';
DROP VIEW cheap;

CREATE VIEW cheap AS SELECT product_id, price FROM products WHERE price < 20;
-- refused
SELECT count(*) FROM cheap;

DROP VIEW cheap;

CREATE SEQUENCE numbers;
SELECT nextval('numbers'), currval('numbers');
DROP SEQUENCE numbers;

BEGIN;
ALTER TABLE tags ADD COLUMN gone int;
SELECT gone FROM tags WHERE tag = 'red';
ROLLBACK;
SELECT * FROM tags WHERE tag = 'red';

ANALYZE users;

ANALYZE settings;

VACUUM settings;

CREATE TABLE copied AS SELECT * FROM settings;
SELECT count(*) FROM copied;
DROP TABLE copied;

CREATE TABLE orders (a int);

ALTER TABLE users ADD COLUMN name text;

ALTER TABLE users RENAME COLUMN nothing TO something;

DROP TABLE users;

--- Refused.
-- refused
CREATE INDEX CONCURRENTLY orders_by_total ON orders (total);

-- refused
VACUUM orders;

-- refused
CREATE TABLE copied AS SELECT * FROM orders;

-- refused
DO 'BEGIN NULL; END';

-- refused
DROP TABLE orders, settings;

-- refused
CREATE TEMP TABLE orders (a int);
