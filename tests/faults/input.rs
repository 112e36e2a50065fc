//! Messages that are none, and SQL that is none, of clients that are logged in.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::{Region, SHOP};
use tests::{Reply, Session, Target};
use tokio_postgres::Client;
use tokio_postgres::error::ErrorPosition;

use crate::stage::{SOON, done, embedded, first_error};

/// At once, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A frame with this length field, whatever its body.
fn frame(tag: u8, length: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![tag];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// A frame as it should be.
fn whole(tag: u8, body: &[u8]) -> Vec<u8> {
    frame(tag, i32::try_from(body.len() + 4).unwrap_or(i32::MAX), body)
}

/// The answer up to ReadyForQuery or the end of the connection.
fn answer(target: &Target, bytes: &[u8]) -> Result<Vec<Reply>> {
    let mut session = Session::connect(target)?;
    session.send_bytes(bytes)?;
    session.rest()
}

#[test]
fn what_can_not_be_a_message_gets_08p01_and_the_connection_is_closed() -> Result<()> {
    let stage = embedded()?;
    let pid = stage.us_east().pid();
    let cases: [(&str, Vec<u8>); 5] = [
        ("a length of 2 GB", frame(b'Q', i32::MAX, b"SELECT 1\0")),
        ("a length below its own", frame(b'Q', 3, b"")),
        ("a negative length", frame(b'Q', -1, b"")),
        ("an unknown type", whole(b'?', b"")),
        ("a type of the server's", whole(b'Z', b"I")),
    ];
    for (name, bytes) in cases {
        let began = Instant::now();
        let replies = answer(&stage.shop(Region::UsEast), &bytes).with_context(|| name)?;
        ensure!(began.elapsed() < AT_ONCE, "{name}: {:?}", began.elapsed());
        let Some(fault) = first_error(&replies) else {
            bail!("{name}: no error: {replies:?}")
        };
        assert_eq!(fault.code, "08P01", "{name}: {fault}");
        assert_eq!(
            replies.last(),
            Some(&Reply::Gone),
            "{name}: the connection goes on"
        );
    }
    stage.within(SOON, stage.assert_well(pid))
}

/// A message whose end is known can be passed over: PostgreSQL goes on behind it, and so does the proxy.
#[test]
fn messages_with_a_body_that_is_none_are_refused_as_by_postgresql() -> Result<()> {
    let stage = embedded()?;
    let pid = stage.us_east().pid();
    let cases: [(&str, Vec<u8>); 6] = [
        ("a query without its end", whole(b'Q', b"SELECT 1")),
        ("a query with more behind it", whole(b'Q', b"SELECT 1\0x")),
        (
            "a Parse without its end",
            [whole(b'P', b"\0SELECT 1"), whole(b'S', b"")].concat(),
        ),
        (
            "a Bind that is cut off",
            [
                whole(b'P', b"\0SELECT $1::int\0\0\0"),
                whole(b'B', b"\0\0\0\x01"),
                whole(b'S', b""),
            ]
            .concat(),
        ),
        (
            "an Execute without its row count",
            [whole(b'E', b"\0"), whole(b'S', b"")].concat(),
        ),
        (
            "a Describe of nothing",
            [whole(b'D', b"X\0"), whole(b'S', b"")].concat(),
        ),
    ];
    for (name, bytes) in cases {
        let told = |target: &Target| -> Result<(String, Option<Reply>)> {
            let replies = answer(target, &bytes).with_context(|| name)?;
            let Some(fault) = first_error(&replies) else {
                bail!("{name}: no error: {replies:?}")
            };
            Ok((fault.code.clone(), replies.last().cloned()))
        };
        let expected = told(&stage.straight())?;
        assert_eq!(expected.0, "08P01", "{name}, by PostgreSQL");
        assert_eq!(told(&stage.shop(Region::UsEast))?, expected, "{name}");
    }
    stage.within(SOON, stage.assert_well(pid))
}

#[test]
fn a_message_over_the_limit_is_refused_before_it_is_taken_in() -> Result<()> {
    let stage = embedded()?;
    let replies = answer(
        &stage.shop(Region::UsEast),
        &frame(b'Q', 2 * 1024 * 1024, b"SELECT '"),
    )?;
    let fault = first_error(&replies).context("no error")?;
    ensure!(matches!(fault.code.as_str(), "08P01" | "54000"), "{fault}");
    assert_eq!(replies.last(), Some(&Reply::Gone));
    // A long statement within the limit is one.
    let mut session = stage.connect(Region::UsEast)?;
    done(&mut session, &format!("SELECT '{}'", "x".repeat(900 * 1024)))
}

#[test]
fn random_messages_end_in_an_answer_or_a_close() -> Result<()> {
    const ROUNDS: u64 = 150;
    const TAGS: &[u8] = b"QPBDECSHFXdcfp?";
    let stage = embedded()?;
    let pid = stage.us_east().pid();
    let mut state: u64 = 0x5eed;
    let mut random = |limit: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    for round in 0..ROUNDS {
        let mut bytes = Vec::new();
        for _ in 0..=random(4) {
            let tag = TAGS[usize::try_from(random(TAGS.len() as u64))?];
            let body: Vec<u8> = (0..random(24))
                .map(|_| u8::try_from(random(256)).unwrap_or(0))
                .collect();
            bytes.extend(whole(tag, &body));
        }
        // Whatever it was, a Sync and the end of the client's side must bring it to an end.
        bytes.extend(whole(b'S', b""));
        let mut session = stage.connect(Region::UsEast)?;
        session
            .send_bytes(&bytes)
            .with_context(|| format!("round {round}"))?;
        session.finish_sending()?;
        session
            .until_closed()
            .with_context(|| format!("round {round}: {bytes:?}"))?;
    }
    stage.within(SOON, stage.assert_well(pid))
}

#[test]
fn half_a_statement_hinders_nobody() -> Result<()> {
    let stage = embedded()?;
    let pid = stage.us_east().pid();
    let mut halfway = stage.connect(Region::UsEast)?;
    halfway.send_bytes(&whole(b'Q', b"SELECT 1\0")[..7])?;
    stage.within(SOON, stage.assert_well(pid))?;
    halfway.finish_sending()?;
    halfway.until_closed().context("half a statement, and no more")?;
    stage.within(SOON, stage.assert_well(pid))
}

/// SQLSTATE, message and position of the error.
async fn fault_of(client: &Client, sql: &str, prepared: bool) -> Result<(String, String, Option<u32>)> {
    let failed = if prepared {
        client.prepare(sql).await.map(|_| ())
    } else {
        client.batch_execute(sql).await
    };
    let Err(error) = failed else {
        bail!("{sql}: no error")
    };
    let fault = error.as_db_error().with_context(|| format!("{sql}: {error}"))?;
    let position = fault.position().and_then(|position| match position {
        ErrorPosition::Original(position) => Some(*position),
        ErrorPosition::Internal { .. } => None,
    });
    Ok((
        fault.code().code().to_owned(),
        fault.message().to_owned(),
        position,
    ))
}

#[test]
fn sql_that_does_not_parse_gets_postgresqls_own_error_with_its_position() -> Result<()> {
    const WRONG: [&str; 9] = [
        "SELEC 1",
        "SELECT * FORM users",
        "SELECT 'unterminated",
        "SELECT 1 +",
        "SELECT \u{e4}\u{f6}\u{fc} FROM users WHERE )",
        "INSERT INTO users VALUES (1,",
        "SELECT /* open",
        "UPDATE users SET WHERE user_id = 1",
        "SELECT $1 $2",
    ];
    let stage = embedded()?;
    stage.within(SOON * 3, async {
        let through = stage.client().await?;
        let straight = stage.plain().connect(SHOP, SHOP).await?;
        for sql in WRONG {
            for prepared in [false, true] {
                let expected = fault_of(&straight, sql, prepared).await?;
                assert_eq!(fault_of(&through, sql, prepared).await?, expected, "{sql}");
                ensure!(expected.2.is_some(), "{sql}: PostgreSQL gives no position");
            }
        }
        // The session goes on.
        through.batch_execute("SELECT 1").await?;
        Ok(())
    })
}

#[test]
fn a_client_that_terminates_is_gone() -> Result<()> {
    let stage = embedded()?;
    let mut session = stage.connect(Region::UsEast)?;
    session.send_bytes(&whole(b'X', b""))?;
    assert_eq!(session.until_closed()?, vec![]);
    Ok(())
}
