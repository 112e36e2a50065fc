//! What handlers take.

use super::keys::{Caller, Keys, Role};
use super::problem::Problem;
use crate::context::Context;
use crate::rpc::ServiceKey;
use axum::extract::{ConnectInfo, FromRequestParts, OptionalFromRequestParts, Request};
use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use utoipa::IntoParams;

/// The name of the header.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// The longest key, in bytes: room is left for a service's own prefix.
const MAX_KEY: usize = 128;

/// The caller's name for what it asks for: asked again with the same, it is done once.
#[derive(Clone, PartialEq, Eq, Debug, IntoParams)]
#[into_params(names("Idempotency-Key"), parameter_in = Header)]
pub struct IdempotencyKey(#[param(min_length = 1, max_length = 128, pattern = "^[!-~]+$")] pub String);

/// The name of the header by which the gateway says who has asked it.
pub const CLIENT_HEADER: &str = "ringway-client";

/// Where a request comes from: the address that the gateway saw, or whoever has connected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The header is believed only from who knows the services' key.
    pub(crate) fn of(request: &Request, key: &ServiceKey) -> Self {
        let told = request
            .headers()
            .get(CLIENT_HEADER)
            .filter(|_| key.is_in(request.headers()));
        let told = told.and_then(|value| value.to_str().ok()?.parse().ok());
        let seen = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let seen = seen.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
        Self(told.unwrap_or(seen))
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        put_by_layer(parts)
    }
}

/// Somebody who works for the shop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Staff(pub Caller);

/// What the layer put there. Missing, the service was served without the runner.
pub(super) fn put_by_layer<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, Problem> {
    parts.extensions.get::<T>().cloned().ok_or_else(Problem::internal)
}

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        put_by_layer(parts)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let keys: Keys = put_by_layer(parts)?;
        let value = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = value
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| Problem::unauthenticated("there is no bearer token"))?;
        keys.verify(token).await
    }
}

/// Nobody has to have signed in; a token that isn't valid is refused all the same.
impl<S: Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Problem> {
        if !parts.headers.contains_key(AUTHORIZATION) {
            return Ok(None);
        }
        let caller = <Self as FromRequestParts<S>>::from_request_parts(parts, state);
        caller.await.map(Some)
    }
}

impl<S: Sync> FromRequestParts<S> for Staff {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = <Caller as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        match caller.role {
            Role::Staff => Ok(Self(caller)),
            Role::Customer => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "staff-only",
                "only who works for the shop may do that",
            )),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refused = |detail: &str| {
            let title = "the header Idempotency-Key is needed: 1 to 128 printable ASCII characters";
            Err(Problem::new(StatusCode::BAD_REQUEST, "idempotency-key", title).about(detail))
        };
        let mut values = parts.headers.get_all(IDEMPOTENCY_HEADER).iter();
        match (values.next(), values.next()) {
            (None, _) => refused("it is missing"),
            (Some(_), Some(_)) => refused("there are several"),
            (Some(value), None) => match value.to_str() {
                Ok(key)
                    if (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) =>
                {
                    Ok(Self(key.to_owned()))
                }
                _ => refused("it is too long or has other characters"),
            },
        }
    }
}
