//! The commands beside `serve`: each looks at, or prepares, what the proxy runs on.

mod check;
mod demo;
mod install;
mod live;
mod route;
mod topology;

pub(crate) use self::topology::topology;
pub(crate) use check::check;
pub(crate) use demo::demo;
pub(crate) use install::install;
pub(crate) use route::route;

use crate::cli::{self, Exit};
use settings::{Database, Input, Settings};
use std::io::{self, IsTerminal};
use std::path::Path;

/// Why a configuration can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// There is no such file, or it can't be read.
    #[error("can't read {0}: {1}")]
    File(String, io::Error),
    /// It holds mistakes.
    #[error(transparent)]
    Settings(settings::SettingsError),
}

/// Reads and validates the configuration at `path`.
pub(crate) fn read_settings(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::File(path.display().to_string(), error))?;
    let input = Input {
        path,
        text: &text,
        read_file: &|path| std::fs::read_to_string(path),
    };
    Settings::parse(input, std::env::vars_os()).map_err(ConfigError::Settings)
}

/// The same for a command: what is wrong is shown, with the lines of the file.
pub(crate) fn load_settings(path: &Path) -> Result<Settings, Exit> {
    read_settings(path).map_err(|error| {
        match error {
            ConfigError::Settings(error) => {
                let no_color = std::env::var_os("NO_COLOR");
                let colours = cli::colours(no_color.as_deref(), io::stderr().is_terminal());
                eprint!("{}", error.render(colours));
            }
            ConfigError::File(..) => {
                eprintln!("ringway: {error}\nName the configuration with --config FILE.");
            }
        }
        Exit::Usage
    })
}

/// Runs a command that talks to servers. An error is shown, and is a failure.
fn run(command: impl Future<Output = anyhow::Result<Exit>>) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("ringway: {error:#}");
        Exit::Failed
    })
}

/// The database called `name`, or the only one.
fn chosen_database<'a>(settings: &'a Settings, name: Option<&str>) -> Result<&'a Database, String> {
    let names = || {
        let names: Vec<&str> = settings
            .databases
            .iter()
            .map(|database| database.name.as_str())
            .collect();
        names.join(", ")
    };
    match (name, settings.databases.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(format!(
            "there are several databases: choose one of {} with --database",
            names()
        )),
        (Some(name), _) => settings
            .database(name)
            .ok_or_else(|| format!("there is no database {name:?}: there are {}", names())),
    }
}
