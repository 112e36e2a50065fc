//! A TCP relay between the proxy and a server: it cuts, holds or damages the stream after a byte that the test names.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use wire::startup::StartupPacket;

/// How often a held direction looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);
/// A startup packet comes whole: nobody cuts what isn't relayed yet.
const STARTUP_BOUND: Duration = Duration::from_secs(10);
const CHUNK: usize = 16 * 1024;

/// A direction of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// From the proxy to the server.
    ToServer,
    /// From the server to the proxy.
    ToProxy,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::ToServer, Self::ToProxy];
}

/// What happens at the byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Harm {
    /// Both sides are closed.
    Cut,
    /// The same at this moment with every connection of a client, by the other relays too.
    CutAll,
    /// Nothing is passed on in this direction any more; both sides stay open.
    Hold,
    /// The byte has its highest bit changed, and the stream goes on.
    Damage,
}

/// Harm to be done to the connections of clients, once `after` more bytes have passed in a direction.
#[derive(Clone, Copy, Debug)]
struct Plan {
    direction: Direction,
    after: u64,
    harm: Harm,
}

#[derive(Debug, Default)]
struct State {
    plan: Mutex<Option<Plan>>,
    /// Bytes that passed since the plan was made.
    passed: [AtomicU64; 2],
    done: AtomicBool,
    streams: Mutex<Vec<Weak<[TcpStream; 2]>>>,
    /// The relays before the other servers.
    others: Mutex<Vec<Weak<State>>>,
    ended: AtomicBool,
}

/// A relay before one server. Dropping it closes everything.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    state: Arc<State>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Listens on a free port; what connects goes to `upstream`. Harm comes to connections of `user` alone, if one is
    /// named, not to those that the proxy makes for itself.
    pub(crate) fn start(upstream: u16, user: Option<&str>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State::default());
        let (user, shared) = (user.map(str::to_owned), Arc::clone(&state));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.ended.load(Ordering::Acquire) {
                    return;
                }
                let (user, shared) = (user.clone(), Arc::clone(&shared));
                // A connection that can't be relayed is closed, which is what its sides see.
                thread::spawn(move || relay(stream, upstream, user.as_deref(), &shared));
            }
        });
        Ok(Self { port, state })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Harm comes once `after` bytes have passed from here on.
    pub(crate) fn plan(&self, direction: Direction, after: u64, harm: Harm) {
        let mut plan = locked(&self.state.plan);
        self.state.done.store(false, Ordering::Release);
        for passed in &self.state.passed {
            passed.store(0, Ordering::Release);
        }
        *plan = Some(Plan {
            direction,
            after,
            harm,
        });
    }

    /// No harm any more: what is held goes on. Says whether the harm was done.
    pub(crate) fn relent(&self) -> bool {
        let mut plan = locked(&self.state.plan);
        *plan = None;
        self.state.done.swap(false, Ordering::AcqRel)
    }

    /// Whether the harm was done.
    pub(crate) fn is_done(&self) -> bool {
        self.state.done.load(Ordering::Acquire)
    }

    /// Closes the connections of clients.
    pub(crate) fn cut_all(&self) {
        self.state.cut_all();
    }

    /// Tells relays of each other.
    pub(crate) fn introduce(relays: &[Self]) {
        for relay in relays {
            let others = relays.iter().filter(|other| other.port != relay.port);
            *locked(&relay.state.others) = others.map(|other| Arc::downgrade(&other.state)).collect();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Release);
        self.cut_all();
        // Wakes the listener, which leaves then.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl State {
    fn cut_all(&self) {
        for streams in locked(&self.streams).drain(..) {
            if let Some(streams) = streams.upgrade() {
                close(&streams);
            }
        }
    }

    fn passed(&self, direction: Direction) -> &AtomicU64 {
        let [to_server, to_proxy] = &self.passed;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToProxy => to_proxy,
        }
    }
}

