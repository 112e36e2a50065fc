//! Who the customers are: registration, sign-in, profile, addresses, and the keys that sign tokens.
//!
//! A user's rows lie on the shard of `user_id`, which is drawn so that the shard's primary stands in the user's home region, if there is such a shard.
//! Only `user_login` lies by login: it keeps logins unique and says whose they are. So registration and deletion are transactions over
//! two shards.
//!
//! **Invariant:** a login belongs to one user at most, however many register at once.
//! **Invariant:** whatever is read or changed over HTTP is found by the `user_id` of the verified token.
//! **Invariant:** neither passwords nor refresh tokens nor signing keys are stored or logged as they are: passwords as argon2id, refresh tokens
//! as digests, signing keys sealed.

mod address;
mod password;
mod profile;
mod register;
mod rpc;
mod schema;
mod session;
mod signing;

pub use register::make_staff;
pub use signing::{keys, public_keys, rotate_keys};

use password::Passwords;
use ringway_sdk::limit::{Limiter, Rate};
use ringway_sdk::service::{Environment, Service};
use ringway_sdk::{Database, KeyType, Result, Store};
use secrecy::SecretString;
use shop_contracts::events::{AuditEvent, FraudEvent, Message};
use shop_contracts::rpc::v1::user_server::UserServer;
use signing::Signing;
use std::sync::Arc;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

ringway_sdk::refusals! {
    /// What the service refuses.
    pub enum Refusal {
        /// The login belongs to somebody.
        EmailTaken = CONFLICT "email-taken" "somebody has registered with this address",
        /// Not which of both, so that nobody learns who is registered.
        WrongPassword = UNAUTHORIZED "wrong-password" "address or password is wrong",
        /// Unknown, expired, used or withdrawn.
        NoSession = UNAUTHORIZED "no-session" "sign in again",
        /// The user has been deleted.
        NoUser = NOT_FOUND "no-user" "there is no such user",
        /// Or it belongs to somebody else.
        NoAddress = NOT_FOUND "no-address" "there is no such address",
        /// More than a user may have.
        TooManyAddresses = CONFLICT "too-many-addresses" "there is no room for another address",
        /// Hashing is all that the process does already.
        Busy = SERVICE_UNAVAILABLE "busy" "too many are signing in",
    }
}

/// How the service is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an access token is valid.
    pub access: Duration,
    /// How long a session lasts without being used.
    pub session: Duration,
    /// The most passwords that are hashed at a time; each takes 19 MiB.
    pub hashing: usize,
    /// How often somebody may try to sign in as one user from one address.
    pub tries: Rate,
    /// How often anybody may try to sign in as one user.
    pub tries_in_all: Rate,
    /// What signing keys are sealed with: the same in all instances.
    pub seal: SecretString,
}

impl Settings {
    /// Ten minutes, thirty days, two at a time, ten tries in five minutes, a hundred of all.
    pub fn new(seal: SecretString) -> Self {
        let per = Duration::from_secs(300);
        Self {
            access: Duration::from_secs(600),
            session: Duration::from_secs(30 * 86_400),
            hashing: 2,
            tries: Rate { calls: 10, per },
            tries_in_all: Rate { calls: 100, per },
            seal,
        }
    }
}

/// What the handlers share.
#[derive(Clone, Debug)]
struct Users(Arc<Shared>);

impl AsRef<Database> for Users {
    fn as_ref(&self) -> &Database {
        &self.0.database
    }
}

#[derive(Debug)]
struct Shared {
    database: Database,
    store: Store,
    region: String,
    settings: Settings,
    passwords: Passwords,
    tries: Limiter,
    tries_in_all: Limiter,
    signing: Signing,
}

/// The service.
///
/// # Errors
/// The environment's Redis has a malformed URL; the seal is too short.
pub fn service(environment: &Environment, settings: Settings) -> Result<Service> {
    let store = Store::new("user", KeyType::Uuid)?;
    let redis = environment.redis.as_deref();
    let users = Users(Arc::new(Shared {
        database: environment.database.clone(),
        store: store.clone(),
        region: environment.region.clone(),
        passwords: Passwords::new(settings.hashing),
        tries: Limiter::new("sign-in", settings.tries, redis)?,
        tries_in_all: Limiter::new("sign-in-all", settings.tries_in_all, redis)?,
        signing: Signing::new(&environment.database, &settings)?,
        settings,
    }));
    let routes = OpenApiRouter::new()
        .routes(routes!(register::register))
        .routes(routes!(session::sign_in, session::sign_out_everywhere))
        .routes(routes!(session::refresh))
        .routes(routes!(session::sign_out))
        .routes(routes!(profile::show, profile::change, profile::delete))
        .routes(routes!(profile::change_password))
        .routes(routes!(address::list, address::add))
        .routes(routes!(address::change, address::remove))
        .routes(routes!(signing::jwks))
        .with_state(users.clone());
    let rotating = users.0.signing.clone();
    let mut service = Service::new("user", environment)
        .store(&store)
        .schema(&schema::SCHEMA)
        .topic(AuditEvent::TOPIC)
        .topic(FraudEvent::TOPIC)
        .http(routes)
        .grpc(UserServer::new(rpc::Calls(users)))
        .task("rotation of keys", move |stop| rotating.clone().rotate(stop));
    for table in schema::TABLES {
        service = service.table(table);
    }
    Ok(service)
}
