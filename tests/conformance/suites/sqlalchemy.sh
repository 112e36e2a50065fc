#!/usr/bin/env bash
# SQLAlchemy's compliance suite for dialects with each of four drivers, and its tests of the PostgreSQL dialect with psycopg 3.
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
    local driver more
    for driver in $DRIVERS; do
        sql "CREATE DATABASE sqlalchemy_$driver" \
            "ALTER DATABASE sqlalchemy_$driver SET default_text_search_config = 'pg_catalog.english'"
        PGDATABASE=sqlalchemy_$driver sql 'CREATE EXTENSION hstore' 'CREATE EXTENSION citext' \
            'CREATE SCHEMA test_schema' 'CREATE SCHEMA test_schema_2'
        more=
        # Without those that ask nothing of a server, and the 10,000 tests of types, which ask for the same again.
        if [ "$driver" = psycopg ]; then
            more='test_async_pg test_bitstring test_on_conflict test_query test_reflection'
        fi
        SUITE_PREFIX="$driver " run_pytest "$SUITE_CACHE/sqlalchemy-$VERSION/source" "$SUITE_CACHE/sqlalchemy-$VERSION/packages" \
            -o addopts= --tb=short -p logging --maxfail=100000 \
            --dburi "postgresql+$driver://$PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/sqlalchemy_$driver" \
            test/dialect/test_suite.py ${more:+$(printf "test/dialect/postgresql/%s.py " $more)}
        mv "$SUITE_OUT/log" "$SUITE_OUT/log.$driver"
    done
}

main "$@"
