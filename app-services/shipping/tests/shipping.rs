//! A shipment ends where it should, whatever the carrier does, and is ordered once.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use anyhow::Result;
use futures_util::future::join_all;
use ringway_sdk::Context;
use ringway_sdk::partner::local::LocalPartner;
use ringway_sdk::partner::{PartnerSettings, Secret};
use ringway_sdk::rpc::Peer;
use serde_json::json;
use shop_contracts::rpc::v1::shipment_reply::Outcome;
use shop_contracts::rpc::v1::shipping_client::ShippingClient;
use shop_contracts::rpc::v1::{self, ShipmentState};
use shop_contracts::{Address, Operation};
use shop_shipping::{local, service};
use shop_testing::{Backing, Region, Scene, Webhooks, until};
use std::time::Duration;
use uuid::Uuid;

const SECRET: &str = "known to the carrier";

struct Shop {
    scene: Scene,
    carrier: LocalPartner,
    _webhooks: Webhooks,
}

async fn shop() -> Result<Shop> {
    let webhooks = Webhooks::start().await?;
    let carrier = local::carrier(Secret::new(SECRET), webhooks.url());
    let address = carrier.listen(0, axum::Router::new()).await?;
    let scene = Box::pin(Scene::start(Backing::Embedded, |environment| {
        let mut settings = PartnerSettings::new(&format!("http://{address}"), Secret::new(SECRET));
        settings.answer_ms = 300;
        settings.ask_again_ms = 400;
        Ok(vec![service(environment, &settings)?])
    }))
    .await?;
    webhooks.pass_on_to(&format!("{}/api/v1/shipments/webhook", scene.url(Region::UsWest)));
    Ok(Shop {
        scene,
        carrier,
        _webhooks: webhooks,
    })
}

/// An order of a user's, and where it goes.
#[derive(Clone)]
struct Order {
    peer: Peer,
    user_id: Uuid,
    order_id: Uuid,
    address: Address,
}

impl Order {
    fn new(shop: &Shop, postal_code: &str) -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            peer: shop.scene.peer(Region::UsEast, "shipping").unwrap(),
            user_id: Uuid::now_v7(),
            order_id: Uuid::now_v7(),
            address: Address {
                name: text("Ana Sousa"),
                line1: text("Rua Nova 1"),
                line2: String::new(),
                postal_code: text(postal_code),
                city: text("Porto"),
                region: String::new(),
                country: text("PT"),
            },
        }
    }

    async fn once(&self, what: &str, key: &str, service: &str) -> Result<Outcome> {
        let context = Context::background().with_timeout(Duration::from_secs(10));
        let mut client = ShippingClient::new(self.peer.call(&context));
        let key = format!("{}/{key}", self.order_id);
        let operation = Some(
            Operation {
                key,
                user_id: self.user_id,
                order_id: self.order_id,
            }
            .into(),
        );
        let reply = match what {
            "create" => {
                let address = Some(self.address.clone().into());
                let (weight_grams, service) = (1_200, service.to_owned());
                client
                    .create(v1::CreateShipmentRequest {
                        operation,
                        address,
                        weight_grams,
                        service,
                        currency: "EUR".to_owned(),
                    })
                    .await
            }
            "hand-over" => client.hand_over(v1::HandOverRequest { operation }).await,
            _ => client.cancel(v1::CancelShipmentRequest { operation }).await,
        };
        Ok(reply?.into_inner().outcome.unwrap())
    }

    /// Asks until it is known, as a saga does.
    async fn ask(&self, what: &str, key: &str) -> Result<Outcome> {
        for _ in 0..200 {
            match self.once(what, key, "standard").await? {
                Outcome::Pending(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                known => return Ok(known),
            }
        }
        anyhow::bail!("{what} stays unknown")
    }
}

fn state(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Shipment(shipment) => match shipment.state() {
            ShipmentState::Labelled => "labelled",
            ShipmentState::InTransit => "in-transit",
            ShipmentState::Delivered => "delivered",
            ShipmentState::Cancelled => "cancelled",
            ShipmentState::Unspecified => "unspecified",
        },
        Outcome::Refused(refusal) => &refusal.reason,
        Outcome::Pending(_) => "pending",
    }
}

