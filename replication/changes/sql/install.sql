-- What Ringway keeps in a database of a shard. Run on the primary, as a superuser, in one transaction;
-- running it again changes nothing. Standbys have it by replication.
--
-- Rights: everyone may call ringway.record_commit and ringway.version. Everything else needs the role
-- ringway_control: grant it to the user that Ringway's control plane connects as (who needs REPLICATION too).

-- The event triggers are made anew at the end: making our own objects announces nothing.
DROP EVENT TRIGGER IF EXISTS ringway_ddl_command_end;
DROP EVENT TRIGGER IF EXISTS ringway_sql_drop;

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ringway_control') THEN
        CREATE ROLE ringway_control NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this server is being installed at this moment
END $$;

CREATE SCHEMA IF NOT EXISTS ringway;
REVOKE ALL ON SCHEMA ringway FROM PUBLIC;
GRANT USAGE ON SCHEMA ringway TO PUBLIC;

-- The version of this script: a proxy refuses a database that has another one.
CREATE OR REPLACE FUNCTION ringway.version() RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 2';

-- ---------------------------------------------------------------------------------------------------
-- The epoch of the invalidation stream and its witness.

-- Logged: survives a crash and is replicated. Raised only by UPDATE .. WHERE epoch = what was read.
CREATE TABLE IF NOT EXISTS ringway.epoch (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- timeline << 32 | counter; 0 before the first publisher.
    epoch        bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    -- The announcements of DDL up to here were published, and their rows in ringway.ddl are gone.
    announced_to pg_lsn NOT NULL DEFAULT '0/0'
);
INSERT INTO ringway.epoch DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Unlogged: gone after a crash and on a promoted standby, kept by a clean restart.
CREATE UNLOGGED TABLE IF NOT EXISTS ringway.witness (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    bigint NOT NULL
);

-- ---------------------------------------------------------------------------------------------------
-- The outcome of transactions over several shards.

