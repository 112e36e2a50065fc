//! The program `ringway` that is tested.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Result, anyhow};

/// An executable to test instead of the one that is built here.
const OVERRIDE: &str = "RINGWAY_EXECUTABLE";

/// The path of `ringway`, built once from the sources that the tests were built from.
///
/// # Errors
/// The build fails.
pub fn ringway() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| match std::env::var_os(OVERRIDE) {
        Some(path) => Ok(path.into()),
        None => cluster::build_ringway().map_err(|error| error.to_string()),
    });
    match built {
        Ok(path) => Ok(path),
        Err(error) => Err(anyhow!("{error}")),
    }
}
