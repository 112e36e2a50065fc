#!/usr/bin/env bash
# pgbench: every way to fill its tables, every built-in script in every protocol, and what scripts of one's own can do.
# A run is right if all its transactions were done and the balances add up.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

TRANSACTIONS=40
CLIENTS=4

prepare() { need psql pgbench; }

# try NAME ARGUMENT...: what pgbench says of it, without times
try() {
    local name=$1 status=0
    shift
    timeout 100 pgbench "$@" >"$SUITE_OUT/details/$name" 2>&1 || status=$?
    {
        echo "exit $status"
        grep -E '^(number of (clients|threads|tr.* per|tr.* processed|failed)|transaction type|query mode|pgbench: error)' \
            "$SUITE_OUT/details/$name" || true
    } >"$SUITE_WORK/said"
    balances >>"$SUITE_WORK/said"
    cp "$SUITE_WORK/said" "$SUITE_OUT/details/$name.said"
    outcome "$name" "exit $status, $(md5sum <"$SUITE_WORK/said" | cut -c 1-12)"
}

balances() {
    psql -X -A -t -c "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches),
        (SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM pgbench_history)" 2>&1
}

scripts() {
    cat >gset.sql <<'S'
\set aid random(1, 100000 * :scale)
SELECT abalance, bid FROM pgbench_accounts WHERE aid = :aid \gset before_
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 0 WHERE aid = :aid;
\if :before_bid > 0
SELECT 2 AS two \gset
\endif
END;
S
    cat >several.sql <<'S'
SELECT 1 AS one \; SELECT 2 AS two \; SELECT 3 AS three \aset
\set sum :two + :three
S
    cat >pipeline.sql <<'S'
\startpipeline
SELECT 1;
SELECT count(*) FROM pgbench_branches;
SELECT 2;
\endpipeline
S
    cat >pipeline_write.sql <<'S'
\set aid random(1, 100000 * :scale)
\startpipeline
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 0 WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
COMMIT;
\endpipeline
S
    cat >error.sql <<'S'
SELECT 1 / 0;
S
    cat >serializable.sql <<'S'
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE pgbench_branches SET bbalance = bbalance + 0 WHERE bid = 1;
END;
S
}

run() {
    local mode script initialize
    scripts
    for initialize in dtgvp dtGvp dtgvpf; do
        try "initialize-$initialize" -i -q -I "$initialize"
    done
    try initialize-partitions -i -q --partitions=3
    try initialize-again -i -q
    for mode in simple extended prepared; do
        for script in tpcb-like simple-update select-only; do
            try "$mode-$script" -n -M "$mode" -b "$script" -c "$CLIENTS" -t "$TRANSACTIONS"
            pgbench -i -q -I dtgvp >/dev/null 2>&1 || true
        done
        try "$mode-connect" -n -C -M "$mode" -b select-only -c 2 -t 10
        try "$mode-gset" -n -M "$mode" -f gset.sql -c 2 -t "$TRANSACTIONS"
        try "$mode-error" -n -M "$mode" -f error.sql -c 1 -t 1
        try "$mode-retry" -n -M "$mode" -f serializable.sql -c 2 -t "$TRANSACTIONS" --max-tries=100
    done
    try simple-several -n -f several.sql -c 2 -t "$TRANSACTIONS"
    for mode in extended prepared; do
        try "$mode-pipeline" -n -M "$mode" -f pipeline.sql -c "$CLIENTS" -t "$TRANSACTIONS"
        try "$mode-pipeline-write" -n -M "$mode" -f pipeline_write.sql -c "$CLIENTS" -t "$TRANSACTIONS"
    done
}

main "$@"