CREATE TABLE IF NOT EXISTS ringway.decision (
    gid         text PRIMARY KEY CHECK (octet_length(gid) BETWEEN 1 AND 199),
    outcome     text NOT NULL CHECK (outcome IN ('committed', 'aborted')),
    recorded_by name NOT NULL,
    decided_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- Called in the home shard's transaction just before its COMMIT: the row and the transaction share one fate.
-- recorded_by is the caller's role, so that recovery can compare it with the owner of the prepared parts.
CREATE OR REPLACE FUNCTION ringway.record_commit(gid text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO ringway.decision AS d (gid, outcome, recorded_by)
    VALUES (record_commit.gid, 'committed', coalesce(nullif(current_setting('role'), 'none'), session_user))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the outcome of transaction "%" is already decided', record_commit.gid
            USING ERRCODE = 'transaction_rollback', DETAIL = 'ringway: recovery has aborted it.';
    END IF;
END $$;

-- Decides "aborted" if nothing is decided yet, waiting for a transaction that is recording; gives the outcome that stands.
CREATE OR REPLACE FUNCTION ringway.decide_abort(gid text) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stands text;
BEGIN
    INSERT INTO ringway.decision AS d (gid, outcome, recorded_by)
    VALUES (decide_abort.gid, 'aborted', coalesce(nullif(current_setting('role'), 'none'), session_user))
    ON CONFLICT DO NOTHING;
    SELECT d.outcome INTO stands FROM ringway.decision d WHERE d.gid = decide_abort.gid;
    IF stands IS NULL THEN
        RAISE EXCEPTION 'the decision on transaction "%" is newer than this snapshot', decide_abort.gid
            USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN stands;
END $$;

-- Forgets decisions that no prepared transaction waits for any more.
CREATE OR REPLACE FUNCTION ringway.forget_decisions(gids text[]) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (DELETE FROM ringway.decision d WHERE d.gid = ANY (gids) RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- ---------------------------------------------------------------------------------------------------
-- What the tables look like. Kept by the event triggers, in the transaction of the DDL itself, so that
-- the log holds every change of it in its place: a reader of the log must never use a later catalog.

CREATE TABLE IF NOT EXISTS ringway.relation (
    relid           oid PRIMARY KEY,
    schema_name     text NOT NULL,
    table_name      text NOT NULL,
    key_columns     text[] NOT NULL,
    indexed_columns text[] NOT NULL,
    ancestors       oid[] NOT NULL
);
ALTER TABLE ringway.relation REPLICA IDENTITY FULL;

-- DDL whose announcement is not yet published. A publisher that starts while there is any can't know which
-- table looked how in the part of the log that it has still to read: it begins a new epoch.
CREATE TABLE IF NOT EXISTS ringway.ddl (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- Tables that some proxy caches, whether they exist or not: their changes are published, no others'.
CREATE TABLE IF NOT EXISTS ringway.published (
    schema_name text,
    table_name  text,
    PRIMARY KEY (schema_name, table_name)
);

-- Tables that got REPLICA IDENTITY FULL from us because they had no usable key: without one, an
-- UPDATE of a published table is an error.
CREATE TABLE IF NOT EXISTS ringway.identity (
    relid oid PRIMARY KEY
);

-- Only what is in it is decoded. Our own picture of the tables always is.
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = 'ringway' AND puballtables) THEN
        DROP PUBLICATION ringway; -- of the first version of this script
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = 'ringway') THEN
        CREATE PUBLICATION ringway WITH (publish_via_partition_root = false);
    END IF;
END $$;

CREATE OR REPLACE VIEW ringway.catalog AS
WITH RECURSIVE up (relid, ancestor) AS (
    SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits
    UNION
    SELECT up.relid, i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.ancestor
)
SELECT c.oid AS relid,
       n.nspname::text AS schema_name,
       c.relname::text AS table_name,
       coalesce((SELECT array_agg(a.attname::text ORDER BY k.place)
                 FROM pg_catalog.pg_index x
                 CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY k (attnum, place)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
                 WHERE x.indrelid = c.oid AND x.indisprimary AND k.place <= x.indnkeyatts), '{}') AS key_columns,
       coalesce((SELECT array_agg(DISTINCT a.attname::text ORDER BY a.attname::text)
                 FROM pg_catalog.pg_index x
                 CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY k (attnum, place)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
                 WHERE x.indrelid = c.oid AND a.attnum > 0 AND k.place <= x.indnkeyatts), '{}') AS indexed_columns,
       coalesce((SELECT array_agg(up.ancestor ORDER BY up.ancestor) FROM up WHERE up.relid = c.oid), '{}') AS ancestors
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
  AND c.relpersistence = 'p'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'ringway', 'pg_toast');

-- Brings ringway.relation in line with the catalog; gives {schema, name, schema, name, ..} of what differed,
-- under old and new name. One statement, so the catalog and the table are seen by one snapshot.
CREATE OR REPLACE FUNCTION ringway.sync_relations() RETURNS text[]
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH now AS MATERIALIZED (
        SELECT * FROM ringway.catalog
    ), gone AS (
        DELETE FROM ringway.relation r WHERE NOT EXISTS (SELECT FROM now WHERE now.relid = r.relid)
        RETURNING r.schema_name, r.table_name
    ), differing AS MATERIALIZED (
        SELECT now.*, r.schema_name AS old_schema, r.table_name AS old_table
        FROM now JOIN ringway.relation r USING (relid)
        WHERE (now.schema_name, now.table_name, now.key_columns, now.indexed_columns, now.ancestors)
              IS DISTINCT FROM (r.schema_name, r.table_name, r.key_columns, r.indexed_columns, r.ancestors)
    ), changed AS (
        UPDATE ringway.relation r
        SET (schema_name, table_name, key_columns, indexed_columns, ancestors) =
            (d.schema_name, d.table_name, d.key_columns, d.indexed_columns, d.ancestors)
        FROM differing d WHERE d.relid = r.relid
    ), added AS (
        INSERT INTO ringway.relation
        SELECT now.* FROM now WHERE NOT EXISTS (SELECT FROM ringway.relation r WHERE r.relid = now.relid)
        -- Two who heal the same difference at once write the same.
        ON CONFLICT (relid) DO NOTHING
        RETURNING schema_name, table_name
    ), names AS (
        SELECT * FROM gone
        UNION SELECT * FROM added
        UNION SELECT schema_name, table_name FROM differing
        UNION SELECT old_schema, old_table FROM differing
    )
    SELECT coalesce(array_agg(part ORDER BY schema_name, table_name, place), '{}')
    FROM names CROSS JOIN LATERAL (VALUES (1, schema_name), (2, table_name)) AS parts (place, part)
$$;

-- The same until nothing differs: two who add an index to one table at once see each other's only after the first has
-- committed, which the second waited for.
CREATE OR REPLACE FUNCTION ringway.settle_relations() RETURNS text[]
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most_rounds constant integer := 10;
    names text[] := '{}';
    more  text[];
BEGIN
    FOR round IN 1..most_rounds LOOP
        more := ringway.sync_relations();
        EXIT WHEN cardinality(more) = 0;
        names := names || more;
    END LOOP;
    RETURN names;
END $$;

-- Announces DDL in the log: {*} means every table, else {schema, name, schema, name, ..}.
CREATE OR REPLACE FUNCTION ringway.announce(names text[], everything boolean) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- More names than this in one command and the whole database is meant.
    most_names constant integer := 1000;
BEGIN
    INSERT INTO ringway.ddl DEFAULT VALUES;
    IF everything OR cardinality(names) > 2 * most_names THEN
        names := ARRAY['*'];
    END IF;
    PERFORM pg_logical_emit_message(true, 'ringway', names::text);
END $$;

-- Heals ringway.relation and announces what differed; a publisher calls it before it starts. Nothing differs unless the event
-- triggers were switched off.
CREATE OR REPLACE FUNCTION ringway.check_relations() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names text[] := ringway.settle_relations();
BEGIN
    IF cardinality(names) > 0 THEN
        PERFORM ringway.announce(names, false);
    END IF;
END $$;

-- Gives a published table without a usable key REPLICA IDENTITY FULL, and takes it back once there is a key.
CREATE OR REPLACE FUNCTION ringway.settle_identity(relids oid[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT c.oid AS relid, c.relreplident AS identity, i.relid IS NOT NULL AS ours,
               EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisprimary AND x.indimmediate AND x.indisvalid) AS keyed
        FROM pg_class c JOIN ringway.catalog k ON k.relid = c.oid LEFT JOIN ringway.identity i ON i.relid = c.oid
        WHERE c.oid = ANY (relids)
          AND (i.relid IS NOT NULL OR EXISTS (
              SELECT FROM pg_publication_tables p
              WHERE p.pubname = 'ringway' AND p.schemaname = k.schema_name AND p.tablename = k.table_name))
    LOOP
        IF t.identity = 'd' AND NOT t.keyed THEN
            INSERT INTO ringway.identity VALUES (t.relid) ON CONFLICT DO NOTHING;
            EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', t.relid::regclass);
        ELSIF t.ours AND t.identity <> 'f' THEN
            DELETE FROM ringway.identity WHERE relid = t.relid; -- someone has chosen another since
        ELSIF t.ours AND t.keyed THEN
            DELETE FROM ringway.identity WHERE relid = t.relid;
            EXECUTE format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', t.relid::regclass);
        END IF;
    END LOOP;
END $$;

-- Adds a table, with all that inherits from it, to the publication. A change made before the addition is never decoded, so none
-- may be under way: the lock waits for those who write, and keeps others away until the addition is committed.
CREATE OR REPLACE FUNCTION ringway.publish_relation(relid oid) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    FOR t IN
        WITH RECURSIVE down (relid) AS (
            SELECT publish_relation.relid
            UNION SELECT i.inhrelid FROM down JOIN pg_inherits i ON i.inhparent = down.relid
        )
        -- A partitioned table brings its partitions along, later ones too.
        SELECT d.relid FROM down d JOIN ringway.catalog k ON k.relid = d.relid JOIN pg_class c ON c.oid = d.relid
        WHERE (d.relid = publish_relation.relid OR NOT c.relispartition)
          AND NOT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                          WHERE p.pubname = 'ringway' AND r.prrelid = d.relid)
        ORDER BY d.relid
    LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE MODE', t.relid::regclass);
        EXECUTE format('ALTER PUBLICATION ringway ADD TABLE ONLY %s', t.relid::regclass);
    END LOOP;
    PERFORM ringway.settle_identity(ARRAY(
        WITH RECURSIVE down (relid) AS (
            SELECT publish_relation.relid
            UNION SELECT i.inhrelid FROM down JOIN pg_inherits i ON i.inhparent = down.relid
        )
        SELECT down.relid FROM down));
END $$;

-- Publishes the table of this name, as soon as there is one. Writers wait behind the lock, so it is not waited for long: who is told
-- 55P03 asks again later.
CREATE OR REPLACE FUNCTION ringway.publish(schema_name text, table_name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    found_relid oid;
BEGIN
    INSERT INTO ringway.published AS p VALUES (publish.schema_name, publish.table_name) ON CONFLICT DO NOTHING;
    SELECT k.relid INTO found_relid FROM ringway.catalog k
    WHERE k.schema_name = publish.schema_name AND k.table_name = publish.table_name;
    IF found_relid IS NOT NULL THEN
        PERFORM ringway.publish_relation(found_relid);
    END IF;
END $$;

-- What was just made under the name of a published table, put under such a table, or taken out from under one. Only where the DDL itself keeps everyone else away:
-- to wait for a lock here could end in a deadlock.
CREATE OR REPLACE FUNCTION ringway.publish_made() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT k.relid FROM ringway.catalog k
        WHERE EXISTS (
                SELECT FROM ringway.published p JOIN ringway.catalog listed USING (schema_name, table_name)
                WHERE listed.relid = k.relid OR listed.relid = ANY (k.ancestors))
          AND EXISTS (
                SELECT FROM pg_locks l
                WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.relation = k.relid
                  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                  AND l.mode = 'AccessExclusiveLock' AND l.granted)
          AND NOT EXISTS (
                SELECT FROM pg_publication_tables p
                WHERE p.pubname = 'ringway' AND p.schemaname = k.schema_name AND p.tablename = k.table_name)
    LOOP
        PERFORM ringway.publish_relation(t.relid);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ringway.on_ddl_command_end() RETURNS event_trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relids     oid[];
    touched    bigint;
    everything boolean;
    names      text[];
BEGIN
    WITH commands AS (
        SELECT classid, objid FROM pg_event_trigger_ddl_commands()
        WHERE schema_name IS DISTINCT FROM 'pg_temp'
    ), owners AS (
        SELECT CASE classid
                   WHEN 'pg_class'::regclass THEN coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = objid), objid)
                   WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy p WHERE p.oid = objid)
                   WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger t WHERE t.oid = objid)
                   WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite r WHERE r.oid = objid)
                   WHEN 'pg_constraint'::regclass THEN (SELECT nullif(conrelid, 0) FROM pg_constraint k WHERE k.oid = objid)
                   WHEN 'pg_publication_rel'::regclass THEN (SELECT prrelid FROM pg_publication_rel p WHERE p.oid = objid)
               END AS relid
        FROM commands
    )
    SELECT array_agg(DISTINCT relid) FILTER (WHERE relid IS NOT NULL), count(*), coalesce(bool_or(relid IS NULL), false)
    INTO relids, touched, everything FROM owners;
    IF touched = 0 THEN
        RETURN; -- only temporary objects, or a DROP, which is the other trigger's
    END IF;
    PERFORM ringway.publish_made();
    PERFORM ringway.settle_identity(relids);
    -- What stands over a partition sees its rows too.
    WITH RECURSIVE up (relid) AS (
        SELECT unnest(relids)
        UNION SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.relid
    )
    SELECT coalesce(array_agg(part ORDER BY c.oid, place), '{}') INTO names
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (VALUES (1, n.nspname::text), (2, c.relname::text)) AS parts (place, part)
    WHERE c.oid IN (SELECT relid FROM up) AND n.nspname <> 'ringway';
    names := names || ringway.settle_relations();
    IF everything OR cardinality(names) > 0 THEN
        PERFORM ringway.announce(names, everything);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ringway.on_sql_drop() RETURNS event_trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    touched    bigint;
    everything boolean;
    names      text[];
