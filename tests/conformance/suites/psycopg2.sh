#!/usr/bin/env bash
# psycopg2's own tests.
. "$(dirname "${BASH_SOURCE[0]}")/python.sh"

VERSION=2.9.13

make_psycopg2() {
    fetch_source "psycopg2==$VERSION"
    install "psycopg2-binary==$VERSION" pytest==8.4.2 pytest-timeout==2.4.0
}

prepare() {
    need python3 psql
    once "psycopg2-$VERSION" make_psycopg2
}

run() {
    sql 'CREATE DATABASE psycopg2_test'
    PGDATABASE=psycopg2_test sql 'CREATE EXTENSION hstore'
    # max_prepared_transactions is on; the tests of replication need a connection that no pooler has.
    export PSYCOPG2_TESTDB=psycopg2_test PSYCOPG2_TEST_FAST=
    unset PGDATABASE
    run_pytest "$SUITE_CACHE/psycopg2-$VERSION/source" "$SUITE_CACHE/psycopg2-$VERSION/packages" tests
}

main "$@"
