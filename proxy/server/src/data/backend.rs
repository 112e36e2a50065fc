//! A server connection while a client uses it, and what is kept about it between uses.

use crate::data::cancels::Cancels;
use crate::data::hold::PoolNotes;
use crate::reading::Choice;
use bytes::{Buf, BytesMut};
use pool::{BackendTarget, Lease};
use session::BackendState;
use session::relay::Cursor;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use topology::{EndpointId, Mono, Role, ShardId, Timeline};
use wire::CancelKey;

/// What a data thread keeps about a server connection.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// Settings and statements.
    pub(crate) session: BackendState,
    /// The server's timeline, asked on this connection while the server was a primary.
    pub(crate) timeline: Option<Timeline>,
    /// What its pool knows of clients that stay.
    notes: Rc<PoolNotes>,
    /// The client, by its number, whose statements may have used a sequence on it last.
    sequence_user: Option<u64>,
    /// Where its answers stand.
    cursor: Cursor,
    /// What was read of whole messages that nobody has taken.
    incoming: BytesMut,
    /// Bytes for the server that are not sent yet; empty between uses, with the room it had.
    unsent: BytesMut,
    /// Requests to cancel what it does.
    cancels: Rc<Cancels>,
}

impl ConnectionState {
    /// Of a connection that nobody has used.
    pub(super) fn new(notes: Rc<PoolNotes>) -> Self {
        Self {
            cancels: Rc::default(),
            session: BackendState::default(),
            timeline: None,
            notes,
            sequence_user: None,
            cursor: Cursor::default(),
            incoming: BytesMut::new(),
            unsent: BytesMut::new(),
        }
    }
}

/// A connection's buffer that grew beyond this is given up at its release.
const MAX_KEPT_BUFFER: usize = 64 << 10;

/// A server connection while a client uses it.
#[derive(Debug)]
pub(crate) struct Backend {
    lease: Lease<ConnectionState>,
    /// The shard.
    pub(crate) shard: ShardId,
    /// The server.
    pub(crate) endpoint: EndpointId,
    /// What the server was when it was chosen.
    pub(crate) role: Role,
}

impl Backend {
    /// A lent connection to the chosen server.
    pub(crate) fn new(lease: Lease<ConnectionState>, choice: &Choice) -> Self {
        Self {
            lease,
            shard: choice.shard,
            endpoint: choice.endpoint,
            role: choice.role,
        }
    }

    /// Sends as much of `bytes` as fits without waiting, if nothing is queued; the rest is queued.
    pub(crate) fn send_now(&mut self, bytes: &[u8]) {
        let server = &mut *self.lease;
        let unsent = &mut server.state.unsent;
        let sent = if unsent.is_empty() && !server.conn.stream.is_tls() {
            // An error comes again when the rest is sent.
            server.conn.stream.try_write(bytes).unwrap_or(0)
        } else {
            0
        };
        unsent.extend_from_slice(bytes.get(sent..).unwrap_or_default());
    }

    /// Sends as much of what is queued as fits without waiting.
    pub(crate) fn flush_now(&mut self) {
        let server = &mut *self.lease;
        if server.conn.stream.is_tls() {
            return;
        }
        if let Ok(sent) = server.conn.stream.try_write(&server.state.unsent) {
            server.state.unsent.advance(sent);
        }
    }

    /// Where its answers stand.
    pub(crate) fn cursor(&mut self) -> &mut Cursor {
        &mut self.lease.state.cursor
    }

    /// What was read of whole messages that nobody has taken.
    pub(crate) fn incoming(&mut self) -> &mut BytesMut {
        &mut self.lease.state.incoming
    }

    /// What a cancel request for it has to show.
    pub(super) fn cancel_key(&self) -> Option<&CancelKey> {
        self.lease.conn.key.as_ref()
    }

    /// Requests to cancel what it does.
    pub(super) fn cancels(&self) -> &Rc<Cancels> {
        &self.lease.state.cancels
    }

    /// Its number in its pool.
    pub(crate) fn id(&self) -> u64 {
        self.lease.info().id
    }

    /// What its pool knows of clients that stay.
    pub(crate) fn notes(&self) -> &Rc<PoolNotes> {
        &self.lease.state.notes
    }

    /// The client, by its number, whose statements may have used a sequence on it last; `None`: nobody's have.
    pub(crate) fn sequence_user(&self) -> Option<u64> {
        self.lease.state.sequence_user
    }

    /// A client may have used a sequence on it; `None`: it has forgotten all of them.
    pub(crate) fn set_sequence_user(&mut self, client: Option<u64>) {
        self.lease.state.sequence_user = client;
    }

