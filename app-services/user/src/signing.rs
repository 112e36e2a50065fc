//! The keys that sign tokens: rows on every shard, sealed, replaced each day.
//!
//! A key signs once everybody who verifies has had time to learn it, and is published until the last token that it signed has expired.

use crate::{Settings, Users};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::State;
use jsonwebtoken::jwk::JwkSet;
use ringway_sdk::service::Stop;
use ringway_sdk::web::{Caller, Keys, Problem, Signer};
use ringway_sdk::{Context, Database, Error, Level, Result as SdkResult, Transaction};
use secrecy::ExposeSecret;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use uuid::Uuid;

/// The shortest secret that keys are sealed with.
const SHORTEST_SEAL: usize = 16;

/// A key is replaced after this.
const AGE: Duration = Duration::from_secs(86_400);

/// A key signs when it is as old: all others ask for keys once a minute.
const LEAD: Duration = Duration::from_secs(180);

/// A key is published for so long after it was replaced: longer than any token lives.
const TRAIL: Duration = Duration::from_secs(7_200);

/// How long the keys that were read are used.
const FRESH: Duration = Duration::from_secs(30);

/// Between two looks whether a key has to be replaced.
const LOOK: Duration = Duration::from_secs(60);

const LIST: &str =
    "SELECT key_id, sealed, made_at FROM user_signing_key ORDER BY made_at DESC, key_id DESC LIMIT 16";
const ADD: &str = "INSERT INTO user_signing_key (key_id, sealed, made_at) VALUES ($1, $2, $3)";
const FORGET: &str = "DELETE FROM user_signing_key WHERE made_at < $1";

/// A key and when it was made.
#[derive(Clone, Debug)]
struct Made {
    signer: Signer,
    at: OffsetDateTime,
}

/// All keys, the newest first, and when they were read.
type Known = Option<(Arc<Vec<Made>>, Instant)>;

#[derive(Clone)]
pub(crate) struct Signing(Arc<Shared>);

struct Shared {
    database: Database,
    seal: RandomizedNonceKey,
    known: Mutex<Known>,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signing")
    }
}

/// The keys that tokens are verified by, where the user service runs in the same process: others ask for `/.well-known/jwks.json`.
///
/// # Errors
/// The secret that signing keys are sealed with is too short.
pub fn keys(database: &Database, settings: &Settings) -> SdkResult<Keys> {
    let signing = Signing::new(database, settings)?;
    Ok(Keys::new(move || {
        let signing = signing.clone();
        async move {
            let context = Context::background().with_timeout(Duration::from_secs(3));
            let made = signing
                .read(&context)
                .await
                .map_err(|problem| problem.to_string())?;
            Ok(published(&made))
        }
    }))
}

/// The public keys, as they are published.
///
/// # Errors
/// The database's; the seal is too short, or another one.
pub async fn public_keys(
    database: &Database,
    context: &Context,
    settings: &Settings,
) -> Result<JwkSet, Problem> {
    Ok(published(&Signing::new(database, settings)?.read(context).await?))
}

/// Makes a key that is to replace the others.
///
/// # Errors
/// As [`public_keys`].
pub async fn rotate_keys(database: &Database, context: &Context, settings: &Settings) -> Result<(), Problem> {
    Signing::new(database, settings)?.make(context).await
}

fn published(made: &[Made]) -> JwkSet {
    let keys = made.iter().map(|made| made.signer.public().clone()).collect();
    JwkSet { keys }
}

/// The public keys by which tokens are verified.
#[utoipa::path(get, path = "/.well-known/jwks.json", security(()), responses((status = 200, body = serde_json::Value)))]
pub(crate) async fn jwks(State(users): State<Users>, context: Context) -> Result<Json<JwkSet>, Problem> {
    Ok(Json(published(&users.0.signing.known(&context).await?)))
}

