//! Signing in and out.
//!
//! A session is a row with the digest of its refresh token's secret. The token is replaced with each use; one that was replaced and comes again was
//! stolen from somebody (or by somebody), and ends the session. For a moment it is accepted, as an answer may have been lost.

use crate::register::{login, role};
use crate::{Refusal, Users};
use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringway_sdk::web::{Caller, ClientAddress, Problem, Role};
use ringway_sdk::{Context, Level, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::events::{FraudEvent, SignInTried, Tell};
use utoipa::ToSchema;
use uuid::Uuid;

const WHOSE: &str = "SELECT user_id FROM user_login WHERE login = $1";
const CREDENTIAL: &str = "SELECT password, role FROM user_credential WHERE user_id = $1";
const HOME: &str = "SELECT home_region FROM user_profile WHERE user_id = $1";
const ADD: &str = "INSERT INTO user_session (user_id, session_id, secret, expires_at) \
     VALUES ($1, $2, $3, now() + $4 * interval '1 s')";
const ROTATE: &str = "UPDATE user_session SET previous = secret, secret = $4, rotated_at = now(), \
     expires_at = now() + $5 * interval '1 s' WHERE user_id = $1 AND session_id = $2 AND expires_at > now() \
     AND (secret = $3 OR previous = $3 AND rotated_at > now() - interval '10 s')";
const END: &str = "DELETE FROM user_session WHERE user_id = $1 AND session_id = $2";
const END_IF_KNOWN: &str =
    "DELETE FROM user_session WHERE user_id = $1 AND session_id = $2 AND (secret = $3 OR previous = $3)";
pub(crate) const END_ALL: &str = "DELETE FROM user_session WHERE user_id = $1";

/// Somebody who wants in.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SignIn {
    #[schema(max_length = 254)]
    email: String,
    #[schema(format = Password, max_length = 128)]
    password: String,
}

/// What proves that a session was begun.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Refresh {
    #[schema(max_length = 200)]
    refresh_token: String,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    user_id: Uuid,
    role: Role,
    home_region: String,
    /// For the header `Authorization: Bearer`.
    access_token: String,
    /// In so many seconds the access token expires.
    expires_in: u64,
    /// For another session token, once.
    refresh_token: String,
}

/// A refresh token, as it was read or made.
struct Token {
    user_id: Uuid,
    session_id: Uuid,
    secret: [u8; 32],
}

impl Token {
    fn new(user_id: Uuid, session_id: Uuid) -> Result<Self, Refusal> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| Refusal::Busy)?;
        Ok(Self {
            user_id,
            session_id,
            secret,
        })
    }

    fn read(text: &str) -> Result<Self, Refusal> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::NoSession)?;
        let bytes: &[u8; 64] = bytes.as_slice().try_into().map_err(|_| Refusal::NoSession)?;
        let (user, rest) = bytes.split_first_chunk::<16>().ok_or(Refusal::NoSession)?;
        let (session, rest) = rest.split_first_chunk::<16>().ok_or(Refusal::NoSession)?;
        let secret = rest.try_into().map_err(|_| Refusal::NoSession)?;
        Ok(Self {
            user_id: Uuid::from_bytes(*user),
            session_id: Uuid::from_bytes(*session),
            secret,
        })
    }

    fn text(&self) -> String {
        let all = [
            self.user_id.as_bytes(),
            self.session_id.as_bytes(),
            &self.secret[..],
        ]
        .concat();
        URL_SAFE_NO_PAD.encode(all)
    }

    fn digest(&self) -> Vec<u8> {
        digest(&SHA256, &self.secret).as_ref().to_vec()
    }
}

/// Begins a session.
#[utoipa::path(
    post, path = "/api/v1/sessions", security(()), responses((status = 201, body = Session))
)]
pub(crate) async fn sign_in(
    State(users): State<Users>,
    context: Context,
    ClientAddress(address): ClientAddress,
    Json(who): Json<SignIn>,
) -> Result<(StatusCode, Json<Session>), Refusal> {
    let login = login(&who.email).map_err(|_| Refusal::WrongPassword)?;
    bounded(&users, &login, &address.to_string()).await?;
    let database = &users.0.database;
    let whose = database.row(&context, Level::Ryw, WHOSE, &[&login]).await?;
    let user_id: Option<Uuid> = whose.map(|row| row.get(0));
    let credential = match user_id {
        // At level strong: a password that was changed a moment ago is the one that counts.
        Some(id) => database.row(&context, Level::Strong, CREDENTIAL, &[&id]).await?,
        None => None,
    };
    let hash = credential.as_ref().map(|row| row.get(0));
    let right = users.0.passwords.verify(who.password, hash).await?;
    let (Some(user_id), Some(credential)) = (user_id, credential) else {
        return Err(Refusal::WrongPassword);
    };
    let token = Token::new(user_id, Uuid::now_v7())?;
    let (secret, seconds) = (token.digest(), users.0.settings.session.as_secs_f64());
    let tried = FraudEvent::SignInTried(SignInTried {
        user_id,
        succeeded: right,
        client_address: address.to_string(),
    });
    let begin = async |tx: Transaction| {
        tx.tell(&users.0.store, user_id, tried.clone()).await?;
        if right {
            tx.execute(ADD, &[&user_id, &token.session_id, &secret, &seconds])
                .await?;
        }
        Ok::<_, Refusal>(())
    };
    database.transaction(&context, begin).await?;
    if !right {
        return Err(Refusal::WrongPassword);
    }
    let session = session(&users, &context, &token, role(credential.get(1))).await?;
    Ok((StatusCode::CREATED, Json(session)))
}

