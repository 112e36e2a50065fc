//! All that can be asked over HTTP, and whom it answers. A route that isn't here fails the test.

use crate::person::draft;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Whom an operation answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answers {
    /// Everybody.
    Anybody,
    /// Who has signed in, of that user's own things, which the request doesn't name.
    Caller,
    /// The user whose id, or whose thing's id, the request names.
    Owner,
    /// Who works for the shop.
    Staff,
    /// Who signs its requests.
    Partner,
}

use Answers::{Anybody, Caller, Owner, Partner, Staff};

/// The ids that requests are filled with, by name.
pub(crate) type Ids = BTreeMap<&'static str, String>;

/// One operation.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) answers: Answers,
    /// What it is told, if it is told something.
    pub(crate) body: Option<fn(&Ids) -> Value>,
}

const fn get(path: &'static str, answers: Answers) -> Operation {
    operation("GET", path, answers, None)
}

const fn delete(path: &'static str, answers: Answers) -> Operation {
    operation("DELETE", path, answers, None)
}

const fn post(path: &'static str, answers: Answers, body: fn(&Ids) -> Value) -> Operation {
    operation("POST", path, answers, Some(body))
}

const fn put(path: &'static str, answers: Answers, body: fn(&Ids) -> Value) -> Operation {
    operation("PUT", path, answers, Some(body))
}

const fn operation(
    method: &'static str,
    path: &'static str,
    answers: Answers,
    body: Option<fn(&Ids) -> Value>,
) -> Operation {
    Operation {
        method,
        path,
        answers,
        body,
    }
}

/// All of them, in an order in which the owner can do one after the other.
pub(crate) const OPERATIONS: [Operation; 47] = [
    // user
    get("/.well-known/jwks.json", Anybody),
    post(
        "/api/v1/users",
        Anybody,
        |_| json!({ "email": "somebody-new@example.com", "password": "a long password", "name": "New", "country": "US" }),
    ),
    post(
        "/api/v1/sessions",
        Anybody,
        |_| json!({ "email": "nobody@example.com", "password": "a long password" }),
    ),
    get("/api/v1/users/me", Caller),
    put(
        "/api/v1/users/me",
        Caller,
        |_| json!({ "name": "Changed", "country": "GB" }),
    ),
    get("/api/v1/users/me/addresses", Caller),
    post("/api/v1/users/me/addresses", Caller, |_| address()),
    put("/api/v1/users/me/addresses/{address_id}", Owner, |_| address()),
    delete("/api/v1/users/me/addresses/{address_id}", Owner),
    // product and inventory
    get("/api/v1/categories", Anybody),
    get("/api/v1/categories/{slug}/products", Anybody),
    get("/api/v1/products", Anybody),
    get("/api/v1/products/{product_id}", Anybody),
    get("/api/v1/products/{product_id}/prices", Anybody),
    post("/api/v1/products", Staff, |_| draft("sku-of-the-sweep")),
    put("/api/v1/products/{product_id}", Staff, |_| {
        let mut edit = draft("sku-of-the-edit");
        edit["version"] = json!(1);
        edit
    }),
    get("/api/v1/stock/{product_id}", Anybody),
    put(
        "/api/v1/stock/{product_id}/{warehouse}",
        Staff,
        |_| json!({ "on_hand": 77 }),
    ),
    // order
    get("/api/v1/cart", Caller),
    put(
        "/api/v1/cart/items/{product_id}",
        Caller,
        |_| json!({ "quantity": 2 }),
    ),
    post(
        "/api/v1/orders",
        Caller,
        |_| json!({ "address": address(), "shipping_service": "standard", "payment_token": "tok_good_x" }),
    ),
    delete("/api/v1/cart/items/{product_id}", Caller),
    get("/api/v1/orders", Caller),
    get("/api/v1/orders/{order_id}", Owner),
    // payment and shipping
    get("/api/v1/payments/{order_id}", Owner),
    post(
        "/api/v1/payments/{user_id}/{order_id}/refunds",
        Staff,
        |_| json!({ "amount": { "amount_cents": 5, "currency": "EUR" } }),
    ),
    post("/api/v1/payments/webhook", Partner, |_| json!({})),
    get("/api/v1/shipping/rates", Anybody),
    get("/api/v1/shipments/{order_id}", Owner),
    post("/api/v1/shipments/webhook", Partner, |_| json!({})),
    // fraud
    get("/api/v1/fraud/cases", Staff),
    post(
        "/api/v1/fraud/cases/{user_id}/{order_id}/review",
        Staff,
        |_| json!({ "is_fraud": false }),
    ),
    // analytics
    get("/api/v1/analytics/revenue", Staff),
    get("/api/v1/analytics/conversion", Staff),
    get("/api/v1/analytics/abandoned-carts", Staff),
    get("/api/v1/analytics/top-products", Staff),
    // recommendation
    get("/api/v1/recommendations", Anybody),
    get("/api/v1/recommendations/products/{product_id}", Anybody),
    post(
        "/api/v1/recommendations/feedback",
        Caller,
        |ids| json!({ "source": "popular", "shown": [ids["product_id"]], "taken": ids["product_id"] }),
    ),
    // notification
    get("/api/v1/notifications", Caller),
    get("/api/v1/notifications/preferences", Caller),
    put(
        "/api/v1/notifications/preferences",
        Caller,
        |_| json!({ "muted": [], "devices": [], "time_zone": "UTC", "per_hour": 5 }),
    ),
    post(
        "/api/v1/notifications/acknowledgements",
        Caller,
        |ids| json!({ "cursor": ids["cursor"] }),
    ),
    post(
        "/api/v1/notifications/receipts",
        Caller,
        |ids| json!({ "notification_ids": [ids["notification_id"]], "broadcast": 0 }),
    ),
    post("/api/v1/notifications/tickets", Caller, |_| json!({})),
    get("/api/v1/notifications/socket", Caller),
    get("/api/v1/notifications/stream", Caller),
];

