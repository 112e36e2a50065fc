//! `ringway serve`: starts the planes in their order, waits for signals, and ends in good order.
//!
//! The ports are taken first, so that a conflict shows at once; clients are let in once the catalogs are there.

mod assemble;
mod changes;
mod ending;
mod handover;
mod inherited;
mod listeners;
mod logging;
pub(crate) mod map_file;
mod passing;
mod signals;
pub(crate) mod takeover;
mod unix_socket;

use crate::admin::Shutdown;
use crate::cli::{Exit, ServeArgs};
use crate::commands;
use crate::control::Status;
use crate::control::plane::{self, Plane};
use crate::data::listen::{ThreadCommand, run_thread};
use crate::gate::Order;
use crate::http;
use crate::metrics::Totals;
use crate::shared::Shared;
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use inherited::Inherited;
use listeners::{Bound, Listening};
use logging::LogHandle;
use passing::Meeting;
use settings::Settings;
use signals::{Signals, Told};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use takeover::{Predecessor, Taken};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Threads of the control plane.
const CONTROL_THREADS: usize = 2;
/// Commands that may wait in a data thread's mailbox; more are dropped, and whoever asked goes without.
const MAILBOX: usize = 64;
/// Orders of administrators that may wait; whoever gives more waits.
const ORDERS: usize = 16;
/// How often averages are taken: PgBouncer's `stats_period`.
const STATS_PERIOD: Duration = Duration::from_secs(60);
/// How long the publishers may take to let go of their slots.
const STOP_BOUND: Duration = Duration::from_secs(2);
/// How long tasks of the control plane may take to end.
const RUNTIME_BOUND: Duration = Duration::from_secs(1);

/// Between two looks whether the last client of a proxy that was replaced is gone.
const LINGER_LOOK: Duration = Duration::from_millis(500);

/// Runs the proxy until a signal ends it.
pub(crate) fn run(args: &ServeArgs) -> Exit {
    let settings = match commands::load_settings(&args.config.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let log = LogHandle::start(&settings.log);
    match start(settings, args, log) {
        Ok(exit) => exit,
        Err(error) => {
            tracing::error!("{error:#}");
            Exit::Failed
        }
    }
}

/// Every client and every server connection is a file: takes as many as the system lets this process have.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, open_files = limit.current, "the limit of open files can't be raised");
    }
}

/// The sockets, before clients may connect.
struct Places {
    postgres: Bound,
    web: Listening,
    /// Where a successor will connect; `None`: there can be none.
    meeting: Option<Meeting>,
    /// Whom this process replaces.
    predecessor: Option<Predecessor>,
}

impl Places {
    fn take(settings: &Settings, takeover: bool) -> Result<Self> {
        let mut inherited = Inherited::from_systemd()?;
        let taken = match takeover {
            true => takeover::ask(settings, &mut inherited)?,
            false => None,
        };
        let postgres = Bound::postgres(&settings.listen, settings.worker_threads, &mut inherited)?;
        let web = Bound::http(&settings.listen, &mut inherited)?.listen()?;
        for address in inherited.left_over() {
            tracing::warn!(
                address,
                "a socket was handed over that the configuration doesn't have"
            );
        }
        let (predecessor, meeting) = match taken {
            Some(Taken { predecessor, meeting }) => (Some(predecessor), Some(meeting)),
            None => (None, meeting(settings)),
        };
        Ok(Self {
            postgres,
            web,
            meeting,
            predecessor,
        })
    }
}

fn meeting(settings: &Settings) -> Option<Meeting> {
    Meeting::open(&handover::meeting_name(settings))
        .inspect_err(|error| tracing::warn!(%error, "`serve --takeover` won't find this process"))
        .ok()
}

