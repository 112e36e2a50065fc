#!/usr/bin/env bash
# pg8000's own tests: all but those of logins, which want a server with rules of their own.
. "$(dirname "${BASH_SOURCE[0]}")/python.sh"

VERSION=1.31.6

make_pg8000() {
    fetch_source "pg8000==$VERSION"
    install "pg8000==$VERSION" pytest==8.4.2 pytest-timeout==2.4.0 pytest-mock==3.15.1 pytest-benchmark==5.1.0 pytz
}

prepare() {
    need python3 psql
    once "pg8000-$VERSION" make_pg8000
}

run() {
    PGDATABASE=postgres sql 'CREATE EXTENSION hstore'
    run_pytest "$SUITE_CACHE/pg8000-$VERSION/source" "$SUITE_CACHE/pg8000-$VERSION/packages" \
        --ignore=test/dbapi/auth --ignore=test/legacy/auth --ignore=test/native/auth --ignore=test/test_readme.py \
        --benchmark-disable --timeout=300 test
}

main "$@"
