\set aid random(1, 100000)
\set bid random(1, 100)
\set tid random(1, 1000)
\set delta random(-5000, 5000)
BEGIN;
UPDATE tpcb.pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM tpcb.pgbench_accounts WHERE aid = :aid;
UPDATE tpcb.pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE tpcb.pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO tpcb.pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
