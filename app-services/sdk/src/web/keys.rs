//! Who has signed in: tokens (JWT, EdDSA), the keys that sign them, and the keys that they are verified by.

use super::problem::Problem;
use arc_swap::ArcSwapOption;
use aws_lc_rs::signature::Ed25519KeyPair;
use futures_util::future::BoxFuture;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use utoipa::ToSchema;
use uuid::Uuid;

/// Who issues the tokens.
pub const ISSUER: &str = "ringway-shop";

/// Clocks of two machines may differ by so much.
const LEEWAY_SECONDS: u64 = 5;

/// Keys of this age are asked for anew: one that was withdrawn is refused from then on.
const FRESH: Duration = Duration::from_secs(60);

/// Keys of this age, which could not be asked for anew, are used no longer.
const STALE: Duration = Duration::from_secs(3_600);

/// Between two questions for keys: a token with a made-up key asks no more often.
const REFRESH_GAP: Duration = Duration::from_secs(2);

/// For one question.
const ANSWER_BOUND: Duration = Duration::from_secs(3);

/// The most keys that are believed.
const MAX_KEYS: usize = 16;

/// What somebody may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What concerns the user itself.
    Customer,
    /// What concerns the shop.
    Staff,
}

/// Somebody who has signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Who.
    pub user_id: Uuid,
    /// What the user may do.
    pub role: Role,
    /// The home region of the user.
    pub region: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    role: Role,
    region: String,
    iss: String,
    iat: u64,
    exp: u64,
}

