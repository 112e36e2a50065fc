#!/usr/bin/env bash
# SQLAlchemy's compliance suite for dialects and its tests of the PostgreSQL dialect, with each of four drivers.
. "$(dirname "${BASH_SOURCE[0]}")/python.sh"

VERSION=2.1.9
DRIVERS=${SUITE_ONLY:-psycopg2 psycopg asyncpg pg8000}

make_sqlalchemy() {
    fetch_source "sqlalchemy==$VERSION"
    install greenlet typing_extensions psycopg2-binary==2.9.13 'psycopg[binary]==3.3.9' asyncpg pg8000==1.31.6 \
        pytest==8.4.2 pytest-timeout==2.4.0
}

prepare() {
    need python3 psql
    once "sqlalchemy-$VERSION" make_sqlalchemy
}

run() {
    local driver
    for driver in $DRIVERS; do
        sql "CREATE DATABASE sqlalchemy_$driver" \
            "ALTER DATABASE sqlalchemy_$driver SET default_text_search_config = 'pg_catalog.english'"
        PGDATABASE=sqlalchemy_$driver sql 'CREATE EXTENSION hstore' 'CREATE EXTENSION citext' \
            'CREATE SCHEMA test_schema' 'CREATE SCHEMA test_schema_2'
        run_pytest "$SUITE_CACHE/sqlalchemy-$VERSION/source" "$SUITE_CACHE/sqlalchemy-$VERSION/packages" \
            -o addopts= --tb=short -p logging --maxfail=100000 \
            --dburi "postgresql+$driver://$PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/sqlalchemy_$driver" \
            test/dialect/test_suite.py test/dialect/postgresql
        mv "$SUITE_OUT/log" "$SUITE_OUT/log.$driver"
    done
}

main "$@"
