//! gRPC: what services answer each other, and nobody else.

use crate::room::Room;
use anyhow::{Result, ensure};
use ringway_sdk::rpc::SERVICE_KEY_HEADER;

/// The calls between services, as their definitions name them.
const DEFINITIONS: [&str; 7] = [
    include_str!("../../../contracts/proto/fraud.proto"),
    include_str!("../../../contracts/proto/inventory.proto"),
    include_str!("../../../contracts/proto/notification.proto"),
    include_str!("../../../contracts/proto/payment.proto"),
    include_str!("../../../contracts/proto/product.proto"),
    include_str!("../../../contracts/proto/shipping.proto"),
    include_str!("../../../contracts/proto/user.proto"),
];

fn methods() -> Vec<String> {
    let mut found = Vec::new();
    for definition in DEFINITIONS {
        let mut service = "";
        for line in definition.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("service ") {
                service = rest.trim_end_matches('{').trim();
            }
            if let Some((method, _)) = line.strip_prefix("rpc ").and_then(|rest| rest.split_once('(')) {
                found.push(format!("/shop.v1.{service}/{method}"));
            }
        }
    }
    found
}

/// gRPC's code for who isn't known.
const UNAUTHENTICATED: &str = "16";

/// Without the services' key every call is refused, and the gateway passes none on.
pub(crate) async fn only_services_call_services(room: &Room) -> Result<()> {
    let methods = methods();
    ensure!(methods.len() > 15, "these can't be all calls: {methods:?}");
    let http = reqwest::Client::new();
    // An empty message: a flag, and no length.
    let asked = |url: String| {
        let request = http.post(url).header("content-type", "application/grpc");
        request.header("te", "trailers").body(vec![0_u8; 5])
    };
    for method in &methods {
        for base in room.services() {
            for key in [None, Some("known-to-tests-onlx"), Some("")] {
                let mut request = asked(format!("{base}{method}"));
                if let Some(key) = key {
                    request = request.header(SERVICE_KEY_HEADER, key);
                }
                let answer = request.send().await?;
                let status = answer
                    .headers()
                    .get("grpc-status")
                    .and_then(|status| status.to_str().ok());
                ensure!(
                    status == Some(UNAUTHENTICATED),
                    "{method} with {key:?}: {answer:?}"
                );
            }
        }
        for base in room.gateways() {
            for prefix in ["", "/api/v1", "/api/v1/users/.."] {
                let answer = asked(format!("{base}{prefix}{method}")).send().await?;
                ensure!(
                    [400, 404].contains(&answer.status().as_u16()),
                    "{prefix}{method}: {answer:?}"
                );
            }
        }
    }
    Ok(())
}
