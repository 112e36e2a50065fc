\set aid random(1, 10000)
SELECT abalance FROM cached_accounts WHERE aid = :aid;
