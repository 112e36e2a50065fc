//! A connection with the state that its user keeps about it, and the right to use it for a while.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::rc::Rc;

use topology::Mono;
use wire::frontend::encode_terminate;

use crate::connection::BackendConnection;
use crate::pool::inner::Inner;
use crate::pool::{ServerInfo, ServerState};
use crate::quota::Permit;

/// What the pool itself keeps about a connection, wherever that is.
#[derive(Debug)]
pub(crate) struct Meta {
    /// What doesn't change; of the rest, what it was at the beginning.
    fixed: ServerInfo,
    state: Cell<ServerState>,
    used_at: Cell<Mono>,
    checkouts: Cell<u64>,
    condemned: Cell<bool>,
    /// Counts it against what its pool shares with others.
    _permit: Permit,
}

impl Meta {
    pub(crate) fn new(id: u64, conn: &BackendConnection, permit: Permit) -> Meta {
        Meta {
            fixed: ServerInfo {
                id,
                pid: conn.pid(),
                state: ServerState::Active,
                opened_at: conn.opened_at,
                used_at: conn.opened_at,
                checkouts: 0,
                condemned: false,
                tls: conn.stream.is_tls(),
                local_addr: conn.stream.local_addr(),
                fd: conn.stream.as_raw_fd(),
            },
            state: Cell::new(ServerState::Active),
            used_at: Cell::new(conn.opened_at),
            checkouts: Cell::new(0),
            condemned: Cell::new(false),
            _permit: permit,
        }
    }

    pub(crate) fn info(&self) -> ServerInfo {
        ServerInfo {
            state: self.state.get(),
            used_at: self.used_at.get(),
            checkouts: self.checkouts.get(),
            condemned: self.condemned.get(),
            ..self.fixed
        }
    }

    pub(crate) fn is_condemned(&self) -> bool {
        self.condemned.get()
    }

    pub(crate) fn condemn(&self) {
        self.condemned.set(true);
    }

    pub(crate) fn lent(&self, now: Mono) {
        self.state.set(ServerState::Active);
        self.used_at.set(now);
        self.checkouts.set(self.checkouts.get() + 1);
    }

    pub(crate) fn used_at(&self) -> Mono {
        self.used_at.get()
    }

    pub(crate) fn is_tried(&self) {
        self.state.set(ServerState::Tested);
    }

    pub(crate) fn rests(&self, now: Mono) {
        self.state.set(ServerState::Idle);
        self.used_at.set(now);
    }
}

/// A connection and its user's state.
#[derive(Debug)]
pub struct Server<S> {
    /// The connection.
    pub conn: BackendConnection,
    /// The user's state: what is known there.
    pub state: S,
    meta: Rc<Meta>,
}

impl<S> Server<S> {
    pub(crate) fn new(conn: BackendConnection, state: S, meta: Rc<Meta>) -> Self {
        Server { conn, state, meta }
    }

    pub(crate) fn meta(&self) -> &Rc<Meta> {
        &self.meta
    }

    /// The id, the age and the like.
    pub fn info(&self) -> ServerInfo {
        self.meta.info()
    }

    /// Says goodbye if that needs no waiting. It only spares the server a line in its log.
    pub(crate) fn say_goodbye(&mut self) {
        let mut out = Vec::with_capacity(8);
        encode_terminate(&mut out);
        let _ = self.conn.stream.try_write(&out);
    }
}

/// The right to use a connection. Dropping it closes the connection; [`Lease::release`] gives it back.
pub struct Lease<S: 'static> {
    // The order of the fields is that of their drop: the socket closes before the pool counts it as closed.
    server: Box<Server<S>>,
    ticket: Ticket<S>,
}

impl<S> Lease<S> {
    pub(crate) fn new(server: Box<Server<S>>, pool: Rc<Inner<S>>) -> Self {
        let meta = Rc::clone(server.meta());
        Lease {
            server,
            ticket: Ticket {
                pool,
                meta,
                outstanding: Cell::new(true),
            },
        }
    }

    /// Gives the connection back for others to use. Only for a connection that is clean: ReadyForQuery has been read with status idle,
    /// and nothing of its stream is outstanding.
    pub fn release(self) {
        let now = self.ticket.pool.now();
        self.release_at(now);
    }

    /// The same for a caller who knows the time.
    pub fn release_at(self, now: Mono) {
        let Lease { server, ticket } = self;
        ticket.outstanding.set(false);
        ticket.pool.take_back(server, now);
    }

    /// Closes the connection. The same as dropping the lease, said aloud.
    pub fn close(self) {
        drop(self);
    }
}

impl<S> Deref for Lease<S> {
    type Target = Server<S>;

    #[inline]
    fn deref(&self) -> &Server<S> {
        &self.server
    }
}

impl<S> DerefMut for Lease<S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Server<S> {
        &mut self.server
    }
}

impl<S> fmt::Debug for Lease<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("info", &self.server.info())
            .finish_non_exhaustive()
    }
}

/// Tells the pool that a lent connection is gone, unless it was given back.
struct Ticket<S: 'static> {
    pool: Rc<Inner<S>>,
    meta: Rc<Meta>,
    outstanding: Cell<bool>,
}

impl<S> Drop for Ticket<S> {
    fn drop(&mut self) {
        if self.outstanding.get() {
            self.pool.note_lost(&self.meta);
        }
    }
}
