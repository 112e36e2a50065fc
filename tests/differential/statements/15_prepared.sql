--- SQL-level PREPARE and other things of a session: refused, or kept on one server connection.

-- refused
PREPARE p AS SELECT 1;

LISTEN channel;
SELECT 1;
UNLISTEN *;

SELECT pg_advisory_lock(1);
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT pg_advisory_unlock(1);

-- refused
CALL nothing();

NOTIFY channel;

SELECT pg_advisory_xact_lock(1);

SELECT pg_notify('channel', 'payload');