BEGIN
    WITH dropped AS (
        SELECT original, object_type, address_names,
               object_type IN ('table', 'view', 'materialized view', 'foreign table', 'sequence', 'index', 'table column',
                               'default value', 'table constraint', 'policy', 'trigger', 'rule', 'toast table') AS of_table
        FROM pg_event_trigger_dropped_objects()
        WHERE NOT is_temporary AND schema_name IS DISTINCT FROM 'ringway'
    ), parts AS (
        SELECT DISTINCT address_names[1] AS schema_name, address_names[2] AS table_name
        FROM dropped
        WHERE of_table AND object_type NOT IN ('index', 'toast table') AND cardinality(address_names) >= 2
    )
    SELECT (SELECT count(*) FROM dropped),
           (SELECT coalesce(bool_or(original AND NOT of_table), false) FROM dropped),
           (SELECT coalesce(array_agg(part ORDER BY schema_name, table_name, place), '{}')
            FROM parts CROSS JOIN LATERAL (VALUES (1, schema_name), (2, table_name)) AS p (place, part))
    INTO touched, everything, names;
    IF touched = 0 THEN
        RETURN;
    END IF;
    -- The table of a dropped index is found by what differs; its key may be gone as well.
    names := names || ringway.settle_relations();
    PERFORM ringway.settle_identity(ARRAY(
        SELECT r.relid FROM ringway.relation r
        WHERE cardinality(r.key_columns) = 0
          AND (r.schema_name, r.table_name) IN (SELECT names[i], names[i + 1] FROM generate_subscripts(names, 1) i WHERE i % 2 = 1)));
    IF everything OR cardinality(names) > 0 THEN
        PERFORM ringway.announce(names, everything);
    END IF;
