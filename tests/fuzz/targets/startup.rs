//! Packets from before authentication, the handshake's state machine, and SCRAM inside of it.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use anyhow::{Result, ensure};
use session::scram::{NONCE_LEN, ScramSecret};
use session::startup::{Action, BindingPolicy, Credential, Startup, StoredPassword, TlsOffer};
use wire::CancelKey;
use wire::frame::{MAX_STARTUP_LEN, StartupScan, scan_startup};
use wire::frontend::{SaslInitialResponse, SaslResponse};
use wire::startup::{ProtocolVersion, StartupPacket, encode_cancel, encode_ssl_request, encode_startup};

use crate::mutate::Shape;
use crate::target::{Script, Target, Trace, variant};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("startup-packet", packet, packets)
        .words(WORDS)
        .weight(8)
        .memory(512, 8),
    Target::new("startup", startup, handshakes)
        .words(WORDS)
        .weight(12)
        .memory(16 * 1024, 64),
    Target::new("scram", scram, exchanges)
        .words(WORDS)
        .weight(6)
        .memory(16 * 1024, 64),
    Target::new("scram-secret", secret, secrets)
        .shape(Shape::Text)
        .words(WORDS)
        .weight(2)
        .memory(1024, 8),
];

const WORDS: &[&str] = &[
    "\0",
    "user\0",
    "database\0",
    "options\0",
    "replication\0",
    "true\0",
    "database",
    "-c ",
    "--",
    "a=b",
    "\\ ",
    "_pq_.",
    "client_encoding\0",
    "\0\0\0\x08\x04\u{d2}\x16/",
    "n,,",
    "y,,",
    "p=tls-server-end-point,,",
    "n=",
    "r=",
    "c=biws",
    ",p=",
    "a=x",
    "m=x",
    "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS",
    "=,",
    "$",
    ":",
];
const NONCE: [u8; NONCE_LEN] = [7; NONCE_LEN];

fn packet(input: &[u8], trace: &mut Trace) -> Result<()> {
    let scanned = scan_startup(input);
    trace.saw(variant(&scanned));
    let len = match scanned {
        StartupScan::Packet { len } => len,
        StartupScan::NeedMore { at_least } => {
            ensure!(
                at_least > input.len() && at_least <= MAX_STARTUP_LEN,
                "{at_least}"
            );
            return Ok(());
        }
        StartupScan::DirectTls | StartupScan::Malformed(_) => return Ok(()),
    };
    ensure!(len <= input.len() && len <= MAX_STARTUP_LEN);
    let decoded = StartupPacket::decode(input.get(..len).unwrap_or_default());
    trace.took(1, &decoded);
    if let Ok(packet) = decoded {
        trace.saw(variant(&packet));
        if let StartupPacket::Startup(message) = packet {
            ensure!(message.parameters().count() * 2 <= len);
            ensure!(message.parameter(b"user").is_none_or(|user| user.len() < len));
        }
    }
    Ok(())
}

/// The whole handshake on bytes that come in pieces, with a caller that does what it is told.
fn startup(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut script = Script::new(input);
    let offers = [
        TlsOffer::Disabled,
        TlsOffer::Allowed,
        TlsOffer::Required,
        TlsOffer::NotNeeded,
    ];
    let offer = offers
        .get(script.below(offers.len()))
        .copied()
        .unwrap_or(TlsOffer::Disabled);
    let credential = match script.below(8) {
        0 => Credential::Trust,
        1 => scram_of(None, BindingPolicy::IfPossible),
        2 => Credential::Md5(None),
        3 => Credential::Password(None),
        4 => Credential::Md5(Some(wire::md5::stored("shop", "secret").into())),
        5 => Credential::Password(Some(StoredPassword::Scram(Arc::clone(known())))),
        6 => scram_of(Some(known()), BindingPolicy::Required),
        _ => scram_of(Some(known()), BindingPolicy::IfPossible),
    };
    let piece = 1 + script.below(64);
    handshake(
        Startup::new(offer, [9; 32]),
        &credential,
        piece,
        script.rest(),
        trace,
    )
}

/// SCRAM's messages alone, behind a startup packet that is as it should be.
fn scram(input: &[u8], trace: &mut Trace) -> Result<()> {
    let cut = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (first, last) = input.split_at(cut);
    let mut bytes = Vec::new();
    put_startup(&mut bytes);
    let mechanism = b"SCRAM-SHA-256";
    SaslInitialResponse {
        mechanism,
        data: Some(first),
    }
    .encode(&mut bytes);
    SaslResponse {
        data: last.get(1..).unwrap_or_default(),
    }
    .encode(&mut bytes);
    let credential = scram_of(Some(known()), BindingPolicy::IfPossible);
    handshake(
        Startup::new(TlsOffer::Disabled, [9; 32]),
        &credential,
        usize::MAX,
        &bytes,
        trace,
    )
}

