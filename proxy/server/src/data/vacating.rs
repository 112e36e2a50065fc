//! Databases that the server wants nobody in: for DROP DATABASE and the like.
//!
//! A connection that rests in a pool is a session for the server, and none for the clients.

use crate::data::listen::ThreadCommand;
use crate::data::thread::{ClientInfo, Thread};
use std::rc::Rc;
use std::time::Duration;

/// How long a server itself waits for others to leave.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the last client has left.
const POLL: Duration = Duration::from_millis(20);

impl Thread {
    /// Has every data thread close what rests in the database called `dbname` on the servers, for the client of this number.
    /// Not waited for: the server waits for those who leave.
    pub(crate) fn vacate_everywhere(&self, dbname: &str, asker: u64) {
        for thread in self.shared.threads.get().map(Vec::as_slice).unwrap_or_default() {
            // A thread whose mailbox is full has other worries; the server refuses the statement then.
            let _ = thread.try_send(ThreadCommand::Vacate(dbname.into(), asker));
        }
    }

    /// Closes what rests in the database, once none of this thread's clients is in it but the one who asks.
    pub(crate) fn vacate(self: &Rc<Self>, dbname: Box<str>, asker: u64) {
        let thread = Rc::clone(self);
        let until = health::boot_time();
        tokio::task::spawn_local(async move {
            while !thread.try_vacate(&dbname, asker) && health::boot_time().since(until) < PATIENCE {
                tokio::time::sleep(POLL).await;
            }
        });
    }

    /// `false`: a client is in the database, as it would be on the server.
    fn try_vacate(&self, dbname: &str, asker: u64) -> bool {
        let mut is_empty = true;
        self.each_pool(|pool| {
            if pool.target.database != dbname {
                return;
            }
            let is_in_it =
                |client: &ClientInfo| client.id != asker && *client.database == *pool.database_name;
            if self.clients.borrow().iter().any(|(_, client)| is_in_it(client)) {
                is_empty = false;
                return;
            }
            pool.pool.close_idle();
            self.greetings.forget(pool.database);
        });
        is_empty
    }
}
