//! A connection from its first byte to its first request: TLS, authentication, the greeting.

use crate::admin;
use crate::client::{Client, Login};
use crate::data::accept::LoginGuard;
use crate::data::admin_session;
use crate::data::io::ClientIo;
use crate::data::peer::Peer;
use crate::data::thread::{ClientInfo, ClientLogin, Origin, Thread};
use crate::metrics::LoginResult;
use crate::shared;
use bytes::{Buf, BytesMut};
use pool::Stream;
use session::Settings;
use session::startup::{Action, Authenticated, Credential, Startup, TlsOffer};
use settings::AdminRights;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use wire::{CancelKey, ProxyError};

/// What is read at a time before a client is logged in.
const LOGIN_READ: usize = 1024;

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
    Client(Box<Client>),
    Admin(Box<(ClientIo, ClientLogin)>),
}

impl Session {
    /// Serves it in a task of its own: what the login needed is given back.
    fn start(self, thread: &Rc<Thread>) {
        match self {
            Session::Client(client) => {
                let info = Rc::clone(&client.info);
                let registered = Registered {
                    thread: Rc::clone(thread),
                    info: Rc::clone(&info),
                };
                info.run(async move {
                    let _registered = registered;
                    client.serve().await;
                });
            }
            Session::Admin(session) => {
                let (io, login) = *session;
                admin_session::start(io, login, thread);
            }
        }
    }
}

/// A place among the clients, left when the client's task ends in whatever way.
struct Registered {
    thread: Rc<Thread>,
    info: Rc<ClientInfo>,
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
    let mut io = ClientIo::new(
        raw.stream,
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
            Refused::Server(frame) => frame.to_vec(),
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
    let mut startup = Startup::new(
        tls.as_ref().map_or(TlsOffer::Disabled, |tls| tls.offer),
        thread.shared.seed,
    );
    loop {
        let step = startup.advance(&raw.input);
        raw.input.advance(step.consumed);
        let action = match step.action {
            Action::LookUp { user, .. } => {
                let credential = thread
                    .shared
                    .secret(&user)
                    .map_or(Credential::Nobody, Credential::Scram);
                startup.authenticate(credential, rand::random())
            }
            action => action,
        };
        match action {
            Action::NeedMore { at_least } => raw.read(at_least).await?,
            Action::Send(bytes) => raw.stream.write_all(&bytes).await?,
            Action::StartTls => {
                let Some(tls) = &tls else { return Ok(None) };
                raw.stream.write_all(b"S").await?;
                raw.upgrade(&tls.acceptor).await?;
                startup.tls_established();
            }
            Action::Accept { send, client } => return Ok(Some((send, client))),
            Action::Cancel(key) => {
                thread.stats.add_login(LoginResult::Cancel);
                thread.shared.cancel(thread, key);
                return Ok(None);
            }
            Action::Close { send, reason } => {
                let failed = reason.sqlstate == wire::sqlstate::INVALID_PASSWORD;
                thread.stats.add_login(if failed {
                    LoginResult::AuthenticationFailed
                } else {
                    LoginResult::Refused
                });
                tracing::info!(%peer, %reason, "login refused");
                raw.stream.write_all(&send).await?;
                return Ok(None);
            }
            Action::LookUp { .. } => return Ok(None),
        }
    }
}

impl Raw {
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
            secret: Box::new(rand::random::<[u8; 4]>()),
        },
        user: Rc::from(who.user.as_str()),
        database: Rc::from(who.database.as_str()),
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
    let most = u64::try_from(settings.limits.max_client_conn).unwrap_or(u64::MAX);
    if thread.shared.clients.load(Ordering::Relaxed) >= most {
        return Err((io, ProxyError::too_many_clients().into()));
    }
    let Some(database) = thread.shared.database(&who.database).map(std::sync::Arc::clone) else {
        return Err((io, ProxyError::unknown_database(&who.database).into()));
    };
    if database.gate.is_disabled() {
        return Err((io, ProxyError::disabled_database(&who.database).into()));
    }
    let info = thread.register(login);
    let login = Login {
        io,
        thread: Rc::clone(thread),
        info: Rc::clone(&info),
        database,
        startup,
    };
    match Client::new(login).greet().await {
        Ok(client) => Ok(Session::Client(Box::new(client))),
        Err(refused) => {
            thread.forget(&info);
            Err(refused)
        }
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
