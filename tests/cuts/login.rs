//! Logins cut at every byte: the client's to Ringway, and Ringway's to the server; in clear and by TLS, with SCRAM.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use cluster::{Postgres, PostgresSpec, Programs, Ringway};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tests::{Reply, Session, Target, only_shard};
use tokio::runtime::Runtime;

use crate::backend::step;
use crate::relay::{Direction, Harm, Relay};
use crate::scene::{ANSWERED, SOON, eventually, first_error, rows, target};

const USER: &str = "shop";
const ADMIN: &str = "admin";
/// What every login ends with.
const QUESTION: &str = "SELECT 40 + 2";
const ANSWER: &str = "42";
/// What a client may be told of a server that went away while it was logged in to.
const LOST: [&str; 3] = ["08006", "57P01", "57P03"];

/// How both sides of Ringway are spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encryption {
    Clear,
    Tls,
}

/// A server, a relay before it, Ringway, and a relay before that.
struct Doors {
    encryption: Encryption,
    /// Before Ringway.
    front: Relay,
    ringway: Ringway,
    /// Before the server.
    back: Relay,
    admin: Mutex<Session>,
    _server: Postgres,
    _folder: TempDir,
    _runtime: Runtime,
}

impl Doors {
    fn open(encryption: Encryption) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let folder = tempfile::tempdir()?;
        let spec = PostgresSpec::new("cuts-login")
            .role(USER, USER, "")
            .database(USER, USER);
        let server = runtime.block_on(Box::pin(Postgres::start(spec)))?;
        certificate(folder.path(), None)?;
        if encryption == Encryption::Tls {
            certificate(&server.data(), Some(&server.data()))?;
            runtime.block_on(server.configure(&[("ssl", "on")]))?;
        }
        let back = Relay::start(server.port(), None)?;
        let configuration =
            |port, http_port| configuration(port, http_port, back.port(), encryption, folder.path());
        let started = Ringway::start_alone("ringway-login-cuts", tests::ringway()?, configuration);
        let ringway = runtime.block_on(Box::pin(started))?;
        let front = Relay::start(ringway.port(), None)?;
        let admin = Session::connect(&target(ringway.port(), ADMIN, "ringway"))?;
        Ok(Self {
            encryption,
            front,
            ringway,
            back,
            admin: Mutex::new(admin),
            _server: server,
            _folder: folder,
            _runtime: runtime,
        })
    }

    fn target(&self, port: u16) -> Target {
        target(port, USER, USER)
    }

    fn count(&self, what: &str) -> Result<usize> {
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(rows(&admin.simple(&format!("SHOW {what}"), None)?)?.len())
    }

    /// Waits until a SHOW has so many rows.
    fn until(&self, what: &str, count: usize) -> Result<()> {
        eventually(what, || {
            let found = self.count(what)?;
            Ok(if found == count {
                vec![]
            } else {
                vec![format!("{found} instead of {count}")]
            })
        })
    }

    /// Nothing is wrong with Ringway: it serves, once it has tried the server again.
    fn well(&self) -> Result<()> {
        eventually("served", || {
            let said = ask(self)?;
            Ok(if said == ANSWER { vec![] } else { vec![said] })
        })?;
        let log = self.ringway.log_tail(200);
        ensure!(!log.contains("panicked"), "Ringway has panicked:\n{log}");
        Ok(())
    }

    /// Logs in by the front and asks the question; what came of it.
    fn log_in(&self) -> Result<String> {
        let port = self.front.port();
        match self.encryption {
            Encryption::Clear => {
                let mut session = match Session::connect(&self.target(port)) {
                    Ok(session) => session,
                    Err(_) => return Ok("no login".to_owned()),
                };
                let Ok(replies) = session.simple(QUESTION, None) else {
                    return Ok("no answer".to_owned());
                };
                session.close();
                Ok(match rows(&replies) {
                    Ok(found) if found == [[ANSWER]] => "answered".to_owned(),
                    Ok(_) if replies.last() == Some(&Reply::Gone) => "no answer".to_owned(),
                    Ok(found) => bail!("{found:?}"),
                    Err(_) => "an error".to_owned(),
                })
            }
            Encryption::Tls => psql(port),
        }
    }
}

/// By libpq and TLS.
fn psql(port: u16) -> Result<String> {
    let connection = format!("host=127.0.0.1 port={port} user={USER} dbname={USER} sslmode=require");
    let output = Command::new("timeout")
        .args([&SOON.as_secs().to_string()])
        .arg(Programs::postgres()?.join("psql"))
        .args(["-X", "-A", "-t", "-c", QUESTION, &connection])
        .env("PGPASSWORD", USER)
        .env("PGGSSENCMODE", "disable")
        .stdin(Stdio::null())
        .output()
        .context("psql could not be started")?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.code() {
        Some(0) if said == ANSWER => Ok("answered".to_owned()),
        Some(1 | 2) if said.is_empty() => Ok("no answer".to_owned()),
        other => bail!("psql: {other:?}, {output:?}"),
    }
}

