#!/usr/bin/env bash
# asyncpg's own tests: all but those that start servers of their own.
. "$(dirname "${BASH_SOURCE[0]}")/python.sh"

VERSION=0.32.0

make_asyncpg() {
    fetch_source "asyncpg==$VERSION"
    # The tests read the library that is installed, whose extension modules are built.
    mv source whole
    mkdir source
    mv whole/tests source/
    rm -r whole
    install "asyncpg==$VERSION" pytest==8.4.2 pytest-timeout==2.4.0 distro
}

prepare() {
    need python3 psql
    once "asyncpg-$VERSION" make_asyncpg
}

run() {
    # One that fails now and then on PostgreSQL too: the pool's last attempts to connect are cancelled, and asyncpg forgets them.
    run_pytest "$SUITE_CACHE/asyncpg-$VERSION/source" "$SUITE_CACHE/asyncpg-$VERSION/packages" \
        --deselect tests/test_pool.py::TestPool::test_pool_config_persistence ${SUITE_ONLY:-tests}
}

main "$@"
