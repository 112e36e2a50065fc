#!/usr/bin/env bash
# PostgreSQL's own regression SQL: every file of src/test/regress in the order of the schedule, run by psql as
# pg_regress does. The outcome of a file is the digest of what psql printed.
#
# The files come from Debian's source package of PostgreSQL 15, regress.so is built from the same with the headers of
# Debian's packages, which are unpacked but not installed.
#
#   SUITE_ONLY="boolean int4"    only these files (after what they need)
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# For one file; the slowest takes some seconds.
FILE_BOUND=${SUITE_FILE_BOUND:-120}
# Files of which others need the tables.
FIRST='test_setup'

apt_sources() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' |
        sort -u | sed -n 's/^\(.*\) Debian$/deb-src \1/p'
}

# The sources' own lists, so that the machine's are left as they are.
apt_here() {
    local place
    place=$(pwd)
    apt-get -q -o Dir::Etc::sourcelist="$place/apt/src.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::Lists="$place/apt/lists" -o APT::Sandbox::User=root "$@"
}

fetch_source() {
    local version
    mkdir -p apt/lists/partial
    apt_sources >apt/src.list
    [ -s apt/src.list ] || fail 'apt knows no Debian mirror'
    apt_here update >&2
    # A mirror may name a version that it doesn't have yet.
    for version in $(versions); do
        if apt_here --download-only source "postgresql-15=$version" >&2; then
            break
        fi
    done
    ls postgresql-15_*.orig.tar.* >/dev/null 2>&1 || fail 'no source of postgresql-15 could be fetched'
}

versions() {
    apt-cache -o Dir::Etc::sourcelist="$(pwd)/apt/src.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::Lists="$(pwd)/apt/lists" showsrc postgresql-15 | sed -n 's/^Version: //p' | sort -rVu
}

# fetch_package NAME: into deb/, the newest version that the mirror has
fetch_package() {
    local version
    for version in $(apt-cache show "$1" | sed -n 's/^Version: //p' | sort -rVu); do
        if (cd deb && apt-get -q -o APT::Sandbox::User=root download "$1=$version" >&2); then
            dpkg-deb -x deb/"$1"_*.deb headers
            return
        fi
    done
    fail "no $1 could be fetched"
}

make_regress() {
    fetch_source
    mkdir -p deb headers
    fetch_package postgresql-server-dev-15
    fetch_package libpq-dev
    tar xf postgresql-15_*.orig.tar.* --wildcards --strip-components=4 'postgresql-15*/src/test/regress/*'
    gcc -O1 -fPIC -shared -w -o regress.so regress.c -Iheaders/usr/include/postgresql/15/server \
        -Iheaders/usr/include/postgresql
    rm -rf apt deb headers postgresql-15_*
}

prepare() {
    need apt-get apt-cache dpkg-deb gcc psql pg_config
    once regress make_regress
}

schedule() {
    sed -n 's/^test://p' "$SUITE_CACHE/regress/parallel_schedule" | tr -s ' ' '\n' | grep .
}

wanted() {
    if [ -z "${SUITE_ONLY-}" ]; then
        schedule
    else
        printf '%s\n' $FIRST $SUITE_ONLY | awk '!seen[$0]++'
    fi
}

run_file() {
    local name=$1 status=0
    timeout "$FILE_BOUND" psql -X -a -q -d regression -v HIDE_TABLEAM=on -v HIDE_TOAST_COMPRESSION=on \
        <"$SUITE_WORK/sql/$name.sql" >"$SUITE_OUT/details/$name" 2>&1 || status=$?
    if [ "$status" -eq 124 ]; then
        outcome "$name" timeout
    else
        outcome "$name" "exit $status, $(md5sum <"$SUITE_OUT/details/$name" | cut -c 1-12)"
    fi
}

run() {
    local name extension
    # The server's user reads and writes here.
    cp -r "$SUITE_CACHE"/regress/{sql,data} .
    mkdir lib results
    cp "$SUITE_CACHE/regress/regress.so" lib/
    for extension in refint autoinc; do
        cp "$(pg_config --pkglibdir)/$extension.so" lib/
    done
    chmod -R a+rX .
    chmod a+rwx results
    sql 'CREATE DATABASE regression TEMPLATE template0' \
        "ALTER DATABASE regression SET lc_messages TO 'C'" "ALTER DATABASE regression SET lc_monetary TO 'C'" \
        "ALTER DATABASE regression SET lc_numeric TO 'C'" "ALTER DATABASE regression SET lc_time TO 'C'" \
        "ALTER DATABASE regression SET bytea_output TO 'hex'" \
        "ALTER DATABASE regression SET timezone_abbreviations TO 'Default'"
    export PG_ABS_SRCDIR=$SUITE_WORK PG_ABS_BUILDDIR=$SUITE_WORK PG_LIBDIR=$SUITE_WORK/lib PG_DLSUFFIX=.so
    export PGTZ=PST8PDT PGDATESTYLE='Postgres, MDY' PGOPTIONS='-c intervalstyle=postgres_verbose'
    export LC_MESSAGES=C
    unset LANG LC_ALL LANGUAGE
    for name in $(wanted); do
        PGAPPNAME=pg_regress/$name run_file "$name"
    done
}

main "$@"
