//! The extended query protocol: a batch of Parse, Bind, Describe, Execute and Close up to Sync or Flush.
//!
//! A client's Parse is kept until something is asked of the statement: then it travels with that message to the shard
//! that answers it. What runs between two Syncs is one transaction, as in PostgreSQL.

use super::single::{Extended, Form, encode_parse};
use super::{Client, Failure, Flow};
use crate::data::thread::PlanRef;
use planner::{Local, Plan, Route};
use session::relay::{Answer, RelayEnd};
use session::requests::{BatchEnd, Message};
use session::{Expected, Prepared};
use std::ops::Range;
use std::rc::Rc;
use topology::ShardId;
use wire::backend::{ParameterDescription, encode_close_complete, encode_no_data, encode_parse_complete};
use wire::frontend::{Bind, BindNames, Close, Describe, Execute, Parse, Target, encode_sync};
use wire::{ProxyError, sqlstate};

/// Messages that a failed batch leaves unread up to the next Sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Skip {
    /// None.
    #[default]
    Nothing,
    /// All until Sync.
    ToSync,
}

/// A portal that outlives its batch inside a transaction.
#[derive(Debug)]
pub(crate) struct Portal {
    name: Box<[u8]>,
    place: Place,
}

/// Where a portal is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    On(ShardId),
    /// Nowhere: its answer was put together from those of several shards.
    Merged,
}

/// A statement and the name that the client gave it.
type Parsed = (Rc<Prepared<PlanRef>>, Box<[u8]>);

/// What of a batch is not carried out yet.
#[derive(Default)]
struct Pending {
    /// A Parse that no server has seen.
    parse: Option<Parsed>,
    /// A Bind whose Execute has not come.
    bound: Option<Bound>,
}

struct Bound {
    statement: Rc<Prepared<PlanRef>>,
    named: bool,
    bind: Range<usize>,
    portal: Box<[u8]>,
    describe: bool,
    parse_pending: bool,
}

impl Client {
    /// A batch, answered up to and with ReadyForQuery where it ends with Sync.
    pub(crate) async fn batch(&mut self, messages: &[Message], end: BatchEnd) -> Flow {
        let mut flow = Flow::Continue;
        if self.skip == Skip::Nothing
            && let Err(failure) = self.run_batch(messages, end).await
        {
            flow = self.report(failure);
            self.skip = Skip::ToSync;
        }
        if end == BatchEnd::Flush {
            return flow;
        }
        self.skip = Skip::Nothing;
        if self.block.is_some()
            && let Err(failure) = Box::pin(self.end_implicit()).await
        {
            flow = self.report(failure);
        }
        if self.block.is_none() {
            self.portals.clear();
        }
        self.settle().await;
        if self.catalog_changed {
            Box::pin(self.follow_catalog()).await;
        }
        self.ready();
        flow
    }

    async fn run_batch(&mut self, messages: &[Message], end: BatchEnd) -> Result<(), Failure> {
        let executes = messages.iter().filter(|m| m.tag == b'E').count();
        let together = executes > 1 || end == BatchEnd::Flush;
        let mut pending = Pending::default();
        for message in messages {
            match message.tag {
                b'P' => self.on_parse(message, &mut pending).await?,
                b'B' => self.on_bind(message, &mut pending).await?,
                b'D' => self.on_describe(message, &mut pending).await?,
                b'E' => self.on_execute(message, &mut pending, together).await?,
                _ => self.on_close(message, &mut pending).await?,
            }
        }
        self.finish_bound(&mut pending, together).await?;
        self.finish_parse(&mut pending).await
    }

    fn body(&self, message: &Message) -> &[u8] {
        self.io.input.get(message.body()).unwrap_or_default()
    }

    async fn on_parse(&mut self, message: &Message, pending: &mut Pending) -> Result<(), Failure> {
        self.finish_bound(pending, false).await?;
        self.finish_parse(pending).await?;
        let parse = Parse::decode(self.body(message)).map_err(ProxyError::from)?;
        let name: Box<[u8]> = parse.name.into();
        if self.statements.is_taken(&name) {
            let error = ProxyError::error(
                sqlstate::DUPLICATE_PREPARED_STATEMENT,
                format!(
                    "prepared statement \"{}\" already exists",
                    String::from_utf8_lossy(&name)
                ),
            );
            return Err(error.into());
        }
        if !name.is_empty() {
            self.thread.stats.database(self.database.index).client_parsed();
        }
        let types: Vec<u32> = parse.parameter_types.iter().map(|oid| oid.0).collect();
        let statement = self
            .thread
            .prepared_statement(&self.database, &self.plans, parse.sql, &types)?;
        self.statements.insert(&name, Rc::clone(&statement));
        pending.parse = Some((statement, name));
        Ok(())
    }