/// Those that end something: last.
pub(crate) const ENDINGS: [Operation; 7] = [
    post(
        "/api/v1/broadcasts",
        Staff,
        |_| json!({ "title": "To all", "body": "Told to all" }),
    ),
    operation("POST", "/api/v1/orders/{order_id}/cancel", Owner, None),
    put(
        "/api/v1/users/me/password",
        Caller,
        |_| json!({ "old": "not this one", "new": "a longer password" }),
    ),
    post(
        "/api/v1/sessions/refresh",
        Anybody,
        |_| json!({ "refresh_token": "none" }),
    ),
    post(
        "/api/v1/sessions/end",
        Anybody,
        |_| json!({ "refresh_token": "none" }),
    ),
    delete("/api/v1/sessions", Caller),
    delete("/api/v1/users/me", Caller),
];

fn address() -> Value {
    json!({ "name": "Swapped", "line1": "Elsewhere 2", "city": "Shelbyville", "postal_code": "02202", "country": "US" })
}

/// What is asked in the query: names of parameters, and which of the ids goes there; left out where there is none.
pub(crate) const QUERIES: [(&str, Option<&str>); 16] = [
    ("after", Some("cursor")),
    ("before", Some("order_id")),
    ("brand", None),
    ("category", Some("slug")),
    ("country", Some("country")),
    ("currency", Some("currency")),
    ("date", Some("date")),
    ("limit", Some("number")),
    ("max_cents", None),
    ("min_cents", Some("number")),
    ("offset", None),
    ("q", Some("word")),
    ("region", Some("region")),
    // Instead of a bearer token.
    ("ticket", None),
    ("weight_grams", Some("number")),
    // Of a category's page.
    ("after (uuid)", Some("product_id")),
];

/// What isn't anybody's, by the names that routes have for it.
pub(crate) const COMMON: [(&str, &str); 8] = [
    ("warehouse", "main"),
    ("slug", "keyboards"),
    ("country", "US"),
    ("currency", "EUR"),
    ("number", "1"),
    ("word", "thing"),
    ("region", "us-east"),
    ("date", "2026-01-01"),
];
