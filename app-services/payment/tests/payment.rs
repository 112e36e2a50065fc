//! A payment ends as it should, whatever the provider does, and is taken once, whoever asks for it how often.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use anyhow::Result;
use futures_util::future::join_all;
use http::StatusCode;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringway_sdk::Context;
use ringway_sdk::partner::local::LocalPartner;
use ringway_sdk::partner::{PartnerSettings, SIGNATURE_HEADER, Secret, sign};
use ringway_sdk::rpc::Peer;
use serde_json::json;
use shop_contracts::rpc::v1::payment_client::PaymentClient;
use shop_contracts::rpc::v1::payment_reply::Outcome;
use shop_contracts::rpc::v1::{self, PaymentState};
use shop_contracts::{Currency, Money, Operation};
use shop_payment::{AUDIT, local, service};
use shop_testing::{Backing, Region, Scene, Webhooks, until};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

const SECRET: &str = "known to the provider";

struct Shop {
    scene: Scene,
    provider: LocalPartner,
    webhooks: Webhooks,
}

async fn shop() -> Result<Shop> {
    let webhooks = Webhooks::start().await?;
    let provider = local::provider(Secret::new(SECRET), webhooks.url());
    let address = local::listen(&provider, 0).await?;
    let scene = Box::pin(Scene::start(Backing::Embedded, |environment| {
        let mut settings = PartnerSettings::new(&format!("http://{address}"), Secret::new(SECRET));
        settings.answer_ms = 300;
        settings.ask_again_ms = 400;
        Ok(vec![service(environment, &settings)?])
    }))
    .await?;
    webhooks.pass_on_to(&format!("{}/api/v1/payments/webhook", scene.url(Region::UsWest)));
    Ok(Shop {
        scene,
        provider,
        webhooks,
    })
}

/// An order of a user's, and a payment for it.
#[derive(Clone)]
struct Paid {
    peer: Peer,
    user_id: Uuid,
    order_id: Uuid,
}

fn cents(amount: i64) -> Money {
    Money::new(amount, Currency::EUR)
}

impl Paid {
    fn new(shop: &Shop) -> Self {
        Self {
            peer: shop.scene.peer(Region::UsEast, "payment").unwrap(),
            user_id: Uuid::now_v7(),
            order_id: Uuid::now_v7(),
        }
    }

    fn operation(&self, key: &str) -> Option<v1::Operation> {
        let key = format!("{}/{key}", self.order_id);
        Some(
            Operation {
                key,
                user_id: self.user_id,
                order_id: self.order_id,
            }
            .into(),
        )
    }

    /// Asks once.
    async fn once(&self, what: &str, key: &str, amount: i64, card: &str) -> Result<Outcome> {
        let context = Context::background().with_timeout(Duration::from_secs(10));
        let mut client = PaymentClient::new(self.peer.call(&context));
        let (operation, money) = (self.operation(key), Some(cents(amount).into()));
        let payment_token = format!("tok_{card}_x");
        let reply = match what {
            "authorise" => {
                client
                    .authorise(v1::AuthoriseRequest {
                        operation,
                        amount: money,
                        payment_token,
                    })
                    .await
            }
            "capture" => client.capture(v1::CaptureRequest { operation }).await,
            "void" => client.void(v1::VoidRequest { operation }).await,
            "refund all" => {
                client
                    .refund(v1::RefundRequest {
                        operation,
                        amount: None,
                    })
                    .await
            }
            _ => {
                client
                    .refund(v1::RefundRequest {
                        operation,
                        amount: money,
                    })
                    .await
            }
        };
        Ok(reply?.into_inner().outcome.unwrap())
    }

    /// Asks until it is known, as a saga does.
    async fn ask(&self, what: &str, key: &str, amount: i64, card: &str) -> Result<Outcome> {
        for _ in 0..200 {
            match self.once(what, key, amount, card).await? {
                Outcome::Pending(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                known => return Ok(known),
            }
        }
        anyhow::bail!("{what} stays unknown")
    }
}

fn state(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Payment(payment) => match payment.state() {
            PaymentState::Authorised => "authorised",
            PaymentState::Captured => "captured",
            PaymentState::Voided => "voided",
            PaymentState::Refunded => "refunded",
            PaymentState::Unspecified => "unspecified",
        },
        Outcome::Refused(refusal) => &refusal.reason,
        Outcome::Pending(_) => "pending",
    }
}

