//! A person who uses the shop: registers, searches, buys, is told of it, and looks at the order from the other region.

use crate::client::Client;
use crate::wait::BOUND;
use anyhow::{Context as _, Result, ensure};
use cluster::{PerRegion, Region};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

/// Between two looks at an order.
const LOOK: Duration = Duration::from_millis(20);

/// What all made-up people sign in with.
const PASSWORD: &str = "correct horse battery";

/// The card that is good.
pub const GOOD_CARD: &str = "4242 4242 4242 4242";

/// Where a shop is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shop {
    /// The gateways.
    pub gateways: PerRegion<String>,
    /// Where a card becomes a token.
    pub cards: String,
}

impl Shop {
    /// The shop of `make up`, by the variables of `.ringway/env`.
    ///
    /// # Errors
    /// They are not set.
    pub fn of_environment() -> Result<Self> {
        let variable = |name: &str| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            value.with_context(|| format!("{name} is not set: is the shop up? (. .ringway/env)"))
        };
        Ok(Self {
            gateways: PerRegion {
                us_east: variable("RINGWAY_SHOP_URL")?,
                us_west: variable("RINGWAY_SHOP_URL_US_WEST")?,
            },
            cards: variable("RINGWAY_SHOP_PAYMENT_URL")?,
        })
    }

    /// Somebody who hasn't signed in.
    pub fn anybody(&self, region: Region) -> Client {
        Client::new(self.gateways.clone(), region, None)
    }

    /// Registers somebody new and signs in.
    ///
    /// # Errors
    /// It is refused.
    pub async fn newcomer(&self, region: Region) -> Result<Person> {
        let anybody = self.anybody(region);
        let email = format!("{}@example.com", Uuid::now_v7().simple());
        let password = PASSWORD;
        let new = json!({ "email": email, "password": password, "name": "Ada Example", "country": "US" });
        let key = Uuid::now_v7().to_string();
        anybody.post_once("/api/v1/users", &key, new).await?.ok()?;
        let session = sign_in(&anybody, &email, password).await?;
        Ok(Person {
            client: anybody.with_bearer(Some(word(&session, "access_token")?)),
            user_id: word(&session, "user_id")?.parse()?,
            email,
        })
    }

    /// The payment provider's token for a card.
    ///
    /// # Errors
    /// The provider's.
    pub async fn card(&self, number: &str) -> Result<String> {
        let url = format!("{}/v1/tokens", self.cards);
        let answer = reqwest::Client::new()
            .post(url)
            .json(&json!({ "number": number }));
        word(&answer.send().await?.json().await?, "token")
    }

    /// Opens a person's socket for notifications, with a ticket as a browser does.
    ///
    /// # Errors
    /// It is refused.
    pub async fn socket(&self, region: Region, person: &Client) -> Result<Notices> {
        let ticket = person.post("/api/v1/notifications/tickets", json!({})).await?;
        let ticket = word(&ticket.ok()?, "ticket")?;
        let gateway = self.gateways.of(region);
        let address = gateway.strip_prefix("http://").context("not http")?;
        let url = format!("ws://{address}/api/v1/notifications/socket?ticket={ticket}");
        let stream = TcpStream::connect(address).await?;
        let (stream, _) = tokio_tungstenite::client_async(url.into_client_request()?, stream).await?;
        Ok(Notices(stream))
    }
}

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub struct Person {
    /// Speaks to the shop.
    pub client: Client,
    /// Who it is.
    pub user_id: Uuid,
    email: String,
}

impl Person {
    /// Signs in again, by this way; gives the access token.
    ///
    /// # Errors
    /// It is refused.
    pub async fn sign_in(&self, way: &Client) -> Result<String> {
        word(&sign_in(way, &self.email, PASSWORD).await?, "access_token")
    }
}

async fn sign_in(way: &Client, email: &str, password: &str) -> Result<Value> {
    let sign_in = json!({ "email": email, "password": password });
    way.post("/api/v1/sessions", sign_in).await?.ok()
}

/// Where parcels of tests go to.
pub fn address() -> Value {
    json!({
        "name": "Ada Example", "line1": "1 Main Street", "city": "Springfield", "postal_code": "01101", "country": "US",
    })
}

/// A socket on which somebody is told things.
#[derive(Debug)]
pub struct Notices(WebSocketStream<TcpStream>);

