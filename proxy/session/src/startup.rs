//! The client's side of a connection up to AuthenticationOk: TLS, version, parameters, authentication. Bytes in, [`Action`]s out.
//!
//! The caller keeps the bytes that it has read, hands them to [`Startup::advance`] until that wants more, and does what the action says.
//! It bounds the time, too.
//!
//! **Invariant:** bytes that arrived before a TLS handshake are never read as if they had come through it (CVE-2021-23214): they end the connection.
//! **Invariant:** a user that doesn't exist is refused at the same point, in the same words and after the same work as a wrong password.

mod options;
mod parameters;

use std::fmt;
use std::sync::Arc;

use wire::backend::{
    NegotiateProtocolVersion, encode_authentication_ok, encode_authentication_sasl,
    encode_authentication_sasl_continue, encode_authentication_sasl_final,
};
use wire::frame::{self, Scan, StartupScan};
use wire::frontend::{SaslInitialResponse, SaslResponse};
use wire::startup::{ProtocolVersion, StartupMessage, StartupPacket};
use wire::tag::FrontendTag;
use wire::{CancelKey, Malformed, ProxyError, WireError, sqlstate};

use crate::scram::{MECHANISM, NONCE_LEN, ScramChallenged, ScramSecret, ScramStart, Verdict};
use parameters::Parameters;

/// The longest frame with SASL data, as in PostgreSQL (`PG_MAX_SASL_MESSAGE_LENGTH`, and the tag).
const MAX_SASL_FRAME: usize = 1024 + 1;

/// What TLS towards clients is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsOffer {
    /// No certificate: SSLRequest is answered with `N`.
    Disabled,
    /// For clients that ask.
    Allowed,
    /// Clients without are refused; cancel requests aren't, since older clients send them in clear.
    Required,
    /// The connection can't have TLS and needs none: a unix socket.
    NotNeeded,
}

/// Who a client turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// The user.
    pub user: String,
    /// The database that it asked for, the user's name if it asked for none. Not checked.
    pub database: String,
    /// Settings to begin with, in the order in which PostgreSQL applies them: those of `options`, then the others. A name may come
    /// twice (in any case of its letters); the last one holds.
    pub settings: Vec<(String, Vec<u8>)>,
    /// The version that both sides speak.
    pub version: ProtocolVersion,
}

/// What the caller is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Read until there are `at_least` bytes that haven't been consumed.
    NeedMore {
        /// Counted from the first byte that hasn't been consumed.
        at_least: usize,
    },
    /// Send these bytes and go on.
    Send(Vec<u8>),
    /// Send `S`, do the TLS handshake, call [`Startup::tls_established`] and go on with bytes that come through TLS.
    StartTls,
    /// Find out what authenticates this user, and call [`Startup::authenticate`].
    LookUp {
        /// The user.
        user: String,
        /// The database.
        database: String,
    },
    /// Send these bytes (they end with AuthenticationOk). The rest of the greeting is the caller's, and so are unconsumed bytes.
    Accept {
        /// What to send.
        send: Vec<u8>,
        /// Who it is.
        client: Box<Authenticated>,
    },
    /// Pass the cancel request on to whom it concerns, then close without a word.
    Cancel(CancelKey),
    /// Send these bytes, if any, and close.
    Close {
        /// What to send: an ErrorResponse, or nothing to a peer that doesn't speak the protocol.
        send: Vec<u8>,
        /// Why, for the log.
        reason: Box<ProxyError>,
    },
}

/// What authenticates a user.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A SCRAM secret.
    Scram(Arc<ScramSecret>),
    /// The user doesn't exist or has no password: an exchange is played that fails at its end.
    Nobody,
    /// No question asked.
    Trust,
}

/// What [`Startup::advance`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// What to do.
    pub action: Action,
}

impl Step {
    fn new(consumed: usize, action: Action) -> Step {
        Step { consumed, action }
    }
}

/// Where the negotiation of encryption stands. Each of the two requests may come once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// Nothing asked.
    Untouched,
    /// GSSAPI was refused; TLS may be asked for.
    GssRefused,
    /// TLS was refused; GSSAPI may be asked for.
    TlsRefused,
    /// Both were refused.
    BothRefused,
    /// `S` was sent; the handshake is the caller's.
    Handshaking,
    /// Everything comes through TLS.
    Tls,
}