fn start(settings: Settings, args: &ServeArgs, log: LogHandle) -> Result<Exit> {
    raise_file_limit();
    let places = Places::take(&settings, args.takeover)?;
    let map = Arc::new(map_file::read_or_make(&settings)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("ringway-control")
        .enable_all()
        .build()
        .context("can't start the control plane's threads")?;
    let settings = Arc::new(ArcSwap::from_pointee(settings));
    let exit = runtime.block_on(async {
        // Before anything else: a signal that comes early must not end the process half-way.
        let signals = Signals::new()?;
        let databases = plane::probe(&settings.load(), &map)?;
        let (orders, ordered) = mpsc::channel(ORDERS);
        let shared = assemble::shared(Arc::clone(&settings), &databases, &map, orders)?;
        let process = Process {
            plane: Plane::start(&settings, databases)?,
            shared,
            file: args.config.config.clone(),
            log,
            http: JoinSet::new(),
            orders: ordered,
        };
        Box::pin(process.live(signals, places)).await
    });
    end(runtime);
    exit
}

fn end(runtime: Runtime) {
    runtime.shutdown_timeout(RUNTIME_BOUND);
}

/// A data thread that ended, and how.
type Ended = (usize, io::Result<()>);

fn gone(thread: Option<Ended>) -> anyhow::Error {
    let (index, result) = thread.unwrap_or((0, Ok(())));
    let why = result
        .err()
        .map_or_else(|| "it ended by itself".to_owned(), |error| error.to_string());
    anyhow::anyhow!("data thread {index} is gone: {why}")
}

/// The proxy while it lives.
struct Process {
    shared: Arc<Shared>,
    plane: Plane,
    file: PathBuf,
    log: LogHandle,
    http: JoinSet<()>,
    orders: mpsc::Receiver<Order>,
}

/// The sockets that clients connect to, and who may ask for them.
struct Open {
    postgres: Listening,
    web: Listening,
    requests: mpsc::Receiver<handover::Request>,
}

impl Open {
    /// Everything that a successor needs, with what is said of it.
    fn share(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let mut shared = Vec::new();
        for (address, socket) in self.postgres.sockets().iter().chain(self.web.sockets()) {
            shared.push((
                format!("{}{address}", handover::SOCKET),
                socket.try_clone()?.into(),
            ));
        }
        for file in self.postgres.files() {
            let text = format!("{}{}", handover::LOCK, file.path().display());
            shared.push((text, file.lock().try_clone()?.into()));
        }
        Ok(shared)
    }
}

/// Why the proxy ends.
enum End {
    /// It was told to, and how.
    Told(Shutdown),
    /// Another process has taken its place.
    Replaced,
}

impl Process {
    async fn live(mut self, mut signals: Signals, places: Places) -> Result<Exit> {
        if places.predecessor.is_none() {
            self.serve_http(&places.web)?;
        }
        tokio::select! {
            () = self.catalogs() => {}
            () = signals.stop() => {
                tracing::info!("stopped before the first catalog was read");
                return Ok(Exit::Done);
            }
        }
        let postgres = places.postgres.listen()?;
        let mut ended = self.start_threads(&postgres)?;
        self.shared.serving.store(true, Ordering::Release);
        if let Some(predecessor) = places.predecessor {
            self.relieve(predecessor).await;
            self.serve_http(&places.web)?;
        }
        let settings = self.shared.settings.load_full();
        tracing::info!(postgres = %postgres.addresses(), http = %settings.listen.http, region = %settings.region, "ready");
        let requests = match places.meeting {
            Some(meeting) => handover::wait(meeting, &self.shared)?,
            None => mpsc::channel(1).1,
        };
        let open = Open {
            postgres,
            web: places.web,
            requests,
        };
        let how = match self.serve(&mut signals, &mut ended, open).await? {
            End::Told(how) => how,
            End::Replaced => {
                let bound = self.shared.settings.load().limits.takeover_timeout;
                tracing::info!(?bound, "replaced; the clients that are here may stay");
                self.linger(bound, &mut signals, &mut ended).await?
            }
        };
        self.end(how, &mut signals, &mut ended).await?;
        self.plane.stop(STOP_BOUND).await;
        Ok(Exit::Done)
    }

    /// Until the proxy is told to end, or replaced.
    async fn serve(
        &mut self,
        signals: &mut Signals,
        ended: &mut mpsc::Receiver<Ended>,
        mut open: Open,
    ) -> Result<End> {
        let mut period = interval_at(Instant::now() + STATS_PERIOD, STATS_PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                told = signals.next() => match told {
                    // What nobody accepts any more is refused.
                    Told::Stop => return Ok(End::Told(Shutdown::WaitForServers)),
                    // What is wrong is in the log.
                    Told::Reload => drop(self.reload()),
                },
                Some(order) = self.orders.recv() => if let Some(how) = self.carry_out(order) {
                    return Ok(End::Told(how));
                },
                _ = period.tick() => self.turn_period(),
                thread = ended.recv() => return Err(gone(thread)),
                Some(request) = open.requests.recv() => match request {
                    // Whoever asked may have gone.
                    handover::Request::Sockets(reply) => drop(reply.send(open.share())),
                    handover::Request::Release(reply) => {
                        self.stop_accepting().await;
                        open.postgres.give_away();
                        let _ = reply.send(());
                        return Ok(End::Replaced);
                    }
                },
            }
        }
    }

    /// This process accepts clients: the one before it need not, and gives up what only one can have.
    async fn relieve(&self, predecessor: Predecessor) {
        let predecessor = Arc::new(predecessor);
        let asked = Arc::clone(&predecessor);
        let relieved = tokio::task::spawn_blocking(move || asked.relieve()).await;
        match relieved.map_err(anyhow::Error::from).flatten() {
            Ok(()) => tracing::info!("took over; the clients of the process before this stay with it"),
            // Its sockets are here, so nobody is refused by its end.
            Err(error) => return tracing::warn!("the process before this is gone: {error:#}"),
        }
        let shared = Arc::clone(&self.shared);
        let gone = move || {
            shared.predecessor.store(None);
            tracing::info!("the process before this has ended");
        };
        match Predecessor::watch(&predecessor, gone) {
            Ok(()) => self.shared.predecessor.store(Some(predecessor)),
            Err(error) => tracing::warn!(%error, "cancel requests are not passed on"),
        }
    }

    /// Another process accepts clients.
    async fn stop_accepting(&mut self) {
        self.close_doors().await;
        self.http.abort_all();
        self.plane.release_streams(STOP_BOUND).await;
    }

    /// The data threads accept nothing more. What they have accepted until then is counted.
    async fn close_doors(&self) {
        let (done, mut all_done) = mpsc::channel(1);
        for mailbox in self.mailboxes() {
            // A thread that is gone accepts nothing.
            let _ = mailbox.send(ThreadCommand::StopAccepting(done.clone())).await;
        }
        drop(done);
        while all_done.recv().await.is_some() {}
    }

    /// Serves the clients there are, until the last one leaves or the time is over.
    async fn linger(
        &mut self,
        bound: Option<Duration>,
        signals: &mut Signals,
        ended: &mut mpsc::Receiver<Ended>,
    ) -> Result<Shutdown> {
        let deadline = bound.and_then(|bound| Instant::now().checked_add(bound));
        let over = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        let mut look = interval_at(Instant::now(), LINGER_LOOK);
        loop {
            tokio::select! {
                () = &mut over => return Ok(Shutdown::WaitForServers),
                told = signals.next() => match told {
                    Told::Stop => return Ok(Shutdown::WaitForServers),
                    // What is wrong is in the log.
                    Told::Reload => drop(self.reload()),
                },
                Some(order) = self.orders.recv() => match self.carry_out(order) {
                    // That is what happens.
                    None | Some(Shutdown::WaitForClients) => {}
                    Some(how) => return Ok(how),
                },
                thread = ended.recv() => return Err(gone(thread)),
                _ = look.tick() => if self.is_deserted() { return Ok(Shutdown::WaitForServers) },
            }
        }
    }

    /// Nobody is here, and nobody is about to be.
    fn is_deserted(&self) -> bool {
        let shared = &self.shared;
        // In this order: a login that is over by now has become a client before.
        shared.logins.load(Ordering::Acquire) == 0 && shared.clients.load(Ordering::Acquire) == 0
    }

    fn serve_http(&mut self, web: &Listening) -> Result<()> {
        for (_, socket) in web.sockets() {
            let socket = socket.try_clone()?;
            socket.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(socket.into())?;
            let router = http::router(Arc::new(Status(Arc::clone(&self.shared))));
            self.http.spawn(async move {
                if let Err(error) = axum::serve(listener, router).await {
                    tracing::error!(%error, "HTTP ended");
                }
            });
        }
        Ok(())
    }

    /// Statements can't be planned without a catalog: until then nobody is let in.
    async fn catalogs(&self) {
        for database in &self.shared.databases {
            database.first_catalog().await;
        }
    }

    fn start_threads(&self, postgres: &Listening) -> Result<mpsc::Receiver<Ended>> {
        let doors = postgres.doors(self.shared.stats.len())?;
        let (tell, ended) = mpsc::channel(doors.len());
        let (mailboxes, receivers): (Vec<_>, Vec<_>) = doors.iter().map(|_| mpsc::channel(MAILBOX)).unzip();
        // Before the first client comes, whose cancel request may have to go to another thread.
        if self.shared.threads.set(mailboxes).is_err() {
            anyhow::bail!("the data threads were started twice");
        }
        let parts = doors.into_iter().zip(receivers).zip(&self.shared.stats);
        for (index, ((doors, commands), stats)) in parts.enumerate() {
            let (shared, stats, tell) = (Arc::clone(&self.shared), Arc::clone(stats), tell.clone());
            std::thread::Builder::new()
                .name(format!("ringway-data-{index}"))
                .spawn(move || {
                    let result = run_thread(shared, index, stats, doors, commands);
                    // Nobody listens once the process ends anyway.
                    let _ = tell.try_send((index, result));
                })
                .context("can't start a data thread")?;
        }
        Ok(ended)
    }

    fn turn_period(&self) {
        let idle = self.shared.settings.load().limits.autodb_idle_timeout;
        self.shared.wildcards.sweep(idle, health::boot_time());
        let totals = Totals::of(self.shared.stats.iter().map(AsRef::as_ref));
        let mut period = self.shared.period.lock().unwrap_or_else(PoisonError::into_inner);
        period.turn(health::boot_time(), totals);
    }

    fn mailboxes(&self) -> &[mpsc::Sender<ThreadCommand>] {
        self.shared.threads.get().map(Vec::as_slice).unwrap_or_default()
    }
}
