--- Several statements in one Query.

-- together
SELECT 1;
SELECT 2;

-- together
SELECT name FROM users WHERE user_id = 39;
SELECT name FROM users WHERE user_id = 4;
SELECT count(*) FROM users;

-- together
BEGIN;
INSERT INTO tags (tag, n) VALUES ('m1', 1), ('m2', 2), ('m3', 3);
SELECT tag FROM tags WHERE tag LIKE 'm_' ORDER BY tag;
ROLLBACK;

-- together
BEGIN;
INSERT INTO tags (tag, n) VALUES ('m1', 1), ('m2', 2), ('m3', 3);
COMMIT;
DELETE FROM tags WHERE tag LIKE 'm_';

-- together
INSERT INTO tags (tag, n) VALUES ('m1', 1);
INSERT INTO tags (tag, n) VALUES ('m2', 2);
INSERT INTO tags (tag, n) VALUES ('m3', 3);
SELECT 1 / 0;

SELECT count(*) FROM tags WHERE tag LIKE 'm_';

-- together
SELECT 1;
SELECT nothing;
SELECT 3;

-- together
SELECT 1;
SELEC 2;

-- together
SET work_mem = '9MB';
SHOW work_mem;
RESET work_mem;

-- together
BEGIN;
SELECT 1 / 0;
SELECT 2;

ROLLBACK;

-- together
UPDATE users SET name = name WHERE user_id = 39;
UPDATE users SET name = name WHERE user_id = 4;
UPDATE products SET price = price WHERE product_id = 3;

-- together
SELECT 1;
BEGIN;
SELECT 2;
COMMIT;
SELECT 3;

-- simple
;

-- simple
/* nothing */;

-- together
SELECT 1;
;
SELECT 2;

-- together
SELECT 1;
-- refused
DO 'BEGIN NULL; END';
