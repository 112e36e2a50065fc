//! A carrier on this machine, for tests and demos. A postal code that is the name of a manner (`LOST`, `SILENT`, ...) makes it fail so;
//! `REFUSED` is refused.

use ringway_sdk::partner::local::{Effect, LocalPartner, Manner, Plan};
use ringway_sdk::partner::{Secret, Status, Told, Verdict, Webhook};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// Between two looks for parcels to move.
const LOOK: Duration = Duration::from_millis(100);

/// A carrier that knows us by this secret and sends its webhooks to this URL (`.../api/v1/shipments/webhook`).
pub fn carrier(secret: Secret, webhooks: impl Into<String>) -> LocalPartner {
    LocalPartner::new(secret, webhooks, move |errand| {
        let code = errand.details["address"]["postal_code"]
            .as_str()
            .unwrap_or_default();
        let manner = Manner::of_word(&code.to_ascii_lowercase());
        let verdict = match (errand.kind.as_str(), code) {
            ("ship", "REFUSED") => Verdict::Refused("no-such-address".to_owned()),
            ("ship", _) => {
                // The same for a shipment whenever it is asked, and after a restart too.
                let number = errand.subject.as_u128() & 0xFFFF_FFFF_FFFF;
                Verdict::Done(json!({ "label": format!("LC{number:012X}RW") }))
            }
            _ => Verdict::Done(json!({})),
        };
        Plan { verdict, manner }
    })
}

/// Tells that a shipment has moved.
pub fn tell(carrier: &LocalPartner, of: &Effect, state: &str) {
    carrier.announce(Webhook {
        operation: Uuid::nil(),
        reference: of.reference,
        subject: of.subject,
        kind: "moved".to_owned(),
        told: Told {
            status: Status::Succeeded,
            data: json!({ "state": state }),
            reason: None,
        },
    });
}

/// Moves every parcel that was handed over and isn't cancelled: it is picked up after a time, and arrives after as long again. For demos; runs until it is dropped.
pub async fn keep_moving(carrier: &LocalPartner, after: Duration) {
    let mut known = 0;
    loop {
        let effects = carrier.effects();
        for effect in effects
            .iter()
            .skip(known)
            .filter(|effect| effect.kind == "hand-over")
        {
            let (carrier, effect) = (carrier.clone(), effect.clone());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                let same = |other: &Effect| other.kind == "cancel" && other.subject == effect.subject;
                if carrier.effects().iter().any(same) {
                    return;
                }
                tell(&carrier, &effect, "in-transit");
                tokio::time::sleep(after).await;
                tell(&carrier, &effect, "delivered");
            });
        }
        known = effects.len();
        tokio::time::sleep(LOOK).await;
    }
}
