# What the suites in Go share: a module's own tests, copied from the module cache, which can't be written to.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# copy_module MODULE VERSION: into the current folder
copy_module() {
    local fresh found
    fresh=$(mktemp -d)
    found=$(cd "$fresh" && go mod download -json "$1@$2" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    rmdir "$fresh"
    [ -d "$found" ] || fail "no $1@$2"
    cp -r "$found" module
    chmod -R u+w module
    # Builds everything, runs nothing.
    (cd module && go test -count=1 -exec true ./... >&2) || say 'some packages do not build'
}

# run_module NAME PACKAGE...: its tests, one package after the other
run_module() {
    local module=$SUITE_CACHE/$1/module status=0
    shift
    (cd "$module" && timeout "${SUITE_BOUND:-500}" go test -json -count=1 -p 1 -timeout 400s "$@") \
        >"$SUITE_OUT/log" 2>"$SUITE_OUT/errors" || status=$?
    if [ "$status" -eq 124 ]; then outcome 'the whole' timeout; fi
    python3 "$here/go_outcomes.py" "$SUITE_OUT" <"$SUITE_OUT/log"
}
