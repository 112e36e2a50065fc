//! The client's side of a connection up to AuthenticationOk: TLS, version, parameters, authentication. Bytes in, [`Action`]s out.
//!
//! The caller keeps the bytes that it has read, hands them to [`Startup::advance`] until that wants more, and does what the action says.
//! It bounds the time, too.
//!
//! **Invariant:** bytes that arrived before a TLS handshake are never read as if they had come through it (CVE-2021-23214): they end the connection.
//! **Invariant:** a user that doesn't exist is refused at the same point, in the same words and after the same work as a wrong password.

mod exchange;
mod options;
mod parameters;

use std::fmt;

use wire::backend::{NegotiateProtocolVersion, encode_authentication_ok};
use wire::frame::{self, Scan, StartupScan};
use wire::startup::{ProtocolVersion, StartupMessage, StartupPacket};
use wire::tag::FrontendTag;
use wire::{CancelKey, Malformed, ProxyError, WireError, sqlstate};

use crate::scram::NONCE_LEN;
use exchange::{Begin, Exchange, Progress};
pub use exchange::{BindingPolicy, Credential, Proof, StoredPassword};
use parameters::Parameters;

/// The newest version that is spoken with clients.
const NEWEST: ProtocolVersion = ProtocolVersion::V3_2;

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
    /// What of its login can be used on a server.
    pub proof: Proof,
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
    /// The client began its TLS handshake without asking: do it from the first byte that hasn't been consumed, see that `postgresql` was
    /// agreed on by ALPN, call [`Startup::tls_established`], and go on as after [`Action::StartTls`].
    StartDirectTls,
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
    /// The client's proof, or the next part of it, is awaited.
    Proving(Box<Parameters>, Exchange),
    /// Over: accepted, refused or cancelled.
    Over,
}

/// The handshake of one client.
pub struct Startup {
    offer: TlsOffer,
    seed: [u8; 32],
    /// The hash of the certificate that the client was shown.
    end_point: Option<Box<[u8]>>,
    state: State,
}

impl fmt::Debug for Startup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Packet(_) => "Packet",
            State::LookingUp(_) => "LookingUp",
            State::Proving(..) => "Proving",
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
            end_point: None,
            state: State::Packet(Encryption::Untouched),
        }
    }

    /// Looks at the bytes that have been read and not consumed. Call it again after every action but those that end the handshake.
    pub fn advance(&mut self, input: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Packet(encryption) => self.on_packet(encryption, input),
            State::Proving(parameters, exchange) => match answer_frame(&exchange, input) {
                Err(step) => {
                    if matches!(step.action, Action::NeedMore { .. }) {
                        self.state = State::Proving(parameters, exchange);
                    }
                    step
                }
                Ok(len) => {
                    let progress = exchange.advance(&parameters.user, input.get(..len).unwrap_or_default());
                    Step::new(len, self.proceed(parameters, Vec::new(), progress))
                }
            },
            // The caller owes an answer, or goes on after the end: neither has a next step.
            State::LookingUp(_) | State::Over => Step::new(0, close(ProxyError::internal())),
        }
    }

    /// The TLS handshake is done. `input` that was read before it must have been dropped: there was none, or [`Action::Close`] came.
    /// `end_point` is the hash of the certificate that the client was shown (RFC 5929, `tls-server-end-point`), where there is one.
    pub fn tls_established(&mut self, end_point: Option<Box<[u8]>>) {
        if let State::Packet(encryption @ Encryption::Handshaking) = &mut self.state {
            *encryption = Encryption::Tls;
            self.end_point = end_point;
        }
    }

    /// Answers [`Action::LookUp`]. `nonce` is fresh randomness.
    pub fn authenticate(&mut self, credential: Credential, nonce: [u8; NONCE_LEN]) -> Action {
        let State::LookingUp(parameters) = std::mem::replace(&mut self.state, State::Over) else {
            return close(ProxyError::internal());
        };
        let begin = Begin {
            user: &parameters.user,
            seed: &self.seed,
            nonce,
            end_point: self.end_point.as_deref(),
        };
        let progress = begin.exchange(credential);
        let negotiation = negotiation(&parameters);
        self.proceed(parameters, negotiation, progress)
    }

    /// Does what an exchange came to; `first` goes out before.
    fn proceed(&mut self, parameters: Box<Parameters>, first: Vec<u8>, progress: Progress) -> Action {
        let mut send = first;
        match progress {
            Progress::Refused(error) => {
                error.encode(&mut send);
                Action::Close { send, reason: error }
            }
            Progress::Ask { send: ask, exchange } => {
                send.extend_from_slice(&ask);
                self.state = State::Proving(parameters, exchange);
                Action::Send(send)
            }
            Progress::Accepted { send: last, proof } => {
                send.extend_from_slice(&last);
                encode_authentication_ok(&mut send);
                Action::Accept {
                    send,
                    client: Box::new(parameters.authenticated(proof)),
                }
            }
        }
    }

    fn on_packet(&mut self, encryption: Encryption, input: &[u8]) -> Step {
        let len = match frame::scan_startup(input) {
            StartupScan::Packet { len } => len,
            StartupScan::NeedMore { at_least } => {
                self.state = State::Packet(encryption);
                return Step::new(0, Action::NeedMore { at_least });
            }
            StartupScan::DirectTls => return Step::new(0, self.on_direct_tls(encryption)),
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

    fn on_direct_tls(&mut self, encryption: Encryption) -> Action {
        match (encryption, self.offer) {
            (Encryption::Untouched, TlsOffer::Allowed | TlsOffer::Required) => {
                self.state = State::Packet(Encryption::Handshaking);
                Action::StartDirectTls
            }
            _ => close_silently(ProxyError::protocol_violation("direct TLS is not offered")),
        }
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
}

/// The length of the whole frame with the client's answer at the front of the input, or what to do instead.
fn answer_frame(exchange: &Exchange, input: &[u8]) -> Result<usize, Step> {
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
            let error = format!(
                "expected {} response, got message type {tag}",
                exchange.expected()
            );
            return Err(Step::new(0, close(ProxyError::protocol_violation(error))));
        }
        Some(_) => {}
    }
    match frame::scan(input, exchange.max_frame()) {
        Scan::Frame { len, .. } => Ok(len),
        Scan::NeedMore { at_least } => Err(Step::new(0, Action::NeedMore { at_least })),
        Scan::Malformed(error) => Err(Step::new(0, close(error.into()))),
    }
}

/// NegotiateProtocolVersion, if the client asked for more than there is.
fn negotiation(parameters: &Parameters) -> Vec<u8> {
    let mut send = Vec::new();
    if parameters.version > NEWEST || !parameters.protocol_options.is_empty() {
        let unknown_options = parameters.protocol_options.iter().map(Vec::as_slice).collect();
        NegotiateProtocolVersion {
            version: parameters.version.min(NEWEST),
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
        format!(
            "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{}",
            NEWEST.minor
        ),
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
