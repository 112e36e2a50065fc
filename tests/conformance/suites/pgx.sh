#!/usr/bin/env bash
# pgx v5's own tests.
. "$(dirname "${BASH_SOURCE[0]}")/go.sh"

VERSION=v5.12.0

prepare() {
    need go python3 psql
    once "pgx-$VERSION" copy_module github.com/jackc/pgx/v5 "$VERSION"
}

run() {
    local address="host=$PGHOST port=$PGPORT password=$PGPASSWORD"
    sql 'CREATE DATABASE pgx_test'
    sed '/whoami/d; /^where not exists/d' "$SUITE_CACHE/pgx-$VERSION/module/testsetup/postgresql_setup.sql" |
        psql -X -q -d pgx_test -v ON_ERROR_STOP=1
    export PGX_TEST_DATABASE="$address user=$PGUSER dbname=pgx_test"
    export PGX_TEST_TCP_CONN_STRING=$PGX_TEST_DATABASE
    export PGX_TEST_PLAIN_PASSWORD_CONN_STRING="host=$PGHOST port=$PGPORT user=pgx_pw password=secret dbname=pgx_test"
    export PGX_TEST_SCRAM_PASSWORD_CONN_STRING="host=$PGHOST port=$PGPORT user=pgx_scram password=secret dbname=pgx_test"
    export PGX_TEST_MD5_PASSWORD_CONN_STRING="host=$PGHOST port=$PGPORT user=pgx_md5 password=secret dbname=pgx_test"
    # Tests that read the environment as a client does expect it empty.
    unset PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE
    run_module "pgx-$VERSION" ./...
}

main "$@"
