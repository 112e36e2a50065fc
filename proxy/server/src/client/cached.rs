//! Reads answered from the cache, and answers kept for it.
//!
//! What is kept is the server's own bytes. Whether they may be given is decided by `coherence` each time: the stores only
//! hold candidates.

use super::single::Form;
use super::{Client, Failure};
use crate::data::thread::Thread;
use crate::metrics::{CacheResult, Source};
use crate::reading::Needs;
use crate::reading::SessionLevel;
use bytes::Bytes;
use coherence::{
    AnswerShape, Entry, FillTicket, KeyContext, KeyParameter, KeyPrefix, ReadLevel, Refusal, StatementKey,
    TableTags, check_use, unchanged,
};
use planner::{Access, CacheBy, CachePlan, Plan};
use session::relay::Answer;
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use store::{Boarding, Kept, Leader};
use topology::{CacheLevel, CachePolicy, GateClosed, Role, ShardId};
use wire::backend::encode_parse_complete;
use wire::frontend::Bind;
use wire::{ProxyError, sqlstate};

/// How long a client waits for another's answer to the same question before it asks for itself.
const FLIGHT_WAIT: Duration = Duration::from_millis(500);
/// ParseComplete.
const PARSE_COMPLETE: [u8; 5] = [b'1', 0, 0, 0, 4];

/// What a client asks, as far as a cached answer goes by it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The statement's text.
    pub(crate) text: &'a [u8],
    /// The values of a prepared statement.
    pub(crate) bind: Option<Bound<'a>>,
}

/// The values bound to a statement.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'a> {
    /// The body of Bind.
    pub(crate) body: &'a [u8],
    /// The types declared by Parse.
    pub(crate) types: &'a [u32],
    /// Whether the answer's columns are described too.
    pub(crate) described: bool,
}

/// A key found or made: its hash and its bytes.
struct Key {
    hash: u128,
    bytes: Bytes,
}

impl Client {
    /// Answers a read from the cache, or asks the server and keeps its answer. `false`: the cache has no part in it.
    pub(crate) async fn answer_from_cache(
        &mut self,
        plan: &Plan,
        shard: ShardId,
        form: &Form,
    ) -> Result<bool, Failure> {
        let Some(cache) = &plan.cache else {
            return Ok(false);
        };
        let Some(level) = self.cache_level(&cache.template.policy, &plan.into()) else {
            return Ok(false);
        };
        if matches!(form, Form::Extended(extended) if extended.max_rows != Some(0)) {
            return Ok(false);
        }
        let thread = Rc::clone(&self.thread);
        let memory = &thread.shared.cache.memory;
        let found = self.with_key(form, |key| (memory.get(key.hash, key.bytes), key.hash))?;
        if let (Some(kept), hash) = &found {
            match self.usable(kept, level, &cache.template.policy) {
                Ok(()) => {
                    self.answer_kept(kept, form);
                    self.count_cache(CacheResult::Memory);
                    return Ok(true);
                }
                Err(Refusal::Changed | Refusal::Expired | Refusal::OtherEpoch) => {
                    self.count_cache(CacheResult::Invalid);
                    memory.discard(*hash, kept);
                }
                Err(_) if cache.template.policy.on_gate_closed == GateClosed::Error => {
                    return Err(gate_closed().into());
                }
                Err(_) => self.count_cache(CacheResult::GateClosed),
            }
        }
        let key = self.with_key(form, |key| Key {
            hash: key.hash,
            bytes: Bytes::copy_from_slice(key.bytes),
        })?;
        Box::pin(self.miss(plan, shard, form, level, &key))
            .await
            .map(|()| true)
    }

    fn count_cache(&mut self, result: CacheResult) {
        self.thread.stats.database(self.database.index).cache(result);
        match result {
            CacheResult::Memory | CacheResult::Flight => self.answered_by(Source::Memory, Access::Read),
            CacheResult::Shared => self.answered_by(Source::Redis, Access::Read),
            CacheResult::Miss | CacheResult::Invalid | CacheResult::GateClosed => {}
        }
    }

