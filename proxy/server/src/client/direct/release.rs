//! What is learned from answers, and when the connection goes back.

use super::{Client, Direct, names};
use wire::backend::ParameterStatus;

impl Client {
    /// Takes in what was seen of answers.
    pub(super) fn note_seen(&mut self, direct: &mut Direct) {
        if let Some(status) = direct.seen.status.take() {
            direct.status = status;
            direct.restoring = false;
            self.server_status = Some(status);
        }
        if direct.tracker.is_done() {
            direct.names.all_answered();
        }
        if direct.tracker.has_news() {
            let outcomes = direct.tracker.take_outcomes();
            let backend = self.participants.first_mut().map(|p| p.backend.state_mut());
            direct.names.settle(&outcomes, &mut self.statements, backend);
            if direct.tracker.take_unnamed_failed() {
                direct.names.unnamed.clear();
            }
            let failed = direct.tracker.take_failed_statements();
            let kept = direct.tracker.take_kept_statements();
            if let Some(participant) = self.participants.first_mut() {
                names::correct(&mut participant.backend, failed, kept);
                if direct.tracker.take_injected_failed() {
                    participant.backend.state_mut().doubt_own();
                }
            }
        }
        if std::mem::take(&mut direct.seen.deallocated) {
            self.statements.clear();
            direct.names.clear();
            if let Some(participant) = self.participants.first_mut() {
                participant.backend.state_mut().forget_all();
            }
        }
        self.catalog_changed |= std::mem::take(&mut direct.seen.catalog_changed);
        if std::mem::take(&mut direct.seen.stale_statement) {
            self.database.statements_changed();
        }
        for (name, value) in direct.seen.reported.drain(..) {
            direct.unreadable.note(&name, &value);
            if *name == *b"application_name" {
                let value = String::from_utf8_lossy(&value);
                *self.info.application_name.borrow_mut() = value.into();
            }
        }
    }

    /// The connection goes back, unless something of the client's is on it.
    pub(super) async fn release_direct(&mut self, direct: &mut Direct) {
        if direct.is_open() {
            return;
        }
        direct.bound = super::Portals::default();
        if self.catalog_changed {
            self.catalog_changed = false;
            self.database.statements_changed();
            if self.database.needs.routing() {
                let database = std::sync::Arc::clone(&self.database);
                Box::pin(async move { database.reload_catalog().await }).await;
            }
        }
        if self.participants.is_empty() {
            return;
        }
        if self.database.needs.stream() {
            self.note_write_acknowledged(0);
        }
        if self.participants.iter().any(|p| !p.effects.is_empty()) {
            Box::pin(self.rest()).await;
            for (name, value) in std::mem::take(&mut self.changed_back) {
                if direct.seen.is_news(&name, &value, self.greeting.as_deref()) {
                    let (name, value) = (&name[..], &value[..]);
                    ParameterStatus { name, value }.encode(&mut self.io.out);
                }
            }
            // A question of ours is a query, which ends the unnamed statement that the connection had.
            direct.names.unnamed.leave();
        }
        self.release_all();
    }
}