impl Signing {
    pub(crate) fn new(database: &Database, settings: &Settings) -> SdkResult<Self> {
        let secret = settings.seal.expose_secret();
        let unfit = || {
            Error::setting(format!(
                "the seal of signing keys needs {SHORTEST_SEAL} characters"
            ))
        };
        if secret.len() < SHORTEST_SEAL {
            return Err(unfit());
        }
        let key = digest(&SHA256, secret.as_bytes());
        Ok(Self(Arc::new(Shared {
            database: database.clone(),
            seal: RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| unfit())?,
            known: Mutex::new(None),
        })))
    }

    /// A token.
    pub(crate) async fn sign(
        &self,
        context: &Context,
        caller: &Caller,
        lifetime: Duration,
    ) -> Result<String, Problem> {
        let known = self.known(context).await?;
        let now = OffsetDateTime::now_utc();
        let old_enough = known.iter().find(|made| now - made.at >= LEAD);
        // In the first minutes of a shop there is none that is older.
        let made = old_enough.or(known.last()).ok_or_else(Problem::internal)?;
        made.signer.sign(caller, lifetime)
    }

    /// The keys; one is made if there is none.
    async fn known(&self, context: &Context) -> Result<Arc<Vec<Made>>, Problem> {
        let mut known = self.0.known.lock().await;
        if let Some((keys, at)) = &*known
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(keys));
        }
        let mut keys = self.read(context).await?;
        if keys.is_empty() {
            self.make(context).await?;
            keys = self.read(context).await?;
        }
        let keys = Arc::new(keys);
        *known = Some((Arc::clone(&keys), Instant::now()));
        Ok(keys)
    }

    async fn read(&self, context: &Context) -> Result<Vec<Made>, Problem> {
        let rows = self.0.database.rows(context, Level::Strong, LIST, &[]).await?;
        let opened = rows.iter().map(|row| {
            let id: Uuid = row.get(0);
            let mut sealed: Vec<u8> = row.get(1);
            let signer = self.open(id, &mut sealed)?;
            Ok(Made {
                signer,
                at: row.get(2),
            })
        });
        opened.collect()
    }

    fn open(&self, id: Uuid, sealed: &mut [u8]) -> Result<Signer, Problem> {
        let damaged = || {
            tracing::error!(key = %id, "a signing key can't be opened: was it sealed with another secret?");
            Problem::internal()
        };
        let (nonce, text) = sealed.split_first_chunk_mut::<NONCE_LEN>().ok_or_else(damaged)?;
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.seal.open_in_place(nonce, Aad::from(id.as_bytes()), text);
        Signer::from_pkcs8(&id.to_string(), opened.map_err(|_| damaged())?)
    }

    async fn make(&self, context: &Context) -> Result<(), Problem> {
        let (signer, id) = (Signer::generate()?, Uuid::now_v7());
        let mut text = signer.pkcs8().to_vec();
        let nonce = self
            .0
            .seal
            .seal_in_place_append_tag(Aad::from(id.as_bytes()), &mut text);
        let nonce = nonce.map_err(|_| Problem::internal())?;
        let sealed = [nonce.as_ref(), &text[..]].concat();
        let now = OffsetDateTime::now_utc();
        let kept = now - (AGE + TRAIL);
        let add = async |tx: Transaction| {
            tx.execute(ADD, &[&id, &sealed, &now]).await?;
            tx.execute(FORGET, &[&kept]).await
        };
        let added: SdkResult<u64> = self.0.database.transaction(context, add).await;
        added?;
        tracing::info!(key = %id, "a signing key was made");
        Ok(())
    }

    /// Makes a key whenever the newest is too old.
    pub(crate) async fn rotate(self, stop: Stop) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let context = Context::background().with_timeout(LOOK);
            let looked = async {
                let known = self.known(&context).await?;
                let newest = known.first().map(|made| OffsetDateTime::now_utc() - made.at);
                if newest.is_some_and(|age| age >= AGE) {
                    self.make(&context).await?;
                }
                Ok::<_, Problem>(())
            };
            if let Err(problem) = looked.await {
                tracing::warn!(%problem, "the signing keys can't be looked after");
            }
        }
    }
}
