//! A connection from its first byte to its first request: TLS, authentication, the greeting.

use crate::access::admission::{Bounds, Place};
use crate::admin;
use crate::client::{Client, Login};
use crate::data::accept::LoginGuard;
use crate::data::admin_session;
use crate::data::auth::{self, Connection};
use crate::data::io::ClientIo;
use crate::data::peer::Peer;
use crate::data::thread::{ClientInfo, ClientLogin, Origin, Thread};
use crate::metrics::LoginResult;
use crate::shared;
use bytes::{Buf, BytesMut};
use pool::Stream;
use session::Settings;
use session::relay::ServerError;
use session::startup::{Action, Authenticated, Startup, TlsOffer};
use settings::AdminRights;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use wire::startup::ProtocolVersion;
use wire::{CancelKey, ProxyError};

/// What is read at a time before a client is logged in.
const LOGIN_READ: usize = 1024;
/// What PostgreSQL's clients name by ALPN.
pub(crate) const ALPN: &[u8] = b"postgresql";
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// The bytes of a cancel key's secret in protocol 3.2, as in PostgreSQL.
const LONG_SECRET: usize = 32;

/// Serves a connection from accept to close.
pub(crate) async fn connection(thread: Rc<Thread>, stream: Stream, peer: Peer, login: LoginGuard) {
    let options = shared::tcp_options(&thread.settings());
    if let Err(error) = stream.tune(&options) {
        tracing::debug!(%peer, %error, "can't set the options of a socket");
    }
    let bound = thread.settings().limits.client_login_timeout;
    let greeted = tokio::time::timeout(bound, greet(&thread, stream, peer)).await;
    drop(login);
    match greeted {
        Ok(Some(session)) => session.start(&thread),
        Ok(None) => {}
        Err(_) => {
            thread.stats.add_login(LoginResult::Broken);
            tracing::info!(%peer, "closed: client_login_timeout");
        }
    }
}

/// A logged-in connection.
enum Session {
    Client(Box<Client>, Place),
    Admin(Box<(ClientIo, ClientLogin)>),
}

impl Session {
    /// Serves it in a task of its own: what the login needed is given back.
    fn start(self, thread: &Rc<Thread>) {
        match self {
            Session::Client(client, place) => {
                let info = Rc::clone(&client.info);
                let registered = Registered {
                    thread: Rc::clone(thread),
                    info: Rc::clone(&info),
                    _place: place,
                };
                info.run(serve(registered, client));
            }
            Session::Admin(session) => {
                let (io, login) = *session;
                admin_session::start(io, login, thread);
            }
        }
    }
}

/// The task of a client. It exists as often as there are clients, so it is small: `data/sizes.rs` holds it to that.
pub(crate) async fn serve(_registered: Registered, client: Box<Client>) {
    client.serve().await;
}

/// A place among the clients, left when the client's task ends in whatever way.
pub(crate) struct Registered {
    thread: Rc<Thread>,
    info: Rc<ClientInfo>,
    _place: Place,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.thread.forget(&self.info);
    }
}

/// The socket of a connection that is not logged in, with what was read from it.
struct Raw {
    stream: Stream,
    input: BytesMut,
}

impl Raw {
    async fn read(&mut self, at_least: usize) -> io::Result<()> {
        let mut chunk = [0; LOGIN_READ];
        while self.input.len() < at_least {
            match self.stream.read(&mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.input.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            }
        }
        Ok(())
    }

    /// What a client begins with that speaks TLS from its first byte on is left in the socket, for the handshake.
    async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        match &self.stream {
            Stream::Tcp(tcp) => Ok((tcp.peek(&mut first).await? > 0).then_some(first[0])),
            Stream::Unix(_) | Stream::Tls(_) | Stream::Ring(_) => Ok(None),
        }
    }
}