    /// What the cache of this process holds for a statement, where it may be given now. `None` says nothing.
    pub(crate) fn kept_answer(
        &mut self,
        policy: &CachePolicy,
        level: ReadLevel,
        asked: &Asked<'_>,
    ) -> Option<Arc<Kept>> {
        let thread = Rc::clone(&self.thread);
        let memory = &thread.shared.cache.memory;
        let kept = self
            .with_key_of(asked, |key| memory.get(key.hash, key.bytes))
            .ok()??;
        self.usable(&kept, level, policy).ok()?;
        self.count_cache(CacheResult::Memory);
        Some(kept)
    }

    /// The level at which the cache may answer; `None`: not at all.
    pub(crate) fn cache_level(&self, policy: &CachePolicy, needs: &Needs) -> Option<ReadLevel> {
        // A transaction's reads belong to its snapshot.
        if self.block.is_some() || !self.participants.is_empty() || !self.reading.cache_on() {
            return None;
        }
        let own = match (self.reading.level(), policy.level) {
            (SessionLevel::Strong, _) => return None,
            (SessionLevel::Ryw, CacheLevel::Ryw) => ReadLevel::Ryw { bound: policy.bound },
            (SessionLevel::Ryw, CacheLevel::Bounded) => ReadLevel::Bounded { bound: policy.bound },
            (SessionLevel::Bounded(bound), _) => ReadLevel::Bounded {
                bound: bound.min(policy.bound),
            },
        };
        match crate::reading::tightened(own, needs) {
            ReadLevel::Strong => None,
            level => Some(level),
        }
    }

    fn usable(&mut self, kept: &Kept, level: ReadLevel, policy: &CachePolicy) -> Result<(), Refusal> {
        let now = health::boot_time();
        let coherence = &self.database.coherence;
        let verdict = check_use(kept.entry(), level, &mut self.positions, coherence, now);
        match (verdict, policy.on_gate_closed) {
            (Err(Refusal::TooOld), GateClosed::Stale(most)) => {
                let looser = match level {
                    ReadLevel::Bounded { bound } => ReadLevel::Bounded { bound: bound + most },
                    ReadLevel::Ryw { bound } => ReadLevel::Ryw { bound: bound + most },
                    ReadLevel::Strong => level,
                };
                check_use(kept.entry(), looser, &mut self.positions, coherence, now)
            }
            (verdict, _) => verdict,
        }
    }

    /// Sends what was kept.
    fn answer_kept(&mut self, kept: &Kept, form: &Form) {
        if matches!(form, Form::Extended(extended) if extended.parse_pending) {
            encode_parse_complete(&mut self.io.out);
        }
        self.io.out.extend_from_slice(&kept.rows());
    }

    /// Nothing in the process: another client's answer to the same question, the region's store, or the server.
    async fn miss(
        &mut self,
        plan: &Plan,
        shard: ShardId,
        form: &Form,
        level: ReadLevel,
        key: &Key,
    ) -> Result<(), Failure> {
        let Some(cache) = &plan.cache else {
            return Err(ProxyError::internal().into());
        };
        let flights = Arc::clone(&self.thread.shared.cache.flights);
        let leader = match flights.join(key.hash, &key.bytes) {
            Boarding::Lead(leader) => Some(leader),
            Boarding::Wait(waiter) => {
                // The bytes of another's answer are proved anew: much may have been written since it was asked.
                let landed = waiter
                    .wait(FLIGHT_WAIT, |kept| {
                        self.usable(kept, level, &cache.template.policy).is_ok()
                    })
                    .await;
                if let Some(kept) = landed {
                    self.answer_kept(&kept, form);
                    self.count_cache(CacheResult::Flight);
                    return Ok(());
                }
                None
            }
            Boarding::Full => None,
        };
        if leader.is_some()
            && let Some(region) = self.thread.region.clone()
            && let Some(kept) = region.get(key.hash, &key.bytes).await
        {
            let kept = Arc::new(kept);
            if self.usable(&kept, level, &cache.template.policy).is_ok() {
                self.thread
                    .shared
                    .cache
                    .memory
                    .insert(key.hash, Arc::clone(&kept));
                self.answer_kept(&kept, form);
                self.count_cache(CacheResult::Shared);
                if let Some(leader) = leader {
                    leader.land(kept);
                }
                return Ok(());
            }
        }
        self.count_cache(CacheResult::Miss);
        self.fill(plan, shard, form, key, leader).await
    }

