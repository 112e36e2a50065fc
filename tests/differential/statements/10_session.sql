--- SET, SHOW, RESET, DISCARD.

SET TimeZone = 'Asia/Tokyo';
SHOW TimeZone;
SELECT timestamptz '2024-01-01 00:00:00+00';
SELECT created_at FROM users WHERE user_id = 39;
SELECT placed_at FROM orders ORDER BY placed_at, order_id LIMIT 3;
RESET TimeZone;
SHOW TimeZone;

SET DateStyle = 'German';
SELECT date '2024-02-29', timestamptz '2024-01-01 00:00:00+00';
SELECT birth_date FROM users WHERE user_id = 39;
SET DateStyle TO DEFAULT;

SET IntervalStyle = 'iso_8601';
SELECT interval '1 day 2 hours';
SELECT took FROM documents WHERE id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
RESET IntervalStyle;

SET extra_float_digits = 0;
SELECT 0.1::float8 + 0.2::float8;
SELECT ratio FROM tags WHERE tag = 'red';
RESET extra_float_digits;

SET bytea_output = 'escape';
SELECT raw FROM tags ORDER BY tag;
RESET bytea_output;

SET search_path = pg_catalog, public;
SHOW search_path;
SELECT count(*) FROM users;
SET search_path TO DEFAULT;
SHOW search_path;

SET search_path = nowhere;
SELECT 1;
SELECT * FROM users WHERE user_id = 39;
SELECT name FROM public.users WHERE user_id = 39;
RESET search_path;

SET application_name = 'something else';
SHOW application_name;
SELECT current_setting('application_name');
SET application_name = 'tests';

SET statement_timeout = '5s';
SHOW statement_timeout;
SELECT count(*) FROM orders;
RESET ALL;
SHOW statement_timeout;

SET work_mem = '8MB';
SHOW work_mem;
DISCARD ALL;
SHOW work_mem;

SET my.setting = 'custom';
SHOW my.setting;
SELECT current_setting('my.setting');
RESET my.setting;

BEGIN;
SET work_mem = '16MB';
ROLLBACK;
SHOW work_mem;

BEGIN;
SET work_mem = '16MB';
COMMIT;
SHOW work_mem;
RESET work_mem;

BEGIN;
SET LOCAL TimeZone = 'America/New_York';
SELECT timestamptz '2024-01-01 00:00:00+00';
SELECT placed_at FROM orders ORDER BY placed_at, order_id LIMIT 3;
COMMIT;
SELECT timestamptz '2024-01-01 00:00:00+00';

BEGIN;
SAVEPOINT a;
SET work_mem = '32MB';
ROLLBACK TO a;
SHOW work_mem;
COMMIT;

BEGIN;
SELECT set_config('work_mem', '24MB', true);
SHOW work_mem;
COMMIT;
SHOW work_mem;

SHOW server_version;

SHOW server_encoding;

SHOW standard_conforming_strings;

SHOW transaction_read_only;

SHOW max_identifier_length;

SHOW is_superuser;

SET client_min_messages = 'warning';
RESET client_min_messages;

BEGIN;
SET search_path TO pg_catalog;
ROLLBACK;
SELECT user_id, name FROM users WHERE user_id = 39;
SELECT user_id, name FROM users WHERE user_id = 40;
SELECT user_id, name FROM users WHERE user_id = 41;
SELECT user_id, name FROM users WHERE user_id = 42;

BEGIN;
SET LOCAL search_path TO pg_catalog;
SELECT user_id, name FROM public.users WHERE user_id = 40;
COMMIT;
SELECT user_id, name FROM users WHERE user_id = 39;
SELECT user_id, name FROM users WHERE user_id = 42;

BEGIN;
SET LOCAL search_path TO pg_catalog;
SELECT user_id, name FROM users WHERE user_id = 42;
ROLLBACK;
SELECT user_id, name FROM users WHERE user_id = 42;

BEGIN;
SAVEPOINT s;
SET search_path TO pg_catalog;
ROLLBACK TO s;
SELECT user_id, name FROM users WHERE user_id = 39;
SELECT user_id, name FROM users WHERE user_id = 42;
COMMIT;

SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SHOW default_transaction_isolation;
RESET default_transaction_isolation;

SET client_encoding = 'UTF8';

SET NAMES 'UTF8';

SET standard_conforming_strings = on;

SET ROLE none;

SET LOCAL work_mem = '4MB';

DISCARD PLANS;

DISCARD SEQUENCES;

DEALLOCATE ALL;

SELECT name, setting FROM pg_settings WHERE name IN ('TimeZone', 'DateStyle', 'work_mem') ORDER BY name;

-- refused
SET standard_conforming_strings = off;

SELECT set_config('work_mem', '24MB', false);

SHOW work_mem;

RESET work_mem;

SHOW work_mem;
