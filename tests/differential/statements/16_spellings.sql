--- The same key in different spellings: a row must be found on the shard that it was put on.

SELECT user_id, name FROM users WHERE user_id = ' 39 ';

SELECT user_id, name FROM users WHERE user_id = '+39';

SELECT user_id, name FROM users WHERE user_id = '0039';

SELECT user_id, name FROM users WHERE user_id = +39;

SELECT user_id, name FROM users WHERE user_id = - -39;

SELECT user_id, name FROM users WHERE user_id = 39::smallint;

SELECT user_id, name FROM users WHERE user_id = 39::numeric;

SELECT user_id, name FROM users WHERE user_id = 39.4;

SELECT user_id, name FROM users WHERE user_id = 39.4::bigint;

SELECT user_id, name FROM users WHERE user_id = '39.4'::numeric::bigint;

SELECT user_id, name FROM users WHERE user_id = 3.9e1;

SELECT user_id, name FROM users WHERE user_id = 39::float8;

SELECT user_id, name FROM users WHERE user_id = int8 '39';

SELECT user_id, name FROM users WHERE user_id = bigint'39';

SELECT user_id, name FROM users WHERE user_id = '39'::text::bigint;

SELECT user_id, name FROM users WHERE user_id = 38 + 1;

SELECT user_id, name FROM users WHERE user_id + 0 = 39;

SELECT user_id, name FROM users WHERE user_id::text = '39';

SELECT user_id, name FROM users WHERE user_id::int = 39;

SELECT user_id, name FROM users WHERE (user_id) = (39);

SELECT user_id, name FROM users WHERE (users.user_id) = 39 AND true;

SELECT user_id, name FROM users WHERE public.users.user_id = 39;

SELECT "user_id", "name" FROM "users" WHERE "user_id" = 39;

SELECT USER_ID FROM USERS WHERE User_Id = 39;

SELECT user_id FROM users WHERE user_id = (SELECT 39);

SELECT user_id FROM users WHERE user_id IN (SELECT 39);

SELECT user_id FROM users WHERE user_id IN (VALUES (39), (40)) ORDER BY 1;

SELECT user_id FROM users WHERE user_id = ANY (VALUES (39), (40)) ORDER BY 1;

SELECT user_id FROM users WHERE user_id = ANY (ARRAY['39', '40']::bigint[]) ORDER BY 1;

SELECT user_id FROM users WHERE user_id = SOME (ARRAY[39]);

SELECT user_id FROM users WHERE user_id OPERATOR(pg_catalog.=) 39;

SELECT user_id FROM users WHERE user_id IN (39, NULL);

SELECT user_id FROM users WHERE user_id IN (NULL);

SELECT user_id FROM users WHERE user_id = ANY ('{39,NULL}');

SELECT user_id FROM users WHERE user_id = ANY (NULL);

SELECT user_id FROM users WHERE user_id = ANY ('{}');

SELECT user_id FROM users WHERE user_id = ALL ('{}') ORDER BY 1 LIMIT 3;

SELECT user_id FROM users WHERE (user_id = 39) IS TRUE;

SELECT user_id FROM users WHERE user_id = 39 IS TRUE;

SELECT user_id FROM users WHERE NOT (user_id <> 39);

SELECT user_id FROM users WHERE CASE WHEN user_id = 39 THEN true ELSE false END;

SELECT user_id FROM users WHERE coalesce(user_id, 0) = 39;

SELECT user_id FROM users WHERE user_id BETWEEN 39 AND 39;

SELECT user_id FROM users WHERE user_id >= 39 AND user_id <= 39;

SELECT user_id FROM users u (user_id, mail) WHERE user_id = 39;

SELECT x FROM users u (x) WHERE x = 39;

SELECT user_id FROM users u (email, user_id) WHERE user_id = 'x';

SELECT user_id FROM users WHERE user_id = 39 OR (user_id = 40 AND false) ORDER BY 1;

SELECT user_id FROM users WHERE (user_id, vip) = (39, false);

SELECT user_id FROM users WHERE (user_id, 1) IN ((39, 1), (40, 1)) ORDER BY 1;

SELECT user_id FROM users WHERE ROW(user_id) = ROW(39);