enum State {
    /// A packet without tag is awaited.
    Packet(Encryption),
    /// The caller looks the user up.
    LookingUp(Box<Parameters>),
    /// SASLInitialResponse is awaited.
    ScramFirst(Box<Parameters>, ScramStart),
    /// SASLResponse is awaited.
    ScramFinal(Box<Parameters>, Box<ScramChallenged>),
    /// Over: accepted, refused or cancelled.
    Over,
}

/// The handshake of one client.
pub struct Startup {
    offer: TlsOffer,
    seed: [u8; 32],
    state: State,
}

impl fmt::Debug for Startup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Packet(_) => "Packet",
            State::LookingUp(_) => "LookingUp",
            State::ScramFirst(..) => "ScramFirst",
            State::ScramFinal(..) => "ScramFinal",
            State::Over => "Over",
        };
        f.debug_struct("Startup")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

impl Startup {
    /// A handshake that hasn't begun. `seed` is random, secret and the same for all connections while the process lives: it makes up
    /// the salts of users that don't exist.
    pub fn new(offer: TlsOffer, seed: [u8; 32]) -> Self {
        Startup {
            offer,
            seed,
            state: State::Packet(Encryption::Untouched),
        }
    }

    /// Looks at the bytes that have been read and not consumed. Call it again after every action but those that end the handshake.
    pub fn advance(&mut self, input: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Packet(encryption) => self.on_packet(encryption, input),
            State::ScramFirst(parameters, scram) => match self.sasl_frame(input) {
                Err(step) => self.stay(State::ScramFirst(parameters, scram), step),
                Ok(len) => self.on_scram_first(parameters, scram, input.get(..len).unwrap_or_default()),
            },
            State::ScramFinal(parameters, scram) => match self.sasl_frame(input) {
                Err(step) => self.stay(State::ScramFinal(parameters, scram), step),
                Ok(len) => self.on_scram_final(&parameters, *scram, input.get(..len).unwrap_or_default()),
            },
            // The caller owes an answer, or goes on after the end: neither has a next step.
            State::LookingUp(_) | State::Over => Step::new(0, close(ProxyError::internal())),
        }
    }

    /// The TLS handshake is done. `input` that was read before it must have been dropped: there was none, or [`Action::Close`] came.
    pub fn tls_established(&mut self) {
        if let State::Packet(encryption @ Encryption::Handshaking) = &mut self.state {
            *encryption = Encryption::Tls;
        }
    }

    /// Answers [`Action::LookUp`]. `nonce` is fresh randomness.
    pub fn authenticate(&mut self, credential: Credential, nonce: [u8; NONCE_LEN]) -> Action {
        let State::LookingUp(parameters) = std::mem::replace(&mut self.state, State::Over) else {
            return close(ProxyError::internal());
        };
        let mut send = negotiation(&parameters);
        let scram = match credential {
            Credential::Trust => return accept(send, &parameters),
            Credential::Scram(secret) => ScramStart::known(secret, nonce),
            Credential::Nobody => ScramStart::nobody(&self.seed, &parameters.user, nonce),
        };
        encode_authentication_sasl(&mut send, &[MECHANISM]);
        self.state = State::ScramFirst(parameters, scram);
        Action::Send(send)
    }

    fn stay(&mut self, state: State, step: Step) -> Step {
        if matches!(step.action, Action::NeedMore { .. }) {
            self.state = state;
        }
        step
    }

    fn on_packet(&mut self, encryption: Encryption, input: &[u8]) -> Step {
        let len = match frame::scan_startup(input) {
            StartupScan::Packet { len } => len,
            StartupScan::NeedMore { at_least } => {
                self.state = State::Packet(encryption);
                return Step::new(0, Action::NeedMore { at_least });
            }
            StartupScan::DirectTls => {
                return Step::new(
                    0,
                    close_silently(ProxyError::protocol_violation("direct TLS is not offered")),
                );
            }
            // As in PostgreSQL, whoever doesn't speak the protocol gets no answer in it.
            StartupScan::Malformed(error) => return Step::new(0, close_silently(error.into())),
        };
        let packet = match StartupPacket::decode(input.get(..len).unwrap_or_default()) {
            Ok(packet) => packet,
            Err(error) => return Step::new(len, malformed_packet(error)),
        };
        let early = input.len() > len;
        let action = match packet {
            StartupPacket::SslRequest => self.on_ssl_request(encryption, early),
            StartupPacket::GssEncRequest => self.on_gssenc_request(encryption, early),
            StartupPacket::Cancel(key) => Action::Cancel(key),
            StartupPacket::Unsupported(version) => unsupported_version(version),
            StartupPacket::Startup(message) => self.on_startup(encryption, &message),
        };
        Step::new(len, action)
    }

    fn on_ssl_request(&mut self, encryption: Encryption, early: bool) -> Action {
        let refused = match encryption {
            Encryption::Untouched => Encryption::TlsRefused,
            Encryption::GssRefused => Encryption::BothRefused,
            Encryption::TlsRefused | Encryption::BothRefused | Encryption::Handshaking | Encryption::Tls => {
                // Asked twice: PostgreSQL reads the second one as a startup of a version that doesn't exist.
                return unsupported_version(ProtocolVersion {
                    major: 1234,
                    minor: 5679,
                });
            }
        };
        match self.offer {
            _ if early => close(early_data("SSL")),
            TlsOffer::Disabled | TlsOffer::NotNeeded => {
                self.state = State::Packet(refused);
                Action::Send(vec![b'N'])
            }
            TlsOffer::Allowed | TlsOffer::Required => {
                self.state = State::Packet(Encryption::Handshaking);
                Action::StartTls
            }
        }
    }

    fn on_gssenc_request(&mut self, encryption: Encryption, early: bool) -> Action {
        let refused = match encryption {
            Encryption::Untouched => Encryption::GssRefused,
            Encryption::TlsRefused => Encryption::BothRefused,
            Encryption::GssRefused | Encryption::BothRefused | Encryption::Handshaking | Encryption::Tls => {
                return unsupported_version(ProtocolVersion {
                    major: 1234,
                    minor: 5680,
                });
            }
        };
        if early {
            return close(early_data("GSSAPI encryption"));
        }
        self.state = State::Packet(refused);
        Action::Send(vec![b'N'])
    }

    fn on_startup(&mut self, encryption: Encryption, message: &StartupMessage<'_>) -> Action {
        if self.offer == TlsOffer::Required && encryption != Encryption::Tls {
            return close(
                ProxyError::authorization("TLS is required")
                    .with_hint("Connect with sslmode=require or stricter."),
            );
        }
        match Parameters::read(message) {
            Err(error) => close(error),
            Ok(parameters) => {
                let action = Action::LookUp {
                    user: parameters.user.clone(),
                    database: parameters.database.clone(),
                };
                self.state = State::LookingUp(Box::new(parameters));
                action
            }
        }
    }

    /// The length of the whole frame with SASL data at the front of the input, or what to do instead.
    fn sasl_frame(&self, input: &[u8]) -> Result<usize, Step> {
        // The tag is checked before the length: what isn't a password message needs no waiting for.
        match input.first() {
            None => {
                return Err(Step::new(
                    0,
                    Action::NeedMore {
                        at_least: frame::HEADER_LEN,
                    },
                ));
            }
            Some(&tag) if tag != FrontendTag::Password.byte() => {
                let error = format!("expected SASL response, got message type {tag}");
                return Err(Step::new(0, close(ProxyError::protocol_violation(error))));
            }
            Some(_) => {}
        }
        match frame::scan(input, MAX_SASL_FRAME) {
            Scan::Frame { len, .. } => Ok(len),
            Scan::NeedMore { at_least } => Err(Step::new(0, Action::NeedMore { at_least })),
            Scan::Malformed(error) => Err(Step::new(0, close(error.into()))),
        }
    }

    fn on_scram_first(&mut self, parameters: Box<Parameters>, scram: ScramStart, sasl_frame: &[u8]) -> Step {
        let len = sasl_frame.len();
        let response = match SaslInitialResponse::decode(frame::body(sasl_frame)) {
            Ok(response) => response,
            Err(error) => return Step::new(len, close(error.into())),
        };
        if response.mechanism != MECHANISM.as_bytes() {
            let error =
                ProxyError::protocol_violation("client selected an invalid SASL authentication mechanism");
            return Step::new(len, close(error));
        }
        let Some(data) = response.data else {
            // PostgreSQL would ask for it by an empty challenge; SCRAM's clients always send it at once.
            let error =
                ProxyError::protocol_violation("the SASL exchange must begin with the client's message");
            return Step::new(len, close(error));
        };
        match scram.challenge(data) {
            Err(error) => Step::new(len, close(error)),
            Ok((challenged, server_first)) => {
                let mut send = Vec::new();
                encode_authentication_sasl_continue(&mut send, server_first.as_bytes());
                self.state = State::ScramFinal(parameters, Box::new(challenged));
                Step::new(len, Action::Send(send))
            }
        }
    }

    fn on_scram_final(&mut self, parameters: &Parameters, scram: ScramChallenged, sasl_frame: &[u8]) -> Step {
        let len = sasl_frame.len();
        let response = SaslResponse::decode(frame::body(sasl_frame));
        let action = match scram.verify(response.data) {
            Err(error) => close(error),
            Ok(Verdict::Rejected) => close(ProxyError::password_failed(&parameters.user)),
            Ok(Verdict::Accepted(server_final)) => {
                let mut send = Vec::new();
                encode_authentication_sasl_final(&mut send, server_final.as_bytes());
                accept(send, parameters)
            }
        };
        Step::new(len, action)
    }
}

