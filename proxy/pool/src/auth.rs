//! The client's side of authentication, free of I/O: a request of the server in, the answer to send out.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use wire::backend::{Authentication, Mechanisms};
use wire::frontend::{Password, SaslInitialResponse, SaslResponse};

use crate::error::ConnectError;
use crate::target::BackendTarget;

/// Where the exchange stands.
enum State {
    /// Nothing has been asked, or a password has been sent.
    Open,
    /// The first SCRAM message has been sent.
    ScramStarted(ScramSha256),
    /// The proof has been sent; the server must show its own.
    ScramProved(ScramSha256),
    /// The server has proved that it knows the password.
    ScramVerified,
}

/// One login.
pub(crate) struct Login<'t> {
    target: &'t BackendTarget,
    encrypted: bool,
    state: State,
}

/// What to do after a request of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send this and wait for the next request.
    Send(Vec<u8>),
    /// Wait for the next request.
    Wait,
    /// The server let us in.
    Done,
}

impl<'t> Login<'t> {
    pub(crate) fn new(target: &'t BackendTarget, encrypted: bool) -> Self {
        Login {
            target,
            encrypted,
            state: State::Open,
        }
    }

    pub(crate) fn on_request(&mut self, request: &Authentication<'_>) -> Result<Step, ConnectError> {
        let state = std::mem::replace(&mut self.state, State::Open);
        match (state, request) {
            // A server that skips its own proof after SCRAM has begun may be anybody.
            (State::Open | State::ScramVerified, Authentication::Ok) => Ok(Step::Done),
            (State::Open, Authentication::Cleartext)
                if self.encrypted || self.target.cleartext_without_tls =>
            {
                Ok(Step::Send(encode_password(self.password()?)))
            }
            (State::Open, Authentication::Cleartext) => Err(ConnectError::CleartextRefused),
            (State::Open, Authentication::Md5 { salt }) => {
                let digest = md5_hash(self.target.user.as_bytes(), self.password()?, *salt);
                Ok(Step::Send(encode_password(digest.as_bytes())))
            }
            (State::Open, Authentication::Sasl(mechanisms)) => self.start_scram(mechanisms),
            (State::ScramStarted(mut scram), Authentication::SaslContinue(data)) => {
                scram.update(data).map_err(ConnectError::Scram)?;
                let mut out = Vec::new();
                SaslResponse {
                    data: scram.message(),
                }
                .encode(&mut out);
                self.state = State::ScramProved(scram);
                Ok(Step::Send(out))
            }
            (State::ScramProved(mut scram), Authentication::SaslFinal(data)) => {
                scram.finish(data).map_err(ConnectError::Scram)?;
                self.state = State::ScramVerified;
                Ok(Step::Wait)
            }
            (_, Authentication::Other(code)) => Err(ConnectError::UnsupportedMethod(code.to_string())),
            _ => Err(ConnectError::Unexpected('R')),
        }
    }

    fn start_scram(&mut self, mechanisms: &Mechanisms<'_>) -> Result<Step, ConnectError> {
        if !mechanisms.iter().any(|name| name == SCRAM_SHA_256.as_bytes()) {
            let offered: Vec<_> = mechanisms.iter().map(String::from_utf8_lossy).collect();
            return Err(ConnectError::UnsupportedMethod(offered.join(", ")));
        }
        // "Unsupported" rather than "unrequested": a server that does offer channel binding takes the latter for an attack.
        let scram = ScramSha256::new(self.password()?, ChannelBinding::unsupported());
        let mut out = Vec::new();
        SaslInitialResponse {
            mechanism: SCRAM_SHA_256.as_bytes(),
            data: Some(scram.message()),
        }
        .encode(&mut out);
        self.state = State::ScramStarted(scram);
        Ok(Step::Send(out))
    }

    fn password(&self) -> Result<&'t [u8], ConnectError> {
        let password = self.target.password.as_ref().ok_or(ConnectError::NoPassword)?;
        Ok(password.expose().as_bytes())
    }
}

fn encode_password(password: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Password { password }.encode(&mut out);
    out
}
