--- Transaction blocks, savepoints, two-phase commit behind COMMIT.

BEGIN;
SELECT 1;
COMMIT;

BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SHOW transaction_isolation;
SELECT count(*) FROM users WHERE user_id = 39;
COMMIT;

START TRANSACTION READ ONLY;
SELECT name FROM users WHERE user_id = 39;
UPDATE users SET name = name WHERE user_id = 39;
SELECT 1;
ROLLBACK;

BEGIN;
INSERT INTO tags (tag, n) VALUES ('t1', 1);
INSERT INTO tags (tag, n) VALUES ('t2', 2);
INSERT INTO tags (tag, n) VALUES ('t3', 3);
INSERT INTO tags (tag, n) VALUES ('t4', 4);
SELECT tag FROM tags WHERE tag LIKE 't_' ORDER BY tag;
COMMIT;
SELECT tag, n FROM tags WHERE tag LIKE 't_' ORDER BY tag;
DELETE FROM tags WHERE tag LIKE 't_';

BEGIN;
INSERT INTO tags (tag, n) VALUES ('t1', 1), ('t2', 2), ('t3', 3), ('t4', 4);
ROLLBACK;
SELECT count(*) FROM tags WHERE tag LIKE 't_';

BEGIN;
INSERT INTO tags (tag, n) VALUES ('s1', 1);
SAVEPOINT a;
INSERT INTO tags (tag, n) VALUES ('s2', 2);
SAVEPOINT b;
INSERT INTO tags (tag, n) VALUES ('s3', 3);
ROLLBACK TO SAVEPOINT b;
INSERT INTO tags (tag, n) VALUES ('s4', 4);
RELEASE SAVEPOINT a;
SELECT tag FROM tags WHERE tag LIKE 's_' ORDER BY tag;
COMMIT;
SELECT tag FROM tags WHERE tag LIKE 's_' ORDER BY tag;
DELETE FROM tags WHERE tag LIKE 's_';

BEGIN;
SAVEPOINT a;
INSERT INTO tags (tag, n) VALUES ('red', 1);
SELECT 1;
ROLLBACK TO a;
INSERT INTO tags (tag, n) VALUES ('u1', 1), ('u2', 2), ('u3', 3);
COMMIT;
DELETE FROM tags WHERE tag LIKE 'u_' RETURNING tag;

BEGIN;
INSERT INTO tags (tag, n) VALUES ('v1', 1), ('v2', 2), ('v3', 3);
INSERT INTO tags (tag, n) VALUES ('red', 1);
SELECT 1;
COMMIT;
SELECT count(*) FROM tags WHERE tag LIKE 'v_';

BEGIN;
BEGIN;
COMMIT;

COMMIT;

ROLLBACK;

SAVEPOINT nowhere;

ROLLBACK TO nowhere;

BEGIN;
ROLLBACK TO SAVEPOINT missing;
ROLLBACK;

BEGIN;
RELEASE SAVEPOINT missing;
ROLLBACK;

BEGIN;
UPDATE users SET name = name WHERE user_id IN (1, 2, 3);
UPDATE products SET price = price WHERE product_id = 1;
COMMIT AND CHAIN;
SELECT 1;
ROLLBACK AND NO CHAIN;

BEGIN;
SELECT 1 / 0;
SELECT 1;
COMMIT;

BEGIN;
SELECT 1 / 0;
ROLLBACK;

BEGIN;
SELECT no_such_column FROM users WHERE user_id = 39;
INSERT INTO tags (tag) VALUES ('x');
END;

BEGIN;
SET TRANSACTION READ ONLY;
INSERT INTO tags (tag) VALUES ('x');
ROLLBACK;

BEGIN;
SET LOCAL search_path = pg_catalog;
SHOW search_path;
COMMIT;
SHOW search_path;

BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM users;
UPDATE users SET name = name WHERE user_id = 39;
COMMIT;

BEGIN;
LOCK TABLE users IN SHARE MODE;
SELECT count(*) FROM users;
ROLLBACK;

BEGIN;
DECLARE c CURSOR FOR SELECT order_id FROM orders WHERE user_id = 39 ORDER BY order_id;
FETCH 2 FROM c;
FETCH NEXT FROM c;
MOVE 1 FROM c;
FETCH ALL FROM c;
CLOSE c;
COMMIT;

BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT product_id FROM products ORDER BY product_id;
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH ABSOLUTE 10 FROM c;
COMMIT;

BEGIN;
CREATE TEMP TABLE scratch (a int) ON COMMIT DROP;
INSERT INTO scratch VALUES (1), (2);
SELECT sum(a) FROM scratch;
COMMIT;

BEGIN;
INSERT INTO orders VALUES (3, 6001, 'paid', 10, 'USD', '2025-01-01', NULL);
INSERT INTO orders VALUES (4, 6002, 'paid', 10, 'USD', '2025-01-01', NULL);
INSERT INTO order_items VALUES (3, 6001, 1, 5, 1, 10);
UPDATE products SET active = active WHERE product_id = 5;
UPDATE inventory SET on_hand = on_hand + 1 WHERE product_id = 5;
COMMIT;
SELECT count(*) FROM orders WHERE order_id > 6000;
DELETE FROM order_items WHERE order_id = 6001;
DELETE FROM orders WHERE order_id > 6000;
UPDATE inventory SET on_hand = on_hand - 1 WHERE product_id = 5;

-- refused
PREPARE TRANSACTION 'mine';

-- refused
DECLARE c CURSOR WITH HOLD FOR SELECT * FROM users;

-- rollback
-- refused
DECLARE c CURSOR FOR SELECT * FROM orders;

-- rollback
SELECT count(*) FROM users;
-- refused
SELECT DISTINCT status FROM orders;

--- COMMIT of one shard: as it goes usually, and where the server has more to say than that.

BEGIN;
INSERT INTO pledges VALUES (1, 'bread'), (2, 'bread');
SELECT count(*) FROM pledges WHERE what = 'bread';
COMMIT;
SELECT count(*) FROM pledges;

BEGIN;
INSERT INTO pledges VALUES (1, 'bread'), (2, 'wine');
END;
SELECT id, what FROM pledges ORDER BY id;

BEGIN WORK;
SET LOCAL DateStyle TO 'German';
SELECT DATE '2024-05-06', what FROM pledges WHERE id = 1;
commit work /* said at length */;
SELECT DATE '2024-05-06', what FROM pledges WHERE id = 1;

start transaction;
DELETE FROM pledges WHERE id = 1;
SAVEPOINT a;
DELETE FROM pledges WHERE id = 2;
ROLLBACK TO a;
COMMIT;
SELECT id, what FROM pledges ORDER BY id;

BEGIN;
SELECT what FROM pledges WHERE id = 2;
COMMIT AND NO CHAIN;

BEGIN;
DELETE FROM pledges WHERE id = 2;
COMMIT; BEGIN;
SELECT id, what FROM pledges ORDER BY id;
COMMIT;
