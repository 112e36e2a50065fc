#!/usr/bin/env bash
# Installs what Ringway's build, demo and tests need on Debian 12 and is not there yet: PostgreSQL,
# Redis, Java, build tools from Debian, and Kafka's jars from Maven into ~/.cache/ringway. Where Go is
# there (1.22 or later), a server of MongoDB's protocol is built into the same folder for the shop's
# read models; without Go they are off.
#
#   deploy/install.sh            for make up
#   deploy/install.sh --bench    PgBouncer, Chromium and schemathesis as well, for make test and make bench
#
# Needs root or sudo only if a Debian package is missing. Does nothing when all is there. Servers
# that are installed here are neither started nor enabled, and no database cluster is created.
set -euo pipefail

KAFKA_VERSION=4.1.0
# That of FerretDB in mongodb/go.mod.
MONGODB_VERSION=1.24.0
MONGODB_ID_COLUMN=vendor/github.com/FerretDB/FerretDB/internal/backends/sqlite/metadata/metadata.go
# That of schemathesis in schemathesis/requirements.txt.
SCHEMATHESIS_VERSION=4.32.5
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/ringway
kafka_libs=${RINGWAY_KAFKA_LIBS:-$cache/kafka-$KAFKA_VERSION}
mongodb_folder=$cache/mongodb-$MONGODB_VERSION
schemathesis_folder=$cache/schemathesis-$SCHEMATHESIS_VERSION
scratch=$(mktemp -d)
as_root=()
undo=()

cleanup() {
    local action
    for action in "${undo[@]}"; do
        $action || true
    done
    rm -rf -- "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf 'install: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# step TEXT COMMAND...: runs a command; shows its last lines only if it fails. On a terminal its
# latest line is shown while it runs.
step() {
    local text=$1 log=$scratch/log began=$SECONDS status=0 job last
    shift
    say "$text ..."
    "$@" >"$log" 2>&1 </dev/null &
    job=$!
    while [ -t 2 ] && kill -0 "$job" 2>/dev/null; do
        last=$(tail -n 1 "$log" | tr -d '\r' | cut -c 1-70)
        printf '\r\033[K  %3d s  %s' "$((SECONDS - began))" "$last" >&2
        sleep 0.2
    done
    wait "$job" || status=$?
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
    if [ "$status" -ne 0 ]; then
        say "failed (exit $status): $*"
        tail -n 20 "$log" >&2
        exit 1
    fi
    say "$text: done in $((SECONDS - began)) s"
}

has() { command -v "$1" >/dev/null 2>&1; }

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Prints the folder of PostgreSQL's programs.
postgres_bin() {
    local folder
    for folder in ${RINGWAY_PG_BIN:+"$RINGWAY_PG_BIN"} /usr/lib/postgresql/{15,16,17,18}/bin; do
        if [ -x "$folder/initdb" ] && [ -x "$folder/pgbench" ]; then
            printf '%s\n' "$folder"
            return
        fi
    done
    return 1
}

has_postgres() { postgres_bin >/dev/null; }

# Kafka 4 needs Java 17.
has_java() {
    local version
    version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${version:-0}" -ge 17 ]
}

has_kafka() { [ -e "$kafka_libs/kafka_2.13-$KAFKA_VERSION.jar" ]; }

# Built from this very program.
has_mongodb() { [ -x "$mongodb_folder/mongodb" ] && cmp -s "$here/mongodb/main.go" "$mongodb_folder/main.go"; }

has_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

has_schemathesis() { [ -x "$schemathesis_folder/bin/schemathesis" ]; }

has_go() {
    local minor
    minor=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge 22 ]
}

# Prints the Debian packages that are missing.
missing_packages() {
    local package
    has_postgres || echo postgresql-15
    has psql || echo postgresql-client-15
    has redis-server || echo redis-server
    has_java || echo openjdk-17-jre-headless
    has_kafka || has mvn || echo maven
    has make || echo make
    has cmake || echo cmake
    has pkg-config || echo pkg-config
    has clang || echo clang
    # Headers and libraries for the C code behind rdkafka, pg_query and aws-lc.
    for package in build-essential libclang-dev libssl-dev zlib1g-dev ca-certificates; do
        installed "$package" || echo "$package"
    done
    if [ "${1-}" = --bench ]; then
        has pgbouncer || echo pgbouncer
        # The shop's page is tried in a browser.
        has chromium || echo chromium
        has chromedriver || echo chromium-driver
        has_schemathesis || has_venv || echo python3-venv
    fi
}

apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -y -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}

# A package's own scripts ask policy-rc.d before they start a service.
forbid_service_starts() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then return; fi
    printf '#!/bin/sh\nexit 101\n' >"$scratch/policy-rc.d"
    "${as_root[@]}" install -m 755 "$scratch/policy-rc.d" "$policy"
    undo+=("${as_root[*]} rm -f $policy")
}

