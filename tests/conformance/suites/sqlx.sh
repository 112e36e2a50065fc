#!/usr/bin/env bash
# A program with sqlx: sqlx/src/main.rs.
. "$(dirname "${BASH_SOURCE[0]}")/cargo.sh"

prepare() {
    need cargo psql
    mkdir -p "$SUITE_CACHE/sqlx"
    rm -rf "$SUITE_CACHE/sqlx/program"
    cp -r "$here/sqlx" "$SUITE_CACHE/sqlx/program"
    (cd "$SUITE_CACHE/sqlx/program" && CARGO_TARGET_DIR=../target cargo build --quiet >&2)
}

run() {
    DATABASE_URL="postgres://$PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/$PGDATABASE" \
        timeout 200 "$SUITE_CACHE/sqlx/target/debug/conformance-sqlx" >>"$SUITE_OUT/outcomes" 2>"$SUITE_OUT/errors" || true
}

main "$@"
