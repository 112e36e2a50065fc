//! Whether this proxy should be sent clients, and why not.

use topology::{Health, Snapshot};

/// Where the process stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Not listening yet.
    Starting,
    /// Serving.
    Serving,
    /// Finishing what is under way.
    Draining,
}

impl Phase {
    /// The word that the API uses.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

/// Whether the shared store of the region answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SharedStore {
    /// There is none in the configuration.
    Absent,
    /// It answers.
    Up,
    /// It doesn't: values stay in the process.
    Down,
}

/// How one part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CheckState {
    /// Well.
    Ok,
    /// Statements are answered without it.
    Degraded,
    /// Statements that need it fail.
    Failed,
}

/// One part and how it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Check {
    /// The part.
    pub(crate) name: String,
    /// How it is.
    pub(crate) state: CheckState,
    /// Why, where it isn't well.
    pub(crate) reason: String,
}

impl Check {
    fn ok(name: String) -> Self {
        Self {
            name,
            state: CheckState::Ok,
            reason: String::new(),
        }
    }

    fn degraded(name: String, reason: impl Into<String>) -> Self {
        Self {
            name,
            state: CheckState::Degraded,
            reason: reason.into(),
        }
    }

    fn failed(name: String, reason: impl Into<String>) -> Self {
        Self {
            name,
            state: CheckState::Failed,
            reason: reason.into(),
        }
    }
}

/// Every part and how it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Readiness {
    /// Where the process stands.
    pub(crate) phase: Phase,
    /// The parts.
    pub(crate) checks: Vec<Check>,
}

impl Readiness {
    /// Judges what is known. `followed` says, for a shard's place and each database, whether its stream is being followed.
    pub(crate) fn of<'a>(
        phase: Phase,
        snapshot: &Snapshot,
        streams: impl IntoIterator<Item = (usize, &'a str, bool)>,
        store: SharedStore,
    ) -> Self {
        let mut checks = vec![match phase {
            Phase::Serving => Check::ok("process".to_owned()),
            Phase::Starting | Phase::Draining => Check::failed("process".to_owned(), phase.as_str()),
        }];
        for shard in &snapshot.shards {
            let name = format!("shard {}", shard.name);
            checks.push(match shard.primary() {
                Some(_) => Check::ok(name),
                None => Check::failed(name, "no primary"),
            });
            for state in &shard.endpoints {
                let endpoint = &state.endpoint;
                let name = format!(
                    "endpoint {} {} {}:{}",
                    shard.name, endpoint.region, endpoint.host, endpoint.port
                );
                checks.push(match state.health {
                    Health::Up => Check::ok(name),
                    Health::Unknown => Check::degraded(name, "not asked yet"),
                    Health::Down => Check::degraded(name, state.last_error.as_deref().unwrap_or("down")),
                });
            }
        }
        for (shard, database, following) in streams {
            let shard = snapshot.shards.get(shard).map_or("?", |shard| &*shard.name);
            let name = format!("stream {shard} {database}");
            checks.push(if following {
                Check::ok(name)
            } else {
                Check::degraded(name, "not followed: cache unused")
            });
        }
        match store {
            SharedStore::Absent => {}
            SharedStore::Up => checks.push(Check::ok("redis".to_owned())),
            SharedStore::Down => {
                checks.push(Check::degraded(
                    "redis".to_owned(),
                    "does not answer: values stay in the process",
                ));
            }
        }
        Self { phase, checks }
    }

    /// Whether clients should be sent here.
    pub(crate) fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.state != CheckState::Failed)
    }

    /// One line.
    pub(crate) fn brief(&self) -> String {
        let failed: Vec<String> = self
            .checks
            .iter()
            .filter(|check| check.state == CheckState::Failed)
            .map(|check| format!("{}: {}", check.name, check.reason))
            .collect();
        if failed.is_empty() {
            "ready\n".to_owned()
        } else {
            format!("not ready: {}\n", failed.join("; "))
        }
    }

    /// One line for each part, `[+]` well, `[!]` degraded, `[-]` failed, and the verdict.
    pub(crate) fn verbose(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let line = match check.state {
                CheckState::Ok => format!("[+] {} ok\n", check.name),
                CheckState::Degraded => format!("[!] {} degraded: {}\n", check.name, check.reason),
                CheckState::Failed => format!("[-] {} failed: {}\n", check.name, check.reason),
            };
            text.push_str(&line);
        }
        text + if self.is_ready() { "ready\n" } else { "not ready\n" }
    }
}
