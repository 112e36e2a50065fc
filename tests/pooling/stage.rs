//! One PostgreSQL; before it, for each test, a Ringway and a PgBouncer with the same settings and a database each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use cluster::{PgBouncer, PgBouncerSpec, PostgresSpec, Ringway};
use tests::{Console, Ports, Reply, Server, Session, Shared, Target, eventually, only_shard};

/// A role; the other one may have settings of its own.
pub(crate) const ALICE: &str = "alice";
/// The role to which settings of a user belong.
pub(crate) const BOB: &str = "bob";

/// A setting's value, which the two write differently.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    /// A number or a word.
    Plain(&'static str),
    /// A time.
    Ms(u64),
    /// SQL.
    Sql(&'static str),
    /// On.
    Yes,
}

/// Settings by PgBouncer's names, which are Ringway's.
pub(crate) type Settings = &'static [(&'static str, Value)];

/// How a pooler is set up.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Spec {
    /// Of Ringway's section `pool`.
    pub(crate) pool: Settings,
    /// Of Ringway's section `limits`.
    pub(crate) limits: Settings,
    /// Of the first database.
    pub(crate) database: Settings,
    /// Of [`BOB`].
    pub(crate) user: Settings,
}

/// Which pooler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ringway,
    PgBouncer,
}

/// A pooler. Dropping it ends it.
pub(crate) struct Pooler {
    pub(crate) kind: Kind,
    process: Process,
    server: Arc<Server>,
    database: String,
}

enum Process {
    Ringway(Box<Ringway>),
    PgBouncer(Box<PgBouncer>),
}

static SERVER: Shared<Server> = Shared::new();
/// Each pooler's databases have a number of their own.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Plays a scene on both poolers, which are as `spec` says.
pub(crate) fn on_both(spec: &Spec, scene: impl Fn(&Pooler) -> Result<()> + Sync) -> Result<()> {
    let play = |kind| {
        let pooler = Pooler::start(kind, spec)?;
        scene(&pooler).with_context(|| format!("on {kind:?}:\n{}", pooler.log()))
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| play(Kind::PgBouncer));
        let ours = play(Kind::Ringway);
        let theirs = other
            .join()
            .map_err(|_| anyhow!("the scene on PgBouncer panicked"))?;
        ours.and(theirs)
    })
}

/// Plays a scene that only Ringway knows.
pub(crate) fn on_ringway(spec: &Spec, scene: impl Fn(&Pooler) -> Result<()>) -> Result<()> {
    let pooler = Pooler::start(Kind::Ringway, spec)?;
    scene(&pooler).with_context(|| pooler.log())
}

fn server() -> Result<Arc<Server>> {
    Server::shared(&SERVER, || {
        PostgresSpec::new("pooling")
            .role(ALICE, "alice's", "")
            .role(BOB, "bob's", "")
            .setting("max_connections", "200")
    })
}

impl Pooler {
    fn start(kind: Kind, spec: &Spec) -> Result<Self> {
        let server = server()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let database = format!("pooled_{number}");
        for name in [database.clone(), other_name(&database)] {
            server.run("postgres", &format!("CREATE DATABASE {name}"))?;
            server.run(
                &name,
                "CREATE TABLE kept (id serial PRIMARY KEY, note text); CREATE SEQUENCE runs;
                 CREATE TABLE sound (yes bool); INSERT INTO sound VALUES (true);
                 GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC",
            )?;
        }
        let process = match kind {
            Kind::Ringway => {
                let configuration = |ports| configuration(ports, &database, spec);
                Process::Ringway(Box::new(server.ringway("pooling", configuration)?))
            }
            Kind::PgBouncer => {
                let started = bouncer(&server, &database, spec);
                Process::PgBouncer(Box::new(started?))
            }
        };
        Ok(Self {
            kind,
            process,
            server,
            database,
        })
    }

    fn port(&self) -> u16 {
        match &self.process {
            Process::Ringway(ringway) => ringway.port(),
            Process::PgBouncer(bouncer) => bouncer.port(),
        }
    }

    fn log(&self) -> String {
        match &self.process {
            Process::Ringway(ringway) => ringway.log_tail(30),
            Process::PgBouncer(bouncer) => bouncer.log_tail(30),
        }
    }

    /// A Ringway with default settings before another server.
    pub(crate) fn ringway_before(&self, server: u16) -> Result<Ringway> {
        let configuration =
            |ports| configuration(Ports { server, ..ports }, &self.database, &Spec::default());
        self.server.ringway("pooling", configuration)
    }

    /// The server behind it.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The database whose settings are those of the specification.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// A database without settings of its own.
    pub(crate) fn other(&self) -> String {
        other_name(&self.database)
    }

    /// Where a role logs in.
    pub(crate) fn target(&self, role: &str, database: &str) -> Target {
        Target {
            port: self.port(),
            ..self.server.target(role, database)
        }
    }

    /// A client of [`ALICE`] on the first database.
    pub(crate) fn client(&self) -> Result<Session> {
        self.client_of(ALICE, &self.database)
    }

    /// A client.
    pub(crate) fn client_of(&self, role: &str, database: &str) -> Result<Session> {
        Session::connect(&self.target(role, database))
    }

    /// Its admin database.
    pub(crate) fn console(&self) -> Console {
        Console::new(self.target(ALICE, &self.database))
    }

