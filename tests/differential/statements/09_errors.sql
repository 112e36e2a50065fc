--- PostgreSQL's own errors, passed on.

INSERT INTO users SELECT * FROM users WHERE user_id = 39;

INSERT INTO tags (tag) VALUES ('red');

INSERT INTO tags (tag) VALUES ('n1'), ('n2'), ('red'), ('n3');

SELECT count(*) FROM tags WHERE tag LIKE 'n_';

INSERT INTO orders VALUES (3, 8001, 'no such status', 1, 'USD', '2025-01-01', NULL);

INSERT INTO orders VALUES (100000, 8001, 'paid', 1, 'USD', '2025-01-01', NULL);

INSERT INTO orders VALUES (3, 8001, NULL, 1, 'USD', '2025-01-01', NULL);

INSERT INTO orders VALUES (3, 8001);

INSERT INTO orders VALUES (3, 8001, 'paid', 1, 'USD', '2025-01-01', NULL, 'too many');

INSERT INTO orders (user_id, nothing) VALUES (3, 1);

INSERT INTO orders (user_id, user_id) VALUES (3, 3);

INSERT INTO users (user_id) VALUES (NULL);

INSERT INTO users (user_id) VALUES ('abc');

DELETE FROM users WHERE user_id = 39;

UPDATE inventory SET on_hand = -1 WHERE product_id = 5;

UPDATE inventory SET on_hand = -1;

UPDATE orders SET total = 'abc' WHERE user_id = 39;

UPDATE orders SET nothing = 1 WHERE user_id = 39;

SELECT 1 / 0;

SELECT 1 / (user_id - 39) FROM users WHERE user_id = 39;

SELECT 1 / (user_id - 39) FROM users;

SELECT total::int / 0 FROM orders ORDER BY order_id LIMIT 1;

SELEC 1;

SELECT * FROM;

SELECT FROM WHERE;

SELECT 'unterminated;

SELECT * FROM nowhere;

SELECT * FROM nowhere.users;

SELECT nothing FROM users WHERE user_id = 39;

SELECT nothing FROM users;

SELECT nothing FROM users ORDER BY user_id;

-- extended
SELECT user_id FROM users ORDER BY nothing;

-- simple
-- refused
SELECT user_id FROM users ORDER BY nothing;

-- refused
SELECT nothing(1);

SELECT lower(1);

SELECT 'abc'::int;

SELECT '2024-13-01'::date;

SELECT 99999999999::int;

SELECT ARRAY[1, 'a'];

SELECT 1 + 'a';

SELECT '{"a": }'::jsonb;

SELECT user_id FROM users u, orders o WHERE u.user_id = 39 AND o.user_id = 39;

SELECT count(*), name FROM users WHERE user_id = 39;

SELECT * FROM users WHERE user_id = 39 AND name = 5;

SELECT * FROM users WHERE user_id = 39 LIMIT -1;

SELECT order_id FROM orders LIMIT -1;

-- extended
SELECT order_id FROM orders ORDER BY 9;

-- simple
-- refused
SELECT order_id FROM orders ORDER BY 9;

-- extended
SELECT sum(status) FROM orders;

-- simple
-- refused
SELECT sum(status) FROM orders;

-- extended
SELECT max(preferences) FROM users;

-- simple
-- refused
SELECT max(preferences) FROM users;

-- extended
SELECT * FROM users WHERE count(*) > 1;

-- simple
-- refused
SELECT * FROM users WHERE count(*) > 1;

SELECT repeat('x', 2000000000);

CREATE TABLE users (a int);

DROP TABLE nowhere;

ALTER TABLE nowhere ADD COLUMN a int;

GRANT SELECT ON nowhere TO shop;

SET nothing = 1;

SHOW nothing;

SET work_mem = 'lots';

SELECT current_setting('nothing');

SELECT pg_sleep('x');

-- refused
EXECUTE nothing;

DEALLOCATE nothing;

FETCH 1 FROM nothing;

SELECT * FROM pg_authid;

-- refused
ALTER SYSTEM SET work_mem = '1MB';

-- extended
SELECT $1::int;

SELECT * FROM users WHERE user_id = $1;
