//! The servers of one run: a fresh PostgreSQL, and for one of the two runs a Ringway before it.

use std::fmt;

use anyhow::Result;
use cluster::{Postgres, PostgresSpec, Ringway};
use tests::only_shard;

/// Who stands before PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// Nobody.
    Direct,
    /// Ringway, with transaction pooling.
    Ringway,
}

/// Roles that suites make with a password which they want to be asked for, and how; everybody else is trusted.
///
/// Roles that PostgreSQL would ask for a password in clear are asked by SCRAM: Ringway takes none in clear without TLS.
const ASKED: [(&str, &str); 2] = [
    ("md5", "pqgomd5,pgx_md5,md5_user"),
    (
        "scram-sha-256",
        "pqgoscram,pgx_scram,scram_user,pqgopassword,pgx_pw,pass_user",
    ),
];

/// Running servers.
#[derive(Debug)]
pub(crate) struct Stage {
    // First, because it uses the other: fields are dropped in this order.
    ringway: Option<Ringway>,
    postgres: Postgres,
}

impl Side {
    /// Both, in the order of running.
    pub(crate) const BOTH: [Self; 2] = [Self::Direct, Self::Ringway];

    /// Its name in folders.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Ringway => "ringway",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Stage {
    /// Starts the servers of a side.
    ///
    /// # Errors
    /// One of them doesn't start.
    pub(crate) async fn start(side: Side) -> Result<Self> {
        // Where there is a Ringway, it asks, and PostgreSQL trusts it.
        let asked = if side == Side::Direct {
            ASKED.as_slice()
        } else {
            &[]
        };
        let lines: Vec<String> = asked
            .iter()
            .map(|(method, roles)| format!("host all {roles} 127.0.0.1/32 {method}\n"))
            .collect();
        let hba = lines.concat() + "host all all 127.0.0.1/32 trust\n";
        let postgres = Postgres::start(PostgresSpec::new("conformance").hba(&hba)).await?;
        let ringway = match side {
            Side::Direct => None,
            Side::Ringway => {
                let port = postgres.port();
                let make = |own, http| configuration(own, http, port);
                Some(Ringway::start_alone("ringway", tests::ringway()?, make).await?)
            }
        };
        Ok(Self { ringway, postgres })
    }

    /// The port that clients use.
    pub(crate) fn port(&self) -> u16 {
        self.ringway
            .as_ref()
            .map_or_else(|| self.postgres.port(), Ringway::port)
    }

    /// The last lines of the servers' logs.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        let ringway = self.ringway.as_ref().map(|ringway| ringway.log_tail(lines));
        format!(
            "{}\n{}",
            self.postgres.log_tail(lines),
            ringway.unwrap_or_default()
        )
    }
}

fn configuration(port: u16, http_port: u16, server: u16) -> String {
    let rule = |(method, roles): &(&str, &str)| {
        let roles: Vec<String> = roles.split(',').map(|role| format!("\"{role}\"")).collect();
        format!(
            "[[hba]]\ntype = \"host\"\nuser = [{}]\nmethod = \"{method}\"\n",
            roles.join(", ")
        )
    };
    let rules: Vec<String> = ASKED.iter().map(rule).collect();
    format!(
        r#"
region = "here"

[listen]
port = {port}
http_port = {http_port}

[pool]
default_pool_size = 60

[auth]
auth_type = "hba"
auth_user = "{superuser}"
auth_dbname = "{superuser}"

{rules}
[[hba]]
type = "host"
method = "trust"

[[user]]
name = "{superuser}"
password = "postgres"

[[database]]
name = "*"
{shard}"#,
        shard = only_shard("127.0.0.1", server),
        superuser = PostgresSpec::SUPERUSER,
        rules = rules.concat(),
    )
}