/// A certificate that signs itself, and its key, in a folder that `owner` owns.
fn certificate(folder: &Path, owner: Option<&Path>) -> Result<()> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    for (name, pem) in [
        ("server.crt", certificate.self_signed(&key)?.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        let file = folder.join(name);
        fs::write(&file, pem)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        if let Some(owner) = owner {
            let owner = fs::metadata(owner)?;
            chown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

fn configuration(port: u16, http_port: u16, back: u16, encryption: Encryption, folder: &Path) -> String {
    let folder = folder.display();
    let server = match encryption {
        Encryption::Clear => "disable",
        Encryption::Tls => "require",
    };
    format!(
        r#"region = "here"
[listen]
port = {port}
http_port = {http_port}
client_tls_sslmode = "allow"
client_tls_cert_file = "{folder}/server.crt"
client_tls_key_file = "{folder}/server.key"
[auth]
admin_users = ["{ADMIN}"]
[[user]]
name = "{USER}"
password = "{USER}"
[[user]]
name = "{ADMIN}"
password = "{ADMIN}"
[pool]
default_pool_size = 2
server_login_retry = "100ms"
server_connect_timeout = "2s"
[limits]
query_wait_timeout = "3s"
client_login_timeout = "3s"
[[database]]
name = "{USER}"
{shard}server_tls_sslmode = "{server}"
"#,
        shard = only_shard("127.0.0.1", back),
    )
}

/// How many cuts there were, and what came of them.
type Tally = (usize, BTreeMap<String, usize>);

/// The client's login cut at every byte, in both directions.
fn cut_in_front(doors: &Doors) -> Result<Tally> {
    let (mut cuts, mut told) = (0, BTreeMap::new());
    doors.well()?;
    for direction in Direction::BOTH {
        let mut after = 0;
        loop {
            let place = || format!("cut after byte {after} {direction:?}");
            doors.front.plan(direction, after, Harm::Cut);
            let began = Instant::now();
            let came = doors.log_in().with_context(place)?;
            ensure!(began.elapsed() < ANSWERED, "{}: {:?}", place(), began.elapsed());
            let cut = doors.front.relent();
            ensure!(cut || came == "answered", "{}: {came}", place());
            *told.entry(came).or_default() += 1;
            // Only the admin is left: whoever was cut has gone.
            doors.until("CLIENTS", 1).with_context(place)?;
            if !cut {
                break;
            }
            cuts += 1;
            after += step();
        }
        doors.well()?;
    }
    Ok((cuts, told))
}

/// Each of these cuts takes a while: Ringway doesn't try a server that fails at once again.
fn stride() -> u64 {
    if step() == 1 { 1 } else { 3 * step() }
}

/// Ringway's login to the server cut at every byte, in both directions: the client is told so, or served by another try.
fn cut_behind(doors: &Doors) -> Result<Tally> {
    let (mut cuts, mut told) = (0, BTreeMap::new());
    for direction in Direction::BOTH {
        let mut after = 0;
        loop {
            let place = || format!("cut after byte {after} {direction:?}");
            doors.back.cut_all();
            doors.until("SERVERS", 0).with_context(place)?;
            doors.back.plan(direction, after, Harm::Cut);
            let began = Instant::now();
            let came = ask(doors).with_context(place)?;
            ensure!(began.elapsed() < ANSWERED, "{}: {:?}", place(), began.elapsed());
            let cut = doors.back.relent();
            ensure!(cut || came == ANSWER, "{}: {came}", place());
            *told.entry(came).or_default() += 1;
            doors.well().with_context(place)?;
            if !cut {
                break;
            }
            cuts += 1;
            after += stride();
        }
    }
    doors.until("CLIENTS", 1)?;
    Ok((cuts, told))
}

/// What a client is told: the answer, or an SQLSTATE.
fn ask(doors: &Doors) -> Result<String> {
    let mut session = match Session::connect(&doors.target(doors.ringway.port())) {
        Ok(session) => session,
        // The greeting needs what a server says of itself.
        Err(refused) => {
            let refused = format!("{refused:#}");
            let code = LOST.iter().find(|code| refused.contains(**code));
            return code.map(|code| format!("login {code}")).context(refused);
        }
    };
    let replies = session.simple(QUESTION, None)?;
    if let Some(fault) = first_error(&replies) {
        ensure!(LOST.contains(&fault.code.as_str()), "{fault}");
        return Ok(fault.code.clone());
    }
    let found = rows(&replies)?;
    ensure!(found == [[ANSWER]], "{found:?}");
    session.close();
    Ok(ANSWER.to_owned())
}

fn cuts(encryption: Encryption) -> Result<()> {
    let doors = Doors::open(encryption)?;
    for (side, cut) in [
        ("in front", cut_in_front as fn(&Doors) -> Result<Tally>),
        ("behind", cut_behind),
    ] {
        let (cuts, told) = cut(&doors).with_context(|| doors.ringway.log_tail(15))?;
        ensure!(cuts > 0);
        println!("{encryption:?}, {side}: {cuts} cuts, {told:?}");
    }
    Ok(())
}

/// A server connection that is lost at a login had nothing of the client's on it: another one does as well, and the client
/// hears of neither.
#[test]
fn a_login_is_tried_again_on_another_connection() -> Result<()> {
    let doors = Doors::open(Encryption::Clear)?;
    doors.well()?;
    for (round, direction) in [Direction::ToServer, Direction::ToProxy].into_iter().enumerate() {
        // The connection that rests in the pool is the one that is lost.
        doors.until("SERVERS", 1)?;
        doors.back.plan(direction, 0, Harm::Cut);
        // What clients of a kind are told is remembered: this one is the first of its kind.
        let name = format!("kind {round}");
        let mut session = Session::connect_as(&doors.target(doors.ringway.port()), &name)
            .with_context(|| format!("{direction:?}"))?;
        ensure!(doors.back.relent(), "{direction:?}: nothing was lost");
        let found = rows(&session.simple("SHOW application_name", None)?)?;
        ensure!(found == [[name]], "{direction:?}: {found:?}");
        session.close();
    }
    Ok(())
}

#[test]
fn logins_in_clear() -> Result<()> {
    cuts(Encryption::Clear)
}

#[test]
fn logins_by_tls() -> Result<()> {
    cuts(Encryption::Tls)
}
