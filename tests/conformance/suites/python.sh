# What the suites in Python share: packages from PyPI in a folder of their own, tests from source packages.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# install PACKAGE...: wheels, into ./packages
install() {
    python3 -m pip install --quiet --disable-pip-version-check --target packages "$@" >&2
}

# fetch_source PACKAGE==VERSION: the source package, unpacked into ./source
fetch_source() {
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary "${1%%==*}" --dest sdist "$1" >&2
    mkdir source
    tar xf sdist/*.tar.gz -C source --strip-components=1
    rm -r sdist
}

# run_pytest FOLDER PACKAGES ARGUMENT...: the outcome of each test, by the plugin outcomes.py
run_pytest() {
    local folder=$1 packages=$2
    shift 2
    (
        cd "$folder"
        PYTHONPATH=$packages:$here PYTHONDONTWRITEBYTECODE=1 timeout "${SUITE_BOUND:-900}" \
            python3 -m pytest -p outcomes -p no:cacheprovider -q --tb=short --timeout=60 "$@"
    ) >"$SUITE_OUT/log" 2>&1 || true
}
