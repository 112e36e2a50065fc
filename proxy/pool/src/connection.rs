//! An authenticated connection to a server.

use topology::Mono;
use wire::CancelKey;

use crate::stream::Stream;

/// The settings that a server has reported, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerParameters {
    entries: Vec<Entry>,
}

/// A name and its value.
type Entry = (Box<[u8]>, Box<[u8]>);

/// The most settings that are kept of one server. PostgreSQL reports about 15; extensions may add some.
const MAX_PARAMETERS: usize = 128;

impl ServerParameters {
    /// Takes over a ParameterStatus. Beyond 128 names, further ones aren't kept.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let room = self.entries.len() < MAX_PARAMETERS;
        match self.entries.iter_mut().find(|(n, _)| **n == *name) {
            Some((_, current)) if **current != *value => *current = value.into(),
            Some(_) => {}
            None if room => self.entries.push((name.into(), value.into())),
            None => {}
        }
    }

    /// The value of a setting.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.entries
            .iter()
            .find(|(n, _)| **n == *name)
            .map(|(_, value)| &**value)
    }

    /// All of them in the order in which the server first reported them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// A connection that is logged in and, when it was made, ready for a query. Nothing of the stream has been read ahead.
#[derive(Debug)]
pub struct BackendConnection {
    /// The socket.
    pub stream: Stream,
    /// What the server reported while logging in.
    pub parameters: ServerParameters,
    /// What a cancel request must show; `None` from servers that gave none.
    pub key: Option<CancelKey>,
    /// Read when ReadyForQuery had arrived: the server's process is older than this.
    pub opened_at: Mono,
}

impl BackendConnection {
    /// The process id of the backend; 0 where unknown.
    pub fn pid(&self) -> u32 {
        self.key.as_ref().map_or(0, |key| key.pid)
    }
}