# Debian makes a cluster "main" when a PostgreSQL is installed: not for us. The setting is put back.
install_postgres() {
    local settings=/etc/postgresql-common/createcluster.conf
    step 'installing postgresql-common' apt_get install --no-install-recommends postgresql-common
    cp -p "$settings" "$scratch/createcluster.conf"
    undo+=("${as_root[*]} cp -p $scratch/createcluster.conf $settings")
    echo 'create_main_cluster = false' | "${as_root[@]}" tee -a "$settings" >/dev/null
    step 'installing postgresql-15' apt_get install --no-install-recommends postgresql-15
}

# disable SERVICE: one that came with a package that was installed here doesn't start at boot either.
disable() {
    if [ -e "/etc/init.d/$1" ]; then
        "${as_root[@]}" update-rc.d "$1" disable >/dev/null 2>&1 || true
    fi
}

install_packages() {
    local packages=("$@") others=() package
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || fail "these packages are missing, and this is neither root nor is there sudo: ${packages[*]}"
        as_root=(sudo)
        sudo -v || fail "sudo is needed to install: ${packages[*]}"
    fi
    has apt-get || fail "these are missing, and this is no Debian: ${packages[*]}"
    say "missing: ${packages[*]}"
    step 'reading package lists' apt_get update
    forbid_service_starts
    for package in "${packages[@]}"; do
        case $package in
        postgresql-15) install_postgres ;;
        *) others+=("$package") ;;
        esac
    done
    if [ "${#others[@]}" -gt 0 ]; then
        step "installing ${others[*]}" apt_get install --no-install-recommends "${others[@]}"
    fi
    for package in "${packages[@]}"; do
        case $package in
        redis-server | pgbouncer) disable "$package" ;;
        esac
    done
}

# Made beside its place and moved there whole, so that a killed run leaves no half of it.
fetch_kafka() {
    local parent
    parent=$(dirname "$kafka_libs")
    mkdir -p "$parent"
    local fresh
    fresh=$(mktemp -d "$parent/kafka.XXXXXX")
    undo+=("rm -rf $fresh")
    # Maven writes a target folder beside the file that it is given.
    cp "$here/kafka/pom.xml" "$scratch/pom.xml"
    step "fetching Kafka $KAFKA_VERSION" mvn -q -B -f "$scratch/pom.xml" \
        dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fresh"
    chmod 755 "$fresh"
    rm -rf -- "$kafka_libs"
    mv "$fresh" "$kafka_libs"
}

# Made beside its place as well. The versions and sums of all that it is built from are in go.sum.
build_mongodb() {
    local fresh
    mkdir -p "$cache"
    fresh=$(mktemp -d "$cache/mongodb.XXXXXX")
    undo+=("rm -rf $fresh")
    cp "$here"/mongodb/{main.go,go.mod,go.sum} "$scratch"
    step 'fetching the MongoDB-protocol server' env GOTOOLCHAIN=local go mod vendor -C "$scratch"
    # FerretDB's index of a collection is over ->"_id", and it looks for ->'$._id': SQLite takes them for two expressions, and reads the whole collection for
    # each document (55 ms of 20,000).
    sed -i "s/^\(\tIDColumn = DefaultColumn + \)\"->'\$._id'\"\$/\1\`->\"_id\"\`/" "$scratch/$MONGODB_ID_COLUMN"
    grep -q '`->"_id"`' "$scratch/$MONGODB_ID_COLUMN" ||
        fail "FerretDB $MONGODB_VERSION is another one than was expected: $MONGODB_ID_COLUMN"
    step "building the MongoDB-protocol server (FerretDB $MONGODB_VERSION)" \
        env GOTOOLCHAIN=local go build -C "$scratch" -mod=vendor -o "$fresh/mongodb" .
    cp "$scratch/main.go" "$fresh"
    chmod 755 "$fresh"
    rm -rf -- "$mongodb_folder"
    mv "$fresh" "$mongodb_folder"
}

# Programs in it name its place, so it is made there, and taken away again if that fails.
make_schemathesis() {
    local fresh=$schemathesis_folder
    rm -rf -- "$fresh"
    undo+=("rm -rf $fresh")
    mkdir -p "$cache"
    step "installing schemathesis $SCHEMATHESIS_VERSION" eval "python3 -m venv '$fresh' &&
        '$fresh/bin/python3' -m pip install --quiet --disable-pip-version-check --requirement '$here/schemathesis/requirements.txt'"
    unset 'undo[-1]'
}

has cargo || fail 'cargo is missing: install Rust from https://rustup.rs (rust-toolchain.toml names the version)'
mapfile -t missing < <(missing_packages "${1-}")
if [ "${#missing[@]}" -gt 0 ]; then
    install_packages "${missing[@]}"
fi
if ! has_kafka; then
    fetch_kafka
fi
if [ "${1-}" = --bench ] && ! has_schemathesis; then
    make_schemathesis
fi
if [ -n "${RINGWAY_MONGODB_URI-}" ]; then
    say 'read models: RINGWAY_MONGODB_URI is set, so no MongoDB-protocol server is built'
elif ! has_mongodb; then
    if has_go; then
        build_mongodb
    else
        say 'READ MODELS ARE OFF: there is no Go 1.22 or later to build the MongoDB-protocol server with, and RINGWAY_MONGODB_URI'
        say 'is not set. The shop answers order histories from the shards, and has no analytics.'
    fi
fi
say 'all there'