    /// Asks a server, passes its answer on and keeps it where that can be proved.
    async fn fill(
        &mut self,
        plan: &Plan,
        shard: ShardId,
        form: &Form,
        key: &Key,
        leader: Option<Leader<Arc<Kept>>>,
    ) -> Result<(), Failure> {
        let Some(cache) = &plan.cache else {
            return Err(ProxyError::internal().into());
        };
        let at = self.acquire(shard, plan).await?;
        // Taken before the statement is sent: what is in the log by then is in its snapshot.
        let ticket = self.ticket(at, shard);
        let answer = match &ticket {
            Some(_) => Answer::captured(cache.template.policy.max_bytes),
            None => Answer::forwarded(),
        };
        let answer = self.forward_watched(at, plan, form, answer).await?;
        let Some((ticket, rows)) = ticket.zip(answer.capture) else {
            return Ok(());
        };
        let Some(kept) = self.keep(ticket, cache, shard, key, &rows) else {
            return Ok(());
        };
        let kept = Arc::new(kept);
        self.thread
            .shared
            .cache
            .memory
            .insert(key.hash, Arc::clone(&kept));
        if let Some(leader) = leader {
            leader.land(Arc::clone(&kept));
        }
        if let Some(region) = self.thread.region.clone() {
            let hash = key.hash;
            // The client doesn't wait for Redis to take it.
            tokio::task::spawn_local(async move { region.put(hash, &kept, None).await });
        }
        Ok(())
    }

    fn ticket(&self, at: usize, shard: ShardId) -> Option<FillTicket> {
        let backend = &self.participants.get(at)?.backend;
        let view = self.database.coherence.shard(shard)?.view();
        match backend.role {
            Role::Primary => FillTicket::on_primary(shard, &view, backend.timeline()?).ok(),
            Role::Standby => {
                let snapshot = self.database.snapshot();
                let sample = snapshot.endpoint(shard, backend.endpoint)?.replay?;
                FillTicket::on_standby(shard, &view, &sample, backend.opened_at()).ok()
            }
        }
    }

    /// The entry of an answer, unless the catalog that the plan was made under may be out of date.
    fn keep(
        &self,
        ticket: FillTicket,
        cache: &CachePlan,
        shard: ShardId,
        key: &Key,
        rows: &[u8],
    ) -> Option<Kept> {
        let template = &cache.template;
        let tags = TableTags::new(&self.database.config.dbname, &template.table);
        let loaded = self.database.catalog();
        let Some(known) = loaded.tickets.get(shard.index()).copied().flatten() else {
            // It was read before this shard's stream was known, as at the start.
            self.database.request_reload();
            return None;
        };
        let known = known.with_tags([tags.generation()]).ok()?;
        let view = self.database.coherence.shard(shard)?.view();
        if unchanged(&known, &view).is_err() {
            self.database.request_reload();
            return None;
        }
        let texts: SmallVec<[_; 2]> = cache.key.iter().map(planner::KeyValue::canonical_text).collect();
        let depends = match (template.by, template.key_columns.first(), texts.first()) {
            (CacheBy::PrimaryKey, ..) => tags.row(texts.iter().map(|text| text.as_bytes())),
            // Without the primary key in it, a row could leave this answer and the log not say so by the key asked for.
            (CacheBy::ShardKey, ..) if !template.row_key.is_empty() => return None,
            (CacheBy::ShardKey, Some(column), Some(text)) => tags.column(column, text.as_bytes()),
            (CacheBy::ShardKey, ..) => return None,
        };
        let part = ticket.with_tags([depends, tags.generation()]).ok()?;
        let deadline = health::boot_time().plus(template.policy.ttl);
        let entry = Entry::new([part], deadline).ok()?;
        let rows = rows.strip_prefix(&PARSE_COMPLETE).unwrap_or(rows);
        Some(Kept::new(&key.bytes, entry, rows))
    }

