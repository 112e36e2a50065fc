//! The client's side of authentication, free of I/O: a request of the server in, the answer to send out.

use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use wire::backend::{Authentication, Mechanisms};
use wire::frontend::{Password, SaslInitialResponse, SaslResponse};
use wire::md5;

use crate::error::ConnectError;
use crate::scram::{KeyScram, KeyScramProved};
use crate::target::{BackendTarget, Form, ScramKeys};

/// Where the exchange stands.
enum State {
    /// Nothing has been asked, or a password has been sent.
    Open,
    /// The first SCRAM message has been sent.
    ScramStarted(ScramSha256),
    /// The proof has been sent; the server must show its own.
    ScramProved(ScramSha256),
    /// As [`State::ScramStarted`], by keys.
    KeysStarted(KeyScram),
    /// As [`State::ScramProved`], by keys.
    KeysProved(KeyScramProved),
    /// The server has proved that it knows the password.
    ScramVerified,
}

/// One login.
pub(crate) struct Login<'t> {
    target: &'t BackendTarget,
    channel: Channel,
    state: State,
}

/// What the login goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Nothing that hides it.
    Plain,
    /// TLS, with the hash of the server's certificate where its kind has one.
    Tls {
        /// For `tls-server-end-point` (RFC 5929).
        end_point: Option<Vec<u8>>,
    },
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
    pub(crate) fn new(target: &'t BackendTarget, channel: Channel) -> Self {
        Login {
            target,
            channel,
            state: State::Open,
        }
    }

    pub(crate) fn on_request(&mut self, request: &Authentication<'_>) -> Result<Step, ConnectError> {
        let state = std::mem::replace(&mut self.state, State::Open);
        match (state, request) {
            // A server that skips its own proof after SCRAM has begun may be anybody.
            (State::Open | State::ScramVerified, Authentication::Ok) => Ok(Step::Done),
            (State::Open, Authentication::Cleartext)
                if self.channel != Channel::Plain || self.target.cleartext_without_tls =>
            {
                Ok(Step::Send(encode_password(self.clear_password()?.as_bytes())))
            }
            (State::Open, Authentication::Cleartext) => Err(ConnectError::CleartextRefused),
            (State::Open, Authentication::Md5 { salt }) => {
                let digest = md5::answer(&self.md5_digest()?, *salt);
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
            (State::KeysStarted(scram), Authentication::SaslContinue(data)) => {
                let (proved, last) = scram.prove(data).map_err(ConnectError::scram)?;
                let mut out = Vec::new();
                SaslResponse {
                    data: last.as_bytes(),
                }
                .encode(&mut out);
                self.state = State::KeysProved(proved);
                Ok(Step::Send(out))
            }
            (State::KeysProved(scram), Authentication::SaslFinal(data)) => {
                scram.verify(data).map_err(ConnectError::scram)?;
                self.state = State::ScramVerified;
                Ok(Step::Wait)
            }
            (_, Authentication::Other(code)) => Err(ConnectError::UnsupportedMethod(code.to_string())),
            _ => Err(ConnectError::Unexpected('R')),
        }
    }

    fn start_scram(&mut self, mechanisms: &Mechanisms<'_>) -> Result<Step, ConnectError> {
        let offers = |wanted: &str| mechanisms.iter().any(|name| name == wanted.as_bytes());
        let form = self
            .target
            .password
            .as_ref()
            .ok_or(ConnectError::NoPassword)?
            .form();
        match form {
            Form::Clear(password) if offers(SCRAM_SHA_256) || offers(SCRAM_SHA_256_PLUS) => {
                let end_point = match &self.channel {
                    Channel::Tls { end_point } if offers(SCRAM_SHA_256_PLUS) => end_point.clone(),
                    Channel::Tls { .. } | Channel::Plain => None,
                };
                let (mechanism, binding) = match end_point {
                    Some(hash) => (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash)),
                    // Where it could be had, the server learns that we could: whoever took its offer away is found out.
                    None => (SCRAM_SHA_256, self.unoffered()),
                };
                let scram = ScramSha256::new(password.as_bytes(), binding);
                let sent = initial_response(mechanism, scram.message());
                self.state = State::ScramStarted(scram);
                Ok(sent)
            }
            Form::ScramKeys(keys) if offers(SCRAM_SHA_256) => self.start_by_keys(keys),
            Form::Md5(_) => Err(ConnectError::WrongSecret("SCRAM")),
            Form::Clear(_) | Form::ScramKeys(_) => {
                let offered: Vec<_> = mechanisms.iter().map(String::from_utf8_lossy).collect();
                Err(ConnectError::UnsupportedMethod(offered.join(", ")))
            }
        }
    }

    /// What is said of channel binding where the server has not offered it.
    fn unoffered(&self) -> ChannelBinding {
        match &self.channel {
            Channel::Tls { end_point: Some(_) } => ChannelBinding::unrequested(),
            Channel::Tls { end_point: None } | Channel::Plain => ChannelBinding::unsupported(),
        }
    }

    fn start_by_keys(&mut self, keys: &ScramKeys) -> Result<Step, ConnectError> {
        let (scram, first) = KeyScram::begin(keys).map_err(ConnectError::scram)?;
        self.state = State::KeysStarted(scram);
        Ok(initial_response(SCRAM_SHA_256, first.as_bytes()))
    }

    fn clear_password(&self) -> Result<&'t str, ConnectError> {
        let password = self.target.password.as_ref().ok_or(ConnectError::NoPassword)?;
        password
            .clear()
            .ok_or(ConnectError::WrongSecret("a password in clear"))
    }

    fn md5_digest(&self) -> Result<String, ConnectError> {
        match self
            .target
            .password
            .as_ref()
            .ok_or(ConnectError::NoPassword)?
            .form()
        {
            Form::Clear(password) => Ok(md5::stored(&self.target.user, password)),
            Form::Md5(stored) => Ok(stored.to_string()),
            Form::ScramKeys(_) => Err(ConnectError::WrongSecret("md5")),
        }
    }
}

fn initial_response(mechanism: &str, data: &[u8]) -> Step {
    let mut out = Vec::new();
    SaslInitialResponse {
        mechanism: mechanism.as_bytes(),
        data: Some(data),
    }
    .encode(&mut out);
    Step::Send(out)
}

fn encode_password(password: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Password { password }.encode(&mut out);
    out
}
