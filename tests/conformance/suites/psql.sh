# What the suites of psql's meta-commands share. Each section of a file in psql/ is a session of its own.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# run_sections PSQL FILE...
run_sections() {
    local program=$1 section name status
    shift
    psql -X -q -v ON_ERROR_STOP=1 -f "$here/psql/setup.sql"
    echo 'to be imported' >books.input
    mkdir sections
    # One file for each section, in the order of the text.
    cat "${@/#/$here/psql/}" | awk '/^-- section: / { name = substr($0, 13); gsub(/ /, "_", name)
        file = sprintf("sections/%03d-%s", ++n, name) } { print > file }'
    for section in sections/*; do
        name=${section#*-}
        status=0
        LC_ALL=C.UTF-8 timeout 60 "$program" -X -a -P pager=off -f "$section" >"$SUITE_OUT/details/$name" 2>&1 || status=$?
        # Times, ports, processes and the numbers of temporary schemas are not the same in two runs.
        sed -i -E "s/port \"?$PGPORT\"?/port PORT/; s/PID [0-9]+/PID N/; s/pg_temp_[0-9]+/pg_temp_N/; s/^.* (\(every 0s\))$/TIME \1/" \
            "$SUITE_OUT/details/$name"
        outcome "$name" "exit $status, $(md5sum <"$SUITE_OUT/details/$name" | cut -c 1-12)"
    done
}
