//! What a user says about itself, and leaving.

use crate::register::Person;
use crate::session::END_ALL;
use crate::{Refusal, Users};
use ringway_sdk::web::{Caller, Json, Reads, State, StatusCode};
use ringway_sdk::{Context, Level, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::events::{AuditEvent, AuditRecorded, Tell, UserDeleted};
use time::OffsetDateTime;
use tokio_postgres::Row;
use utoipa::ToSchema;
use uuid::Uuid;

pub(crate) const SHOW: &str = "SELECT user_id, email, name, phone, country, locale, time_zone, home_region, registered_at, deleted_at \
     FROM user_profile WHERE user_id = $1";
const CHANGE: &str = "UPDATE user_profile SET name = $2, phone = $3, country = $4, locale = $5, time_zone = $6 \
     WHERE user_id = $1 AND deleted_at IS NULL RETURNING user_id, email, name, phone, country, locale, time_zone, home_region, \
     registered_at, deleted_at";
const CREDENTIAL: &str = "SELECT password FROM user_credential WHERE user_id = $1";
const SET_PASSWORD: &str = "UPDATE user_credential SET password = $2 WHERE user_id = $1 AND password = $3";
/// Who it was is forgotten; that there was somebody, where, from when to when, has to be kept with the orders.
const FORGET: &str = "UPDATE user_profile SET email = NULL, name = NULL, phone = NULL, locale = NULL, time_zone = NULL, deleted_at = now() \
     WHERE user_id = $1 AND deleted_at IS NULL RETURNING user_id";
const LOGIN: &str = "SELECT email FROM user_profile WHERE user_id = $1 AND deleted_at IS NULL FOR UPDATE";
const FREE_LOGIN: &str = "DELETE FROM user_login WHERE login = $1 AND user_id = $2";
const FORGET_PASSWORD: &str = "DELETE FROM user_credential WHERE user_id = $1";
const FORGET_ADDRESSES: &str = "DELETE FROM user_address WHERE user_id = $1";

/// A user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Profile {
    pub(crate) user_id: Uuid,
    pub(crate) email: String,
    #[serde(flatten)]
    pub(crate) person: Person,
    pub(crate) home_region: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) registered_at: OffsetDateTime,
}

/// None of a user who has been deleted.
pub(crate) fn profile(row: &Row) -> Option<Profile> {
    if row.get::<_, Option<OffsetDateTime>>(9).is_some() {
        return None;
    }
    Some(Profile {
        user_id: row.get(0),
        email: row.get(1),
        person: Person {
            name: row.get(2),
            phone: row.get(3),
            country: row.get(4),
            locale: row.get(5),
            time_zone: row.get(6),
        },
        home_region: row.get(7),
        registered_at: row.get(8),
    })
}

/// The caller's profile.
#[utoipa::path(get, path = "/api/v1/users/me", responses((status = 200, body = Profile)))]
pub(crate) async fn show(reads: Reads, caller: Caller) -> Result<Json<Profile>, Refusal> {
    let row = reads.row(SHOW, &[&caller.user_id]).await?;
    let profile = row.and_then(|row| profile(&row)).ok_or(Refusal::NoUser)?;
    Ok(Json(profile))
}

/// Replaces what the caller says about itself.
#[utoipa::path(put, path = "/api/v1/users/me", responses((status = 200, body = Profile)))]
pub(crate) async fn change(
    State(users): State<Users>,
    context: Context,
    caller: Caller,
    Json(person): Json<Person>,
) -> Result<Json<Profile>, Refusal> {
    person.check()?;
    let Person {
        name,
        phone,
        country,
        locale,
        time_zone,
    } = &person;
    let change = async |tx: Transaction| {
        tx.query_opt(
            CHANGE,
            &[&caller.user_id, name, phone, country, locale, time_zone],
        )
        .await
    };
    let row = users
        .0
        .database
        .transaction::<_, ringway_sdk::Error, _, _>(&context, change)
        .await?;
    let profile = row.and_then(|row| profile(&row)).ok_or(Refusal::NoUser)?;
    Ok(Json(profile))
}

/// A password that is to be replaced, and by which.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Passwords {
    #[schema(format = Password, max_length = 128)]
    old: String,
    #[schema(format = Password, min_length = 8, max_length = 128)]
    new: String,
}

/// Replaces the caller's password, and ends all sessions.
#[utoipa::path(put, path = "/api/v1/users/me/password", responses((status = 204)))]
pub(crate) async fn change_password(
    State(users): State<Users>,
    context: Context,
    caller: Caller,
    Json(passwords): Json<Passwords>,
) -> Result<StatusCode, Refusal> {
    let id = caller.user_id;
    users.0.tries.take(&id.to_string()).await.map_err(Refusal::Peer)?;
    let row = users
        .0
        .database
        .row(&context, Level::Strong, CREDENTIAL, &[&id])
        .await?;
    let known: Option<String> = row.map(|row| row.get(0));
    if !users.0.passwords.verify(passwords.old, known.clone()).await? {
        return Err(Refusal::WrongPassword);
    }
    let new = users.0.passwords.hash(passwords.new).await?;
    let audit = AuditEvent::Recorded(AuditRecorded {
        subject: id.to_string(),
        actor: id,
        action: "password-changed".to_owned(),
        detail: String::new(),
    });
    let replace = async |tx: Transaction| {
        if tx.execute(SET_PASSWORD, &[&id, &new, &known]).await? == 0 {
            return Err(Refusal::WrongPassword);
        }
        tx.execute(END_ALL, &[&id]).await?;
        tx.tell(&users.0.store, id, audit.clone()).await?;
        Ok(())
    };
    users.0.database.transaction(&context, replace).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets the caller: login, password, sessions, addresses, name. What has to be kept says only that there was somebody.
#[utoipa::path(delete, path = "/api/v1/users/me", responses((status = 204)))]
pub(crate) async fn delete(
    State(users): State<Users>,
    context: Context,
    caller: Caller,
) -> Result<StatusCode, Refusal> {
    let id = caller.user_id;
    let forget = async |tx: Transaction| {
        let login = tx.query_opt(LOGIN, &[&id]).await?.ok_or(Refusal::NoUser)?;
        tx.query_opt(FORGET, &[&id]).await?;
        tx.execute(FREE_LOGIN, &[&login.get::<_, String>(0), &id]).await?;
        for statement in [FORGET_PASSWORD, FORGET_ADDRESSES, END_ALL] {
            tx.execute(statement, &[&id]).await?;
        }
        let event = AuditEvent::UserDeleted(UserDeleted { user_id: id });
        tx.tell(&users.0.store, id, event).await?;
        Ok::<_, Refusal>(())
    };
    users.0.database.transaction(&context, forget).await?;
    Ok(StatusCode::NO_CONTENT)
}
