# What the suites in Rust share: crates that are no part of the workspace, built in the cache.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# cargo_outcomes: reads what libtest prints
cargo_outcomes() {
    sed -n 's/^test \(.*\) \.\.\. \(ok\|FAILED\|ignored\).*/\1: \2/p' | sed 's/ - should panic: /: /'
}