/// Somebody who guesses is slowed down; somebody else who knows the password, at another address, hardly.
async fn bounded(users: &Users, login: &str, address: &str) -> Result<(), Refusal> {
    let both = format!("{login} {address}");
    users.0.tries.take(&both).await.map_err(Refusal::Peer)?;
    users.0.tries_in_all.take(login).await.map_err(Refusal::Peer)
}

async fn session(users: &Users, context: &Context, token: &Token, role: Role) -> Result<Session, Refusal> {
    let home = users
        .0
        .database
        .row(context, Level::Ryw, HOME, &[&token.user_id])
        .await?;
    let home_region: String = home.ok_or(Refusal::NoUser)?.get(0);
    let caller = Caller {
        user_id: token.user_id,
        role,
        region: home_region.clone(),
    };
    let access = users.0.settings.access;
    let signed = users.0.signing.sign(context, &caller, access).await;
    Ok(Session {
        user_id: token.user_id,
        role,
        home_region,
        access_token: signed.map_err(Refusal::Peer)?,
        expires_in: access.as_secs(),
        refresh_token: token.text(),
    })
}

/// Goes on with a session: the refresh token is used up, another comes with the answer.
#[utoipa::path(
    post, path = "/api/v1/sessions/refresh", security(()), responses((status = 200, body = Session))
)]
pub(crate) async fn refresh(
    State(users): State<Users>,
    context: Context,
    Json(asked): Json<Refresh>,
) -> Result<Json<Session>, Refusal> {
    let old = Token::read(&asked.refresh_token)?;
    let new = Token::new(old.user_id, old.session_id)?;
    let (given, secret, seconds) = (old.digest(), new.digest(), users.0.settings.session.as_secs_f64());
    let rotate = async |tx: Transaction| {
        let parameters: &[ringway_sdk::Parameter<'_>] =
            &[&old.user_id, &old.session_id, &given, &secret, &seconds];
        if tx.execute(ROTATE, parameters).await? == 0 {
            // Used before: whoever has the other one has to sign in again too.
            let ended = tx.execute(END, &[&old.user_id, &old.session_id]).await?;
            if ended > 0 {
                tracing::warn!(user = %old.user_id, "a refresh token came twice; its session is ended");
            }
            return Ok(None);
        }
        let credential = tx.query_opt(CREDENTIAL, &[&old.user_id]).await?;
        Ok::<_, Refusal>(credential.map(|row| role(row.get(1))))
    };
    let role = users.0.database.transaction(&context, rotate).await?;
    let role = role.ok_or(Refusal::NoSession)?;
    Ok(Json(session(&users, &context, &new, role).await?))
}

/// Ends a session.
#[utoipa::path(
    post, path = "/api/v1/sessions/end", security(()), responses((status = 204))
)]
pub(crate) async fn sign_out(
    State(users): State<Users>,
    context: Context,
    Json(asked): Json<Refresh>,
) -> Result<StatusCode, Refusal> {
    let token = Token::read(&asked.refresh_token)?;
    let secret = token.digest();
    let end = async |tx: Transaction| {
        tx.execute(END_IF_KNOWN, &[&token.user_id, &token.session_id, &secret])
            .await
    };
    match users
        .0
        .database
        .transaction::<_, ringway_sdk::Error, _, _>(&context, end)
        .await?
    {
        0 => Err(Refusal::NoSession),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Ends all sessions of the caller.
#[utoipa::path(delete, path = "/api/v1/sessions", responses((status = 204)))]
pub(crate) async fn sign_out_everywhere(
    State(users): State<Users>,
    context: Context,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    let end = async |tx: Transaction| tx.execute(END_ALL, &[&caller.user_id]).await;
    users
        .0
        .database
        .transaction::<_, ringway_sdk::Error, _, _>(&context, end)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
