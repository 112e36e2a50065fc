//! What users prove themselves by here, and what of it is good for logging in to the servers as them.
//!
//! Secrets come from the configuration, or by `auth_query` from a server; those are kept for a moment only, so that a changed password
//! is found out. Of a SCRAM verifier the proxy can't make a login by itself: it keeps the keys that a client proved.

use pool::{Password, ScramKeys};
use session::scram::ScramSecret;
use session::startup::{BindingPolicy, Credential, Proof, StoredPassword};
use settings::{AuthMethod, Settings, User, UserSecret};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use topology::Mono;
use wire::md5;

use arc_swap::ArcSwap;

/// How long the answer of an `auth_query` is used. A changed password works after that, or after the first refusal.
const FOUND_LIFE: Duration = Duration::from_secs(5);
/// Answers that are kept at most.
const MAX_FOUND: usize = 10_000;
/// Users whose way into the servers is kept at most.
const MAX_LEARNED: usize = 100_000;
/// Questions to servers under way at a time.
const MAX_ASKING: usize = 8;

/// A user's secret.
#[derive(Clone, Debug)]
pub(crate) enum KnownSecret {
    /// The password.
    Clear {
        /// It.
        password: Arc<str>,
        /// Its SCRAM secret, derived once.
        scram: Arc<ScramSecret>,
        /// As whom.
        user: Arc<str>,
    },
    /// A SCRAM verifier.
    Scram(Arc<ScramSecret>),
    /// An md5 digest.
    Md5(Arc<str>),
}

impl KnownSecret {
    /// As a server keeps it in `pg_authid`, or a password. `None`: it looks like a verifier and is none.
    fn parse(seed: &[u8; 32], user: &str, text: &str) -> Option<Self> {
        if text.starts_with("SCRAM-SHA-256$") {
            return Some(Self::Scram(Arc::new(ScramSecret::parse(text).ok()?)));
        }
        if md5::is_stored(text) {
            return Some(Self::Md5(text.into()));
        }
        Some(Self::Clear {
            password: text.into(),
            scram: Arc::new(ScramSecret::derive(seed, user, text)),
            user: user.into(),
        })
    }

    /// What is good for the login on a server without any client's help.
    fn password(&self) -> Option<Password> {
        match self {
            Self::Clear { password, .. } => Some(Password::new(password)),
            Self::Md5(digest) => Some(Password::md5(digest)),
            Self::Scram(_) => None,
        }
    }
}

/// What a client of a user with this secret has to show by this method. Methods that ask for no secret aren't meant.
pub(crate) fn credential(method: AuthMethod, secret: Option<&KnownSecret>) -> Credential {
    let scram = |secret: Option<&Arc<ScramSecret>>, binding| Credential::Scram {
        secret: secret.map(Arc::clone),
        binding,
    };
    let verifier = match secret {
        Some(KnownSecret::Clear { scram, .. } | KnownSecret::Scram(scram)) => Some(scram),
        Some(KnownSecret::Md5(_)) | None => None,
    };
    match (method, secret) {
        (AuthMethod::ScramSha256Plus, _) => scram(verifier, BindingPolicy::Required),
        // A verifier can't answer to md5; PostgreSQL asks for SCRAM then, too.
        (AuthMethod::Md5, Some(KnownSecret::Scram(verifier))) => {
            scram(Some(verifier), BindingPolicy::IfPossible)
        }
        (AuthMethod::Md5, Some(KnownSecret::Md5(digest))) => Credential::Md5(Some(Arc::clone(digest))),
        (AuthMethod::Md5, Some(KnownSecret::Clear { password, user, .. })) => {
            Credential::Md5(Some(md5::stored(user, password).into()))
        }
        (AuthMethod::Md5, None) => Credential::Md5(None),
        (AuthMethod::Password, secret) => Credential::Password(secret.map(|secret| match secret {
            KnownSecret::Clear { password, .. } => StoredPassword::Clear(Arc::clone(password)),
            KnownSecret::Scram(verifier) => StoredPassword::Scram(Arc::clone(verifier)),
            KnownSecret::Md5(digest) => StoredPassword::Md5(Arc::clone(digest)),
        })),
        _ => scram(verifier, BindingPolicy::IfPossible),
    }
}

/// Whose secret was asked for, and where.
type Question = (Box<str>, Box<str>);

