//! The program `ringway`, built from the sources that the tests were built from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

/// An executable to test instead of the one that is built here.
const OVERRIDE: &str = "RINGWAY_EXECUTABLE";

/// The path of `ringway`, built with the profile and the target folder of the running test.
///
/// Cargo gives the paths of executables to tests of their own package only, so it is asked to build this one: where
/// nothing changed that takes a moment.
///
/// # Errors
/// The build fails.
pub fn ringway() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    match built {
        Ok(path) => Ok(path),
        Err(error) => Err(anyhow!("{error}")),
    }
}

fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(OVERRIDE) {
        return Ok(path.into());
    }
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe()?;
    let folder = test
        .parent()
        .and_then(Path::parent)
        .context("the test runs outside cargo's target folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(other) => other,
        None => bail!("the target folder has no name"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no workspace")?;
    let target = folder.parent().context("no target folder")?;
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            "server",
            "--bin",
            "ringway",
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(root)
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("ringway could not be built");
    }
    Ok(folder.join("ringway"))
}