    /// It was made as new by DISCARD ALL.
    pub(crate) fn forget_session(&mut self) {
        self.lease.state.session.discard_all();
        self.lease.state.sequence_user = None;
    }

    /// What is known there.
    pub(crate) fn state(&self) -> &BackendState {
        &self.lease.state.session
    }

    /// What is known there.
    pub(crate) fn state_mut(&mut self) -> &mut BackendState {
        &mut self.lease.state.session
    }

    /// Bytes for the server that are not sent yet.
    pub(crate) fn unsent(&mut self) -> &mut BytesMut {
        &mut self.lease.state.unsent
    }

    /// How many of them there are.
    pub(crate) fn unsent_len(&self) -> usize {
        self.lease.state.unsent.len()
    }

    /// Both of the above.
    pub(crate) fn state_and_unsent(&mut self) -> (&mut BackendState, &mut BytesMut) {
        let state = &mut self.lease.state;
        (&mut state.session, &mut state.unsent)
    }

    /// The server's timeline as it said itself on this connection while it was a primary.
    pub(crate) fn timeline(&self) -> Option<Timeline> {
        self.lease.state.timeline
    }

    /// The server said its timeline.
    pub(crate) fn set_timeline(&mut self, timeline: Timeline) {
        self.lease.state.timeline = Some(timeline);
    }

    /// When the connection had answered its startup.
    pub(crate) fn opened_at(&self) -> Mono {
        self.lease.conn.opened_at
    }

    /// What the server reported of its settings at the startup.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lease.conn.parameters.iter()
    }

    /// Whether nothing is under way on it.
    pub(crate) fn is_at_rest(&self) -> bool {
        let state = &self.lease.state;
        state.unsent.is_empty() && state.incoming.is_empty() && state.cursor.is_at_rest()
    }

    /// Tells the server that nothing more comes.
    pub(crate) async fn end_sending(&mut self) -> io::Result<()> {
        self.lease.conn.stream.shutdown().await
    }

    /// Gives it back to its pool; one that is in the middle of something is closed.
    pub(crate) fn release(self) {
        self.release_at(health::boot_time());
    }

    /// The same for a caller who knows the time.
    pub(crate) fn release_at(mut self, now: Mono) {
        let state = &mut self.lease.state;
        for buffer in [&mut state.unsent, &mut state.incoming] {
            if buffer.is_empty() && buffer.capacity() > MAX_KEPT_BUFFER {
                *buffer = BytesMut::new();
            }
        }
        if !self.is_at_rest() {
            self.lease.close();
        } else if self.lease.state.cancels.is_quiet() {
            self.lease.release_at(now);
        } else {
            tokio::task::spawn_local(self.release_once_quiet());
        }
    }

    /// A request to cancel what its client did must not hit who has it next.
    async fn release_once_quiet(self) {
        let cancels = Rc::clone(&self.lease.state.cancels);
        if cancels.quiet().await {
            self.lease.release();
        } else {
            self.lease.close();
        }
    }

    /// Asks the server to stop what it does on it.
    pub(crate) fn cancel(&self, target: &Rc<BackendTarget>) {
        if let Some(key) = &self.lease.conn.key {
            self.lease.state.cancels.send(Rc::clone(target), key.clone());
        }
    }

    /// Closes it.
    pub(crate) fn close(self) {
        self.lease.close();
    }

    /// Sends what is queued.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let server = &mut *self.lease;
        let (stream, unsent) = (&mut server.conn.stream, &mut server.state.unsent);
        while !unsent.is_empty() {
            let n = ready!(stream.poll_write(cx, unsent))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            unsent.advance(n);
        }
        stream.poll_flush(cx)
    }

    /// Takes in what the server has said unasked; what is whole of it comes out by [`Backend::next_unasked`].
    pub(crate) fn take_unasked(&mut self, data: &[u8]) {
        self.lease.state.cursor.carry(data);
    }

    /// The next whole message that the server has said unasked.
    pub(crate) fn next_unasked(&mut self) -> Option<Vec<u8>> {
        self.lease.state.cursor.next_whole()
    }

    /// The rest of what the server said unasked stands at the front of [`Backend::incoming`] from here on.
    pub(crate) fn expect_unasked(&mut self) {
        let state = &mut self.lease.state;
        if !state.cursor.is_at_rest() {
            state.incoming.extend_from_slice(&state.cursor.take_carry());
        }
    }

    /// Reads what the server says.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.lease.conn.stream.poll_read(cx, buffer)
    }
}