fn close(streams: &[TcpStream; 2]) {
    for stream in streams {
        // One that is closed already is as wanted.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn relay(mut proxy: TcpStream, upstream: u16, user: Option<&str>, state: &Arc<State>) -> Result<()> {
    let startup = first_packet(&mut proxy)?;
    let harmed = user.is_none_or(|user| {
        matches!(StartupPacket::decode(&startup), Ok(StartupPacket::Startup(message))
            if message.parameter(b"user") == Some(user.as_bytes()))
    });
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream))?;
    for stream in [&proxy, &server] {
        stream.set_nodelay(true)?;
    }
    let streams = Arc::new([proxy, server]);
    if harmed {
        let mut all = locked(&state.streams);
        all.retain(|streams| streams.strong_count() > 0);
        all.push(Arc::downgrade(&streams));
    }
    let state = harmed.then(|| Arc::clone(state));
    let (answers, shared) = (Arc::clone(&streams), state.clone());
    thread::spawn(move || pump(&answers, Direction::ToProxy, shared.as_deref(), &[]));
    pump(&streams, Direction::ToServer, state.as_deref(), &startup);
    Ok(())
}

/// The first packet of a connection: a request for TLS, or the startup.
fn first_packet(proxy: &mut TcpStream) -> Result<Vec<u8>> {
    proxy.set_read_timeout(Some(STARTUP_BOUND))?;
    let mut packet = vec![0; 4];
    proxy.read_exact(&mut packet)?;
    let len = <[u8; 4]>::try_from(packet.as_slice()).map(u32::from_be_bytes)?;
    packet.resize(usize::try_from(len)?.min(wire::frame::MAX_STARTUP_LEN), 0);
    proxy.read_exact(packet.get_mut(4..).context("a short packet")?)?;
    proxy.set_read_timeout(None)?;
    Ok(packet)
}

/// Passes bytes on in one direction until either side ends.
fn pump(streams: &Arc<[TcpStream; 2]>, direction: Direction, state: Option<&State>, first: &[u8]) {
    let [proxy, server] = streams.as_ref();
    let (mut from, mut to) = match direction {
        Direction::ToServer => (proxy, server),
        Direction::ToProxy => (server, proxy),
    };
    let mut chunk = vec![0; CHUNK];
    let mut pass = |bytes: &mut [u8]| match state {
        Some(state) => pass(streams, to, direction, state, bytes),
        None => to.write_all(bytes).is_ok(),
    };
    let mut going = pass(&mut first.to_vec());
    while going {
        going = match from.read(&mut chunk) {
            Ok(read @ 1..) => chunk.get_mut(..read).is_some_and(&mut pass),
            // A signal, as of a child that ended.
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Ok(_) | Err(_) => false,
        };
    }
    let _ = to.flush();
    close(streams);
}

/// Passes bytes on as the plan lets them; `false` once the connection is over.
fn pass(
    streams: &[TcpStream; 2],
    mut to: &TcpStream,
    direction: Direction,
    state: &State,
    bytes: &mut [u8],
) -> bool {
    let plan = locked(&state.plan);
    let passed = state
        .passed(direction)
        .fetch_add(bytes.len() as u64, Ordering::AcqRel);
    let due = plan
        .filter(|plan| plan.direction == direction)
        .and_then(|plan| Some((plan.harm, usize::try_from(plan.after.checked_sub(passed)?).ok()?)))
        .filter(|(_, at)| *at < bytes.len());
    let Some((harm, at)) = due else {
        // Whoever is slow to take this must not hold up other connections.
        drop(plan);
        return to.write_all(bytes).is_ok();
    };
    state.done.store(true, Ordering::Release);
    let (before, behind) = bytes.split_at_mut(at);
    match harm {
        Harm::Damage => {
            if let Some(byte) = behind.first_mut() {
                *byte ^= 0x80;
            }
            to.write_all(bytes).is_ok()
        }
        Harm::Cut => {
            let _ = to.write_all(before);
            close(streams);
            false
        }
        Harm::CutAll => {
            let _ = to.write_all(before);
            state.cut_all();
            for other in locked(&state.others).iter().filter_map(Weak::upgrade) {
                other.cut_all();
            }
            false
        }
        Harm::Hold => {
            if to.write_all(before).is_err() {
                return false;
            }
            drop(plan);
            while locked(&state.plan).is_some_and(|plan| plan.harm == Harm::Hold) {
                if state.ended.load(Ordering::Acquire) || to.take_error().is_err() {
                    return false;
                }
                thread::park_timeout(LOOK);
            }
            to.write_all(behind).is_ok()
        }
    }
}
