//! Where a user has things sent to.

use crate::{Refusal, Users};
use ringway_sdk::web::{Caller, IdempotencyKey, Json, Path, Reads, State, StatusCode};
use ringway_sdk::{Context, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::Address;
use utoipa::ToSchema;
use uuid::Uuid;

/// The most addresses of a user.
const MAX: i64 = 50;

const LIST: &str =
    "SELECT address_id, address FROM user_address WHERE user_id = $1 ORDER BY address_id LIMIT 50";
const COUNT: &str = "SELECT count(*) FROM user_address WHERE user_id = $1";
/// So that two who add at once don't pass the bound together.
const LOCK: &str = "SELECT 1 FROM user_profile WHERE user_id = $1 AND deleted_at IS NULL FOR UPDATE";
const ADD: &str = "INSERT INTO user_address (user_id, address_id, address) VALUES ($1, $2, $3)";
const CHANGE: &str = "UPDATE user_address SET address = $3 WHERE user_id = $1 AND address_id = $2";
const REMOVE: &str = "DELETE FROM user_address WHERE user_id = $1 AND address_id = $2";

/// An address that a user has stored.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Stored {
    address_id: Uuid,
    address: Address,
}

fn json(address: &Address) -> Result<serde_json::Value, Refusal> {
    if !address.is_complete() {
        return Err(Refusal::Invalid("address: see the schema".to_owned()));
    }
    serde_json::to_value(address).map_err(|error| Refusal::Invalid(error.to_string()))
}

/// The caller's addresses.
#[utoipa::path(get, path = "/api/v1/users/me/addresses", responses((status = 200, body = Vec<Stored>)))]
pub(crate) async fn list(reads: Reads, caller: Caller) -> Result<Json<Vec<Stored>>, Refusal> {
    let rows = reads.rows(LIST, &[&caller.user_id]).await?;
    let stored = rows.iter().map(|row| {
        let address = serde_json::from_value(row.get(1));
        let address = address.map_err(|error| Refusal::Invalid(error.to_string()))?;
        Ok(Stored {
            address_id: row.get(0),
            address,
        })
    });
    stored.collect::<Result<_, Refusal>>().map(Json)
}

/// Stores an address.
#[utoipa::path(
    post, path = "/api/v1/users/me/addresses", params(IdempotencyKey), responses((status = 201, body = Stored))
)]
pub(crate) async fn add(
    State(users): State<Users>,
    context: Context,
    caller: Caller,
    key: IdempotencyKey,
    Json(address): Json<Address>,
) -> Result<(StatusCode, Json<Stored>), Refusal> {
    let (id, text) = (caller.user_id, json(&address)?);
    let once = users.0.store.once(id, key.0, "add an address");
    let (text, address) = (&text, &address);
    let add = async |tx: Transaction| {
        tx.query_opt(LOCK, &[&id]).await?.ok_or(Refusal::NoUser)?;
        if tx.query_one(COUNT, &[&id]).await?.get::<_, i64>(0) >= MAX {
            return Err(Refusal::TooManyAddresses);
        }
        let address_id = Uuid::now_v7();
        tx.execute(ADD, &[&id, &address_id, text]).await?;
        Ok(Stored {
            address_id,
            address: address.clone(),
        })
    };
    let stored = users.0.database.transaction_once(&context, once, add).await?;
    Ok((StatusCode::CREATED, Json(stored)))
}

/// Replaces an address of the caller.
#[utoipa::path(
    put, path = "/api/v1/users/me/addresses/{address_id}", params(("address_id" = Uuid, Path)),
    responses((status = 200, body = Stored))
)]
pub(crate) async fn change(
    State(users): State<Users>,
    context: Context,
    caller: Caller,
    Path(address_id): Path<Uuid>,
    Json(address): Json<Address>,
) -> Result<Json<Stored>, Refusal> {
    let text = json(&address)?;
    let change = async |tx: Transaction| tx.execute(CHANGE, &[&caller.user_id, &address_id, &text]).await;
    match users
        .0
        .database
        .transaction::<_, ringway_sdk::Error, _, _>(&context, change)
        .await?
    {
        0 => Err(Refusal::NoAddress),
        _ => Ok(Json(Stored { address_id, address })),
    }
}

/// Removes an address of the caller.
#[utoipa::path(
    delete, path = "/api/v1/users/me/addresses/{address_id}", params(("address_id" = Uuid, Path)),
    responses((status = 204))
)]
pub(crate) async fn remove(
    State(users): State<Users>,
    context: Context,
    caller: Caller,
    Path(address_id): Path<Uuid>,
) -> Result<StatusCode, Refusal> {
    let remove = async |tx: Transaction| tx.execute(REMOVE, &[&caller.user_id, &address_id]).await;
    match users
        .0
        .database
        .transaction::<_, ringway_sdk::Error, _, _>(&context, remove)
        .await?
    {
        0 => Err(Refusal::NoAddress),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
