//! Transactions over several shards: their names, their outcome, and how a part of one is brought to it.
//!
//! A part that was prepared waits for its *home* shard's decision: a row in `ringway.decision` there. No row means that
//! nothing is decided yet; whoever asks decides "aborted" then, by compare-and-set, before anything is rolled back.

use crate::control::link::{self, Link, LinkError};
use crate::shared::DatabaseContext;
use settings::Settings;
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use topology::ShardId;
use wire::sqlstate;

/// Begins the name of every part.
pub(crate) const PREFIX: &str = "ringway";
/// How long a client's COMMIT waits for a shard to come back before the outcome is called unknown.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The name of a transaction over several shards.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Gid {
    home: ShardId,
    random: u128,
}

/// The name of one prepared part of it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct PartName {
    /// The transaction.
    pub(crate) gid: Gid,
    /// Where the part is.
    pub(crate) shard: ShardId,
}

impl Gid {
    /// A name that nobody has used or can guess, for a transaction that `home` decides.
    pub(crate) fn new(home: ShardId) -> Self {
        Self {
            home,
            random: rand::random(),
        }
    }

    /// The shard that holds the decision.
    pub(crate) fn home(&self) -> ShardId {
        self.home
    }

    /// The key of the decision row.
    pub(crate) fn decision(&self) -> String {
        format!("{PREFIX}:{}:{:032x}", self.home, self.random)
    }

    /// The name of the part on `shard`: only letters, digits and colons.
    pub(crate) fn on(&self, shard: ShardId) -> String {
        format!("{}:{shard}", self.decision())
    }

    /// Reads the key of a decision row back; `None` for what this never writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (home, random) = text.strip_prefix(PREFIX)?.strip_prefix(':')?.split_once(':')?;
        let gid = Self {
            home: ShardId(home.parse().ok()?),
            random: u128::from_str_radix(random, 16).ok()?,
        };
        // Only the spelling that is written: no sign, no leading zero, lower case.
        (gid.decision() == text).then_some(gid)
    }
}

impl PartName {
    /// Reads the name of a part back; `None` for what isn't ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (decision, shard) = text.rsplit_once(':')?;
        let part = Self {
            gid: Gid::parse(decision)?,
            shard: ShardId(shard.parse().ok()?),
        };
        (part.to_string() == text).then_some(part)
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.gid.on(self.shard))
    }
}

/// The outcome of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Its home shard has committed it.
    Committed,
    /// It will never be committed.
    Aborted,
}

impl Verdict {
    /// The statement that finishes the prepared part of this name.
    pub(crate) fn finish(self, part: &str) -> String {
        let verb = match self {
            Self::Committed => "COMMIT",
            Self::Aborted => "ROLLBACK",
        };
        format!("{verb} PREPARED '{part}'")
    }

    fn read(outcome: &str) -> Option<Self> {
        match outcome {
            "committed" => Some(Self::Committed),
            "aborted" => Some(Self::Aborted),
            _ => None,
        }
    }
}

/// Asks the home shard for the outcome, for a bounded time; decides "aborted" if nothing was decided.
///
/// # Errors
/// When the home shard doesn't answer: the outcome is unknown, and the recovery goes on asking.
pub(crate) async fn ask_decision(
    settings: &Settings,
    database: &DatabaseContext,
    gid: &Gid,
) -> Result<Verdict, LinkError> {
    patiently(async || {
        let mut home = primary(settings, database, gid.home()).await?;
        let verdict = decide(&mut home, gid).await;
        let recorded_by = match verdict {
            Ok(Verdict::Committed) => recorded_by(&mut home, gid).await.map(Some),
            Ok(Verdict::Aborted) | Err(_) => Ok(None),
        };
        home.close().await;
        if let Some(recorded_by) = recorded_by? {
            refuse_forgery(settings, database, gid, &recorded_by).await?;
        }
        verdict
    })
    .await
}

/// Who wrote the decision.
pub(crate) async fn recorded_by(home: &mut Link, gid: &Gid) -> Result<String, LinkError> {
    let sql = format!(
        "SELECT recorded_by FROM ringway.decision WHERE gid = '{}'",
        gid.decision()
    );
    home.value(&sql).await
}

/// Everyone may record a commit, and everyone sees the names of prepared transactions: a decision counts only for
/// parts of whoever recorded it. A shard that can't be reached is left to the recovery, which compares too.
async fn refuse_forgery(
    settings: &Settings,
    database: &DatabaseContext,
    gid: &Gid,
    recorded_by: &str,
) -> Result<(), LinkError> {
    for shard in (0..settings.shards.len())
        .filter_map(|n| u16::try_from(n).ok())
        .map(ShardId)
    {
        let Ok(mut server) = primary(settings, database, shard).await else {
            continue;
        };
        let owner = owner_of(&mut server, &gid.on(shard)).await;
        server.close().await;
        if owner.ok().flatten().is_some_and(|owner| owner != recorded_by) {
            return Err(LinkError::Answer(
                "somebody else than its owner recorded the commit",
            ));
        }
    }
    Ok(())
}