    async fn on_bind(&mut self, message: &Message, pending: &mut Pending) -> Result<(), Failure> {
        self.finish_bound(pending, false).await?;
        let names = BindNames::decode(self.body(message)).map_err(ProxyError::from)?;
        let (portal, name): (Box<[u8]>, Box<[u8]>) = (names.portal.into(), names.statement.into());
        let Some(statement) = self.statements.get(&name).map(Rc::clone) else {
            return Err(no_statement(&name).into());
        };
        let parse_pending = match &pending.parse {
            Some((parsed, parsed_name)) if *parsed_name == name && Rc::ptr_eq(parsed, &statement) => {
                pending.parse = None;
                true
            }
            Some(_) => {
                self.finish_parse(pending).await?;
                false
            }
            None => false,
        };
        // A plan made before the tables changed is made anew; the client's statement stays what it is.
        let statement = self.thread.renew(&self.database, &self.plans, &statement)?;
        pending.bound = Some(Bound {
            statement,
            named: !name.is_empty(),
            bind: message.body(),
            portal,
            describe: false,
            parse_pending,
        });
        Ok(())
    }

    async fn on_describe(&mut self, message: &Message, pending: &mut Pending) -> Result<(), Failure> {
        let describe = Describe::decode(self.body(message)).map_err(ProxyError::from)?;
        let (target, name): (Target, Box<[u8]>) = (describe.target, describe.name.into());
        match (target, &mut pending.bound) {
            (Target::Portal, Some(bound)) if bound.portal == name && !bound.describe => {
                bound.describe = true;
                Ok(())
            }
            (Target::Portal, _) => {
                self.finish_bound(pending, true).await?;
                Box::pin(self.on_open_portal(&name, OnPortal::Describe)).await
            }
            (Target::Statement, _) => {
                self.finish_bound(pending, false).await?;
                let Some(statement) = self.statements.get(&name).map(Rc::clone) else {
                    return Err(no_statement(&name).into());
                };
                let parse = pending
                    .parse
                    .take_if(|(parsed, _)| Rc::ptr_eq(parsed, &statement))
                    .is_some();
                self.finish_parse(pending).await?;
                Box::pin(self.describe_statement(&statement, &name, parse)).await
            }
        }
    }

    async fn on_execute(
        &mut self,
        message: &Message,
        pending: &mut Pending,
        together: bool,
    ) -> Result<(), Failure> {
        let execute = Execute::decode(self.body(message)).map_err(ProxyError::from)?;
        let (portal, max_rows): (Box<[u8]>, i32) = (execute.portal.into(), execute.max_rows);
        match pending.bound.take_if(|bound| bound.portal == portal) {
            Some(bound) => {
                // A portal that may be suspended has to live on the connection that it was opened on.
                let keep = max_rows > 0 || together;
                self.run_bound(bound, Some(max_rows), keep).await
            }
            None => {
                self.finish_bound(pending, together).await?;
                Box::pin(self.on_open_portal(&portal, OnPortal::Execute(max_rows))).await
            }
        }
    }

    async fn on_close(&mut self, message: &Message, pending: &mut Pending) -> Result<(), Failure> {
        self.finish_bound(pending, false).await?;
        self.finish_parse(pending).await?;
        let close = Close::decode(self.body(message)).map_err(ProxyError::from)?;
        let name: Box<[u8]> = close.name.into();
        match close.target {
            Target::Statement => {
                self.statements.remove(&name);
            }
            Target::Portal => {
                if self
                    .portals
                    .iter()
                    .any(|p| p.name == name && p.place != Place::Merged)
                {
                    Box::pin(self.on_open_portal(&name, OnPortal::Close)).await?;
                    self.portals.retain(|p| p.name != name);
                    return Ok(());
                }
                self.portals.retain(|p| p.name != name);
            }
        }
        encode_close_complete(&mut self.io.out);
        Ok(())
    }

    /// Carries out a Bind that no Execute followed.
    async fn finish_bound(&mut self, pending: &mut Pending, keep: bool) -> Result<(), Failure> {
        match pending.bound.take() {
            Some(bound) => Box::pin(self.run_bound(bound, None, keep)).await,
            None => Ok(()),
        }
    }