/// How often the provider has done something to payments.
fn done(shop: &Shop, kind: &str) -> usize {
    shop.provider
        .effects()
        .iter()
        .filter(|effect| effect.kind == kind)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_provider_does_the_payment_ends_as_it_should() -> Result<()> {
    let shop = shop().await?;
    let manners = ["good", "twice", "silent", "lost", "broken", "late"];
    let lives = manners.map(|card| {
        let paid = Paid::new(&shop);
        async move {
            let held = paid.ask("authorise", "a", 5_000, card).await?;
            let taken = paid.ask("capture", "c", 0, card).await?;
            let part = paid.ask("refund", "r", 1_000, card).await?;
            let rest = paid.ask("refund all", "s", 0, card).await?;
            let Outcome::Payment(payment) = &rest else {
                anyhow::bail!("{card}: {rest:?}")
            };
            assert_eq!(payment.refunded, Some(cents(5_000).into()), "{card}");
            anyhow::Ok([held, taken, part, rest].map(|outcome| state(&outcome).to_owned()))
        }
    });
    for (card, life) in manners.iter().zip(join_all(lives).await) {
        assert_eq!(
            life?,
            ["authorised", "captured", "refunded", "refunded"],
            "{card}"
        );
    }
    for (kind, times) in [("authorise", 6), ("capture", 6), ("refund", 12), ("void", 0)] {
        assert_eq!(done(&shop, kind), times, "{kind}");
    }
    for (card, reason) in [
        ("declined", "card-declined"),
        ("insufficient", "insufficient-funds"),
        ("latedeclined", "card-declined"),
    ] {
        let paid = Paid::new(&shop);
        let Outcome::Refused(refusal) = paid.ask("authorise", "a", 5_000, card).await? else {
            panic!("{card}")
        };
        assert_eq!(
            (refusal.reason.as_str(), refusal.detail.as_str()),
            ("declined", reason)
        );
        assert_eq!(state(&paid.ask("capture", "c", 0, card).await?), "not-authorised");
        assert_eq!(
            state(&paid.ask("authorise", "again", 5_000, card).await?),
            "declined"
        );
        assert_eq!(state(&paid.ask("void", "v", 0, card).await?), "voided");
    }
    // Whoever recorded what the provider tells, and sends it again, changes nothing.
    let again = shop.webhooks.send_again().await;
    assert!(again.len() > 5, "{again:?}");
    assert!(again.iter().all(StatusCode::is_success), "{again:?}");
    assert_eq!(shop.scene.sum_at_primaries(AUDIT).await?, 0);
    let told = "SELECT count(*) FROM payment_outbox";
    assert_eq!(shop.scene.sum_at_primaries(told).await?, 6 * 4 + 3 * 2, "events");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_taken_once_although_many_ask_at_once() -> Result<()> {
    let shop = shop().await?;
    for card in ["good", "silent", "late"] {
        let paid = Paid::new(&shop);
        let before = (
            done(&shop, "authorise"),
            done(&shop, "capture"),
            done(&shop, "refund"),
        );
        let many = |what: &'static str, amount| {
            let asked = (0..8).map(|number| {
                let paid = paid.clone();
                // The same operation twice, and others that want the same.
                async move {
                    paid.ask(what, &format!("{what} {}", number / 2), amount, card)
                        .await
                }
            });
            join_all(asked)
        };
        for outcome in many("authorise", 700).await {
            assert_eq!(state(&outcome?), "authorised");
        }
        for outcome in many("capture", 0).await {
            assert_eq!(state(&outcome?), "captured");
        }
        let outcomes: Vec<_> = many("refund", 300)
            .await
            .into_iter()
            .map(|outcome| state(&outcome.unwrap()).to_owned())
            .collect();
        let refunded = outcomes.iter().filter(|state| *state == "refunded").count();
        assert_eq!(refunded, 4, "of 700, 300 can be given back twice: {outcomes:?}");
        let after = (
            done(&shop, "authorise"),
            done(&shop, "capture"),
            done(&shop, "refund"),
        );
        assert_eq!(after, (before.0 + 1, before.1 + 1, before.2 + 2), "{card}");
    }
    assert_eq!(shop.scene.sum_at_primaries(AUDIT).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_asks_again_and_it_is_settled_all_the_same() -> Result<()> {
    let shop = shop().await?;
    let cards = ["silent", "lost", "broken", "late", "latedeclined"];
    for card in cards {
        let paid = Paid::new(&shop);
        assert_eq!(
            state(&paid.once("authorise", "a", 900, card).await?),
            "pending",
            "{card}"
        );
    }
    // One more while the provider is down, and given up before it is up again: it is voided once it is known what became of it.
    shop.provider.set_down(true);
    let given_up = Paid::new(&shop);
    assert_eq!(
        state(&given_up.once("authorise", "a", 900, "good").await?),
        "pending"
    );
    assert_eq!(state(&given_up.once("void", "v", 0, "good").await?), "pending");
    shop.provider.set_down(false);
    assert_eq!(state(&given_up.ask("void", "v", 0, "good").await?), "voided");
    assert_eq!(
        state(&given_up.ask("authorise", "b", 900, "good").await?),
        "voided"
    );
    let open = "SELECT count(*) FROM payment_errand WHERE due IS NOT NULL";
    until("all are settled", async || {
        shop.scene
            .sum_at_primaries(open)
            .await
            .is_ok_and(|open| open == 0)
    })
    .await?;
    let held = "SELECT count(*) FROM payment_intent WHERE state = 'authorised'";
    assert_eq!(shop.scene.sum_at_primaries(held).await?, 4);
    assert_eq!((done(&shop, "authorise"), done(&shop, "void")), (5, 1));
    assert_eq!(shop.scene.sum_at_primaries(AUDIT).await?, 0);
    Ok(())
}

const RANDOM_ORDERS: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_anything_the_books_agree() -> Result<()> {
    let seed: u64 =
        std::env::var("RINGWAY_SHOP_TEST_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("RINGWAY_SHOP_TEST_SEED={seed}");
    let shop = shop().await?;
    let lives = (0..RANDOM_ORDERS).map(|number| {
        let (paid, mut dice) = (Paid::new(&shop), StdRng::seed_from_u64(seed.wrapping_add(number)));
        async move {
            let cards = ["good", "twice", "silent", "lost", "broken", "late", "declined"];
            let card = cards[dice.random_range(0..cards.len())];
            for step in 0..dice.random_range(1..6) {
                let what = [
                    "authorise",
                    "authorise",
                    "capture",
                    "void",
                    "refund",
                    "refund all",
                ][dice.random_range(0..6)];
                let (key, amount) = (format!("{what} {}", step / 2), dice.random_range(1..3) * 400);
                // The same key for another amount is refused by the SDK, as it should be.
                drop(paid.once(what, &key, amount, card).await);
            }
        }
    });
    join_all(lives).await;
    let open = "SELECT count(*) FROM payment_errand WHERE due IS NOT NULL";
    until("all are settled", async || {
        shop.scene
            .sum_at_primaries(open)
            .await
            .is_ok_and(|open| open == 0)
    })
    .await?;
    assert_eq!(shop.scene.sum_at_primaries(AUDIT).await?, 0);
    let captured = "SELECT coalesce(sum(captured_cents), 0)::bigint FROM payment_intent";
    let taken = |kind: &str| {
        let of_kind = shop
            .provider
            .effects()
            .into_iter()
            .filter(|effect| effect.kind == kind);
        of_kind
            .map(|effect| effect.details["amount"]["amount_cents"].as_i64().unwrap())
            .sum::<i64>()
    };
    assert_eq!(shop.scene.sum_at_primaries(captured).await?, taken("capture"));
    let refunded = "SELECT coalesce(sum(refunded_cents), 0)::bigint FROM payment_intent";
    assert_eq!(shop.scene.sum_at_primaries(refunded).await?, taken("refund"));

    // The audit sees what is wrong.
    let spoil = "UPDATE payment_intent SET captured_cents = 1 WHERE state = 'voided' AND amount_cents > 1";
    let spoil_more = "INSERT INTO payment_transfer VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'capture', 'held', 'shop', 1, 'EUR')";
    let primary = &shop.scene.cluster.shards()[0].primary;
    let client = primary.connect(cluster::SHOP, cluster::SHOP).await?;
    client.batch_execute(spoil).await?;
    client.batch_execute(spoil_more).await?;
    assert!(shop.scene.sum_at_primaries(AUDIT).await? > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_see_and_say_what() -> Result<()> {
    let shop = shop().await?;
    let paid = Paid::new(&shop);
    assert_eq!(
        state(&paid.ask("authorise", "a", 900, "good").await?),
        "authorised"
    );
    assert_eq!(state(&paid.ask("capture", "c", 0, "good").await?), "captured");
    let path = format!("/api/v1/payments/{}", paid.order_id);
    let own = shop.scene.customer(Region::UsEast, paid.user_id)?;
    let seen = own.get(&path).await?.ok()?;
    assert_eq!(
        (&seen["state"], &seen["captured"]["amount_cents"]),
        (&json!("captured"), &json!(900))
    );
    let other = shop.scene.customer(Region::UsEast, Uuid::now_v7())?;
    assert_eq!(other.get(&path).await?.problem(), "unknown-payment");
    assert_eq!(
        shop.scene.anybody(Region::UsEast).get(&path).await?.problem(),
        "unauthenticated"
    );

    let refunds = format!("/api/v1/payments/{}/{}/refunds", paid.user_id, paid.order_id);
    assert_eq!(
        own.post_once(&refunds, "k", json!({})).await?.problem(),
        "staff-only"
    );
    let staff = shop.scene.staff(Region::UsEast)?;
    let part = json!({"amount": {"amount_cents": 400, "currency": "EUR"}});
    for _ in 0..2 {
        let seen = staff.post_once(&refunds, "k", part.clone()).await?.ok()?;
        assert_eq!(seen["refunded"]["amount_cents"], 400);
    }
    let too_much = json!({"amount": {"amount_cents": 501, "currency": "EUR"}});
    assert_eq!(
        staff.post_once(&refunds, "l", too_much).await?.problem(),
        "too-much"
    );

    // A card's number is neither taken nor said again.
    let careless = Paid::new(&shop);
    let context = Context::background();
    let operation = careless.operation("a");
    let (amount, payment_token) = (Some(cents(100).into()), "4242 4242 4242 4242".to_owned());
    let request = v1::AuthoriseRequest {
        operation,
        amount,
        payment_token,
    };
    let refused = PaymentClient::new(careless.peer.call(&context))
        .authorise(request)
        .await
        .unwrap_err();
    assert!(!refused.message().contains("4242"), "{refused}");

    // Webhooks: only with the right signature, not too old, and nothing changes by being told again.
    let url = format!("{}/api/v1/payments/webhook", shop.scene.url(Region::UsEast));
    let hook = |status: &str| {
        json!({"operation": Uuid::now_v7(), "reference": paid.user_id, "subject": Uuid::now_v7(), "kind": "capture", "status": status}).to_string()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let body = hook("pending");
    let send = async |signature: String, body: String| -> Result<u16> {
        let request = reqwest::Client::new()
            .post(&url)
            .header(SIGNATURE_HEADER, signature)
            .body(body);
        Ok(request.send().await?.status().as_u16())
    };
    assert_eq!(send(sign(SECRET, now, body.as_bytes()), body.clone()).await?, 204);
    assert_eq!(
        send(sign(SECRET, now - 301, body.as_bytes()), body.clone()).await?,
        401,
        "too old"
    );
    assert_eq!(
        send(sign("another", now, body.as_bytes()), body.clone()).await?,
        401
    );
    assert_eq!(
        send(sign(SECRET, now, body.as_bytes()), hook("succeeded")).await?,
        401,
        "another body"
    );
    let unknown = hook("succeeded");
    assert_eq!(
        send(sign(SECRET, now, unknown.as_bytes()), unknown.clone()).await?,
        400,
        "no such errand"
    );
    assert_eq!(shop.scene.sum_at_primaries(AUDIT).await?, 0);
    Ok(())
}
