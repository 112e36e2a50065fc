//! What a client is told after its login: the server's settings as they are for it, its cancel key, ReadyForQuery.

use super::{Client, Failure};
use crate::data::io::ClientIo;
use crate::data::login::Refused;
use planner::{Access, Effects, Plan, Route};
use session::Expected;
use session::relay::{Answer, RelayEnd};
use std::rc::Rc;
use std::time::Duration;
use wire::backend::{BackendKeyData, DataRow, ParameterStatus};
use wire::frame::{self, Scan};
use wire::frontend::Query;
use wire::{ProxyError, sqlstate};

/// Most bytes of settings that a server may report.
const MAX_GREETING: usize = 64 << 10;

/// A longer name is cut off by the server, which says so.
const MAX_NAME: usize = 63;

/// What the server told of a client's settings at its login.
#[derive(Debug)]
pub(crate) struct Greeted {
    /// What it had to say of their values.
    notices: Vec<u8>,
    /// Settings reported to clients, with their values.
    reported: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where names are looked up, by the defaults of the server, the database and the role.
    pub(crate) search_path: String,
}

impl Greeted {
    /// The value of a setting that the server reported.
    pub(crate) fn reported(&self, name: &str) -> Option<&str> {
        let found = self
            .reported
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))?;
        std::str::from_utf8(&found.1).ok()
    }
}

/// Shared by clients of one kind.
pub(crate) type Greeting = Rc<Greeted>;

impl Client {
    /// Greets the client. Its settings are tried on a server first, so that a wrong one is refused here, as by PostgreSQL.
    pub(crate) async fn greet(mut self) -> Result<Self, (ClientIo, Refused)> {
        let greeting = self.greeting().await;
        self.settle().await;
        match greeting {
            Ok(greeting) => {
                self.greeting = Some(Rc::clone(&greeting));
                self.context_changed();
                self.io.out.extend_from_slice(&greeting.notices);
                for (name, value) in &greeting.reported {
                    ParameterStatus { name, value }.encode(&mut self.io.out);
                }
                let key = &self.info.key;
                BackendKeyData {
                    pid: key.pid,
                    secret: &key.secret,
                }
                .encode(&mut self.io.out);
                self.ready();
                match self.io.flush().await {
                    Ok(()) => Ok(self),
                    Err(_) => Err((self.io, ProxyError::backend_lost("at the login").into())),
                }
            }
            Err(failure) => {
                let refused = match failure {
                    Failure::Proxy(error) => Refused::Proxy(error),
                    Failure::Server(error) => Refused::Server(error.frame),
                    Failure::Reported | Failure::ClientGone => Refused::Proxy(ProxyError::internal()),
                };
                Err((self.io, refused))
            }
        }
    }

    async fn greeting(&mut self) -> Result<Greeting, Failure> {
        // Where all of it goes to one shard, the server reads the statements.
        let is_routed = self.database.direct.is_none();
        if let Some(encoding) = self.startup.get("client_encoding").filter(|_| is_routed) {
            super::session_settings::readable_encoding(encoding)?;
        }
        if self
            .startup
            .get("standard_conforming_strings")
            .is_some_and(|v| is_routed && v != "'on'")
        {
            return Err(ProxyError::unsupported(
                "standard_conforming_strings = off is not supported",
                "Ringway reads string literals as the SQL standard has them.",
                "Leave it on.",
            )
            .into());
        }
        if let Some(known) = self
            .thread
            .greetings
            .known(&self.database, &self.info.user, &self.startup)
        {
            return Ok(known);
        }
        let plan = Plan {
            route: Route::Any,
            access: Access::Read,
            cache: None,
            replica_bound: Duration::MAX,
            hints: sql::Hints::default(),
            effects: Effects::NONE,
        };
        let greeting = match Box::pin(self.ask_greeting(&plan)).await {
            // Nothing of the client's was under way: another connection will do as well.
            Err(Failure::Proxy(error)) if error.sqlstate == sqlstate::CONNECTION_FAILURE => {
                Box::pin(self.ask_greeting(&plan)).await?
            }
            asked => asked?,
        };
        self.thread
            .greetings
            .remember(&self.database, &self.info.user, &self.startup, &greeting);
        Ok(greeting)
    }

