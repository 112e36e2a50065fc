//! Registration.

use crate::{Refusal, Users};
use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ringway_sdk::web::{IdempotencyKey, Role};
use ringway_sdk::{Context, Database, Level, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::events::{AuditEvent, Tell, UserRegistered};
use utoipa::ToSchema;
use uuid::Uuid;

/// How often an id is drawn until one lies in the home region. With one shard of several there, all draws miss once in thousands.
const DRAWS: u32 = 24;

const CLAIM: &str =
    "INSERT INTO user_login (login, user_id, request) VALUES ($1, $2, $3) ON CONFLICT (login) DO NOTHING";
const WHOSE: &str = "SELECT user_id, request FROM user_login WHERE login = $1";
const ADD_PROFILE: &str = "INSERT INTO user_profile (user_id, email, name, phone, country, locale, time_zone, home_region) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const ADD_CREDENTIAL: &str = "INSERT INTO user_credential (user_id, password, role) VALUES ($1, $2, $3)";
const SET_ROLE: &str = "UPDATE user_credential SET role = 'staff' WHERE user_id = $1";

/// Somebody new.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Registration {
    /// The login too.
    #[schema(format = Email, max_length = 254)]
    email: String,
    #[schema(format = Password, min_length = 8, max_length = 128)]
    password: String,
    /// Where the user's data is to live; if not given, where the request is answered.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    home_region: Option<String>,
    #[serde(flatten)]
    person: Person,
}

/// What a user says about itself.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Person {
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) name: String,
    #[serde(default)]
    #[schema(max_length = 32)]
    pub(crate) phone: String,
    /// ISO 3166, two letters.
    #[schema(pattern = "^[A-Z]{2}$")]
    pub(crate) country: String,
    /// As in BCP 47.
    #[serde(default = "english")]
    #[schema(min_length = 2, max_length = 35)]
    pub(crate) locale: String,
    /// As in IANA's list.
    #[serde(default = "utc")]
    #[schema(min_length = 1, max_length = 64)]
    pub(crate) time_zone: String,
}

fn english() -> String {
    "en".to_owned()
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Person {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let country = self.country.len() == 2 && self.country.bytes().all(|b| b.is_ascii_uppercase());
        for (field, fits) in [
            ("name", fits(&self.name, 1, 200)),
            ("phone", fits(&self.phone, 0, 32)),
            ("country", country),
            ("locale", fits(&self.locale, 2, 35)),
            ("time_zone", fits(&self.time_zone, 1, 64)),
        ] {
            if !fits {
                return Err(Refusal::Invalid(format!("{field}: see the schema")));
            }
        }
        Ok(())
    }
}

/// So many characters, and none that PostgreSQL can't store.
fn fits(text: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.chars().count()) && !text.contains('\0')
}

/// Who it has become.
#[derive(Serialize, ToSchema)]
pub(crate) struct Registered {
    user_id: Uuid,
    home_region: String,
}

/// What two spellings of a login have in common.
pub(crate) fn login(email: &str) -> Result<String, Refusal> {
    let login = email.trim().to_lowercase();
    let parts = login.split_once('@');
    let whole = parts.is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    if whole && fits(&login, 3, 254) && !login.contains(char::is_whitespace) {
        Ok(login)
    } else {
        Err(Refusal::Invalid("email: not an address".to_owned()))
    }
}

/// Registers a customer. Asked again with the same key, it answers the same; with another one, the address is taken.
#[utoipa::path(
    post, path = "/api/v1/users", params(IdempotencyKey), security(()),
    responses((status = 201, body = Registered))
)]
pub(crate) async fn register(
    State(users): State<Users>,
    context: Context,
    key: IdempotencyKey,
    Json(new): Json<Registration>,
) -> Result<(StatusCode, Json<Registered>), Refusal> {
    let login = login(&new.email)?;
    new.person.check()?;
    let home_region = new.home_region.unwrap_or_else(|| users.0.region.clone());
    if !fits(&home_region, 1, 64) {
        return Err(Refusal::Invalid("home_region: 1 to 64 characters".to_owned()));
    }
    let password = users.0.passwords.hash(new.password).await?;
    let request = digest(&SHA256, key.0.as_bytes());
    let user_id = draw(&users.0.database, &context, &home_region).await?;
    let (users, person) = (&users, &new.person);
    let (login, home_region, password) = (&login, &home_region, &password);
    let register = async |tx: Transaction| {
        let claimed = tx.execute(CLAIM, &[login, &user_id, &request.as_ref()]).await?;
        if claimed == 0 {
            let row = tx.query_one(WHOSE, &[login]).await?;
            let same = row.get::<_, &[u8]>(1) == request.as_ref();
            return if same {
                Ok(row.get(0))
            } else {
                Err(Refusal::EmailTaken)
            };
        }
        let Person {
            name,
            phone,
            country,
            locale,
            time_zone,
        } = person;
        tx.execute(
            ADD_PROFILE,
            &[
                &user_id,
                login,
                name,
                phone,
                country,
                locale,
                time_zone,
                home_region,
            ],
        )
        .await?;
        tx.execute(ADD_CREDENTIAL, &[&user_id, password, &"customer"])
            .await?;
        let event = AuditEvent::UserRegistered(UserRegistered {
            user_id,
            country: country.clone(),
            home_region: home_region.clone(),
        });
        tx.tell(&users.0.store, user_id, event).await?;
        Ok(user_id)
    };
    let user_id: Uuid = users.0.database.transaction(&context, register).await?;
    let registered = Registered {
        user_id,
        home_region: home_region.clone(),
    };
    Ok((StatusCode::CREATED, Json(registered)))
}

/// An id whose shard has its primary in the home region; any, if there is no such shard.
async fn draw(database: &Database, context: &Context, home_region: &str) -> Result<Uuid, Refusal> {
    let mut id = Uuid::now_v7();
    for _ in 0..DRAWS {
        let home = database.home_of(context, ("user_profile", "user_id"), id).await?;
        if home.as_deref() == Some(home_region) {
            break;
        }
        id = Uuid::now_v7();
    }
    Ok(id)
}

/// What the role is called in the table.
pub(crate) fn role(text: &str) -> Role {
    match text {
        "staff" => Role::Staff,
        _ => Role::Customer,
    }
}

/// Makes a user one of the staff; its tokens say so once it has signed in again.
///
/// # Errors
/// The database's; nobody has registered so.
pub async fn make_staff(database: &Database, context: &Context, email: &str) -> Result<Uuid, Refusal> {
    let row = database
        .row(context, Level::Strong, WHOSE, &[&login(email)?])
        .await?;
    let user_id: Uuid = row.ok_or(Refusal::NoUser)?.get(0);
    let set = async |tx: Transaction| tx.execute(SET_ROLE, &[&user_id]).await;
    match database
        .transaction::<_, ringway_sdk::Error, _, _>(context, set)
        .await?
    {
        0 => Err(Refusal::NoUser),
        _ => Ok(user_id),
    }
}
