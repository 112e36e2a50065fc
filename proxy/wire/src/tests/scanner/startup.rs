//! Packets from before the login, beside pgwire's.

use bytes::Bytes;
use pgwire::messages::startup::SecretKey;
use pgwire::messages::{
    DecodeContext, PgWireFrontendMessage as Theirs, ProtocolVersion, SslNegotiationMetaMessage as Negotiation,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{Verdict, same_text, theirs, true_length};
use crate::frame::{self, StartupScan};
use crate::startup::StartupPacket;

/// What pgwire makes of a packet from before the login.
fn compare_startup(stream: &[u8]) -> Result<(), TestCaseError> {
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
    let mut verdict = theirs(stream, &context);
    if let Verdict::Message(message, _) = &verdict
        && matches!(**message, Theirs::SslNegotiation(Negotiation::None))
    {
        context.awaiting_frontend_ssl = false;
        verdict = theirs(stream, &context);
    }
    let packet = match frame::scan_startup(stream) {
        // Its first byte says so; pgwire leaves this to whoever uses it.
        StartupScan::DirectTls => return Ok(()),
        StartupScan::NeedMore { .. } => {
            // It asks for no more than the code of a request, whatever the length says.
            let request = stream.get(4..6) == Some(&[0x04, 0xd2]);
            prop_assert!(
                matches!(verdict, Verdict::NeedMore) || request || long(stream),
                "{verdict:?}"
            );
            return Ok(());
        }
        StartupScan::Malformed(_) => {
            let request = stream.get(4..6) == Some(&[0x04, 0xd2]);
            let refused = matches!(verdict, Verdict::Refused);
            prop_assert!(refused || request || stream.len() < 8, "{verdict:?}");
            return Ok(());
        }
        StartupScan::Packet { len } => &stream[..len],
    };
    let message = match &verdict {
        Verdict::Message(message, _) => Some(&**message),
        _ => None,
    };
    let agreed = match StartupPacket::decode(packet) {
        Ok(StartupPacket::SslRequest) => {
            matches!(message, Some(Theirs::SslNegotiation(Negotiation::PostgresSsl(_))))
        }
        Ok(StartupPacket::GssEncRequest) => {
            matches!(message, Some(Theirs::SslNegotiation(Negotiation::PostgresGss(_))))
        }
        Ok(StartupPacket::Cancel(ours)) => {
            let secret = SecretKey::Bytes(Bytes::from(ours.secret.to_vec()));
            matches!(message, Some(Theirs::CancelRequest(t))
                if t.secret_key.eq_value(&secret) && t.pid == i32::from_be_bytes(ours.pid.to_be_bytes()))
        }
        Ok(StartupPacket::Startup(ours)) => {
            matches!(message, Some(Theirs::Startup(t)) if t.protocol_number_minor == ours.version.minor
            && ours.parameters().all(|(name, _)| {
                let name = String::from_utf8_lossy(name);
                // Names that differ only in bytes that aren't UTF-8 are one name for pgwire.
                let last = ours.parameters().filter(|(other, _)| String::from_utf8_lossy(other) == name).last();
                t.parameters.get(&*name).is_some_and(|value| last.is_some_and(|(_, ours)| same_text(ours, value)))
            })) || long(packet)
        }
        // Ours tells the client which versions there are.
        Ok(StartupPacket::Unsupported(_)) => matches!(verdict, Verdict::Refused),
        // Strings without their end, bytes behind the last one, and requests with a body, all of which pgwire takes.
        Err(_) => true,
    };
    prop_assert!(agreed, "{:?} is {:?}", packet, verdict);
    Ok(())
}

/// PostgreSQL's bound for these packets leaves out their length field, pgwire's doesn't.
fn long(packet: &[u8]) -> bool {
    packet
        .first_chunk()
        .is_some_and(|len| i32::from_be_bytes(*len) > 10_000)
}

fn startup_packet() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![
        4 => Just(3_u32 << 16),
        2 => Just(3_u32 << 16 | 2),
        4 => 80_877_102..80_877_105_u32,
        1 => any::<u32>(),
    ];
    let text = "(user|database|options|_pq_.x|[a-z\u{e4}]{0,3})\0".prop_map(String::into_bytes);
    let body = prop_oneof![
        4 => prop::collection::vec(text, 0..6).prop_map(|texts| [texts.concat(), vec![0]].concat()),
        2 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::collection::vec(any::<u8>(), 250..270),
    ];
    let len = prop_oneof![6 => Just(None), 1 => prop::sample::select(&[0_i32, 7, 8, 9, 10_000, 10_001, 10_004, 10_005, -1][..]).prop_map(Some)];
    (len, code, body, prop::collection::vec(any::<u8>(), 0..3)).prop_map(|(len, code, body, after)| {
        let len = len.unwrap_or(true_length(&body) + 4);
        [&len.to_be_bytes()[..], &code.to_be_bytes(), &body, &after].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_packet_before_the_login_is_read_as_by_pgwire(packet in startup_packet()) {
        for cut in 0..=packet.len() {
            compare_startup(&packet[..cut])?;
        }
    }
}