-- rollback
INSERT INTO tags (tag, n) VALUES ('a''b', 1), (E'tab\there', 2), (U&'d\0061t\+000061', 3), ($$dollar$$, 4), ($q$it's$$q$, 5);
SELECT n FROM tags WHERE tag = 'a''b';
SELECT n FROM tags WHERE tag = E'a\'b';
SELECT n FROM tags WHERE tag = 'tab	here';
SELECT n FROM tags WHERE tag = 'data';
SELECT n FROM tags WHERE tag = 'dollar';
SELECT n FROM tags WHERE tag = 'it''s$';
SELECT n FROM tags WHERE tag = 'data'::text;

-- rollback
INSERT INTO tags (tag, n) VALUES (' leading', 7), ('ÄÖÜ', 9), ('🦀', 10);
SELECT n FROM tags WHERE tag = ' leading';
SELECT n FROM tags WHERE tag = 'trailing';
SELECT n FROM tags WHERE tag = 'trailing ';
SELECT n FROM tags WHERE tag = 'ÄÖÜ';
SELECT n FROM tags WHERE tag = U&'\+01F980';
SELECT n FROM tags WHERE tag = 'trailing '::char(20);
SELECT n FROM tags WHERE tag = 'trailing '::varchar;
SELECT n FROM tags WHERE tag = 'trailing  x'::varchar(9);
SELECT n FROM tags WHERE tag = 'ÄÖÜ'::name;

-- rollback
INSERT INTO tags (tag, n) VALUES ('two'
' lines', 6);
SELECT n FROM tags WHERE tag = 'two lines';
SELECT n FROM tags WHERE tag = 'two'
' lines';

-- refused
INSERT INTO tags (tag, n) VALUES ('cut', 1), (5, 2), (1.50, 3), (true, 4);

-- rollback
INSERT INTO documents (id, body) VALUES ('{F0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A16}', 'braces'), ('f1eebc999c0b4ef8bb6d6bb9bd380a17', 'bare'), ('f2ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a18', 'groups');
SELECT body FROM documents WHERE id = 'f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a16';
SELECT body FROM documents WHERE id = 'f1eebc99-9c0b-4ef8-bb6d-6bb9bd380a17'::uuid;
SELECT body FROM documents WHERE id = uuid 'f2eebc99-9c0b-4ef8-bb6d-6bb9bd380a18';

-- rollback
INSERT INTO inventory SELECT 5, 'x', 1, 1, '2024-01-01' WHERE false;

-- rollback
INSERT INTO tags (tag, n) VALUES ('neg', -1), ('plus', +1), ('expr', 1 + 1), ('null', NULL) RETURNING tag, n;

-- rollback
-- params: text=39
INSERT INTO tags (tag, n) VALUES ($1, length($1)) RETURNING *;
SELECT n FROM tags WHERE tag = '39';

-- params: int2=39
SELECT user_id, name FROM users WHERE user_id = $1;

-- params: int4=39
SELECT user_id, name FROM users WHERE user_id = $1;

-- params: numeric=39
SELECT user_id, name FROM users WHERE user_id = $1::numeric;

-- params: float8=39
SELECT user_id, name FROM users WHERE user_id = $1::float8;

-- params: text=39
SELECT user_id, name FROM users WHERE user_id::text = $1;

-- params: text=39
SELECT user_id, name FROM users WHERE user_id = $1::text::bigint;

-- params: int4=38
SELECT user_id, name FROM users WHERE user_id = $1 + 1;

-- params: int4=38
SELECT user_id, name FROM users WHERE user_id = $1::int4 + 1;

-- params: varchar=red
SELECT tag, n FROM tags WHERE tag = $1;

-- params: name=red
SELECT tag, n FROM tags WHERE tag = $1::name;

-- params: text[]={red,blue,it's}
SELECT tag, n FROM tags WHERE tag = ANY ($1) ORDER BY tag;

-- params: int4[]={39,40}
SELECT user_id FROM users WHERE user_id = ANY ($1) ORDER BY 1;

-- params: uuid[]={a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}
SELECT body FROM documents WHERE id = ANY ($1);

-- params: bool=true | int8=39
SELECT user_id FROM users WHERE $1 AND user_id = $2;

-- params: bool=false | int8=39
SELECT user_id FROM users WHERE $1 OR user_id = $2;

-- params: int8=39 | int8=39
SELECT o.order_id FROM users u JOIN orders o ON o.user_id = $1 WHERE u.user_id = $2 ORDER BY 1;

-- params: int8=39 | int8=39
-- params: int8=39 | int8=40
SELECT user_id FROM users WHERE user_id = $1 AND user_id = $2;

--- A key that the column may cut: varchar(3) drops blanks beyond its length, so the row would be looked for elsewhere.
-- refused
INSERT INTO codes VALUES ('ab   ', 1);

-- refused
INSERT INTO tags (tag) VALUES ('trailing ');

-- params: text=ab    | int4=1
-- refused
INSERT INTO codes VALUES ($1, $2);

-- refused
COPY codes FROM STDIN;
abc	1
ab   	1
a	1
\.

SELECT count(*) FROM codes;

INSERT INTO codes VALUES ('abcd', 1);

INSERT INTO codes VALUES ('abc', 1), ('ab', 2), ('a', 3), ('', 4), ('é', 5);
SELECT * FROM codes WHERE code = 'abc';
SELECT * FROM codes WHERE code = 'ab ';
SELECT * FROM codes WHERE code = 'abcd'::varchar(3);
SELECT * FROM codes ORDER BY code;
DELETE FROM codes WHERE code IN ('abc', 'ab', 'a', '', 'é');

COPY codes FROM STDIN;
abcd	1
\.

-- rollback
COPY codes FROM STDIN;
abc	1
ab	2
é	3
\.
SELECT * FROM codes WHERE code = 'abc';
SELECT * FROM codes WHERE code = 'é';

--- COPY with keys in all sorts of clothes.
-- rollback
COPY tags (tag, n) FROM STDIN WITH (FORMAT csv, QUOTE '''', ESCAPE '\', NULL 'NULL');
'it\'s csv',1
plain,2
'a,b',NULL
\.
SELECT tag, n FROM tags WHERE tag = 'it''s csv';
SELECT tag, n FROM tags WHERE tag = 'a,b';

-- rollback
COPY tags (tag, n) FROM STDIN;
back\\slash	1
tab\tinside	2
oct\101l	3
hex\x41l	4
new\nline	5
\.
SELECT n FROM tags WHERE tag = 'back\slash';
SELECT n FROM tags WHERE tag = E'tab\tinside';
SELECT n FROM tags WHERE tag = 'octAl';
SELECT n FROM tags WHERE tag = 'hexAl';
SELECT n FROM tags WHERE tag = E'new\nline';

-- rollback
COPY inventory FROM STDIN;
 007	x	1	1	2024-01-01
\.

-- rollback
COPY documents (id, body) FROM STDIN;
{F0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A16}	braces
f1eebc999c0b4ef8bb6d6bb9bd380a17	bare
\.
SELECT body FROM documents WHERE id = 'f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a16';
SELECT body FROM documents WHERE id = 'f1eebc99-9c0b-4ef8-bb6d-6bb9bd380a17';
