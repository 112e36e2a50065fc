#!/usr/bin/env bash
# PyGreSQL's own tests: libpq as it is, with large objects and notifications, and a DB-API on top.
. "$(dirname "${BASH_SOURCE[0]}")/python.sh"

VERSION=6.2.3

make_pygresql() {
    fetch_source "PyGreSQL==$VERSION"
    # There are no wheels for Linux.
    install "PyGreSQL==$VERSION" pytest==8.4.2 pytest-timeout==2.4.0
    rm -r source/pg source/pgdb
}

prepare() {
    need python3 psql gcc pg_config
    once "pygresql-$VERSION" make_pygresql
}

run() {
    sql 'CREATE DATABASE pygresql'
    PGDATABASE=pygresql sql 'CREATE EXTENSION hstore'
    export PGDATABASE=pygresql
    run_pytest "$SUITE_CACHE/pygresql-$VERSION/source" "$SUITE_CACHE/pygresql-$VERSION/packages" ${SUITE_ONLY:-tests}
}

main "$@"
