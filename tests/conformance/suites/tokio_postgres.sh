#!/usr/bin/env bash
# tokio-postgres's own tests, from the crate.
. "$(dirname "${BASH_SOURCE[0]}")/cargo.sh"

VERSION=0.7.18
FEATURES='array-impls with-chrono-0_4 with-serde_json-1 with-time-0_3 with-uuid-1'

make_crate() {
    local found
    mkdir -p fetch/src
    printf '[package]\nname = "fetch"\nedition = "2021"\n[workspace]\n[dependencies]\ntokio-postgres = "=%s"\n' "$VERSION" \
        >fetch/Cargo.toml
    touch fetch/src/lib.rs
    found=$(cd fetch && cargo metadata --format-version 1 |
        grep -o '"[^"]*/tokio-postgres-'"$VERSION"'/Cargo.toml"' | head -n 1 | tr -d '"')
    [ -n "$found" ] || fail 'the crate was not found'
    cp -r "$(dirname "$found")" crate
    rm -r fetch crate/Cargo.lock
    printf '\n[workspace]\n' >>crate/Cargo.toml
    cp -r crate/tests original
    (cd crate && CARGO_TARGET_DIR=../target cargo test --quiet --features "$FEATURES" --test test --no-run >&2)
}

prepare() {
    need cargo psql
    once "tokio-postgres-$VERSION" make_crate
}

run() {
    local place=$SUITE_CACHE/tokio-postgres-$VERSION role
    for role in pass md5 scram; do
        sql "SET password_encryption = '$([ $role = md5 ] && echo md5 || echo scram-sha-256)';
            CREATE ROLE ${role}_user PASSWORD 'password' LOGIN"
    done
    sql 'CREATE ROLE ssl_user LOGIN' 'CREATE EXTENSION hstore' 'CREATE EXTENSION citext' 'CREATE EXTENSION ltree'
    # The tests have the port of a server of their own in them.
    rm -rf "$place/crate/tests"
    cp -r "$place/original" "$place/crate/tests"
    find "$place/crate/tests/test" \( -name main.rs -o -name runtime.rs \) -exec sed -i "s/\b5433\b/$PGPORT/g" {} +
    (cd "$place/crate" && CARGO_TARGET_DIR=../target timeout "${SUITE_BOUND:-900}" \
        cargo test --quiet --features "$FEATURES" --test test -- --test-threads=2 --format=pretty) \
        >"$SUITE_OUT/log" 2>"$SUITE_OUT/errors" || true
    cargo_outcomes <"$SUITE_OUT/log" >>"$SUITE_OUT/outcomes"
}

main "$@"
