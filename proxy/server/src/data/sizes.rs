//! What a client takes while it rests, held to bounds: there may be ten thousand of them for each that works.
//!
//! Beside these there are a `ScheduledIo` of tokio for its socket, the head of its task, its secret and its
//! `application_name`. A large value that a future of the way of a statement holds across an await belongs in a box.

use crate::client::Client;
use crate::data::login::{self, Registered};
use crate::data::thread::ClientInfo;

/// The task's future: in most states it waits for a request.
const MAX_TASK: usize = 640;
/// The session.
const MAX_CLIENT: usize = 576;
/// The entry in the register.
const MAX_INFO: usize = 336;

/// The size of the future that a function returns.
fn future<F: Future>(_: impl FnOnce(Registered, Box<Client>) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_resting_client_is_small() {
    let task = future(login::serve);
    assert!(task <= MAX_TASK, "the task has {task} bytes");
    let (client, info) = (size_of::<Client>(), size_of::<ClientInfo>());
    assert!(client <= MAX_CLIENT, "the session has {client} bytes");
    assert!(info <= MAX_INFO, "its entry has {info} bytes");
}
