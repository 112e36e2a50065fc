//! Passwords: argon2id, off the threads that serve, so many at a time.

use crate::Refusal;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long somebody waits for a turn.
const TURN_BOUND: Duration = Duration::from_secs(3);

/// The lengths of a password, in bytes; longer ones cost more than they protect.
pub(crate) const MIN: usize = 8;
pub(crate) const MAX: usize = 128;

/// A hash of nobody's password, with the parameters of all others: checking against it takes as long.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[derive(Debug)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new(at_a_time: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(at_a_time.max(1))),
        }
    }

    /// The hash of a password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Refusal> {
        if !(MIN..=MAX).contains(&password.len()) {
            return Err(Refusal::Invalid(format!("password: {MIN} to {MAX} bytes")));
        }
        let hashed = self.run(move || {
            let hash: Result<PasswordHash, _> = Argon2::default().hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string()).ok()
        });
        hashed.await?.ok_or(Refusal::Busy)
    }

    /// Whether it is the password of this hash; of none, it never is, and that takes as long.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Refusal> {
        if password.len() > MAX {
            return Ok(false);
        }
        self.run(move || {
            let text = hash.as_deref().unwrap_or(NOBODYS);
            let right = PasswordHash::new(text).is_ok_and(|parsed| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &parsed)
                    .is_ok()
            });
            right && hash.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let turn = tokio::time::timeout(TURN_BOUND, Arc::clone(&self.turns).acquire_owned());
        let turn = turn
            .await
            .map_err(|_| Refusal::Busy)?
            .map_err(|_| Refusal::Busy)?;
        // The turn ends with the work, not with who waits for it.
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| Refusal::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let passwords = Passwords::new(1);
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let right = async |password: &str, hash: &str| {
            passwords
                .verify(password.to_owned(), Some(hash.to_owned()))
                .await
                .unwrap()
        };
        assert!(right("correct horse", &hash).await);
        assert!(!right("correct horses", &hash).await);
        assert!(!right("correct horse", "not a hash").await);
        assert!(!passwords.verify("correct horse".to_owned(), None).await.unwrap());
        assert!(PasswordHash::new(NOBODYS).is_ok(), "or it would take no time");
        assert!(matches!(
            passwords.hash("short".to_owned()).await,
            Err(Refusal::Invalid(_))
        ));
    }
}
