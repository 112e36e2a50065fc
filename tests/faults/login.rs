//! Logins that must be refused, and connections that never get so far.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::SHOP;
use tests::Target;
use tokio_postgres::{Config, NoTls};

use crate::stage::{LOGIN_WAIT, SOON, embedded, told};

/// At once, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);
/// What a proxy's memory may differ by between two looks without anything having been kept.
const NOISE_KIB: u64 = 16 * 1024;

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(stream)
}

/// What the proxy still says until it closes.
fn last_words(mut stream: TcpStream) -> Result<Vec<u8>> {
    let mut words = Vec::new();
    match stream.read_to_end(&mut words) {
        Ok(_) => Ok(words),
        // Closed with something of ours unread.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(words),
        Err(error) => Err(error).context("the proxy does not close the connection"),
    }
}

/// The proxy's resident memory.
fn resident_kib(pid: Option<i32>) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.context("not running")?))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[test]
fn a_length_of_2_gb_in_the_first_packet_is_refused_at_once_and_keeps_no_memory() -> Result<()> {
    let stage = embedded()?;
    let pid = stage.us_east().pid();
    let before = resident_kib(pid)?;
    for length in [i32::MAX, 0x7f00_0000, 20_000, 0x0001_0000] {
        let mut stream = connect(stage.us_east().port())?;
        let began = Instant::now();
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&196_608_i32.to_be_bytes())?;
        let words = last_words(stream)?;
        ensure!(
            began.elapsed() < AT_ONCE,
            "length {length}: {:?}",
            began.elapsed()
        );
        // As PostgreSQL: whoever doesn't speak the protocol gets no answer in it.
        let mut plain = connect(stage.plain().port())?;
        plain.write_all(&length.to_be_bytes())?;
        plain.write_all(&196_608_i32.to_be_bytes())?;
        assert_eq!(words, last_words(plain)?, "length {length}");
    }
    // What comes behind such a length isn't taken in, however many try.
    let flood = vec![b'x'; 1024 * 1024];
    for _ in 0..32 {
        let mut stream = connect(stage.us_east().port())?;
        stream.write_all(&i32::MAX.to_be_bytes())?;
        // The proxy may have closed before all of it is sent.
        let _ = stream.write_all(&flood);
        last_words(stream)?;
    }
    let grown = resident_kib(pid)?.saturating_sub(before);
    ensure!(grown < NOISE_KIB, "memory grew by {grown} KiB");
    stage.within(SOON, stage.assert_well(pid))
}

#[test]
fn first_packets_that_are_none_are_refused_at_once() -> Result<()> {
    let stage = embedded()?;
    let pid = stage.us_east().pid();
    let startup = |version: i32, rest: &[u8]| {
        let mut packet = i32::try_from(rest.len() + 8)
            .unwrap_or(i32::MAX)
            .to_be_bytes()
            .to_vec();
        packet.extend_from_slice(&version.to_be_bytes());
        packet.extend_from_slice(rest);
        packet
    };
    let packets: [(&str, Vec<u8>); 8] = [
        ("a length of 0", vec![0; 8]),
        ("a negative length", vec![0xff; 8]),
        ("a length below its own", vec![0, 0, 0, 3, 0, 3, 0, 0]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        (
            "a TLS ClientHello without being asked",
            vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        ),
        ("protocol 2.0", startup(2 << 16, b"\0")),
        ("a parameter without its end", startup(3 << 16, b"user\0shop")),
        ("no user", startup(3 << 16, b"database\0shop\0\0")),
    ];
    for (name, packet) in packets {
        let mut stream = connect(stage.us_east().port())?;
        let began = Instant::now();
        stream.write_all(&packet)?;
        last_words(stream).with_context(|| name)?;
        ensure!(began.elapsed() < AT_ONCE, "{name}: {:?}", began.elapsed());
    }
    stage.within(SOON, stage.assert_well(pid))
}

#[test]
fn a_half_open_client_is_sent_away_after_client_login_timeout_and_hinders_nobody() -> Result<()> {
    let stage = embedded()?;
    let pid = stage.us_east().pid();
    let began = Instant::now();
    let silent = connect(stage.us_east().port())?;
    let mut halfway = connect(stage.us_east().port())?;
    halfway.write_all(&[0, 0, 0, 40, 0, 3])?;
    // Asks for TLS and never says anything again.
    let mut asked = connect(stage.us_east().port())?;
    asked.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
    stage
        .within(SOON, stage.assert_well(pid))
        .context("beside half-open clients")?;
    for stream in [silent, halfway, asked] {
        last_words(stream)?;
    }
    let lasted = began.elapsed();
    ensure!(
        lasted + Duration::from_millis(200) > LOGIN_WAIT,
        "sent away after {lasted:?} already"
    );
    // And one that closes its side in the middle of the login.
    let mut left = connect(stage.us_east().port())?;
    left.write_all(&[0, 0, 0, 40, 0, 3])?;
    left.shutdown(Shutdown::Write)?;
    last_words(left)?;
    stage.within(SOON, stage.assert_well(pid))
}

async fn refusal(target: &Target) -> Result<(String, String)> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(target.port)
        .user(&target.user)
        .dbname(&target.database);
    config.password(&target.password);
    told(config.connect(NoTls).await.map(|_| "a login"))
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_refused_alike() -> Result<()> {
    let stage = embedded()?;
    let good = stage.shop(cluster::Region::UsEast);
    let wrong = Target {
        password: "wrong".to_owned(),
        ..good.clone()
    };
    let empty = Target {
        password: " ".to_owned(),
        ..good.clone()
    };
    let unknown = Target {
        user: "nobody".to_owned(),
        ..good.clone()
    };
    for target in [&wrong, &empty, &unknown] {
        let (code, message) = stage.within(SOON, refusal(target))?;
        assert_eq!(code, "28P01", "{message}");
        assert_eq!(
            message,
            format!("password authentication failed for user \"{}\"", target.user)
        );
    }
    stage.within(SOON, stage.assert_well(stage.us_east().pid()))
}

#[test]
fn an_unknown_database_is_refused() -> Result<()> {
    let stage = embedded()?;
    for database in ["nothing", "postgres", "shop; DROP TABLE users"] {
        let target = Target {
            database: database.to_owned(),
            ..stage.shop(cluster::Region::UsEast)
        };
        let (code, message) = stage.within(SOON, refusal(&target))?;
        assert_eq!(code, "3D000", "{message}");
        assert_eq!(message, format!("database \"{database}\" does not exist"));
    }
    // Who may not look into the admin database isn't let in; the shop is in stats_users.
    let client = stage.within(SOON, async {
        Ok(stage.us_east().connect(SHOP, "ringway").await?)
    })?;
    let shutdown = stage.within(SOON, async { told(client.simple_query("SHUTDOWN").await) })?;
    assert_eq!(shutdown.0, "42501", "{}", shutdown.1);
    Ok(())
}
