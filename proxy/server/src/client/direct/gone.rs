//! A client that is gone in the middle of something.

use super::{Client, Direct};

impl Client {
    /// The client's connection is over: what it left open on the server is rolled back, without anybody waiting for it.
    pub(in crate::client) async fn leave_direct(&mut self, direct: &mut Direct) {
        // The client may be gone already; then there is nobody to send to.
        let _ = self.io.flush().await;
        if direct.is_open() || self.owes(direct) || direct.tracker.is_unsure() {
            if !direct.tracker.is_done() {
                self.info.cancel();
            }
            while !self.participants.is_empty() {
                self.discard(0);
            }
        }
        self.abandon().await;
    }
}