/// A key that signs tokens.
#[derive(Clone)]
pub struct Signer {
    id: String,
    key: EncodingKey,
    public: Jwk,
    pkcs8: Arc<[u8]>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// A new key.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub fn generate() -> Result<Self, Problem> {
        let pair = Ed25519KeyPair::generate().map_err(|_| Problem::internal())?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| Problem::internal())?;
        Self::from_pkcs8(&Uuid::now_v7().to_string(), pkcs8.as_ref())
    }

    /// The key of this id that [`Signer::pkcs8`] gave.
    ///
    /// # Errors
    /// It isn't one.
    pub fn from_pkcs8(id: &str, pkcs8: &[u8]) -> Result<Self, Problem> {
        let key = EncodingKey::from_ed_der(pkcs8);
        let mut public = Jwk::from_encoding_key(&key, Algorithm::EdDSA).map_err(|_| Problem::internal())?;
        public.common.key_id = Some(id.to_owned());
        Ok(Self {
            id: id.to_owned(),
            key,
            public,
            pkcs8: pkcs8.into(),
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What others verify its tokens by.
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    /// The secret itself, to be kept where secrets are kept.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// A token for somebody, valid from now on for a time.
    ///
    /// # Errors
    /// The key can't sign.
    pub fn sign(&self, caller: &Caller, lifetime: Duration) -> Result<String, Problem> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = Claims {
            sub: caller.user_id,
            role: caller.role,
            region: caller.region.clone(),
            iss: ISSUER.to_owned(),
            iat: now.as_secs(),
            exp: (now + lifetime).as_secs(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.id.clone());
        encode(&header, &claims, &self.key).map_err(|_| Problem::internal())
    }
}

type Source = Arc<dyn Fn() -> BoxFuture<'static, Result<JwkSet, String>> + Send + Sync>;

/// The keys that tokens are verified by: those of a JWKS, kept for a minute. Clones share them.
#[derive(Clone)]
pub struct Keys(Arc<Shared>);

struct Shared {
    source: Source,
    known: ArcSwapOption<Known>,
    /// When they were asked for last; held while they are asked for.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

struct Known {
    keys: HashMap<String, DecodingKey>,
    at: Instant,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// Keys that `source` tells.
    pub fn new<F, Fut>(source: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<JwkSet, String>> + Send + 'static,
    {
        Self(Arc::new(Shared {
            source: Arc::new(move || Box::pin(source())),
            known: ArcSwapOption::empty(),
            asked: tokio::sync::Mutex::new(None),
        }))
    }

    /// Keys that never change.
    pub fn fixed(keys: JwkSet) -> Self {
        Self::new(move || std::future::ready(Ok(keys.clone())))
    }

    /// The keys at a URL: `http://user:8080/.well-known/jwks.json`.
    pub fn remote(url: impl Into<String>) -> Self {
        let (client, url) = (reqwest::Client::new(), url.into());
        Self::new(move || {
            let request = client.get(&url).timeout(ANSWER_BOUND);
            async move {
                let answer = request.send().await.and_then(reqwest::Response::error_for_status);
                let answer = answer.map_err(|error| error.to_string())?;
                answer.json().await.map_err(|error| error.to_string())
            }
        })
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    /// It isn't valid; the keys can't be learned.
    pub async fn verify(&self, token: &str) -> Result<Caller, Problem> {
        let refused = || Problem::unauthenticated("the token is not valid");
        let header = decode_header(token).map_err(|_| refused())?;
        let id = header.kid.ok_or_else(refused)?;
        let key = self.key(&id).await?.ok_or_else(refused)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_aud = false;
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        let claims: Claims = decode(token, &key, &validation).map_err(|_| refused())?.claims;
        Ok(Caller {
            user_id: claims.sub,
            role: claims.role,
            region: claims.region,
        })
    }

    async fn key(&self, id: &str) -> Result<Option<DecodingKey>, Problem> {
        let (known, age) = self.known();
        if age < FRESH && known.is_some_and(|known| known.keys.contains_key(id)) {
            return Ok(self.find(id));
        }
        self.refresh(id).await;
        let (known, age) = self.known();
        match known {
            Some(_) if age < STALE => Ok(self.find(id)),
            _ => Err(Problem::unavailable("keys-unavailable", "tokens can't be verified").after_seconds(2)),
        }
    }

    fn known(&self) -> (Option<Arc<Known>>, Duration) {
        let known = self.0.known.load_full();
        let age = known.as_ref().map_or(Duration::MAX, |known| known.at.elapsed());
        (known, age)
    }

    fn find(&self, id: &str) -> Option<DecodingKey> {
        self.0.known.load().as_ref()?.keys.get(id).cloned()
    }

    /// Asks for keys, unless that was done just now.
    async fn refresh(&self, id: &str) {
        let mut asked = self.0.asked.lock().await;
        let (known, age) = self.known();
        let learned = age < FRESH && known.is_some_and(|known| known.keys.contains_key(id));
        if learned || asked.is_some_and(|at| at.elapsed() < REFRESH_GAP) {
            return;
        }
        *asked = Some(Instant::now());
        match tokio::time::timeout(ANSWER_BOUND, (self.0.source)()).await {
            Ok(Ok(set)) => {
                let named = |jwk: &Jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?));
                let keys = set.keys.iter().take(MAX_KEYS).filter_map(named).collect();
                let at = Instant::now();
                self.0.known.store(Some(Arc::new(Known { keys, at })));
            }
            Ok(Err(error)) => tracing::warn!(error, "the keys of tokens can't be learned"),
            Err(_) => tracing::warn!("the keys of tokens don't come in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn caller() -> Caller {
        Caller {
            user_id: Uuid::now_v7(),
            role: Role::Customer,
            region: "us-east".to_owned(),
        }
    }

    fn set(signers: &[&Signer]) -> JwkSet {
        let keys = signers.iter().map(|signer| signer.public().clone()).collect();
        JwkSet { keys }
    }

    const LIFETIME: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn only_what_was_signed_with_a_known_key_is_believed() {
        let (known, other) = (Signer::generate().unwrap(), Signer::generate().unwrap());
        let keys = Keys::fixed(set(&[&known]));
        let caller = caller();
        let token = known.sign(&caller, LIFETIME).unwrap();
        assert_eq!(keys.verify(&token).await.unwrap(), caller);

        let forged = Signer::from_pkcs8(known.id(), other.pkcs8()).unwrap();
        let (head, rest) = token.split_once('.').unwrap();
        let (claims, signature) = rest.split_once('.').unwrap();
        let foreign = forged.sign(&caller, LIFETIME).unwrap();
        for bad in [
            foreign.clone(),
            other.sign(&caller, LIFETIME).unwrap(),
            format!("{head}.{claims}."),
            format!("{head}.{claims}A.{signature}"),
            // {"alg":"none"}, and HMAC with the public key as the secret, are other algorithms.
            format!("eyJhbGciOiJub25lIn0.{claims}."),
            String::new(),
        ] {
            assert_eq!(keys.verify(&bad).await.unwrap_err().status, 401, "{bad}");
        }
        let expired = known.sign(&caller, Duration::ZERO).unwrap();
        tokio::time::sleep(Duration::ZERO).await;
        assert!(
            keys.verify(&expired).await.is_ok(),
            "clocks may differ by a little"
        );
    }

    #[tokio::test]
    async fn made_up_keys_do_not_multiply_questions() {
        let (first, second) = (Signer::generate().unwrap(), Signer::generate().unwrap());
        let asked = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let published = set(&[&first]);
        let keys = Keys::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(published.clone()))
        });
        let good = first.sign(&caller(), LIFETIME).unwrap();
        let unknown = second.sign(&caller(), LIFETIME).unwrap();
        for _ in 0..20 {
            assert!(keys.verify(&unknown).await.is_err());
            assert!(keys.verify(&good).await.is_ok());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn without_keys_nobody_is_refused_for_good() {
        let signer = Signer::generate().unwrap();
        let keys = Keys::new(|| std::future::ready(Err("down".to_owned())));
        let token = signer.sign(&caller(), LIFETIME).unwrap();
        assert_eq!(keys.verify(&token).await.unwrap_err().status, 503);
    }
}
