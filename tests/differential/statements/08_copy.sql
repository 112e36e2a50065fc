--- COPY in and out.

-- rollback
COPY tags (tag, n) FROM STDIN;
c1	1
c2	2
c3	\N
c4	4
c5	5
\.
SELECT tag, n FROM tags WHERE tag LIKE 'c_' ORDER BY tag;

COPY tags (tag, n) FROM STDIN;
d1	1
d2	2
d3	3
\.
SELECT tag, n FROM tags WHERE tag LIKE 'd_' ORDER BY tag;
DELETE FROM tags WHERE tag LIKE 'd_';

-- rollback
COPY tags FROM STDIN;
e1	1	1.5	\\x00ff	3	2.5	ab	label
e\t2	2	\N	\N	\N	\N	\N	two\nlines
e\\3	3	NaN	\\x	0	-0	x	
\.
SELECT * FROM tags WHERE tag LIKE 'e%' AND tag <> 'ef' ORDER BY tag;

-- rollback
COPY tags (n, label, tag) FROM STDIN WITH (FORMAT csv, HEADER);
n,label,tag
1,"a, b",f1
2,"quote "" here",f2
,"two
lines",f3
4,,f4
\.
SELECT tag, n, label FROM tags WHERE tag LIKE 'f_' ORDER BY tag;

-- rollback
COPY tags (tag, n) FROM STDIN WITH (FORMAT csv, DELIMITER ';', NULL 'none');
g1;1
g2;none
\.
SELECT tag, n FROM tags WHERE tag LIKE 'g_' ORDER BY tag;

-- rollback
COPY tags (tag, n) FROM STDIN WITH (DELIMITER '|', NULL 'nil');
h1|1
h2|nil
\.
SELECT tag, n FROM tags WHERE tag LIKE 'h_' ORDER BY tag;

-- rollback
COPY orders FROM STDIN;
3	7001	paid	10.5	USD	2025-01-01 00:00:00+00	\N
4	7002	shipped	20	EUR	2025-01-02 00:00:00+00	a note
5	7003	paid	30	USD	2025-01-03 00:00:00+00	
\.
SELECT * FROM orders WHERE order_id > 7000 ORDER BY order_id;

-- rollback
COPY products FROM STDIN;
910	1	CP-1	copied	1.50	\N	{}	t	2024-01-01
911	2	CP-2	copied too	2.50	0.5	{"a": "b"}	f	2024-01-01
\.
SELECT * FROM products WHERE product_id > 900 ORDER BY product_id;

-- rollback
COPY settings FROM STDIN;
copied	yes
\.
SELECT * FROM settings ORDER BY name;

COPY tags (tag, n) FROM STDIN;
i1	not a number
\.

COPY tags (tag, n) FROM STDIN;
i1	1	too many
\.

COPY tags (tag, n) FROM STDIN;
i1
\.

COPY tags (tag, n) FROM STDIN;
i1	1
i1	2
\.

COPY tags (tag, n) FROM STDIN;
red	1
i2	2
i3	3
i4	4
\.
SELECT count(*) FROM tags WHERE tag LIKE 'i_';

COPY orders FROM STDIN;
3	7001	no such status	10.5	USD	2025-01-01 00:00:00+00	\N
\.

COPY tags (tag, n) FROM STDIN;
\.

COPY nowhere FROM STDIN;
\.

-- refused
COPY tags (nothing) FROM STDIN;
\.

-- unordered
COPY tags TO STDOUT;

-- unordered
COPY tags (tag, n) TO STDOUT WITH (FORMAT csv);

-- unordered
COPY users TO STDOUT;

-- unordered
COPY orders (order_id, note) TO STDOUT WITH (NULL 'none', DELIMITER ',');

COPY products (product_id, name) TO STDOUT WITH (FORMAT csv, HEADER);

COPY categories TO STDOUT;

COPY settings TO STDOUT;

COPY (SELECT order_id, status FROM orders WHERE user_id = 39 ORDER BY order_id) TO STDOUT;

COPY (SELECT name, price FROM products ORDER BY product_id) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE *);

COPY (SELECT 1, NULL, 'x') TO STDOUT;

-- unordered
COPY users (user_id, name) TO STDOUT WITH (FORMAT csv, HEADER);

COPY products TO STDOUT WITH (FORMAT binary);

--- Refused.
-- refused
COPY (SELECT * FROM orders) TO STDOUT;

-- refused
COPY orders FROM STDIN WITH (FORMAT binary);
\.

-- refused
COPY orders (order_id, status) FROM STDIN;
\.

-- refused
COPY orders TO '/tmp/orders.txt';

-- refused
COPY orders FROM '/tmp/orders.txt';
