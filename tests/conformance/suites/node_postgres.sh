#!/usr/bin/env bash
# A program with node-postgres, its cursors and its COPY: node_postgres.mjs.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

make_modules() {
    printf '{"private": true}\n' >package.json
    npm install --silent --no-audit --no-fund pg@8.16.3 pg-cursor@2.15.3 pg-query-stream@4.10.3 pg-copy-streams@7.0.0 >&2
}

prepare() {
    need node npm psql
    once node-postgres-8.16.3 make_modules
}

run() {
    cp "$here/node_postgres.mjs" "$SUITE_CACHE/node-postgres-8.16.3/"
    timeout 200 node "$SUITE_CACHE/node-postgres-8.16.3/node_postgres.mjs" >>"$SUITE_OUT/outcomes" 2>"$SUITE_OUT/errors" || true
}

main "$@"
