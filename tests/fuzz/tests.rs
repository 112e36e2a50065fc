//! The short part: every regression, and as many inputs of a fixed seed as take a few seconds.

use crate::{driver, regressions, targets};

/// For each unit of a target's weight.
const INPUTS: u64 = 400;
const SEED: u64 = 0x5eed;

/// One test, so that nothing else allocates while an input runs.
#[test]
fn no_input_breaks_anything() {
    let mut findings = Vec::new();
    for target in targets::all() {
        driver::with_quiet_panics(|| {
            findings.extend(driver::replay(&target, &regressions::of(target.name)));
            findings.extend(driver::fuzz(&target, INPUTS * target.weight, SEED).findings);
        });
    }
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    let names: Vec<&str> = targets::all().iter().map(|target| target.name).collect();
    for (target, _, what) in regressions::ALL {
        assert!(names.contains(target), "{what}: there is no target {target}");
    }
}
