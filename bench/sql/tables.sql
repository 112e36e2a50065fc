-- pgbench's tables for TPC-B, in a schema of their own: Ringway's configuration doesn't list them, so they
-- are on its default shard.
CREATE SCHEMA tpcb;
CREATE TABLE tpcb.pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88)) WITH (fillfactor = 90);
CREATE TABLE tpcb.pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84)) WITH (fillfactor = 90);
CREATE TABLE tpcb.pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84)) WITH (fillfactor = 90);
CREATE TABLE tpcb.pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
INSERT INTO tpcb.pgbench_branches SELECT n, 0, '' FROM generate_series(1, 100) n;
INSERT INTO tpcb.pgbench_tellers SELECT n, (n - 1) / 10 + 1, 0, '' FROM generate_series(1, 1000) n;
INSERT INTO tpcb.pgbench_accounts SELECT n, (n - 1) / 1000 + 1, 0, '' FROM generate_series(1, 100000) n;
