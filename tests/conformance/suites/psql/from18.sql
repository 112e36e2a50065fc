-- section: bind
SELECT $1::int + $2::int AS sum \bind 1 2 \g
SELECT $1 AS text \bind 'a b' \gx
SELECT $1::int / $2::int \bind 1 0 \g
SELECT $1::int \bind x \g
SELECT $1::int \bind \g
SELECT $1 AS a, $2 AS b \bind 1 2 \gset
\echo :a :b
-- section: named
SELECT $1::int * 2 AS double \parse doubler
\bind_named doubler 4 \g
\bind_named doubler 5 \gx
SELECT 1 \parse doubler
SELECT name, statement, parameter_types FROM pg_prepared_statements ORDER BY name;
\close_prepared doubler
\bind_named doubler 6 \g
\close_prepared never_there
DEALLOCATE ALL;
SELECT 'unnamed' \parse ''
\bind_named '' \g
-- section: pipelines
\startpipeline
SELECT $1 AS first \bind 1 \sendpipeline
SELECT $1 AS second \bind 2 \sendpipeline
\endpipeline
\startpipeline
SELECT $1 \bind 1 \sendpipeline
SELECT $1::int / 0 \bind 1 \sendpipeline
SELECT $1 \bind 3 \sendpipeline
\syncpipeline
SELECT $1 \bind 4 \sendpipeline
\endpipeline
\startpipeline
SELECT $1 \bind 5 \sendpipeline
\flushrequest
\getresults
SELECT $1 \bind 6 \sendpipeline
\syncpipeline
\getresults 1
SELECT $1 \bind 7 \sendpipeline
\flush
\endpipeline
\startpipeline
BEGIN \bind \sendpipeline
INSERT INTO scratch VALUES ($1) \bind 77 \sendpipeline
ROLLBACK \bind \sendpipeline
SELECT count(*) FROM scratch WHERE a = $1 \bind 77 \sendpipeline
\endpipeline
\startpipeline
SELECT $1 \parse in_pipeline
\bind_named in_pipeline 1 \sendpipeline
\close_prepared in_pipeline
\endpipeline
-- section: watched
SELECT 1 AS watched \watch c=2 i=0
-- section: describe like 18
\dRp+
\dconfig+ work_mem
\dx
\dAf+ btree integer
\drg
\df+ twice
\d+ books
-- section: chunked
\set FETCH_COUNT 2
WITH a AS (INSERT INTO scratch VALUES (100), (101), (102) RETURNING a) SELECT * FROM a;
SELECT n / (n - 3) FROM generate_series(1, 5) n;
