//! A bound of connections that several pools share, on whatever threads they are: `max_db_connections`, `max_user_connections`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The bound, and how much of it is used.
#[derive(Debug, Default)]
pub struct Quota {
    /// 0: no bound.
    most: AtomicUsize,
    used: AtomicUsize,
    /// A pool could not open a connection that somebody waits for.
    wanted: AtomicBool,
}

impl Quota {
    /// A bound; `None`: none, until [`Quota::set`].
    pub fn new(most: Option<usize>) -> Arc<Self> {
        let quota = Quota::default();
        quota.set(most);
        Arc::new(quota)
    }

    /// Sets another bound. What is above it stays until it is closed.
    pub fn set(&self, most: Option<usize>) {
        self.most.store(most.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether it is a bound at all.
    pub(crate) fn is_bounded(&self) -> bool {
        self.most.load(Ordering::Relaxed) > 0
    }

    /// How many connections count against it.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, need: Need) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let more = |used: usize| (most == 0 || used < most).then_some(used + 1);
        let taken = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, more)
            .is_ok();
        if !taken && need == Need::Waits {
            self.wanted.store(true, Ordering::Relaxed);
        }
        taken
    }

    fn give_back(&self) {
        self.used.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a connection is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// Somebody waits for it.
    Waits,
    /// To have it ready.
    WarmsUp,
}

/// The right to have one more connection open. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    quotas: Arc<[Arc<Quota>]>,
}

impl Permit {
    /// One of each of `quotas`, or `None`.
    pub(crate) fn take(quotas: &Arc<[Arc<Quota>]>, need: Need) -> Option<Self> {
        for (place, quota) in quotas.iter().enumerate() {
            if !quota.take(need) {
                quotas.iter().take(place).for_each(|taken| taken.give_back());
                return None;
            }
        }
        Some(Permit {
            quotas: Arc::clone(quotas),
        })
    }

    /// Whether another pool wants it more than one whose connection only rests. Asked once for each pool that wants one.
    pub(crate) fn is_wanted(quotas: &[Arc<Quota>]) -> bool {
        quotas
            .iter()
            .any(|quota| quota.wanted.load(Ordering::Relaxed) && quota.wanted.swap(false, Ordering::Relaxed))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.quotas.iter().for_each(|quota| quota.give_back());
    }
}

#[cfg(test)]
mod tests {
    use super::{Need, Permit, Quota};
    use std::sync::Arc;

    #[test]
    fn a_permit_counts_against_each_quota_or_against_none() {
        let (database, user) = (Quota::new(Some(2)), Quota::new(Some(1)));
        let both: Arc<[Arc<Quota>]> = Arc::new([Arc::clone(&database), Arc::clone(&user)]);
        let one: Arc<[Arc<Quota>]> = Arc::new([Arc::clone(&database)]);
        let first = Permit::take(&both, Need::Waits).expect("there is room");
        assert!(Permit::take(&both, Need::Waits).is_none());
        assert_eq!((database.used(), user.used()), (1, 1));
        assert!(Permit::is_wanted(&both) && !Permit::is_wanted(&both));
        let second = Permit::take(&one, Need::Waits).expect("the database has room");
        assert!(Permit::take(&one, Need::Waits).is_none());
        drop(first);
        assert_eq!((database.used(), user.used()), (1, 0));
        drop(second);
        database.set(None);
        let many: Vec<_> = (0..100)
            .map(|_| Permit::take(&one, Need::Waits).expect("no bound"))
            .collect();
        assert_eq!(database.used(), 100);
        drop(many);
        assert_eq!(database.used(), 0);
    }
}
