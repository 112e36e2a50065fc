//! A provider on this machine, for tests and demos.
//!
//! Customers give it their card's number (`POST /v1/tokens`) and get a token, as with any provider; the last four digits say what becomes of payments with
//! that card ([`CARDS`]).

use axum::http::StatusCode;
use axum::http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderName};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use ringway_sdk::partner::local::{LocalPartner, Manner, Plan};
use ringway_sdk::partner::{Errand, Secret, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// The cards whose payments go otherwise than well: the last four digits, and the word in the token.
pub const CARDS: [(&str, &str); 8] = [
    ("0002", "declined"),
    ("9995", "insufficient"),
    ("0010", "twice"),
    ("0028", "silent"),
    ("0036", "lost"),
    ("0044", "broken"),
    ("0051", "late"),
    ("0069", "latedeclined"),
];

/// The most payments whose cards are remembered.
const MAX_CARDS: usize = 1_000_000;

#[derive(Deserialize)]
struct Card {
    number: String,
}

#[derive(Serialize)]
struct Token {
    token: String,
}

/// The token for a card.
pub fn token(number: &str) -> String {
    let word = CARDS
        .iter()
        .find(|(digits, _)| number.ends_with(digits))
        .map_or("good", |(_, word)| word);
    format!("tok_{word}_{}", Uuid::now_v7().simple())
}

/// Pages of any shop may ask: their customers give their cards here.
const ANYBODY: [(HeaderName, &str); 2] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
];

/// The card is forgotten as soon as it has been read.
async fn tokens(Json(card): Json<Card>) -> impl IntoResponse {
    let token = token(&card.number);
    (ANYBODY, Json(Token { token }))
}

/// A browser asks whether a page may.
async fn may_ask() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, ANYBODY)
}

fn plan(word: &str, errand: &Errand) -> Plan {
    let manner = Manner::of_word(if word == "latedeclined" { "late" } else { word });
    let verdict = match (word, errand.kind.as_str()) {
        ("declined" | "latedeclined", "authorise") => Verdict::Refused("card-declined".to_owned()),
        ("insufficient", "authorise") => Verdict::Refused("insufficient-funds".to_owned()),
        _ => Verdict::Done(json!({ "id": errand.id })),
    };
    Plan { verdict, manner }
}

/// A provider that knows us by this secret and sends its webhooks to this URL (`.../api/v1/payments/webhook`).
pub fn provider(secret: Secret, webhooks: impl Into<String>) -> LocalPartner {
    let cards: Mutex<HashMap<Uuid, String>> = Mutex::default();
    LocalPartner::new(secret, webhooks, move |errand| {
        let mut cards = cards.lock().unwrap_or_else(PoisonError::into_inner);
        let source = errand.details["source"].as_str();
        let word = source
            .and_then(|token| token.split('_').nth(1))
            .map(str::to_owned);
        if let Some(word) = word
            && cards.len() < MAX_CARDS
        {
            cards.insert(errand.subject, word);
        }
        plan(cards.get(&errand.subject).map_or("good", String::as_str), errand)
    })
}

/// Listens on a port of this machine, for customers and the shop.
///
/// # Errors
/// The port can't be had.
pub async fn listen(provider: &LocalPartner, port: u16) -> std::io::Result<SocketAddr> {
    provider
        .listen(
            port,
            Router::new().route("/v1/tokens", post(tokens).options(may_ask)),
        )
        .await
}
