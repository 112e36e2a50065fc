//! What holds for the pools of one database and user: the user's own settings, else the database's, else those of all.

use crate::model::{Database, PoolMode, Settings};

/// What holds for the pools of one database and user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolFor {
    /// When a connection goes back.
    pub mode: PoolMode,
    /// Most connections to one server.
    pub size: usize,
    /// Connections kept open once opened, at most `size`.
    pub min_size: usize,
    /// Connections above `size`, for clients that have waited.
    pub reserve_size: usize,
    /// Most connections of the database, over all its pools.
    pub max_db_connections: Option<usize>,
    /// Most connections of the user, over all their pools.
    pub max_user_connections: Option<usize>,
}

impl Settings {
    /// What holds for the pools of this database, as clients call it, and this user.
    pub fn pool_for(&self, database: &str, user: &str) -> PoolFor {
        let database: Option<&Database> = self.database(database).or(self.wildcard.as_ref());
        let user = self.auth.user(user);
        let (own, theirs) = (
            user.map(|user| &user.pool),
            database.map(|database| &database.pool),
        );
        let size = own
            .and_then(|own| own.pool_size)
            .or_else(|| theirs?.pool_size)
            .unwrap_or(self.pool.default_pool_size);
        let min_size = own
            .and_then(|own| own.min_pool_size)
            .or_else(|| theirs?.min_pool_size)
            .unwrap_or(self.pool.min_pool_size);
        PoolFor {
            mode: own
                .and_then(|own| own.pool_mode)
                .or_else(|| theirs?.pool_mode)
                .unwrap_or(self.pool.pool_mode),
            size,
            min_size: min_size.min(size),
            reserve_size: own
                .and_then(|own| own.reserve_pool_size)
                .or_else(|| theirs?.reserve_pool_size)
                .unwrap_or(self.pool.reserve_pool_size),
            max_db_connections: database
                .and_then(|database| database.max_db_connections)
                .or(self.limits.max_db_connections),
            max_user_connections: user
                .and_then(|user| user.max_user_connections)
                .or(self.limits.max_user_connections),
        }
    }
}

impl PoolMode {
    /// The name that the configuration and PgBouncer use.
    pub fn as_str(self) -> &'static str {
        match self {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
            PoolMode::Statement => "statement",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::decode::tests::{SAMPLE, parse};
    use crate::model::PoolMode;

    #[test]
    fn a_user_comes_before_a_database_and_a_database_before_all() {
        let text = SAMPLE
            .replace(
                "[[database]]\nname = \"shop\"",
                "[[database]]\nname = \"shop\"\npool_mode = \"session\"\npool_size = 7\nmax_db_connections = 9",
            )
            .replace("[[user]]\nname = \"shop\"", "[[user]]\nname = \"shop\"\npool_mode = \"statement\"");
        let settings = parse(&text, &[]).expect("valid");
        let shop = settings.pool_for("shop", "shop");
        assert_eq!((shop.mode, shop.size), (PoolMode::Statement, 7));
        assert_eq!(
            (shop.max_db_connections, shop.max_user_connections),
            (Some(9), None)
        );
        assert_eq!(settings.pool_for("shop", "ringway").mode, PoolMode::Session);
        let other = settings.pool_for("nothing", "nobody");
        assert_eq!((other.mode, other.size), (PoolMode::Transaction, 20));
    }
}
