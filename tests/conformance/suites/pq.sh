#!/usr/bin/env bash
# lib/pq's own tests.
. "$(dirname "${BASH_SOURCE[0]}")/go.sh"

VERSION=v1.12.3

prepare() {
    need go python3 psql
    once "pq-$VERSION" copy_module github.com/lib/pq "$VERSION"
}

run() {
    sql 'CREATE ROLE pqgo SUPERUSER LOGIN' 'CREATE DATABASE pqgo OWNER pqgo'
    # Its roles; its settings are those of a server of its own.
    sed '/^alter system/d' "$SUITE_CACHE/pq-$VERSION/module/testdata/postgres/docker-entrypoint-initdb.d/20-config.sql" |
        psql -X -q -v ON_ERROR_STOP=1
    export PGUSER=pqgo PGDATABASE=pqgo PGSSLMODE=disable
    unset PGPASSWORD
    run_module "pq-$VERSION" ./...
}

main "$@"
