//! People with data of their own in every service.

use crate::room::Room;
use anyhow::{Context as _, Result};
use reqwest::Method;
use ringway_sdk::Context;
use serde_json::{Value, json};
use shop_testing::person::word;
use shop_testing::{Client, Region, until};
use std::collections::BTreeMap;

/// The key of everybody's requests: one user's key must not be another's.
pub(crate) const KEY: &str = "everybodys-key";

/// What everybody buys; it is expensive, so that staff is to look at it.
const PRICE_CENTS: i64 = 200_000;

/// A user of the shop.
#[derive(Clone)]
pub(crate) struct Person {
    /// At the gateway of us-east.
    pub(crate) client: Client,
    pub(crate) bearer: String,
    /// Their ids, by the names that routes have for them.
    pub(crate) ids: BTreeMap<&'static str, String>,
    /// What nobody else may see, besides the ids.
    pub(crate) words: Vec<String>,
}

impl Person {
    /// Registers, and signs in.
    pub(crate) async fn register(room: &Room, name: &str) -> Result<Self> {
        let anybody = room.anybody();
        let (email, password) = (format!("{name}@example.com"), format!("{name} s secret words"));
        let new = json!({ "email": email, "password": password, "name": format!("{name} Surname"), "country": "US",
            "phone": format!("+1 {name}") });
        let key = format!("{KEY}-{name}");
        anybody.post_once("/api/v1/users", &key, new).await?.ok()?;
        Self::sign_in(room, name).await
    }

    /// Signs in.
    pub(crate) async fn sign_in(room: &Room, name: &str) -> Result<Self> {
        let anybody = room.anybody();
        let (email, password) = (format!("{name}@example.com"), format!("{name} s secret words"));
        let who = json!({ "email": email, "password": password });
        let session = anybody.post("/api/v1/sessions", who).await?.ok()?;
        let bearer = word(&session, "access_token")?;
        let refresh = word(&session, "refresh_token")?;
        let ids = [
            ("user_id", word(&session, "user_id")?),
            ("refresh_token", refresh),
        ];
        Ok(Self {
            client: anybody.with_bearer(Some(bearer.clone())),
            bearer,
            ids: ids.into(),
            words: vec![name.to_owned(), email, password],
        })
    }

    /// One who works for the shop.
    pub(crate) async fn staff(room: &Room, name: &str) -> Result<Self> {
        Self::register(room, name).await?;
        let database = room.scene.database(Region::UsEast);
        let made =
            shop_user::make_staff(database, &Context::background(), &format!("{name}@example.com")).await;
        made.map_err(ringway_sdk::web::Problem::from)?;
        Self::sign_in(room, name).await
    }

    /// An address of this person.
    pub(crate) fn address(&self) -> Value {
        let name = &self.words[0];
        json!({ "name": format!("{name} Surname"), "line1": format!("{name} Street 1"), "city": "Springfield", "postal_code": "01101",
            "country": "US" })
    }

    /// Uses every service, and waits until all that follows from it has happened.
    pub(crate) async fn use_everything(mut self, product_id: &str) -> Result<Self> {
        let stored = self
            .client
            .post_once("/api/v1/users/me/addresses", KEY, self.address())
            .await?;
        self.ids.insert("address_id", word(&stored.ok()?, "address_id")?);
        let item = format!("/api/v1/cart/items/{product_id}");
        self.client.put(&item, json!({ "quantity": 1 })).await?.ok()?;
        let token = shop_payment::local::token("4242 4242 4242 4242");
        let checkout =
            json!({ "address": self.address(), "shipping_service": "standard", "payment_token": token });
        let order = self
            .client
            .post_once("/api/v1/orders", KEY, checkout)
            .await?
            .ok()?;
        let order_id = word(&order, "order_id")?;
        self.words.push(token);
        let path = format!("/api/v1/orders/{order_id}");
        until("the order is confirmed", async || {
            let order = self.client.get(&path).await.and_then(shop_testing::Answer::ok);
            order.is_ok_and(|order| order["state"] == "confirmed")
        })
        .await?;
        let payment = self
            .client
            .get(&format!("/api/v1/payments/{order_id}"))
            .await?
            .ok()?;
        let shipment = self
            .client
            .get(&format!("/api/v1/shipments/{order_id}"))
            .await?
            .ok()?;
        for (answer, name) in [(&payment, "payment_id"), (&shipment, "shipment_id")] {
            self.ids.insert(name, word(answer, name)?);
        }
        self.words.push(word(&shipment, "label")?);
        self.ids.insert("order_id", order_id);
        // Something that is not bought yet.
        self.client.put(&item, json!({ "quantity": 3 })).await?.ok()?;
        let quiet = json!({ "muted": ["offers"], "devices": [format!("device of {}", self.words[0])], "time_zone": "UTC", "per_hour": 10 });
        self.client
            .put("/api/v1/notifications/preferences", quiet)
            .await?
            .ok()?;
        self.told().await
    }

    /// Waits until the person is told of the order.
    async fn told(mut self) -> Result<Self> {
        let mut told = Value::Null;
        until("the person is told", async || {
            let page = self.client.get("/api/v1/notifications").await;
            told = page.and_then(shop_testing::Answer::ok).unwrap_or_default();
            let list = told["notifications"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            list.iter().any(|one| one["category"] == "order-confirmed")
        })
        .await?;
        let first = told["notifications"].as_array().and_then(|list| list.first());
        let first = first.context("there is none")?;
        self.ids
            .insert("notification_id", word(first, "notification_id")?);
        self.ids.insert("cursor", word(&told, "cursor")?);
        Ok(self)
    }

    /// What must not be in an answer to anybody else. A cursor is two counts, not a secret.
    pub(crate) fn marks(&self) -> impl Iterator<Item = &str> {
        let ids = self
            .ids
            .iter()
            .filter(|(name, _)| **name != "cursor")
            .map(|(_, id)| id);
        ids.chain(&self.words).map(String::as_str)
    }
}

/// A product as staff says it.
pub(crate) fn draft(sku: &str) -> Value {
    json!({ "category": "keyboards", "sku": sku, "name": "A thing", "brand": "Acme", "description": "", "weight_grams": 500,
        "price": { "amount_cents": PRICE_CENTS, "currency": "EUR" }, "on_sale": true })
}

/// Somebody who works for the shop, and what is sold.
pub(crate) async fn stocked(room: &Room) -> Result<(Person, String)> {
    let staff = Person::staff(room, "employee").await?;
    let product = staff
        .client
        .post_once("/api/v1/products", "first", draft("the-sku"))
        .await?;
    let product_id = word(&product.ok()?, "product_id")?;
    let (stock, counted) = (
        format!("/api/v1/stock/{product_id}/main"),
        json!({ "on_hand": 100 }),
    );
    let set = staff
        .client
        .send(Method::PUT, &stock, Some("first"), Some(counted))
        .await?;
    set.ok()?;
    Ok((staff, product_id))
}
