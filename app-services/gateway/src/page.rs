//! The shop's page for people: what is served as it stands, and what it has to know.

use crate::Gateway;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::header::{HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use ringway_sdk::web::Problem;
use serde::Serialize;
use std::collections::BTreeMap;

/// The page itself.
const PAGE: &str = include_str!("page/index.html");

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What it consists of: name, type, content.
const FILES: [(&str, &str, &str); 9] = [
    (
        "shop.css",
        "text/css; charset=utf-8",
        include_str!("page/shop.css"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("shop.js", SCRIPT, include_str!("page/shop.js")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("live.js", SCRIPT, include_str!("page/live.js")),
    ("catalogue.js", SCRIPT, include_str!("page/catalogue.js")),
    ("orders.js", SCRIPT, include_str!("page/orders.js")),
    ("people.js", SCRIPT, include_str!("page/people.js")),
];

/// What the page has to know of the shop.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shop {
    /// The region that answers.
    region: String,
    /// The gateways of all regions.
    gateways: BTreeMap<String, String>,
    /// Where a card becomes a token.
    card_tokens: Option<String>,
}

/// `GET /api/shop`
pub(crate) async fn shop(State(gateway): State<Gateway>) -> Json<Shop> {
    let regions = &gateway.0.regions;
    Json(Shop {
        region: regions.here.clone(),
        gateways: regions.gateways.clone(),
        card_tokens: gateway.0.card_tokens.clone(),
    })
}

/// `GET /`
pub(crate) async fn page(State(gateway): State<Gateway>) -> Response {
    served("text/html; charset=utf-8", &gateway, PAGE)
}

/// `GET /page/{file}`
pub(crate) async fn file(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let found = FILES.iter().find(|(file, ..)| *file == name);
    let (_, kind, content) = found.ok_or(crate::Refusal::NoRoute)?;
    Ok(served(kind, &gateway, content))
}

fn served(kind: &'static str, gateway: &Gateway, content: &'static str) -> Response {
    let headers: [(HeaderName, String); 5] = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_SECURITY_POLICY, gateway.policy()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        // Another version of the gateway has another page.
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, content).into_response()
}

impl Gateway {
    /// Nothing but its own files, and asking the gateways and the payment provider.
    fn policy(&self) -> String {
        let mut asked: Vec<String> = vec!["'self'".to_owned()];
        for gateway in self.0.regions.gateways.values() {
            let origin = origin(gateway);
            // http becomes ws, https wss.
            asked.push(origin.replacen("http", "ws", 1));
            asked.push(origin);
        }
        asked.extend(self.0.card_tokens.as_deref().map(origin));
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {}; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            asked.join(" ")
        )
    }
}

/// Scheme, host and port of a URL.
pub(crate) fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_page_is_elsewhere_and_nothing_is_read_as_html() {
        for (name, _, content) in FILES.iter().chain([&("index.html", "", PAGE)]) {
            for bad in [
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                "//cdn",
            ] {
                assert!(!content.contains(bad), "{name}: {bad}");
            }
            let others = content.matches("https://").count();
            assert_eq!(others, 0, "{name} names another host");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(origin("http://127.0.0.1:8095/v1/tokens"), "http://127.0.0.1:8095");
        assert_eq!(origin("https://shop.example"), "https://shop.example");
    }
}
