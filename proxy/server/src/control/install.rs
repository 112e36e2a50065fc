//! Whether a shard's primary has what Ringway keeps in the database, and how it is put there.

use crate::control::link::{Link, LinkError};
use changes::{INSTALL_SQL, INSTALL_VERSION};
use pool::BackendTarget;
use settings::Settings;
use topology::EndpointId;

/// What a primary has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Installed {
    /// This version of the script.
    Yes,
    /// Nothing.
    No,
    /// Another version.
    Other(String),
}

impl Installed {
    /// What is wrong and what to do about it; `None` if nothing is.
    pub(crate) fn complaint(&self) -> Option<String> {
        match self {
            Self::Yes => None,
            Self::No => Some("schema ringway is missing: run `ringway install`".to_owned()),
            Self::Other(version) => Some(format!(
                "schema ringway has version {version}, this Ringway needs {INSTALL_VERSION}: run `ringway install`"
            )),
        }
    }
}

/// Asks the server that `link` leads to.
///
/// # Errors
/// When it doesn't answer.
pub(crate) async fn installed(link: &mut Link) -> Result<Installed, LinkError> {
    let there = link
        .value("SELECT pg_catalog.to_regprocedure('ringway.version()') IS NOT NULL")
        .await?;
    if there != "t" {
        return Ok(Installed::No);
    }
    let version = link.value("SELECT ringway.version()").await?;
    Ok(if version == INSTALL_VERSION.to_string() {
        Installed::Yes
    } else {
        Installed::Other(version)
    })
}

/// Asks a server over a connection of its own.
///
/// # Errors
/// When it can't be reached or doesn't answer.
pub(crate) async fn check(
    settings: &Settings,
    dbname: &str,
    endpoint: EndpointId,
) -> Result<Installed, LinkError> {
    let mut link = Link::open(settings, dbname, endpoint).await?;
    let found = installed(&mut link).await;
    link.close().await;
    found
}

/// Runs the install script on the primary at `target`, and grants the control user what it needs.
///
/// # Errors
/// The server's; nothing was changed then.
pub(crate) async fn install(target: &BackendTarget, control_user: &str) -> Result<(), LinkError> {
    let mut link = Link::connect(target).await?;
    let done = link.ask(&script(control_user)).await;
    link.close().await;
    done.map(|_| ())
}

/// The script in one transaction.
pub(crate) fn script(control_user: &str) -> String {
    let user = control_user.replace('"', "\"\"");
    format!("BEGIN;\n{INSTALL_SQL}\nGRANT ringway_control TO \"{user}\";\nCOMMIT;\n")
}
