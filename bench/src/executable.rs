//! The program `ringway`, built from the sources that this program was built from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Has cargo build `ringway` into the folder and with the profile of the running program. Where nothing changed that
/// takes a moment; figures of an older one would be worth nothing.
pub(crate) fn build() -> Result<PathBuf> {
    // target/PROFILE/bench
    let own = std::env::current_exe()?;
    let folder = own.parent().context("this program has no folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(other) => other,
        None => bail!("this program runs outside cargo's target folder: name the executable with --ringway"),
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
