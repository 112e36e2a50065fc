-- section: describe
\d
\d+
\dt
\dt+ books
\di
\dv+
\dm
\ds
\dE
\d books
\d+ books
\d authors
\d books_id_seq
\d recent
\d+ recent
\d counts
\d parted
\d+ parted
\d no_such_table
-- section: describe catalogs
\d pg_class
\dS pg_index
\dt pg_catalog.pg_c*
\dT
\dT+ mood
\dD
\dD+ positive
\df
\df+ twice
\df pg_catalog.abs
\da pg_catalog.sum
\do pg_catalog.+ integer
\dO
\dc utf8_to_iso_8859_1
\dC integer
\dA
\dAc btree integer
\dAf hash integer
\dAo btree int4_ops
\dAp btree integer_ops
\dy
\dx
\dx+ plpgsql
\dX
\dF
\dFd
\dFp
\dFt
\dL
\dn
\dn+
\dp
\dp books
\ddp
\drds
\du
\dg psql_*
\db
\dP
\dPt+
\dRp
\dRs
\des
\deu
\det
\dew
\dl
\dconfig work_mem
\dd
\z books
\l template*
-- section: show source
\sf twice
\sf+ twice
\sv recent
\sv+ recent
-- section: formats
SELECT * FROM books ORDER BY id \gx
SELECT * FROM books ORDER BY id \g (format=csv)
\pset format unaligned
SELECT * FROM books ORDER BY id;
\pset format html
SELECT * FROM books ORDER BY id;
\pset format asciidoc
SELECT * FROM books ORDER BY id;
\pset format latex
SELECT * FROM books ORDER BY id;
\pset format troff-ms
SELECT * FROM books ORDER BY id;
\pset format wrapped
\pset null '(none)'
SELECT * FROM books ORDER BY id;
\a
\t on
\f ';'
\x auto
\H
-- section: variables
SELECT 1 AS one, 'two' AS two \gset
\echo :one :'two' :"two"
SELECT id, title FROM books ORDER BY id LIMIT 1 \gset book_
\echo :book_id :'book_title'
SELECT 1 WHERE false \gset
SELECT generate_series(1, 2) AS several \gset
SELECT format('SELECT %s AS n', n) FROM generate_series(1, 3) n \gexec
SELECT 'CREATE TABLE made_by_gexec (a int)', 'DROP TABLE made_by_gexec' \gexec
SELECT id, title, 1.5::numeric(4, 2) AS price, now() AS at FROM books \gdesc
SELECT 1 / 0 AS x \gdesc
SELECT nothing \gdesc
\if :one
\echo yes
\else
\echo no
\endif
\echo :ROW_COUNT :SQLSTATE :ERROR
SELECT nothing;
\echo :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE
\errverbose
\set VERBOSITY verbose
SELECT 'abc'::int;
\set VERBOSITY sqlstate
SELECT 'abc'::int;
-- section: crosstab
SELECT author_id, mood, count(*) FROM books JOIN moods USING (id) GROUP BY 1, 2 ORDER BY 1, 2 \crosstabview
SELECT author_id, mood, count(*) FROM books JOIN moods USING (id) GROUP BY 1, 2 \crosstabview mood author_id count
SELECT 1 AS a, 2 AS b \crosstabview
-- section: fetch count
\set FETCH_COUNT 3
SELECT n, repeat('x', n) FROM generate_series(1, 10) n;
SELECT n / (n - 5) FROM generate_series(1, 10) n;
BEGIN;
SELECT n FROM generate_series(1, 4) n;
COMMIT;
-- section: autocommit off
\set AUTOCOMMIT off
SELECT 1;
SELECT pg_current_xact_id_if_assigned() IS NULL AS nothing_written;
INSERT INTO scratch VALUES (1);
ROLLBACK;
SELECT count(*) FROM scratch;
COMMIT;
VACUUM scratch;
CREATE TABLE in_transaction (a int);
ROLLBACK;
\d in_transaction
COMMIT;
-- section: rollback on error
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO scratch VALUES (2);
INSERT INTO scratch VALUES ('x');
INSERT INTO scratch VALUES (3);
SAVEPOINT s;
INSERT INTO no_such_table VALUES (1);
ROLLBACK TO s;
COMMIT;
SELECT * FROM scratch ORDER BY 1;
-- section: stop on error
\set ON_ERROR_STOP on
SELECT 1;
SELECT nothing;
SELECT 2;
-- section: single transaction
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SHOW transaction_isolation;
INSERT INTO scratch VALUES (9);
COMMIT AND CHAIN;
SHOW transaction_isolation;
ROLLBACK AND CHAIN;
SELECT 1;
END;
-- section: copy
COPY books TO STDOUT;
COPY books TO STDOUT (FORMAT csv, HEADER);
\copy books TO 'books.csv' (FORMAT csv, HEADER)
\copy (SELECT title FROM books ORDER BY id) TO STDOUT
CREATE TEMP TABLE copied (LIKE books);
\copy copied FROM 'books.csv' (FORMAT csv, HEADER)
SELECT * FROM copied ORDER BY id;
COPY copied FROM STDIN;
7	seven	1	2020-01-07
8	eight	x	2020-01-08
\.
COPY copied FROM STDIN (FORMAT csv);
7,seven,1,2020-01-07
\.
SELECT count(*) FROM copied;
\copy books TO 'books.bin' (FORMAT binary)
\copy copied FROM 'books.bin' (FORMAT binary)
SELECT count(*) FROM copied;
\copy copied FROM 'no_such_file'
\copy no_such_table FROM 'books.csv'
COPY (SELECT 1) TO STDOUT \; SELECT 2 \; COPY (SELECT 3) TO STDOUT;
-- section: large objects
\lo_import books.input 'a comment'
\lo_list
SELECT count(*) FROM pg_largeobject_metadata;
SELECT lo_from_bytea(4242, 'some bytes');
\lo_export 4242 exported
\! cat exported; echo
\lo_unlink 4242
\lo_unlink 4242
SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
-- section: sessions
SET work_mem = '5MB';
SHOW work_mem;
\c
SHOW work_mem;
SET search_path = pg_catalog;
SHOW search_path;
RESET ALL;
SHOW search_path;
\c template1
SELECT current_database();
\c - psql_reader
SELECT current_user, current_database();
-- section: no database
\c no_such_database
SELECT current_database();
-- section: no user
\c - no_such_user
-- section: encodings
\encoding
\encoding LATIN1
\encoding
SELECT 'ä';
SHOW client_encoding;
\encoding UTF8
-- section: roles
SET SESSION AUTHORIZATION psql_reader;
SELECT current_user, session_user;
RESET SESSION AUTHORIZATION;
SET ROLE psql_reader;
SELECT current_user;
RESET ROLE;
-- section: notifications
LISTEN here;
NOTIFY here, 'hello';
SELECT pg_notify('here', 'again');
UNLISTEN *;
NOTIFY here, 'nobody listens';
SELECT 1;
DO $$ BEGIN RAISE NOTICE 'noticed'; RAISE WARNING 'warned'; END $$;
DROP TABLE IF EXISTS nothing_to_drop;
-- section: prepared
PREPARE p (int) AS SELECT title FROM books WHERE id = $1;
EXECUTE p (1);
EXECUTE p (2);
SELECT name, statement, parameter_types FROM pg_prepared_statements;
DEALLOCATE p;
EXECUTE p (1);
-- section: cursors
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 10) n;
FETCH 3 FROM c;
MOVE 2 FROM c;
FETCH ALL FROM c;
CLOSE c;
COMMIT;
BEGIN;
DECLARE h SCROLL CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 5) n;
COMMIT;
FETCH 2 FROM h;
FETCH BACKWARD 1 FROM h;
CLOSE h;
FETCH 1 FROM h;
-- section: temporary
CREATE TEMP TABLE mine (a int);
INSERT INTO mine VALUES (1), (2);
SELECT * FROM mine ORDER BY a;
\dt mine
DROP TABLE mine;
SELECT * FROM mine;
CREATE TEMP TABLE gone (a int) ON COMMIT DROP;
SELECT * FROM gone;
-- section: locks
SELECT pg_advisory_lock(1);
SELECT pg_try_advisory_lock(1);
SELECT pg_advisory_unlock(1), pg_advisory_unlock(1), pg_advisory_unlock(1);
-- section: sequences
CREATE SEQUENCE counted;
SELECT nextval('counted');
SELECT currval('counted'), lastval();
SELECT setval('counted', 10);
SELECT currval('counted');
DROP SEQUENCE counted;
-- section: several statements
SELECT 1 \; SELECT 2 \; SELECT 3;
SELECT 1 \; SELECT nothing \; SELECT 3;
BEGIN \; INSERT INTO scratch VALUES (10) \; ROLLBACK;
INSERT INTO scratch VALUES (11) \; SELECT 1 / 0;
SELECT count(*) FROM scratch WHERE a >= 10;
;
