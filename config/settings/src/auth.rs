//! Who may log in, by what, and as whom the proxy itself logs in to the servers.

use crate::Secret;
use crate::hba::{AuthMethod, HbaRule, LoginAttempt};
use crate::model::PoolMode;
use std::collections::BTreeSet;

/// What a user may do in the admin database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdminRights {
    /// Not even log in to it.
    None,
    /// Only `SHOW`.
    Stats,
    /// Everything.
    Admin,
}

/// Who may log in, and the proxy's own role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Auth {
    /// Users, no two alike.
    pub users: Vec<User>,
    /// Names of users that may do everything in the admin database.
    pub admin_users: BTreeSet<String>,
    /// Names of users that may look.
    pub stats_users: BTreeSet<String>,
    /// The proxy's own role on the servers; `None` only where no database needs one.
    pub control_user: Option<User>,
    /// What a client has to show.
    pub rules: AuthRules,
    /// Where the secrets of users are found that have none here.
    pub query: Option<AuthQuery>,
}

impl Auth {
    /// The user called `name`.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// What the user called `name` may do in the admin database.
    pub fn admin_rights(&self, name: &str) -> AdminRights {
        if self.admin_users.contains(name) {
            AdminRights::Admin
        } else if self.stats_users.contains(name) {
            AdminRights::Stats
        } else {
            AdminRights::None
        }
    }
}

/// A role: for the login here and, if its secret is good for that, on the servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The role.
    pub name: String,
    /// What it proves itself by; `None`: `auth_query` knows, or nobody asks.
    pub secret: Option<UserSecret>,
    /// What of `[pool]` is different for it.
    pub pool: PoolOverrides,
    /// Most server connections over all its pools; `None`: [`Limits::max_user_connections`](crate::Limits).
    pub max_user_connections: Option<usize>,
    /// Most clients logged in as it; `None`: [`Limits::max_user_client_connections`](crate::Limits).
    pub max_user_client_connections: Option<usize>,
}

impl User {
    /// The password in clear, if that is what is configured.
    pub fn password(&self) -> Option<&Secret> {
        match &self.secret {
            Some(UserSecret::Password(password)) => Some(password),
            Some(UserSecret::Scram(_) | UserSecret::Md5(_)) | None => None,
        }
    }
}

/// What a user proves itself by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserSecret {
    /// A password in clear: good for every method, and for the login on the servers.
    Password(Secret),
    /// `SCRAM-SHA-256$...` as in `pg_authid`: the login on the servers uses the keys that clients prove.
    Scram(Secret),
    /// `md5...` as in `pg_authid`: good for `md5` on both sides.
    Md5(Secret),
}

/// What a user or a database may have otherwise than `[pool]` says. `None`: as there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolOverrides {
    /// When a connection goes back.
    pub pool_mode: Option<PoolMode>,
    /// Most connections of a pool.
    pub pool_size: Option<usize>,
    /// Connections kept open once opened.
    pub min_pool_size: Option<usize>,
    /// Connections above the size, for clients that have waited.
    pub reserve_pool_size: Option<usize>,
}

/// A question to the servers: the secret of a user. PgBouncer's `auth_query`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthQuery {
    /// Who asks.
    pub user: String,
    /// The question, with the user's name as `$1`; answers with name and secret.
    pub sql: String,
    /// The database in which it is asked, as clients call it; `None`: the one that the client names.
    pub dbname: Option<String>,
}

/// What clients have to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthRules {
    /// All the same: `auth_type`.
    All(AuthMethod),
    /// What the first rule that fits says; without one that fits, nobody is let in.
    Hba(Vec<HbaRule>),
}

impl AuthRules {
    /// Whether some client may be asked for `method`.
    pub fn ask_for(&self, method: AuthMethod) -> bool {
        match self {
            AuthRules::All(all) => *all == method,
            AuthRules::Hba(rules) => rules.iter().any(|rule| rule.method == method),
        }
    }

    /// The method for this attempt; `None`: no rule fits.
    pub fn method(&self, attempt: &LoginAttempt<'_>) -> Option<AuthMethod> {
        match self {
            AuthRules::All(method) => Some(*method),
            AuthRules::Hba(rules) => rules
                .iter()
                .find(|rule| rule.fits(attempt))
                .map(|rule| rule.method),
        }
    }
}