impl Notices {
    /// The next notification, whenever it comes.
    ///
    /// # Errors
    /// The socket ends.
    pub async fn next(&mut self) -> Result<Value> {
        loop {
            let frame = self.0.next().await.context("the socket has ended")??;
            let Message::Text(text) = frame else { continue };
            let mut told: Value = serde_json::from_str(&text)?;
            if told["notification"].is_object() {
                return Ok(told["notification"].take());
            }
        }
    }

    /// Waits for the notification of this category.
    ///
    /// # Errors
    /// The socket ends, or nothing comes in time.
    pub async fn wait_for(&mut self, category: &str) -> Result<Value> {
        let comes = async {
            loop {
                let told = self.next().await?;
                if told["category"] == category {
                    return Ok(told);
                }
            }
        };
        let late = || format!("no notification {category} in time");
        timeout(BOUND, comes).await.with_context(late)?
    }
}

/// A word of an answer.
///
/// # Errors
/// It isn't there.
pub fn word(answer: &Value, name: &str) -> Result<String> {
    let word = answer[name].as_str().map(str::to_owned);
    word.with_context(|| format!("no {name} in {answer}"))
}

/// Puts so many of a product into the cart and checks out; gives the order as it was placed.
///
/// # Errors
/// Something is refused.
pub async fn buy(shop: &Shop, person: &Client, product_id: &str, quantity: u32, card: &str) -> Result<Value> {
    let item = format!("/api/v1/cart/items/{product_id}");
    person.put(&item, json!({ "quantity": quantity })).await?.ok()?;
    let checkout = json!({
        "address": address(),
        "shipping_service": "standard",
        "payment_token": shop.card(card).await?,
    });
    let key = Uuid::now_v7().to_string();
    person.post_once("/api/v1/orders", &key, checkout).await?.ok()
}

/// Looks at an order until it has come to an end; gives its state.
///
/// # Errors
/// It comes to none in time.
pub async fn outcome(person: &Client, order_id: &str) -> Result<String> {
    let path = format!("/api/v1/orders/{order_id}");
    let ends = async {
        loop {
            let state = word(&person.get(&path).await?.ok()?, "state")?;
            if ["confirmed", "cancelled"].contains(&state.as_str()) {
                return Ok(state);
            }
            sleep(LOOK).await;
        }
    };
    let late = || format!("order {order_id} comes to no end");
    timeout(BOUND, ends).await.with_context(late)?
}

/// What the person did, in the words that the program prints.
///
/// # Errors
/// Anything that isn't as it should be.
pub async fn use_the_shop(shop: &Shop, mut tell: impl FnMut(&str, Duration)) -> Result<()> {
    let mut since = Instant::now();
    let mut done = |what: &str| {
        tell(what, since.elapsed());
        since = Instant::now();
    };
    let person = shop.newcomer(Region::UsEast).await?.client;
    done("us-east: registered and signed in");
    let found = person.get("/api/v1/products?q=wireles%20keybord").await?.ok()?;
    let product = &found["products"][0];
    let name = word(product, "name")?;
    ensure!(name.contains("keyboard"), "{name} was found for a keyboard");
    done(&format!(
        "us-east: searched for \"wireles keybord\", found {name}"
    ));
    let mut notices = shop.socket(Region::UsEast, &person).await?;
    done("us-east: opened a socket for notifications");
    let order = buy(shop, &person, &word(product, "product_id")?, 2, GOOD_CARD).await?;
    let order_id = word(&order, "order_id")?;
    done("us-east: put two into the cart and checked out");
    let state = outcome(&person, &order_id).await?;
    ensure!(state == "confirmed", "the order is {state}");
    done("us-east: saw the order confirmed");
    let notice = notices.wait_for("order-confirmed").await?;
    ensure!(notice["data"]["order_id"] == *order_id, "{notice}");
    done("us-east: was told so by the socket");
    let there = person.moved_to(Region::UsWest);
    let history = there.get("/api/v1/orders").await?.ok()?;
    let (latest, region) = (&history["orders"][0], there.get("/api/regions").await?.ok()?);
    ensure!(region["here"] == "us-west", "{region}");
    ensure!(
        latest["order_id"] == *order_id && latest["state"] == "confirmed",
        "us-west says {history}"
    );
    let source = history["source"].as_str().unwrap_or_default();
    done(&format!(
        "us-west: saw the same history at once (from the {source})"
    ));
    Ok(())
}
