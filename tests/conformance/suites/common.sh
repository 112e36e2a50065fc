# What the suites share. A suite is called as
#
#   SUITE.sh prepare    fetches and builds what it needs into $SUITE_CACHE; quick when all is there
#   SUITE.sh run        runs against $PGHOST:$PGPORT as $PGUSER in $PGDATABASE, from the fresh folder $SUITE_WORK,
#                       and writes one line `NAME: OUTCOME` per test to $SUITE_OUT/outcomes; what a test printed may
#                       lie in $SUITE_OUT/details/NAME
#
# and doesn't know whether a PostgreSQL or a Ringway answers it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${SUITE_CACHE:?}"

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null 2>&1 || fail "$program is missing"
    done
}

# once NAME COMMAND...: runs the command in a fresh folder that becomes $SUITE_CACHE/NAME only when it succeeded.
once() {
    local place=$SUITE_CACHE/$1 fresh
    shift
    if [ -e "$place" ]; then return; fi
    mkdir -p "$SUITE_CACHE"
    fresh=$(mktemp -d "$SUITE_CACHE/.making.XXXXXX")
    # Not through `if`: that would switch off `set -e` inside.
    (
        trap 'rm -rf -- "$fresh"' EXIT
        cd "$fresh"
        "$@"
        chmod 755 "$fresh"
        mv -T "$fresh" "$place"
    )
}

# outcome NAME WORD
outcome() { printf '%s: %s\n' "$1" "$2" >>"$SUITE_OUT/outcomes"; }

# sql STATEMENT...: as the user and in the database of the run.
sql() {
    local statement
    for statement in "$@"; do
        psql -X -q -v ON_ERROR_STOP=1 -c "$statement" >/dev/null
    done
}

main() {
    case ${1-} in
    prepare) prepare ;;
    run)
        : "${SUITE_WORK:?}" "${SUITE_OUT:?}" "${PGHOST:?}" "${PGPORT:?}" "${PGUSER:?}" "${PGDATABASE:?}"
        mkdir -p "$SUITE_OUT/details"
        : >"$SUITE_OUT/outcomes"
        cd "$SUITE_WORK"
        run
        ;;
    *) fail 'say prepare or run' ;;
    esac
}