    /// Waits until so many clients of the first database wait for a connection.
    pub(crate) fn until_waiting(&self, clients: usize) -> Result<()> {
        let console = self.console();
        eventually(&format!("{clients} clients wait"), || {
            let pools = console.show("POOLS")?;
            let here = pools
                .iter()
                .filter(|row| tests::get(row, "database") == Some(&self.database));
            let waiting = here.map(|row| tests::get(row, "cl_waiting").unwrap_or_default().parse::<usize>());
            Ok(waiting.sum::<Result<usize, _>>()? == clients)
        })
    }

    /// The server processes behind it, by their ids: of one database, or of both.
    pub(crate) fn backends(&self, database: Option<&str>) -> Result<Vec<String>> {
        let names = match database {
            Some(name) => format!("'{name}'"),
            None => format!("'{}', '{}'", self.database, self.other()),
        };
        let sql = format!(
            "SELECT pid::text FROM pg_stat_activity WHERE datname IN ({names}) AND usename IN ('{ALICE}', '{BOB}') ORDER BY 1"
        );
        let rows = tests::rows(&self.server.run("postgres", &sql)?)?;
        Ok(rows
            .into_iter()
            .filter_map(|row| row.into_iter().next()?.1)
            .collect())
    }

    /// How many of them are a role's.
    pub(crate) fn backends_of(&self, role: &str) -> Result<usize> {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = '{role}'"
        );
        Ok(self.beside(&sql)?.parse()?)
    }

    /// Waits until there are so many of them, in both databases.
    pub(crate) fn until_backends(&self, count: usize) -> Result<()> {
        eventually(&format!("{count} server connections"), || {
            Ok(self.backends(None)?.len() == count)
        })
    }

    /// What a query on the first database gives, past the pooler.
    pub(crate) fn beside(&self, sql: &str) -> Result<String> {
        self.server.ask(&self.database, sql)
    }
}

/// The process that serves a client.
pub(crate) fn pid(client: &mut Session) -> Result<String> {
    value(client, "SELECT pg_backend_pid()")
}

/// The first value of an answer.
pub(crate) fn value(client: &mut Session, sql: &str) -> Result<String> {
    let replies = client.simple(sql, None)?;
    Reply::value(&replies).with_context(|| format!("{sql}: {replies:?}"))
}

/// What becomes of a client that is told of an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It may go on.
    Stays,
    /// Its connection is closed.
    SentAway,
}

/// An error in the words of one pooler, and what becomes of the client.
pub(crate) type Words = (&'static str, &'static str, Fate);

/// Looks for the error of the pooler in an answer.
pub(crate) fn expect_error(pooler: &Pooler, replies: &[Reply], ours: Words, theirs: Words) -> Result<()> {
    let (code, words, fate) = match pooler.kind {
        Kind::Ringway => ours,
        Kind::PgBouncer => theirs,
    };
    let fault = Reply::fault(replies).with_context(|| format!("no error: {replies:?}"))?;
    ensure!(fault.code == code && fault.message.contains(words), "{fault}");
    let gone = !matches!(replies.last(), Some(Reply::Ready(_)));
    ensure!(gone == (fate == Fate::SentAway), "{replies:?}");
    ensure!((fault.severity == "FATAL") == gone, "{fault}");
    Ok(())
}

fn other_name(database: &str) -> String {
    format!("{database}_other")
}

fn configuration(ports: Ports, database: &str, spec: &Spec) -> String {
    let Ports { own, http, server } = ports;
    let lines = |settings: Settings| -> String {
        let line = |(key, value): &(&str, Value)| match value {
            Value::Plain(number) if number.parse::<u64>().is_ok() => format!("{key} = {number}\n"),
            Value::Plain(word) | Value::Sql(word) => format!("{key} = \"{word}\"\n"),
            Value::Ms(ms) => format!("{key} = \"{ms}ms\"\n"),
            Value::Yes => format!("{key} = true\n"),
        };
        settings.iter().map(line).collect()
    };
    let other = other_name(database);
    format!(
        r#"
region = "here"

[listen]
port = {own}
http_port = {http}

[pool]
{pool}
[limits]
{limits}
[auth]
admin_users = ["{ALICE}"]

[[user]]
name = "{ALICE}"
password = "alice's"

[[user]]
name = "{BOB}"
password = "bob's"
{user}
[[database]]
name = "{database}"
{own_settings}
[[database]]
name = "{other}"
{shard}"#,
        shard = only_shard("127.0.0.1", server),
        pool = lines(spec.pool),
        limits = lines(spec.limits),
        user = lines(spec.user),
        own_settings = lines(spec.database),
    )
}

fn bouncer(server: &Server, database: &str, spec: &Spec) -> Result<PgBouncer> {
    let pair = |(key, value): &(&str, Value)| match value {
        Value::Plain(word) => format!("{key}={word}"),
        Value::Sql(sql) => format!("{key} = {sql}"),
        Value::Yes => format!("{key} = 1"),
        Value::Ms(ms) => format!("{key}={}", Duration::from_millis(*ms).as_secs_f64()),
    };
    let pairs = |settings: Settings| settings.iter().map(pair).collect::<Vec<_>>();
    let settings = [pairs(spec.pool), pairs(spec.limits)].concat();
    let database_settings = format!("{database} = {}", pairs(spec.database).join(" "));
    let user_settings = match spec.user {
        [] => Vec::new(),
        own => vec![format!("{BOB} = {}", pairs(own).join(" "))],
    };
    let spec = PgBouncerSpec {
        roles: &[BOB],
        databases: &[database_settings],
        settings: &settings,
        users: &user_settings,
        ..PgBouncerSpec::new(ALICE, database)
    };
    Ok(server.wait(Box::pin(PgBouncer::start_with(server.postgres(), spec)))?)
}
