--- What tools ask of the catalog.

SELECT n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', '') AND n.nspname = 'public' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1, 2;

SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'orders'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;

SELECT conname, pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint WHERE conrelid = 'orders'::regclass ORDER BY 1;

SELECT indexrelid::regclass::text, indisunique, indisprimary FROM pg_index WHERE indrelid = 'orders'::regclass ORDER BY 1;

SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name;

SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'tags' ORDER BY ordinal_position;

SELECT typname, typlen FROM pg_type WHERE typname IN ('int8', 'text', 'uuid') ORDER BY 1;

SELECT datname, pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = 'shop';

SELECT proname FROM pg_proc WHERE proname = 'lower' ORDER BY pronargs, proargtypes::text;

SELECT rolname, rolsuper, rolcanlogin FROM pg_roles WHERE rolname = 'shop';

SELECT to_regclass('users')::text, to_regclass('nowhere');

SELECT has_table_privilege('users', 'SELECT'), has_table_privilege('pg_authid', 'SELECT');

SELECT obj_description('users'::regclass);

SELECT count(*) > 0 FROM pg_stat_activity;

SELECT pg_is_in_recovery();

SELECT pg_backend_pid() > 0;

SELECT current_setting('transaction_read_only'), current_setting('in_hot_standby');

-- params: text=transaction_read_only | text=in_hot_standby
SELECT current_setting($1), current_setting($2, true);

SHOW transaction_read_only;

SHOW in_hot_standby;

SELECT name, setting FROM pg_settings WHERE name IN ('in_hot_standby', 'transaction_read_only') ORDER BY name COLLATE "C";

SELECT setting FROM pg_catalog.pg_settings WHERE name = 'transaction_read_only';

SELECT count(*) FROM pg_show_all_settings() s WHERE s.name = 'in_hot_standby' AND s.setting = 'off';

SELECT txid_current() > 0, pg_current_xact_id_if_assigned() IS NULL;

SELECT pg_walfile_name('0/1000028') LIKE '0000000%';

SELECT count(*) > 0 FROM pg_stat_wal_receiver;

SELECT count(*) > 0 FROM pg_stat_get_activity(pg_backend_pid()) a WHERE a.backend_type = 'client backend';

SELECT version() LIKE 'PostgreSQL 15%';

SELECT pg_size_pretty(1024::bigint);

SELECT pg_table_size('settings') > 0;

EXPLAIN (COSTS off) SELECT * FROM settings WHERE name = 'theme';

EXPLAIN (COSTS off) SELECT 1;

EXPLAIN (COSTS off, FORMAT json) SELECT 1;

-- refused
EXPLAIN SELECT * FROM orders;

-- refused
EXPLAIN (ANALYZE) SELECT count(*) FROM users;