fn done(shop: &Shop, kind: &str) -> usize {
    shop.carrier
        .effects()
        .iter()
        .filter(|effect| effect.kind == kind)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_carrier_does_there_is_one_label() -> Result<()> {
    let shop = shop().await?;
    let codes = ["4000-001", "TWICE", "SILENT", "LOST", "BROKEN", "LATE"];
    let orders = codes.map(|code| Order::new(&shop, code));
    for (code, order) in codes.iter().zip(&orders) {
        let asked = ["a", "a", "b"].map(|key| order.ask("create", key));
        let came: Vec<Outcome> = join_all(asked).await.into_iter().collect::<Result<_>>()?;
        assert!(
            came.iter()
                .all(|outcome| state(outcome) == "labelled" && *outcome == came[0]),
            "{code}: {came:?}"
        );
    }
    assert_eq!(done(&shop, "ship"), codes.len());
    // Taken back, and not sent later.
    for order in &orders {
        assert_eq!(state(&order.ask("cancel", "c").await?), "cancelled");
        assert_eq!(state(&order.ask("create", "d").await?), "cancelled");
    }
    assert_eq!(
        (done(&shop, "ship"), done(&shop, "cancel")),
        (codes.len(), codes.len())
    );

    let refused = Order::new(&shop, "REFUSED");
    assert_eq!(state(&refused.ask("create", "a").await?), "refused-by-carrier");
    assert_eq!(state(&refused.ask("cancel", "c").await?), "cancelled");
    let early = Order::new(&shop, "4000-001");
    assert_eq!(state(&early.ask("cancel", "c").await?), "cancelled");
    assert_eq!(state(&early.ask("create", "a").await?), "cancelled");
    for nothing in [&orders[0], &refused, &early] {
        assert_eq!(state(&nothing.ask("hand-over", "h").await?), "cancelled");
    }
    let unlabelled = Order::new(&shop, "4000-001");
    assert_eq!(state(&unlabelled.ask("hand-over", "h").await?), "not-labelled");
    let unknown = Order::new(&shop, "4000-001");
    assert_eq!(
        state(&unknown.once("create", "a", "by balloon").await?),
        "no-such-service"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shipment_moves_on_and_only_its_user_sees_it() -> Result<()> {
    let shop = shop().await?;
    let order = Order::new(&shop, "4000-001");
    assert_eq!(state(&order.ask("create", "a").await?), "labelled");
    let effect = shop.carrier.effects().remove(0);
    let path = format!("/api/v1/shipments/{}", order.order_id);
    let own = shop.scene.customer(Region::UsEast, order.user_id)?;
    assert_eq!(own.get(&path).await?.ok()?["state"], "labelled");
    let other = shop.scene.customer(Region::UsEast, Uuid::now_v7())?;
    assert_eq!(other.get(&path).await?.problem(), "unknown-shipment");
    assert_eq!(
        shop.scene.anybody(Region::UsEast).get(&path).await?.problem(),
        "unauthenticated"
    );

    let seen = async |state: &str| {
        own.get(&path)
            .await
            .is_ok_and(|answer| answer.body["state"] == state)
    };
    for told in ["in-transit", "in-transit", "delivered"] {
        local::tell(&shop.carrier, &effect, told);
        until(told, async || seen(told).await).await?;
    }
    // Late news changes nothing.
    local::tell(&shop.carrier, &effect, "in-transit");
    assert_eq!(state(&order.ask("cancel", "c").await?), "under-way");
    let told = "SELECT count(*) FROM shipping_outbox";
    assert_eq!(
        shop.scene.sum_at_primaries(told).await?,
        3,
        "created, in transit, delivered"
    );
    assert!(seen("delivered").await);

    let rates = shop.scene.anybody(Region::UsEast);
    let path = "/api/v1/shipping/rates?country=PT&weight_grams=1200&currency=EUR";
    let found = rates.get(path).await?.ok()?;
    assert_eq!(
        found[0],
        json!({"service": "standard", "price": {"amount_cents": 610, "currency": "EUR"}, "days": 4})
    );
    assert_eq!(
        rates
            .get("/api/v1/shipping/rates?country=pt&weight_grams=1&currency=EUR")
            .await?
            .status,
        422
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_asks_again_and_the_label_is_found_all_the_same() -> Result<()> {
    let shop = shop().await?;
    for code in ["SILENT", "LOST", "BROKEN", "LATE"] {
        let order = Order::new(&shop, code);
        assert_eq!(
            state(&order.once("create", "a", "standard").await?),
            "pending",
            "{code}"
        );
    }
    let labelled = "SELECT count(*) FROM shipping_shipment WHERE state = 'labelled'";
    until("all have labels", async || {
        shop.scene
            .sum_at_primaries(labelled)
            .await
            .is_ok_and(|count| count == 4)
    })
    .await?;
    assert_eq!(done(&shop, "ship"), 4);
    Ok(())
}
