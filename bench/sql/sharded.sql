-- Listed in Ringway's configuration: sharded by aid.
CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
-- The same, and opted in to the cache.
CREATE TABLE cached_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