fn handshake(
    mut startup: Startup,
    credential: &Credential,
    piece: usize,
    input: &[u8],
    trace: &mut Trace,
) -> Result<()> {
    let (mut start, mut end) = (0, piece.min(input.len()));
    // Each step consumes something, reads more, or leads to a later state: there are few of those.
    for _ in 0..2 * input.len() + 32 {
        let unread = input.get(start..end).unwrap_or_default();
        let step = startup.advance(unread);
        trace.saw(variant(&step.action));
        ensure!(
            step.consumed <= unread.len(),
            "{step:?} of {} bytes",
            unread.len()
        );
        start += step.consumed;
        match step.action {
            Action::NeedMore { at_least } => {
                ensure!(at_least > end - start, "{at_least} of {}", end - start);
                if end == input.len() {
                    return Ok(());
                }
                end = end.saturating_add(piece).min(input.len());
            }
            Action::Send(bytes) => ensure!(!bytes.is_empty(), "nothing to send"),
            Action::StartTls => {
                ensure!(
                    start == end,
                    "{} bytes before TLS would count as if from it",
                    end - start
                );
                startup.tls_established(Some(Box::from(*b"hash")));
            }
            Action::StartDirectTls => {
                // All that is there belongs to the handshake.
                start = end;
                startup.tls_established(None);
            }
            Action::LookUp { user, .. } => {
                ensure!(!user.is_empty());
                let action = startup.authenticate(credential.clone(), NONCE);
                trace.saw(variant(&action));
                if !matches!(action, Action::Send(_)) {
                    return Ok(());
                }
            }
            Action::Accept { client, .. } => {
                let nobody = matches!(
                    credential,
                    Credential::Scram { secret: None, .. }
                        | Credential::Md5(None)
                        | Credential::Password(None)
                );
                ensure!(!nobody, "nobody was let in");
                ensure!(!client.user.is_empty() && !client.database.is_empty());
                return Ok(());
            }
            Action::Cancel(_) | Action::Close { .. } => return Ok(()),
        }
    }
    anyhow::bail!("the handshake doesn't end");
}

fn secret(input: &[u8], trace: &mut Trace) -> Result<()> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    trace.took(1, &ScramSecret::parse(text));
    Ok(())
}

fn scram_of(secret: Option<&Arc<ScramSecret>>, binding: BindingPolicy) -> Credential {
    Credential::Scram {
        secret: secret.map(Arc::clone),
        binding,
    }
}

/// The secret of "secret", cheap to verify.
fn known() -> &'static Arc<ScramSecret> {
    static KNOWN: OnceLock<Arc<ScramSecret>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        Arc::new(ScramSecret::from_password(
            "secret",
            b"salt".to_vec(),
            NonZeroU32::MIN,
        ))
    })
}

fn put_startup(out: &mut Vec<u8>) {
    let parameters: [(&[u8], &[u8]); 3] = [
        (b"user", b"shop"),
        (b"database", b"shop"),
        (b"options", b"-c work_mem=1MB --geqo=off"),
    ];
    encode_startup(out, ProtocolVersion::V3_0, parameters);
}

fn packets() -> Vec<Vec<u8>> {
    let mut plain = Vec::new();
    put_startup(&mut plain);
    let mut newer = Vec::new();
    let parameters: [(&[u8], &[u8]); 3] = [(b"user", b"u"), (b"_pq_.x", b"1"), (b"replication", b"off")];
    encode_startup(&mut newer, ProtocolVersion::V3_2, parameters);
    let mut tls = Vec::new();
    encode_ssl_request(&mut tls);
    let gss = b"\0\0\0\x08\x04\xd2\x16\x30".to_vec();
    let mut cancel = Vec::new();
    let secret = Box::from([1, 2, 3, 4]);
    encode_cancel(&mut cancel, &CancelKey { pid: 7, secret });
    let mut after_tls = tls.clone();
    put_startup(&mut after_tls);
    let direct = vec![0x16, 3, 1, 2, 0];
    vec![plain, newer, tls, gss, cancel, after_tls, direct]
}

const CLIENT_FIRST: &[u8] = b"n,,n=,r=abc";
/// The proof of the password "secret" under [`NONCE`].
const CLIENT_FINAL: &[u8] =
    b"c=biws,r=abcBwcHBwcHBwcHBwcHBwcHBwcH,p=/iv4Nn3P6SdzJeblzketaXYMYNogmDM2uJfFWevZaw8=";

fn handshakes() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for packet in packets() {
        for header in [
            [0, 0, 63],
            [1, 1, 1],
            [1, 6, 63],
            [2, 4, 7],
            [2, 7, 7],
            [3, 5, 9],
            [3, 7, 63],
        ] {
            let mut input = header.to_vec();
            input.extend_from_slice(&packet);
            let mechanism = b"SCRAM-SHA-256";
            SaslInitialResponse {
                mechanism,
                data: Some(CLIENT_FIRST),
            }
            .encode(&mut input);
            SaslResponse { data: CLIENT_FINAL }.encode(&mut input);
            all.push(input);
        }
    }
    all
}

fn exchanges() -> Vec<Vec<u8>> {
    vec![
        [CLIENT_FIRST, CLIENT_FINAL].join(&0),
        [
            &b"y,,n=shop,r=abc"[..],
            &b"c=eSws,r=abcBwcHBwcHBwcHBwcHBwcHBwcH,p=AAAA"[..],
        ]
        .join(&0),
        [&b"p=tls-unique,,n=,r=abc"[..], &b"c=cD0=,r=abc,x=1,p=="[..]].join(&0),
    ]
}

fn secrets() -> Vec<Vec<u8>> {
    vec![
        b"SCRAM-SHA-256$1:c2FsdA==$wN56iZgRmJc8bLR+mwOwuVJuCvu3CIrVguKdgdp7J6s=:ywJYVz0nm/y3tcyI3qXB89hBjaX1PJEJLUzrN3+/5aM="
            .to_vec(),
    ]
}
