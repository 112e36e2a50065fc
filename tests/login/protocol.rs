//! Protocol 3.2: versions negotiated as by PostgreSQL 18, and cancel keys of variable length.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use wire::CancelKey;
use wire::backend::{BackendKeyData, ErrorFields, NegotiateProtocolVersion};
use wire::frame::{self, Scan};
use wire::frontend::Query;
use wire::startup::{ProtocolVersion, encode_cancel, encode_startup};

use crate::stage::{SOON, Stage, stage};

/// The largest answer of these tests.
const MAX_FRAME: usize = 64 * 1024;

/// A connection of raw frames.
struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    fn connect(stage: &Stage, version: ProtocolVersion, options: &[(&str, &str)]) -> Result<Self> {
        let mut packet = Vec::new();
        let own = [("user", "trusted"), ("database", "one")];
        let all = own.iter().chain(options);
        encode_startup(
            &mut packet,
            version,
            all.map(|(name, value)| (name.as_bytes(), value.as_bytes())),
        );
        let mut stream = stage.raw()?;
        stream.write_all(&packet)?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    fn next(&mut self) -> Result<Vec<u8>> {
        loop {
            match frame::scan(&self.read, MAX_FRAME) {
                Scan::Frame { len, .. } => return Ok(self.read.drain(..len).collect()),
                Scan::Malformed(error) => bail!("{error}"),
                Scan::NeedMore { .. } => {
                    let mut chunk = [0; 4096];
                    match self.stream.read(&mut chunk) {
                        Ok(n) => {
                            ensure!(n > 0, "closed");
                            self.read.extend_from_slice(&chunk[..n]);
                        }
                        // A signal, as of a child that ended.
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }

    /// Reads up to and with the first message of this type.
    fn until(&mut self, tag: u8) -> Result<Vec<u8>> {
        loop {
            let message = self.next()?;
            if message.first() == Some(&tag) {
                return Ok(message);
            }
            ensure!(
                message.first() != Some(&b'E'),
                "{}",
                String::from_utf8_lossy(&message)
            );
        }
    }

    fn key(&mut self) -> Result<CancelKey> {
        let message = self.until(b'K')?;
        let key = BackendKeyData::decode(frame::body(&message))?.to_key();
        self.until(b'Z')?;
        Ok(key)
    }

    fn query(&mut self, sql: &str) -> Result<()> {
        let mut message = Vec::new();
        Query { sql: sql.as_bytes() }.encode(&mut message);
        Ok(self.stream.write_all(&message)?)
    }
}

fn cancel(stage: &Stage, key: &CancelKey) -> Result<()> {
    let mut packet = Vec::new();
    encode_cancel(&mut packet, key);
    let mut stream = stage.raw()?;
    stream.write_all(&packet)?;
    // The close says that it was taken.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    ensure!(rest.is_empty(), "{rest:?}");
    Ok(())
}

#[test]
fn keys_are_as_long_as_the_version_allows() -> Result<()> {
    let stage = stage()?;
    let three_one = ProtocolVersion { major: 3, minor: 1 };
    for (version, length) in [
        (ProtocolVersion::V3_0, 4),
        (three_one, 4),
        (ProtocolVersion::V3_2, 32),
    ] {
        let key = Raw::connect(&stage, version, &[])?.key()?;
        assert_eq!(key.secret.len(), length, "{version:?}");
    }
    Ok(())
}

#[test]
fn who_logs_in_again_gets_another_id() -> Result<()> {
    let stage = stage()?;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(Raw::connect(&stage, ProtocolVersion::V3_0, &[])?.key()?.pid);
    }
    ensure!(!ids.contains(&0), "{ids:?}");
    ensure!(ids.iter().all(|id| *id <= i32::MAX.cast_unsigned()), "{ids:?}");
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    Ok(())
}

#[test]
fn a_name_that_is_cut_off_is_noticed_at_every_login() -> Result<()> {
    let stage = stage()?;
    let name = "n".repeat(64);
    for _ in 0..2 {
        let mut raw = Raw::connect(&stage, ProtocolVersion::V3_0, &[("application_name", &name)])?;
        let message = raw.until(b'N')?;
        let notice = ErrorFields::decode(frame::body(&message))?;
        assert_eq!(
            notice.sqlstate().map(|state| state.to_string()).as_deref(),
            Some("42622")
        );
        raw.until(b'S')?;
        raw.key()?;
    }
    Ok(())
}

#[test]
fn newer_versions_and_unknown_options_are_negotiated() -> Result<()> {
    let stage = stage()?;
    let newer = ProtocolVersion {
        major: 3,
        minor: 9999,
    };
    let mut raw = Raw::connect(&stage, newer, &[("_pq_.a", "1"), ("_pq_.b", "2")])?;
    let message = raw.until(b'v')?;
    let negotiated = NegotiateProtocolVersion::decode(frame::body(&message))?;
    assert_eq!(negotiated.version, ProtocolVersion::V3_2);
    assert_eq!(negotiated.unknown_options, [b"_pq_.a", b"_pq_.b"]);
    assert_eq!(raw.key()?.secret.len(), 32);
    // What both sides speak isn't negotiated.
    let mut raw = Raw::connect(&stage, ProtocolVersion::V3_2, &[])?;
    assert_eq!(raw.next()?.first(), Some(&b'R'));
    Ok(())
}

#[test]
fn a_long_key_cancels_and_only_the_whole_of_it() -> Result<()> {
    let stage = stage()?;
    let mut raw = Raw::connect(&stage, ProtocolVersion::V3_2, &[])?;
    let key = raw.key()?;
    raw.query("SELECT pg_sleep(60)")?;
    let running =
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
    let deadline = Instant::now() + SOON;
    while stage.straight("postgres", "postgres", "postgres", running)?.out != "1" {
        ensure!(Instant::now() < deadline, "the statement does not run");
    }
    let mut wrong = key.clone();
    if let Some(last) = wrong.secret.last_mut() {
        *last ^= 1;
    }
    cancel(&stage, &wrong)?;
    let short = CancelKey {
        pid: key.pid,
        secret: key.secret.get(..4).context("a short key")?.into(),
    };
    cancel(&stage, &short)?;
    assert_eq!(
        stage.straight("postgres", "postgres", "postgres", running)?.out,
        "1"
    );
    cancel(&stage, &key)?;
    let message = loop {
        let message = raw.next()?;
        if message.first() == Some(&b'E') {
            break message;
        }
    };
    let fields = ErrorFields::decode(frame::body(&message))?;
    assert_eq!(fields.get(b'C'), Some(&b"57014"[..]));
    raw.until(b'Z')?;
    Ok(())
}

#[test]
fn replication_is_refused_clearly() -> Result<()> {
    let stage = stage()?;
    let mut raw = Raw::connect(&stage, ProtocolVersion::V3_0, &[("replication", "database")])?;
    let message = raw.next()?;
    let fields = ErrorFields::decode(frame::body(&message))?;
    assert_eq!(fields.get(b'C'), Some(&b"0A000"[..]));
    assert_eq!(fields.message(), b"replication connections are not supported");
    Ok(())
}

/// What the server reports of its settings, a client is told: all of it, with the values that hold for it.
#[test]
fn parameters_are_reported_in_full() -> Result<()> {
    let stage = stage()?;
    let options = [
        ("options", "-c DateStyle=SQL,DMY -c TimeZone=UTC"),
        ("application_name", "me"),
    ];
    let mut ours = Raw::connect(&stage, ProtocolVersion::V3_0, &options)?;
    let mut theirs = Raw {
        stream: TcpStream::connect(("127.0.0.1", stage.postgres().port()))?,
        read: Vec::new(),
    };
    let mut packet = Vec::new();
    let own = [("user", "trusted"), ("database", "one")];
    let all = own.iter().chain(&options);
    encode_startup(
        &mut packet,
        ProtocolVersion::V3_0,
        all.map(|(name, value)| (name.as_bytes(), value.as_bytes())),
    );
    theirs.stream.set_read_timeout(Some(SOON))?;
    theirs.stream.write_all(&packet)?;
    let reported = |raw: &mut Raw| -> Result<Vec<String>> {
        let mut all = Vec::new();
        loop {
            let message = raw.next()?;
            match message.first() {
                Some(b'S') => all.push(String::from_utf8_lossy(frame::body(&message)).replace('\0', "=")),
                Some(b'Z') => break,
                Some(b'E') => bail!("{}", String::from_utf8_lossy(&message)),
                _ => {}
            }
        }
        all.sort();
        Ok(all)
    };
    assert_eq!(reported(&mut ours)?, reported(&mut theirs)?);
    Ok(())
}