/// The secrets of all users.
pub(crate) struct Secrets {
    seed: [u8; 32],
    configured: ArcSwap<HashMap<String, KnownSecret>>,
    found: Mutex<HashMap<Question, (KnownSecret, Mono)>>,
    learned: Mutex<HashMap<Box<str>, Password>>,
    asking: Semaphore,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Those of the settings. `seed` makes the salts.
    pub(crate) fn new(settings: &Settings, seed: [u8; 32]) -> Self {
        Self {
            configured: ArcSwap::from_pointee(configured(settings, &seed)),
            found: Mutex::default(),
            learned: Mutex::default(),
            asking: Semaphore::new(MAX_ASKING),
            seed,
        }
    }

    /// The settings were read again.
    pub(crate) fn reload(&self, settings: &Settings) {
        self.configured.store(Arc::new(configured(settings, &self.seed)));
        locked(&self.found).clear();
        // Keys of a secret that was replaced are of no use; clients bring the new ones.
        locked(&self.learned).clear();
    }

    /// The secret that the configuration gives.
    pub(crate) fn configured(&self, user: &str) -> Option<KnownSecret> {
        self.configured.load().get(user).cloned()
    }

    /// The secret that `dbname` was asked for a moment ago.
    pub(crate) fn found(&self, dbname: &str, user: &str, now: Mono) -> Option<KnownSecret> {
        let found = locked(&self.found);
        let (secret, at) = found.get(&question(dbname, user))?;
        (now.since(*at) < FOUND_LIFE).then(|| secret.clone())
    }

    /// Leave to ask a server. Waits while too many ask.
    pub(crate) async fn turn_to_ask(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.asking.acquire().await.ok()
    }

    /// A server answered at `now`. Gives the secret, if the text is one.
    pub(crate) fn note_found(&self, dbname: &str, user: &str, text: &str, now: Mono) -> Option<KnownSecret> {
        let secret = KnownSecret::parse(&self.seed, user, text)?;
        let mut found = locked(&self.found);
        if found.len() >= MAX_FOUND {
            found.retain(|_, (_, at)| now.since(*at) < FOUND_LIFE);
        }
        if found.len() < MAX_FOUND {
            found.insert(question(dbname, user), (secret.clone(), now));
        }
        Some(secret)
    }

    /// A login failed: the next one asks the server again.
    pub(crate) fn forget_found(&self, user: &str) {
        locked(&self.found).retain(|(_, of), _| **of != *user);
    }

    /// A client proved that it is `user`.
    pub(crate) fn learn(&self, user: &str, secret: Option<&KnownSecret>, proof: &Proof) {
        let password = match (proof, secret.and_then(KnownSecret::password)) {
            (_, Some(password)) => password,
            (Proof::Password(password), None) => Password::new(password),
            (Proof::ScramKeys(keys), None) => Password::scram_keys(ScramKeys {
                client_key: keys.client_key,
                server_key: keys.server_key,
            }),
            (Proof::None, None) => return,
        };
        let mut learned = locked(&self.learned);
        if learned.len() >= MAX_LEARNED && !learned.contains_key(user) {
            // Whoever still comes brings it again.
            learned.clear();
        }
        learned.insert(user.into(), password);
    }

    /// What to log in with as `user` on a server; `None`: nothing is known, the server may not ask.
    pub(crate) fn for_server(&self, user: &str) -> Option<Password> {
        let configured = self.configured.load();
        let own = configured.get(user).and_then(KnownSecret::password);
        own.or_else(|| locked(&self.learned).get(user).cloned())
    }
}

fn question(dbname: &str, user: &str) -> Question {
    (dbname.into(), user.into())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn configured(settings: &Settings, seed: &[u8; 32]) -> HashMap<String, KnownSecret> {
    let known = |user: &User| {
        let text = match user.secret.as_ref()? {
            UserSecret::Password(text) | UserSecret::Scram(text) | UserSecret::Md5(text) => text.expose(),
        };
        let secret = KnownSecret::parse(seed, &user.name, text);
        if secret.is_none() {
            tracing::error!(user = %user.name, "the password is no valid SCRAM verifier: the user can't log in");
        }
        Some((user.name.clone(), secret?))
    };
    settings.auth.users.iter().filter_map(known).collect()
}

/// What of a configured user is good for a server.
pub(crate) fn password_of(user: &User) -> Option<Password> {
    match user.secret.as_ref()? {
        UserSecret::Password(text) => Some(Password::new(text.expose())),
        UserSecret::Md5(text) => Some(Password::md5(text.expose())),
        UserSecret::Scram(_) => None,
    }
}
