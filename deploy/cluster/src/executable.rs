//! The programs `ringway` and `ringway-shop`, built from the sources that the running program was built from.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// Has cargo build `ringway` into the target folder and with the profile of the running program: a test, or a program of this
/// workspace. Where nothing changed that takes a moment.
///
/// Cargo gives the paths of executables to tests of their own package only.
///
/// # Errors
/// The running program is no part of a target folder, or the build fails.
pub fn build_ringway() -> Result<PathBuf, Error> {
    build("ringway")
}

/// As [`build_ringway`]: the shop's services.
///
/// # Errors
/// The running program is no part of a target folder, or the build fails.
pub fn build_shop() -> Result<PathBuf, Error> {
    build("ringway-shop")
}

/// Both packages are named for either program: cargo chooses features by the packages that are named, and would build everything twice.
fn build(program: &str) -> Result<PathBuf, Error> {
    let unknown = || Error::Usage("the running program is outside cargo's target folder".to_owned());
    let own = env::current_exe().map_err(Error::file("the running program"))?;
    // target/PROFILE/PROGRAM, target/PROFILE/deps/TEST or target/PROFILE/examples/EXAMPLE
    let folder = own.parent().ok_or_else(unknown)?;
    let folder = if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.parent().ok_or_else(unknown)?
    } else {
        folder
    };
    let name = folder.file_name().and_then(|name| name.to_str());
    let profile = match name.ok_or_else(unknown)? {
        "debug" => "dev",
        other => other,
    };
    let target = folder.parent().ok_or_else(unknown)?;
    // deploy/cluster
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "build",
            "--quiet",
            "--package",
            "server",
            "--package",
            "shop",
            "--bin",
            program,
        ])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(root.ok_or_else(unknown)?);
    let status = command.status().map_err(Error::file(env!("CARGO")))?;
    if !status.success() {
        return Err(Error::Usage(format!("{program} could not be built")));
    }
    Ok(folder.join(program))
}
