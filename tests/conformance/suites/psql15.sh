#!/usr/bin/env bash
# psql's meta-commands, by the machine's psql.
. "$(dirname "${BASH_SOURCE[0]}")/psql.sh"

prepare() { need psql; }

run() { run_sections psql common.sql; }

main "$@"