async fn greet(thread: &Rc<Thread>, stream: Stream, peer: Peer) -> Option<Session> {
    let mut raw = Raw {
        stream,
        input: BytesMut::new(),
    };
    let (send, who) = match authenticate(thread, &mut raw, peer).await {
        Ok(Some(accepted)) => accepted,
        Ok(None) => return None,
        Err(error) => {
            thread.stats.add_login(LoginResult::Broken);
            tracing::debug!(%peer, %error, "a connection broke before its login");
            return None;
        }
    };
    let tls = raw.stream.is_tls();
    let stream = raw
        .stream
        .onto_ring()
        .inspect_err(|error| tracing::warn!(%peer, %error, "a connection was lost on its way to io_uring"))
        .ok()?;
    let mut io = ClientIo::new(
        stream,
        Rc::clone(&thread.scratch),
        Rc::clone(&thread.spare),
        raw.input,
    );
    io.out.extend_from_slice(&send);
    match open_session(thread, io, &who, peer, tls).await {
        Ok(session) => {
            thread.stats.add_login(LoginResult::Accepted);
            Some(session)
        }
        Err((mut io, error)) => {
            thread.stats.add_login(LoginResult::Refused);
            tracing::info!(%peer, user = %who.user, database = %who.database, %error, "login refused");
            io.out.extend_from_slice(&error.frame());
            let _ = io.flush().await;
            None
        }
    }
}

/// Why a login that was authenticated is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Proxy(#[from] ProxyError),
    #[error("by the server")]
    Server(Box<[u8]>),
}

impl Refused {
    fn frame(&self) -> Vec<u8> {
        match self {
            Refused::Proxy(error) => {
                let mut frame = Vec::new();
                error
                    .clone()
                    .with_severity(wire::Severity::Fatal)
                    .encode(&mut frame);
                frame
            }
            // A session that can't begin ends, as on the server.
            Refused::Server(frame) => ServerError::with_severity(frame, b"FATAL").frame.into_vec(),
        }
    }
}

/// Plays the handshake. `None`: the connection is over, and whoever had to be told was.
async fn authenticate(
    thread: &Rc<Thread>,
    raw: &mut Raw,
    peer: Peer,
) -> io::Result<Option<(Vec<u8>, Box<Authenticated>)>> {
    let tls = thread.shared.tls.load_full();
    let offer = match (peer, &tls) {
        (Peer::Unix(_), _) => TlsOffer::NotNeeded,
        (Peer::Tcp(_), Some(tls)) => tls.offer,
        (Peer::Tcp(_), None) => TlsOffer::Disabled,
    };
    let mut startup = Startup::new(offer, thread.shared.seed);
    let mut demanded = (String::new(), None);
    let direct = raw.first_byte().await?.filter(|byte| *byte == TLS_HANDSHAKE);
    let mut step = startup.advance(direct.as_slice());
    loop {
        raw.input.advance(step.consumed);
        let action = match step.action {
            Action::LookUp { user, database } => {
                let demand = auth::demand(thread, raw.connection(peer), &user, &database).await;
                demanded = (user, demand.secret);
                startup.authenticate(demand.credential, rand::random())
            }
            action => action,
        };
        match action {
            Action::NeedMore { at_least } => raw.read(at_least).await?,
            Action::Send(bytes) => raw.stream.write_all(&bytes).await?,
            start @ (Action::StartTls | Action::StartDirectTls) => {
                let Some(tls) = &tls else { return Ok(None) };
                if start == Action::StartTls {
                    raw.stream.write_all(b"S").await?;
                }
                raw.upgrade(&tls.acceptor).await?;
                if start == Action::StartDirectTls && raw.stream.alpn() != Some(ALPN) {
                    // As PostgreSQL, without a word: it may be a client of another protocol.
                    tracing::info!(%peer, "direct TLS without ALPN refused");
                    return Ok(None);
                }
                startup.tls_established(tls.end_point.clone());
            }
            Action::Accept { send, client } => {
                thread
                    .shared
                    .secrets
                    .learn(&client.user, demanded.1.as_ref(), &client.proof);
                return Ok(Some((send, client)));
            }
            Action::Cancel(key) => {
                thread.stats.add_login(LoginResult::Cancel);
                thread.shared.cancel(thread, key).await;
                return Ok(None);
            }
            Action::Close { send, reason } => {
                // It may have a new password.
                thread.shared.secrets.forget_found(&demanded.0);
                refuse(thread, raw, peer, &send, &reason).await?;
                return Ok(None);
            }
            Action::LookUp { .. } => return Ok(None),
        }
        step = startup.advance(&raw.input);
    }
}