    async fn run_bound(
        &mut self,
        bound: Bound,
        max_rows: Option<i32>,
        together: bool,
    ) -> Result<(), Failure> {
        let body = self.io.input.get(bound.bind.clone()).unwrap_or_default();
        let bind = Bind::decode(body).map_err(ProxyError::from)?;
        let plan = self.thread.bind_plan(&self.database, &bound.statement, &bind);
        let is_control = matches!(plan.route, Route::Local(Local::Transaction(_)));
        if together && !is_control {
            self.begin_implicit();
        }
        if bound.parse_pending && matches!(&plan.route, Route::Local(local) if answered_here(local)) {
            encode_parse_complete(&mut self.io.out);
        }
        let form = Form::Extended(Extended {
            statement: bound.statement,
            named: bound.named,
            bind: bound.bind,
            portal: bound.portal,
            parse_pending: bound.parse_pending,
            describe: bound.describe,
            max_rows,
        });
        self.run_planned(&plan, &form).await?;
        self.remember_portal(&form, &plan);
        Ok(())
    }

    /// Inside a transaction a portal may be asked again, on the shard where it is open.
    fn remember_portal(&mut self, form: &Form, plan: &Plan) {
        let Form::Extended(extended) = form else { return };
        self.portals.retain(|p| p.name != extended.portal);
        let place = match plan.route {
            Route::Single { shard, .. } | Route::Utility { shard } => Some(Place::On(shard)),
            Route::Any => self.participants.first().map(|p| Place::On(p.backend.shard)),
            Route::Scatter { .. } | Route::Split { .. } | Route::Everywhere { .. } => Some(Place::Merged),
            Route::Copy(_) | Route::Local(_) | Route::Refuse(_) => None,
        };
        if let Some(place) = place
            && self.block.is_some()
        {
            self.portals.push(Portal {
                name: extended.portal.clone(),
                place,
            });
        }
    }

    /// The unnamed portal is open on a participant.
    pub(crate) fn remember_unnamed_portal(&mut self, at: usize) {
        self.portals.retain(|p| !p.name.is_empty());
        if let Some(participant) = self.participants.get(at) {
            self.portals.push(Portal {
                name: Box::default(),
                place: Place::On(participant.backend.shard),
            });
        }
    }

    async fn on_open_portal(&mut self, name: &[u8], what: OnPortal) -> Result<(), Failure> {
        let place = self.portals.iter().find(|p| *p.name == *name).map(|p| p.place);
        let at = match place {
            Some(Place::On(shard)) => self.participants.iter().position(|p| p.backend.shard == shard),
            Some(Place::Merged) => return Err(merged_portal().into()),
            None => None,
        };
        let Some(at) = at else {
            let error = ProxyError::error(
                sqlstate::INVALID_CURSOR_NAME,
                format!("portal \"{}\" does not exist", String::from_utf8_lossy(name)),
            );
            return Err(error.into());
        };
        let mut tracker = self.open(at);
        if let Some(participant) = self.participants.get_mut(at) {
            let out = participant.backend.unsent();
            tracker.expect(match what {
                OnPortal::Execute(max_rows) => {
                    Execute {
                        portal: name,
                        max_rows,
                    }
                    .encode(out);
                    Expected::Execute
                }
                OnPortal::Describe => {
                    Describe {
                        target: Target::Portal,
                        name,
                    }
                    .encode(out);
                    Expected::DescribePortal
                }
                OnPortal::Close => {
                    Close {
                        target: Target::Portal,
                        name,
                    }
                    .encode(out);
                    Expected::Close
                }
            });
            encode_sync(out);
            tracker.expect(Expected::Sync);
        }
        self.finish_messages(at, tracker).await
    }

    /// A Parse that nothing was asked of: the server says whether it is a statement.
    async fn finish_parse(&mut self, pending: &mut Pending) -> Result<(), Failure> {
        let Some((statement, name)) = pending.parse.take() else {
            return Ok(());
        };
        let local = statement
            .plan
            .local(&self.database)
            .is_some_and(|local| answered_here(&local));
        let failed = self.block.as_ref().is_some_and(|block| block.failed);
        if local || (statement.is_proved() && !failed) {
            encode_parse_complete(&mut self.io.out);
            return Ok(());
        }
        Box::pin(self.at_server(&statement, &name, true, false)).await
    }

    async fn describe_statement(
        &mut self,
        statement: &Rc<Prepared<PlanRef>>,
        name: &[u8],
        parse: bool,
    ) -> Result<(), Failure> {
        if !statement
            .plan
            .local(&self.database)
            .is_some_and(|local| answered_here(&local))
        {
            return self.at_server(statement, name, parse, true).await;
        }
        if parse {
            encode_parse_complete(&mut self.io.out);
        }
        ParameterDescription::encode(&mut self.io.out, &[]);
        match self.local_columns(&statement.plan) {
            Some(columns) => columns.encode(&mut self.io.out),
            None => encode_no_data(&mut self.io.out),
        }
        Ok(())
    }

