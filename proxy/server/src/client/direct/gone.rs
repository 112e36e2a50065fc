//! A client that is gone in the middle of something.

use super::{Batch, Client, Direct};
use crate::data::reset;
use wire::TransactionStatus;

impl Client {
    /// The client's connection is over: what it left open on the server is rolled back, without anybody waiting for it.
    pub(in crate::client) async fn leave_direct(&mut self, direct: &mut Direct) {
        // The client may be gone already; then there is nobody to send to.
        let _ = self.io.flush().await;
        let between_messages = !self.owes(direct)
            && direct.batch == Batch::Closed
            && !direct.intake.is_streaming()
            && !direct.tracker.is_unsure();
        if !between_messages {
            for participant in std::mem::take(&mut self.participants) {
                let target = self.info.target_of(&participant.backend);
                self.info.remove_backend(&participant.backend);
                let owes = std::mem::take(&mut direct.tracker);
                match target.filter(|_| !owes.is_done()) {
                    Some(target) => reset::stop(&self.thread, participant.backend, target, owes),
                    None => participant.backend.close(),
                }
            }
            self.show_pins();
        }
        if direct.status != TransactionStatus::Idle {
            for participant in std::mem::take(&mut self.participants) {
                self.info.remove_backend(&participant.backend);
                let pins = participant.pins();
                drop(participant.hold);
                self.leave_behind(participant.backend, pins, participant.effects, true);
            }
        }
        self.abandon().await;
    }
}
