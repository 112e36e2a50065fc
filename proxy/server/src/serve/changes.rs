//! Settings that change while the proxy runs: RELOAD and SIGHUP read them all again, SET changes one.

use super::{Process, assemble};
use crate::admin::Shutdown;
use crate::commands;
use crate::control::plane;
use crate::data::listen::ThreadCommand;
use crate::gate::Order;
use settings::{ChangeError, Reload};
use std::sync::Arc;
use wire::{ProxyError, sqlstate};

impl Process {
    /// Does what an administrator asks for; gives how to end, if that is what it is.
    pub(super) fn carry_out(&self, order: Order) -> Option<Shutdown> {
        let (outcome, done) = match order {
            Order::Shutdown(how) => return Some(how),
            Order::Reload(done) => (self.reload(), done),
            Order::Set { key, value, done } => (self.change(&key, &value), done),
        };
        // Whoever asked may have left.
        let _ = done.send(outcome);
        None
    }

    /// Reads the configuration again, and changes what can be changed. What is wrong changes nothing.
    pub(super) fn reload(&self) -> Result<(), ProxyError> {
        let new = commands::read_settings(&self.file).map_err(|error| {
            tracing::error!("the configuration is not reloaded: {error}");
            ProxyError::error(sqlstate::CONFIG_FILE_ERROR, "the configuration was not reloaded")
                .with_detail("It has mistakes, and nothing was changed.")
                .with_hint("The proxy's log names them, and so does `ringway check`.")
        })?;
        let reload = self.shared.settings.load().reload(&new);
        // The files of the certificate may have been replaced under their names.
        match assemble::client_tls(&reload.settings) {
            Ok(tls) => self.shared.tls.store(tls.map(Arc::new)),
            Err(error) => tracing::error!("the certificate stays as it was: {error:#}"),
        }
        self.shared.secrets.reload(&reload.settings);
        for database in &self.shared.databases {
            let tables = plane::tables(&reload.settings, &database.config);
            database.tables.store(Arc::new(tables));
            if reload.settings.needs(&database.config) != database.needs {
                tracing::warn!(database = %database.config.name, "probes, catalog and stream of the database change with a restart");
            }
            // Plans are remembered by the version of the catalog.
            database.request_reload();
        }
        self.adopt(reload);
        Ok(())
    }

    /// Changes one setting until the next reload.
    fn change(&self, key: &str, value: &str) -> Result<(), ProxyError> {
        let running = self.shared.settings.load_full();
        let changed = running.with(key, value).map_err(|error| refused(&error))?;
        self.adopt(running.reload(&changed));
        Ok(())
    }

    /// From here on everybody goes by these settings.
    fn adopt(&self, reload: Reload) {
        self.log.set_level(reload.settings.log.level);
        for change in &reload.applied {
            tracing::info!(%change, "changed");
        }
        for change in &reload.needs_restart {
            tracing::warn!(%change, "needs a restart");
        }
        self.shared.quotas.follow(&reload.settings);
        self.shared.settings.store(Arc::new(reload.settings));
        for mailbox in self.mailboxes() {
            if mailbox.try_send(ThreadCommand::Reload).is_err() {
                tracing::warn!("a data thread is too busy to take the new limits of its pools");
            }
        }
    }
}

/// Why SET fails, as PostgreSQL puts it.
fn refused(error: &ChangeError) -> ProxyError {
    let message = error.to_string();
    match error {
        ChangeError::Unknown { help, .. } => {
            let hint = help.clone();
            let hint = hint.unwrap_or_else(|| "SHOW CONFIG lists the settings.".to_owned());
            ProxyError::error(sqlstate::UNDEFINED_OBJECT, message).with_hint(hint)
        }
        ChangeError::Fixed(_) => ProxyError::error(sqlstate::CANT_CHANGE_RUNTIME_PARAM, message)
            .with_hint("Change it in the configuration, and restart."),
        ChangeError::Invalid { why, .. } => {
            ProxyError::error(sqlstate::INVALID_PARAMETER_VALUE, message).with_detail(why.clone())
        }
    }
}
