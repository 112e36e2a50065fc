//! The log: to standard error, at the level of the settings, which a reload can change.

use settings::{LogFormat, LogLevel, LogSettings};
use std::io::{self, IsTerminal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

/// Changes the level.
#[derive(Clone, Debug)]
pub(crate) struct LogHandle(reload::Handle<EnvFilter, Registry>);

impl LogHandle {
    /// Begins to log. Called twice in one process, the first call counts.
    pub(crate) fn start(settings: &LogSettings) -> Self {
        let (filter, handle) = reload::Layer::new(filter(settings.level));
        let lines = match settings.format {
            LogFormat::Json => fmt::layer().with_writer(io::stderr).json().boxed(),
            LogFormat::Text => {
                let no_color = std::env::var_os("NO_COLOR");
                let colours = crate::cli::colours(no_color.as_deref(), io::stderr().is_terminal());
                fmt::layer().with_writer(io::stderr).with_ansi(colours).boxed()
            }
        };
        // Fails only where somebody logs already.
        let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
        Self(handle)
    }

    /// From here on, this level.
    pub(crate) fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::error!(%error, "the log level can't be changed");
        }
    }
}

/// Libraries say much that is of no use to operators.
fn filter(level: LogLevel) -> EnvFilter {
    let level = level.as_str();
    EnvFilter::new(format!(
        "{level},tokio_postgres=warn,hyper=warn,h2=warn,librdkafka=warn"
    ))
}