    /// Parse and Describe of a statement, on any server that knows its tables.
    async fn at_server(
        &mut self,
        statement: &Rc<Prepared<PlanRef>>,
        name: &[u8],
        parse: bool,
        describe: bool,
    ) -> Result<(), Failure> {
        if self.block.as_ref().is_some_and(|block| block.failed) {
            return Err(ProxyError::in_failed_transaction().into());
        }
        let plan = self.thread.describing_plan(&self.database, statement)?;
        let at = match plan.route {
            // The others don't have its table.
            Route::Utility { shard } => self.acquire(shard, &plan).await?,
            // Inside a transaction the shard that describes takes part: better the one that will run the statement.
            Route::Single { shard, .. } if self.participants.is_empty() => self.acquire(shard, &plan).await?,
            // Inside a transaction, a shard that takes part already knows what the transaction made.
            _ => self.acquire_any(&plan).await?,
        };
        let mut tracker = self.open(at);
        let capacity = self.thread.settings().pool.max_prepared_statements;
        if let Some(participant) = self.participants.get_mut(at) {
            let (state, out) = participant.backend.state_and_unsent();
            let named = !name.is_empty();
            let server_name = if named { statement.id.name() } else { String::new() };
            let known = named && state.knows(statement.id);
            if known {
                if parse {
                    tracker.expect(Expected::LocalParse);
                }
            } else {
                if named
                    && let session::Injection::CloseThenParse(evicted) =
                        state.use_statement(statement.id, capacity)
                {
                    Close {
                        target: Target::Statement,
                        name: evicted.name().as_bytes(),
                    }
                    .encode(out);
                    tracker.expect(Expected::InjectedClose(Some(evicted)));
                }
                encode_parse(statement, server_name.as_bytes(), out);
                tracker.expect(if parse {
                    Expected::Parse(Some(statement.id))
                } else {
                    Expected::InjectedParse(statement.id)
                });
            }
            if describe {
                Describe {
                    target: Target::Statement,
                    name: server_name.as_bytes(),
                }
                .encode(out);
                tracker.expect(Expected::DescribeStatement);
            }
            encode_sync(out);
            tracker.expect(Expected::Sync);
        }
        let outcome = self.finish_messages(at, tracker).await;
        match &outcome {
            Ok(()) => statement.prove(),
            Err(_) if parse => {
                self.statements.remove(name);
            }
            Err(_) => {}
        }
        outcome
    }

    async fn finish_messages(
        &mut self,
        at: usize,
        mut tracker: session::ReplyTracker,
    ) -> Result<(), Failure> {
        let mut answer = Answer {
            withhold_ready: true,
            ..Answer::forwarded()
        };
        match self.relay(at, &mut tracker, &mut answer).await? {
            RelayEnd::Ready(status) => self.note_status(status),
            RelayEnd::InjectedFailed => {
                self.discard(at);
                return Err(Failure::Reported);
            }
            RelayEnd::CopyIn | RelayEnd::Flushed => return Err(ProxyError::internal().into()),
        }
        self.forget_failed(at, &mut tracker);
        if answer.error.is_some() {
            Err(Failure::Reported)
        } else {
            Ok(())
        }
    }
}

/// What is asked of a portal that is open on a server.
#[derive(Clone, Copy, Debug)]
enum OnPortal {
    Execute(i32),
    Describe,
    Close,
}

fn merged_portal() -> ProxyError {
    ProxyError::unsupported(
        "an answer of several shards can't be fetched in portions",
        "No server has the portal: the rows were merged on their way.",
        "Fetch all rows at once, or ask for the next ones with ORDER BY and LIMIT.",
    )
}

/// Whether no server sees the statement. FETCH and its kin go where the cursor is.
fn answered_here(local: &Local) -> bool {
    !matches!(local, Local::Cursor { .. })
}

pub(crate) fn no_statement(name: &[u8]) -> ProxyError {
    let message = if name.is_empty() {
        "unnamed prepared statement does not exist".to_owned()
    } else {
        format!(
            "prepared statement \"{}\" does not exist",
            String::from_utf8_lossy(name)
        )
    };
    ProxyError::error(sqlstate::INVALID_SQL_STATEMENT_NAME, message)
}
