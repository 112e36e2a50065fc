//! Why a request was not answered as asked, and who has to be told.

use crate::data::relay::RelayError;
use session::relay::ServerError;
use wire::ProxyError;

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of our own, still to be sent.
    Proxy(ProxyError),
    /// A server's error, still to be sent, as it came.
    Server(ServerError),
    /// A server's error that the client has been sent.
    Reported,
    /// The client is gone: nobody is left to be told.
    ClientGone,
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(error)
    }
}

impl Failure {
    /// What a broken relay means to the client; `doing` completes "connection to the server lost ...".
    pub(crate) fn from_relay(error: &RelayError, doing: &str) -> Self {
        match error {
            RelayError::ClientLost => Self::ClientGone,
            RelayError::BackendLost(_) | RelayError::BackendEnded(..) | RelayError::Unexpected(_) => {
                Self::Proxy(ProxyError::backend_lost(doing))
            }
        }
    }
}

/// Whether the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// It goes on.
    Continue,
    /// It ends.
    Close,
}