/// Commits or rolls back the prepared part on `shard`, for a bounded time. A part that isn't there is done.
///
/// # Errors
/// When the shard doesn't answer: the recovery will finish the part.
pub(crate) async fn finish_part(
    settings: &Settings,
    database: &DatabaseContext,
    shard: ShardId,
    gid: &Gid,
    verdict: Verdict,
) -> Result<(), LinkError> {
    let part = gid.on(shard);
    patiently(async || {
        let endpoint = link::primary_of(&database.snapshot(), shard)?;
        let mut server = Link::open(settings, &database.config.dbname, endpoint).await?;
        let owner = owner_of(&mut server, &part).await;
        let finished = match owner {
            Ok(None) => Ok(()),
            Ok(Some(owner)) => {
                finish(&mut server, &part, verdict, async || {
                    let user = settings
                        .auth
                        .user(&owner)
                        .ok_or(LinkError::Answer("an owner of the settings"))?;
                    Link::open_as(settings, user, &database.config.dbname, endpoint).await
                })
                .await
            }
            Err(error) => Err(error),
        };
        server.close().await;
        finished
    })
    .await
}

async fn primary(settings: &Settings, database: &DatabaseContext, shard: ShardId) -> Result<Link, LinkError> {
    let endpoint = link::primary_of(&database.snapshot(), shard)?;
    Link::open(settings, &database.config.dbname, endpoint).await
}

async fn patiently<T>(mut attempt: impl AsyncFnMut() -> Result<T, LinkError>) -> Result<T, LinkError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Err(error) if Instant::now() + RETRY_PAUSE < deadline => {
                tracing::debug!(%error, "a shard can't be asked about a transaction yet");
                sleep(RETRY_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// The outcome that stands, "aborted" if none stood before.
pub(crate) async fn decide(home: &mut Link, gid: &Gid) -> Result<Verdict, LinkError> {
    let outcome = home
        .value(&format!("SELECT ringway.decide_abort('{}')", gid.decision()))
        .await?;
    Verdict::read(&outcome).ok_or(LinkError::Answer("not an outcome"))
}

async fn owner_of(server: &mut Link, part: &str) -> Result<Option<String>, LinkError> {
    let sql = format!(
        "SELECT owner FROM pg_catalog.pg_prepared_xacts \
         WHERE gid = '{part}' AND database = pg_catalog.current_database()"
    );
    Ok(server
        .rows(&sql)
        .await?
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().next())
        .flatten())
}

/// Finishes a part as the control user, or where that one may not, as the part's owner (`as_owner` connects).
pub(crate) async fn finish(
    server: &mut Link,
    part: &str,
    verdict: Verdict,
    as_owner: impl AsyncFnOnce() -> Result<Link, LinkError>,
) -> Result<(), LinkError> {
    let sql = verdict.finish(part);
    match done_or(server.ask(&sql).await) {
        Err(error) if error.sqlstate() == Some(sqlstate::INSUFFICIENT_PRIVILEGE) => {
            let mut owner = as_owner().await?;
            let done = done_or(owner.ask(&sql).await);
            owner.close().await;
            done
        }
        other => other,
    }
}

/// Somebody else may have finished it in between.
fn done_or<T>(result: Result<T, LinkError>) -> Result<(), LinkError> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.sqlstate() == Some(sqlstate::UNDEFINED_OBJECT) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Gid, PartName, Verdict};
    use topology::ShardId;

    #[test]
    fn names_are_read_back() {
        let gid = Gid::new(ShardId(3));
        assert_ne!(gid, Gid::new(ShardId(3)));
        assert_eq!(Gid::parse(&gid.decision()), Some(gid.clone()));
        let part = gid.on(ShardId(65535));
        assert!(part.len() < 200, "the server's bound");
        let read = PartName::parse(&part).unwrap();
        assert_eq!((read.gid.clone(), read.shard), (gid, ShardId(65535)));
        assert_eq!(read.gid.home(), ShardId(3));
        assert_eq!(
            Verdict::Committed.finish(&part),
            format!("COMMIT PREPARED '{part}'")
        );
        assert_eq!(Verdict::Aborted.finish("p"), "ROLLBACK PREPARED 'p'");
    }

    #[test]
    fn other_names_are_not_ours() {
        let hex = "0123456789abcdef0123456789abcdef";
        assert!(PartName::parse(&format!("ringway:0:{hex}:1")).is_some());
        for name in [
            "".to_owned(),
            "ringway".to_owned(),
            format!("ringway:0:{hex}"),
            format!("ringway:00:{hex}:1"),
            format!("ringway:+1:{hex}:1"),
            format!("ringway:0:{hex}:01"),
            format!("ringway:0:{hex}:65536"),
            format!("ringway:0:{}:1", hex.to_uppercase()),
            format!("ringway:0:{hex}0:1"),
            format!("ringway:0:{}:1", &hex[1..]),
            format!("ringway:0:{hex}:1:2"),
            format!("other:0:{hex}:1"),
        ] {
            assert_eq!(PartName::parse(&name), None, "{name}");
        }
    }
}