    async fn ask_greeting(&mut self, plan: &Plan) -> Result<Greeting, Failure> {
        let at = self.acquire_any(plan).await?;
        let sql = match self.participants.get(at) {
            Some(participant) => reported_settings(participant.backend.parameters().map(|(name, _)| name)),
            None => return Err(ProxyError::internal().into()),
        };
        let notices = self.startup_notices(at).await?;
        let mut reported = self.rows(at, &sql).await?;
        // The last one is asked for ourselves, whether or not the server reports it too.
        let (_, path) = reported.pop().ok_or_else(ProxyError::internal)?;
        let search_path = String::from_utf8_lossy(&path).into_owned();
        Ok(Rc::new(Greeted {
            notices,
            reported,
            search_path,
        }))
    }

    /// What the server says of a name among the client's settings that is too long for it.
    async fn startup_notices(&mut self, at: usize) -> Result<Vec<u8>, Failure> {
        let name = self.startup.get("application_name").unwrap_or_default();
        if name.len() <= MAX_NAME {
            return Ok(Vec::new());
        }
        // The connection may have had it before, without a word.
        let sql = format!("SET application_name = {name}");
        let answer = self.answer(at, &sql).await?;
        Ok(frames(&answer, MAX_GREETING, b'N').flatten().copied().collect())
    }

    /// Rows of two columns that a statement of ours answers.
    pub(crate) async fn rows(&mut self, at: usize, sql: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Failure> {
        Ok(pairs(&self.answer(at, sql).await?, MAX_GREETING))
    }

    /// What a statement of ours is answered.
    async fn answer(&mut self, at: usize, sql: &str) -> Result<Vec<u8>, Failure> {
        let mut tracker = self.open(at);
        let Some(participant) = self.participants.get_mut(at) else {
            return Err(ProxyError::internal().into());
        };
        Query { sql: sql.as_bytes() }.encode(participant.backend.unsent());
        tracker.expect(Expected::Query);
        let mut answer = Answer {
            silent: true,
            ..Answer::captured(MAX_GREETING)
        };
        let end = self.relay(at, &mut tracker, &mut answer).await?;
        if let Some(error) = answer.error {
            return Err(Failure::Server(error));
        }
        match (end, answer.capture) {
            (RelayEnd::Ready(_), Some(bytes)) => Ok(bytes),
            _ => Err(ProxyError::internal().into()),
        }
    }
}

/// The query for the settings that servers report by themselves. `pg_settings` has not all of them (`is_superuser`).
fn reported_settings<'n>(names: impl Iterator<Item = &'n [u8]>) -> String {
    let names: Vec<String> = names
        .chain([b"search_path".as_slice()])
        .map(|name| session::quote_literal(&String::from_utf8_lossy(name)))
        .collect();
    format!(
        "SELECT name, CASE name WHEN 'in_hot_standby' THEN 'off' ELSE pg_catalog.current_setting(name) END \
         FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) WITH ORDINALITY AS n (name, place) ORDER BY place",
        names.join(", ")
    )
}

/// The rows of two columns in an answer.
pub(super) fn pairs(bytes: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    frames(bytes, limit, b'D')
        .filter_map(|whole| {
            let row = DataRow::decode(frame::body(whole)).ok()?;
            let value = |n| row.values.get(n).flatten().unwrap_or_default().to_vec();
            Some((value(0), value(1)))
        })
        .collect()
}

/// The messages with this tag in an answer.
fn frames(mut bytes: &[u8], limit: usize, wanted: u8) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while let Scan::Frame { tag, len } = frame::scan(bytes, limit) {
            let (whole, rest) = bytes.split_at(len);
            bytes = rest;
            if tag == wanted {
                return Some(whole);
            }
        }
        None
    })
}