/// Tells the client that it isn't let in, and why.
async fn refuse(
    thread: &Thread,
    raw: &mut Raw,
    peer: Peer,
    words: &[u8],
    reason: &ProxyError,
) -> io::Result<()> {
    let failed = reason.sqlstate == wire::sqlstate::INVALID_PASSWORD;
    thread.stats.add_login(if failed {
        LoginResult::AuthenticationFailed
    } else {
        LoginResult::Refused
    });
    tracing::info!(%peer, %reason, "login refused");
    raw.stream.write_all(words).await
}

impl Raw {
    fn connection(&self, peer: Peer) -> Connection<'_> {
        Connection {
            peer,
            tls: self.stream.is_tls(),
            certificate: self.stream.peer_certificate(),
        }
    }

    async fn upgrade(&mut self, acceptor: &tokio_rustls::TlsAcceptor) -> io::Result<()> {
        // The stream changes its kind; what stands in between is never used.
        let (placeholder, _other) = tokio::net::UnixStream::pair()?;
        let plain = std::mem::replace(&mut self.stream, Stream::from(placeholder));
        self.stream = plain.accept_tls(acceptor).await?;
        Ok(())
    }
}

async fn open_session(
    thread: &Rc<Thread>,
    io: ClientIo,
    who: &Authenticated,
    peer: Peer,
    tls: bool,
) -> Result<Session, (ClientIo, Refused)> {
    let settings = thread.settings();
    if thread.shared.is_draining() {
        return Err((io, ProxyError::draining().into()));
    }
    let (startup, application_name) = startup_settings(who);
    let login = ClientLogin {
        key: CancelKey {
            pid: 0,
            secret: cancel_secret(who.version),
        },
        user: thread.intern_name(&who.user),
        database: thread.intern_name(&who.database),
        origin: origin(&io, peer),
        application_name: application_name.into(),
        now: health::boot_time(),
        tls,
        id: 0,
        suspended: false,
    };
    // Administrators come in however many clients there are: they may have come for them.
    if admin::DATABASES.contains(&who.database.as_str()) {
        if settings.auth.admin_rights(&who.user) == AdminRights::None {
            return Err((io, admin::not_allowed().into()));
        }
        return Ok(Session::Admin(Box::new((io, login))));
    }
    let bounds = Bounds::of(&settings, &who.user, &who.database);
    drop(settings);
    let place = match thread
        .shared
        .admission
        .admit(bounds, &login.user, &login.database)
    {
        Ok(place) => place,
        Err(error) => return Err((io, error.into())),
    };
    let database = match thread.shared.database(&who.database) {
        Ok(Some(database)) => database,
        Ok(None) => return Err((io, ProxyError::unknown_database(&who.database).into())),
        Err(error) => return Err((io, error.into())),
    };
    if database.gate.is_disabled() {
        return Err((io, ProxyError::disabled_database(&who.database).into()));
    }
    let info = thread.register(login);
    let login = Login {
        io,
        thread: Rc::clone(thread),
        info: Rc::clone(&info),
        database: Arc::clone(&database),
        startup,
    };
    match Client::new(login).greet().await {
        Ok(client) => Ok(Session::Client(Box::new(client), place)),
        Err(refused) => {
            thread.forget(&info);
            thread.shared.wildcards.give_up(database);
            Err(refused)
        }
    }
}

/// What a cancel request will have to show: as long as the client's protocol allows.
fn cancel_secret(version: ProtocolVersion) -> Box<[u8]> {
    if version >= ProtocolVersion::V3_2 {
        Box::new(rand::random::<[u8; LONG_SECRET]>())
    } else {
        Box::new(rand::random::<[u8; 4]>())
    }
}

fn origin(io: &ClientIo, peer: Peer) -> Origin {
    Origin {
        peer: peer.tcp(),
        local: io.local_addr(),
        pid: match peer {
            Peer::Tcp(_) => None,
            Peer::Unix(unix) => unix.pid,
        },
        fd: io.fd(),
    }
}

/// The settings that a client starts with, and its `application_name`.
fn startup_settings(who: &Authenticated) -> (Settings, String) {
    let mut settings = Settings::default();
    let mut application_name = String::new();
    for (name, value) in &who.settings {
        let name = name.to_ascii_lowercase();
        let value = String::from_utf8_lossy(value);
        if name == "application_name" {
            application_name = value.clone().into_owned();
        }
        settings = settings.with_value(&name, &value);
    }
    (settings, application_name)
}