fn accept(mut send: Vec<u8>, parameters: &Parameters) -> Action {
    encode_authentication_ok(&mut send);
    let client = Box::new(Authenticated {
        user: parameters.user.clone(),
        database: parameters.database.clone(),
        settings: parameters.settings.clone(),
        version: ProtocolVersion::V3_0,
    });
    Action::Accept { send, client }
}

/// NegotiateProtocolVersion, if the client asked for more than there is.
fn negotiation(parameters: &Parameters) -> Vec<u8> {
    let mut send = Vec::new();
    if parameters.version > ProtocolVersion::V3_0 || !parameters.protocol_options.is_empty() {
        let unknown_options = parameters.protocol_options.iter().map(Vec::as_slice).collect();
        NegotiateProtocolVersion {
            version: ProtocolVersion::V3_0,
            unknown_options,
        }
        .encode(&mut send);
    }
    send
}

fn close(reason: ProxyError) -> Action {
    let mut send = Vec::new();
    reason.encode(&mut send);
    Action::Close {
        send,
        reason: Box::new(reason),
    }
}

fn close_silently(reason: ProxyError) -> Action {
    Action::Close {
        send: Vec::new(),
        reason: Box::new(reason),
    }
}

/// PostgreSQL's words for whatever is wrong with the list of parameters; a malformed cancel request gets none.
fn malformed_packet(error: WireError) -> Action {
    match error {
        WireError::Body {
            fault: Malformed::Range,
            ..
        } => close_silently(error.into()),
        _ => close(ProxyError::protocol_violation(
            "invalid startup packet layout: expected terminator as last byte",
        )),
    }
}

fn early_data(what: &str) -> ProxyError {
    ProxyError::protocol_violation(format!("received unencrypted data after {what} request")).with_detail(
        "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
    )
}

/// PostgreSQL's refusal. A client of protocol 2 and before gets it in that protocol's form, so that it can show it.
fn unsupported_version(version: ProtocolVersion) -> Action {
    let ProtocolVersion { major, minor } = version;
    let reason = ProxyError::fatal(
        sqlstate::FEATURE_NOT_SUPPORTED,
        format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"),
    );
    if major < 3 {
        let send = format!("EFATAL:  {}\n\0", reason.message).into_bytes();
        return Action::Close {
            send,
            reason: Box::new(reason),
        };
    }
    close(reason)
}

#[cfg(test)]
mod tests;
