//! Passwords: argon2id, off the threads that serve, so many at a time.

use crate::Refusal;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::sync::{Arc, Mutex, PoisonError};
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

/// What one hash is computed in, 19 MiB: kept, as an allocator that gets it back from one thread after the other keeps all of them.
type Memory = Vec<Block>;

#[derive(Debug)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// As many as there are turns, at most.
    unused: Arc<Mutex<Vec<Memory>>>,
}

impl Passwords {
    pub(crate) fn new(at_a_time: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(at_a_time.max(1))),
            unused: Arc::default(),
        }
    }

    /// The hash of a password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Refusal> {
        if !(MIN..=MAX).contains(&password.len()) {
            return Err(Refusal::Invalid(format!("password: {MIN} to {MAX} bytes")));
        }
        let hashed = self.run(move |memory| {
            let hash = compute(&Argon2::default(), &password, Salt::generate(), memory);
            hash.map(|hash| hash.to_string())
        });
        hashed.await?.ok_or(Refusal::Busy)
    }

    /// Whether it is the password of this hash; of none, it never is, and that takes as long.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Refusal> {
        if password.len() > MAX {
            return Ok(false);
        }
        self.run(move |memory| {
            let text = hash.as_deref().unwrap_or(NOBODYS);
            is_password_of(text, &password, memory).unwrap_or(false) && hash.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = tokio::time::timeout(TURN_BOUND, Arc::clone(&self.turns).acquire_owned());
        let turn = turn
            .await
            .map_err(|_| Refusal::Busy)?
            .map_err(|_| Refusal::Busy)?;
        // The turn ends with the work, not with who waits for it.
        let unused = Arc::clone(&self.unused);
        let done = tokio::task::spawn_blocking(move || {
            let kept = unused.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut memory = kept.unwrap_or_default();
            let done = work(&mut memory);
            unused.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
            drop(turn);
            done
        });
        done.await.map_err(|_| Refusal::Busy)
    }
}

fn compute(argon: &Argon2<'_>, password: &str, salt: Salt, memory: &mut Memory) -> Option<PasswordHash> {
    memory.resize(argon.params().block_count(), Block::default());
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    argon
        .hash_password_into_with_memory(password.as_bytes(), &salt, &mut hash, memory.as_mut_slice())
        .ok()?;
    Some(PasswordHash {
        algorithm: Algorithm::default().ident(),
        version: Some(Version::default().into()),
        params: ParamsString::try_from(argon.params()).ok()?,
        salt: Some(salt),
        hash: Some(Output::new(&hash).ok()?),
    })
}

/// None of a text that is no hash of ours. Hashes are compared in a time that doesn't depend on them.
fn is_password_of(text: &str, password: &str, memory: &mut Memory) -> Option<bool> {
    let hash = PasswordHash::new(text).ok()?;
    let argon = Argon2::from(Params::try_from(&hash).ok()?);
    let computed = compute(&argon, password, hash.salt?, memory)?;
    Some(
        computed.algorithm == hash.algorithm
            && computed.version == hash.version
            && computed.hash == hash.hash,
    )
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
