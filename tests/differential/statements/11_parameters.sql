--- Parameters in text and binary, prepared statements, portals with a limit of rows.

-- params: int8=39
-- params: int8=4
-- params: int8=100000
-- params: int8=null
SELECT name, email FROM users WHERE user_id = $1;

-- params: int4=3
SELECT name FROM users WHERE user_id = $1::int4;

-- params: int8=39 | text=delivered
-- params: int8=5 | text=paid
SELECT order_id, total FROM orders WHERE user_id = $1 AND status = $2 ORDER BY order_id;

-- params: int8=39 | int8=5
SELECT user_id, name FROM users WHERE user_id IN ($1, $2) ORDER BY user_id;

-- params: int8[]={1,2,3,4,5}
-- params: int8[]={7}
-- params: int8[]={}
-- params: int8[]=null
SELECT user_id, name FROM users WHERE user_id = ANY ($1) ORDER BY user_id;

-- params: int8=39 | int8=4
SELECT order_id FROM orders WHERE user_id = $1 OR user_id = $2 ORDER BY order_id;

-- params: numeric=250.50 | timestamptz=2024-06-01 00:00:00+00
SELECT order_id, total, placed_at FROM orders WHERE total > $1 AND placed_at > $2 ORDER BY order_id;

-- params: int8=10 | int8=5
SELECT order_id FROM orders ORDER BY order_id LIMIT $1 OFFSET $2;

-- params: int8=null | int8=990
SELECT order_id FROM orders ORDER BY order_id LIMIT $1 OFFSET $2;

-- params: text=delivered
SELECT count(*), sum(total), max(placed_at) FROM orders WHERE status = $1;

-- params: text=red
-- params: text=it's
-- params: text=grün
-- params: text=
-- params: text=nothing
SELECT * FROM tags WHERE tag = $1;

-- params: uuid=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11
-- params: uuid=b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12
-- params: uuid=00000000-0000-0000-0000-000000000000
SELECT * FROM documents WHERE id = $1;

-- params: int8=5
-- params: int8=17
SELECT p.*, v.on_hand FROM products p JOIN inventory v USING (product_id) WHERE v.product_id = $1;

-- params: int8=5
SELECT * FROM products WHERE product_id = $1;

-- params: int8=39
SELECT u.name, o.order_id FROM users u JOIN orders o USING (user_id) WHERE u.user_id = $1 ORDER BY 2;

-- params: int8=39
WITH mine AS (SELECT * FROM orders WHERE user_id = $1) SELECT count(*), sum(total) FROM mine;

-- params: int8=39
SELECT name FROM users WHERE user_id = $1 AND EXISTS (SELECT 1 FROM orders WHERE orders.user_id = $1);

-- params: text=a | text=b
SELECT $1 || $2, length($1);

-- params: int4=1 | numeric=2.5 | bool=true | float8=1.5 | date=2024-02-29 | bytea=\x00ff | interval=1 day | jsonb={"a": 1}
SELECT $1::int4, $2::numeric, $3::bool, $4::float8, $5::date, $6::bytea, $7::interval, $8::jsonb;

-- params: text[]={a,"b c",NULL} | int4[]={1,2}
SELECT $1::text[], array_length($2::int4[], 1);

-- rollback
-- params: text=p1 | int4=1
-- params: text=p2 | int4=2
-- params: text=p3 | int4=null
INSERT INTO tags (tag, n) VALUES ($1, $2) RETURNING tag, n;
-- params: text=p1
-- params: text=p2
SELECT n FROM tags WHERE tag = $1;
-- params: int4=100 | text=p1
UPDATE tags SET n = n + $1 WHERE tag = $2 RETURNING n;
-- params: text=p1
-- params: text=p1
DELETE FROM tags WHERE tag = $1;

-- rollback
-- params: text=q1 | int4=1 | text=q2 | int4=2 | text=q3 | int4=3
INSERT INTO tags (tag, n) VALUES ($1, $2), ($3, $4), ($5, $6);
SELECT tag, n FROM tags WHERE tag LIKE 'q_' ORDER BY tag;

-- rollback
-- params: text=q1 | int4=1 | text=q2 | int4=2 | text=q3 | int4=3
INSERT INTO tags (tag, n) VALUES ($1, $2), ($3, $4), ($5, $6) ON CONFLICT (tag) DO UPDATE SET n = EXCLUDED.n RETURNING tag;

-- rollback
-- params: text=seen | int8[]={1,2,3,4}
UPDATE orders SET note = $1 WHERE user_id = ANY ($2) AND status = 'delivered' RETURNING order_id, note;

-- rollback
-- params: numeric=1000
DELETE FROM reviews WHERE rating < $1::int4;

-- rollback
-- params: int8=920 | numeric=5.5
INSERT INTO products VALUES ($1, 1, 'PARAM', 'param', $2, NULL, '{}', true, '2024-01-01') RETURNING *;

-- params: text=abc
SELECT * FROM users WHERE user_id = $1::text::bigint;

-- params: int8=0
SELECT 1 / $1::int8;

-- params: text=red | int4=1
INSERT INTO tags (tag, n) VALUES ($1, $2);

-- params: int8=39
SELECT nothing FROM users WHERE user_id = $1;

-- params: int4=1
SELECT 1;

-- rows: 4
SELECT order_id FROM orders WHERE user_id = 39 ORDER BY order_id;

-- rows: 10
SELECT product_id, name FROM products ORDER BY product_id;

-- rollback
-- rows: 3
SELECT order_id FROM orders WHERE user_id = 39 ORDER BY order_id;

-- rows: 1000
SELECT order_id FROM orders WHERE user_id = 39 ORDER BY order_id;

-- rows: 2
-- params: int8=39
SELECT order_id FROM orders WHERE user_id = $1 ORDER BY order_id;

-- params: int8=39
-- refused
SELECT DISTINCT status FROM orders WHERE total > $1;

-- params: int8=39 | int8=4
-- refused
UPDATE orders SET user_id = $2 WHERE user_id = $1;

-- params: int8=39
-- refused
SELECT o.order_id FROM orders o JOIN users u ON u.user_id = o.order_id WHERE o.user_id = $1;

-- rollback
-- rows: 10
-- refused
SELECT order_id FROM orders ORDER BY order_id LIMIT 30;