END $$;

-- Rights: nothing that was not given here.
REVOKE ALL ON ALL TABLES IN SCHEMA ringway FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ringway FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ringway.version(), ringway.record_commit(text) TO PUBLIC;
GRANT USAGE ON SCHEMA ringway TO ringway_control;
GRANT SELECT, UPDATE ON ringway.epoch TO ringway_control;
GRANT SELECT, INSERT, UPDATE, DELETE ON ringway.witness TO ringway_control;
GRANT SELECT ON ringway.decision, ringway.relation, ringway.published TO ringway_control;
GRANT SELECT, DELETE ON ringway.ddl TO ringway_control;
GRANT EXECUTE ON FUNCTION ringway.decide_abort(text), ringway.forget_decisions(text[]), ringway.check_relations(),
    ringway.publish(text, text)
    TO ringway_control;

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication_tables
                   WHERE pubname = 'ringway' AND schemaname = 'ringway' AND tablename = 'relation') THEN
        ALTER PUBLICATION ringway ADD TABLE ringway.relation, ringway.ddl;
    END IF;
END $$;

DO $$ BEGIN
    PERFORM ringway.settle_identity(ARRAY(SELECT relid FROM ringway.catalog));
    PERFORM ringway.check_relations();
END $$;

CREATE EVENT TRIGGER ringway_ddl_command_end ON ddl_command_end EXECUTE FUNCTION ringway.on_ddl_command_end();
CREATE EVENT TRIGGER ringway_sql_drop ON sql_drop EXECUTE FUNCTION ringway.on_sql_drop();
ALTER EVENT TRIGGER ringway_ddl_command_end ENABLE ALWAYS;
ALTER EVENT TRIGGER ringway_sql_drop ENABLE ALWAYS;