    /// Makes the key of a statement and hands it to `use_key`, without copying it.
    fn with_key<T>(
        &mut self,
        form: &Form,
        use_key: impl FnOnce(coherence::CacheKey<'_>) -> T,
    ) -> Result<T, Failure> {
        let input = std::mem::take(&mut self.io.input);
        let bind = match form {
            Form::Simple(_) => None,
            Form::Extended(extended) => Some(Bound {
                body: input.get(extended.bind.clone()).unwrap_or_default(),
                types: &extended.statement.parameter_types,
                described: extended.describe,
            }),
        };
        let asked = Asked {
            text: form.text(&input),
            bind,
        };
        let used = self.with_key_of(&asked, use_key);
        self.io.input = input;
        used
    }

    fn with_key_of<T>(
        &mut self,
        asked: &Asked<'_>,
        use_key: impl FnOnce(coherence::CacheKey<'_>) -> T,
    ) -> Result<T, Failure> {
        let prefix = Rc::clone(self.key_prefix());
        let thread: &Thread = &self.thread;
        let mut buffer = thread.key_buffer.borrow_mut();
        let hasher = &thread.shared.cache.hasher;
        let text = std::str::from_utf8(asked.text).map_err(|_| ProxyError::internal())?;
        let mut parameters: SmallVec<[KeyParameter<'_>; 4]> = SmallVec::new();
        let mut result_formats: SmallVec<[i16; 8]> = SmallVec::new();
        let mut shape = AnswerShape::Simple;
        if let Some(bound) = &asked.bind {
            let bind = Bind::decode(bound.body).map_err(ProxyError::from)?;
            parameters.extend(bind.values.iter().enumerate().map(|(n, value)| KeyParameter {
                type_oid: bound.types.get(n).copied().unwrap_or(0),
                format: bind.formats.code(n),
                value,
            }));
            result_formats.extend(bind.result_formats.iter());
            shape = if bound.described {
                AnswerShape::DescribedAndExecuted
            } else {
                AnswerShape::Executed
            };
        }
        let statement = StatementKey {
            text,
            parameters: &parameters,
            result_formats: &result_formats,
            shape,
        };
        Ok(use_key(hasher.key(&prefix, &statement, &mut buffer)))
    }

    fn key_prefix(&mut self) -> &Rc<KeyPrefix> {
        let settings = &self.settings;
        let info = &self.info;
        let database = &self.database;
        let greeting = self.greeting.as_ref();
        let default_path = greeting.map_or("", |greeting| &greeting.search_path);
        self.key_prefix.get_or_insert_with(|| {
            // What the client has not set is as the server had it at the login.
            let default = |name: &str| {
                greeting
                    .and_then(|greeting| greeting.reported(name))
                    .unwrap_or("")
            };
            let effective = |name: &str| {
                settings
                    .effective(&name.to_ascii_lowercase())
                    .unwrap_or_else(|| default(name))
            };
            Rc::new(KeyPrefix::new(&KeyContext {
                cluster: &database.cluster,
                database: &database.config.dbname,
                session_user: &info.user,
                role: settings.effective("role").unwrap_or(&info.user),
                search_path: settings.effective("search_path").unwrap_or(default_path),
                output_settings: coherence::OUTPUT_SETTINGS.map(effective),
            }))
        })
    }
}

fn gate_closed() -> ProxyError {
    ProxyError::error(
        sqlstate::CANNOT_CONNECT_NOW,
        "the cache can't be proved fresh, and the table's policy is error",
    )
    .with_hint("on_gate_closed = \"origin\" would ask the server.")
}
