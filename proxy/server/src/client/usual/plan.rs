//! Where a usual request goes.

use crate::client::Client;
use crate::client::cached::{Asked, Bound};
use crate::data::plans::UsualText;
use crate::data::thread::PlanRef;
use crate::reading::Needs;
use planner::CacheTemplate;
use session::Prepared;
use session::usual::{Execution, Kind, Request};
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use topology::ShardId;
use wire::frontend::Bind;

/// What is known of a request's statement.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// Its shard.
    pub(super) shard: ShardId,
    /// Who may answer it.
    pub(super) needs: Needs,
    /// How the cache may; `None`: never.
    pub(super) cache: Option<Arc<CacheTemplate>>,
    /// The statement, where it was prepared.
    pub(super) statement: Option<Rc<Prepared<PlanRef>>>,
}

impl Planned {
    /// What the request asks, for the cache.
    pub(super) fn asked<'a>(&'a self, request: &Request<'a>) -> Asked<'a> {
        match (&request.kind, &self.statement) {
            (Kind::Execute(execution), Some(statement)) => Asked {
                text: &statement.sql,
                bind: Some(Bound {
                    body: execution.bind,
                    types: &statement.parameter_types,
                    described: execution.describe,
                }),
            },
            (Kind::Query(text), _) => Asked { text, bind: None },
            (Kind::Execute(_), None) => Asked {
                text: &[],
                bind: None,
            },
        }
    }
}

impl Client {
    /// Where the request's statement goes; `None` where that is not one shard, or not this way's to decide.
    pub(super) fn plan_usual(&mut self, request: &Request<'_>) -> Option<UsualText<Planned>> {
        match &request.kind {
            Kind::Query(text) => self
                .thread
                .usual_text(&self.database, &self.plans, text, |one| Planned {
                    shard: one.shard,
                    needs: one.into(),
                    cache: one.cache.map(Arc::clone),
                    statement: None,
                }),
            Kind::Execute(execution) => {
                let statement = self.statement_of(execution)?;
                let bind = Bind::decode(execution.bind).ok()?;
                let planned = self
                    .thread
                    .one_shard_bound(&self.database, &statement, &bind, |one| Planned {
                        shard: one.shard,
                        needs: one.into(),
                        cache: one.cache.map(Arc::clone),
                        statement: None,
                    })?;
                Some(UsualText::OneShard(Planned {
                    statement: Some(statement),
                    ..planned
                }))
            }
        }
    }

    /// The statement that is executed, with a plan that is good for this session.
    fn statement_of(&mut self, execution: &Execution<'_>) -> Option<Rc<Prepared<PlanRef>>> {
        let Some(parse) = &execution.parse else {
            let known = self.statements.get(execution.name)?;
            return self.thread.renew(&self.database, &self.plans, known).ok();
        };
        let types: SmallVec<[u32; 8]> = parse.parameter_types.iter().map(|oid| oid.0).collect();
        if let Some(known) = self.statements.get(b"")
            && *known.sql == *parse.sql
            && *known.parameter_types == *types
        {
            let renewed = self.thread.renew(&self.database, &self.plans, known).ok()?;
            if Rc::ptr_eq(&renewed, known) {
                return Some(renewed);
            }
        }
        let statement = self
            .thread
            .prepared_statement(&self.database, &self.plans, parse.sql, &types)
            .ok()?;
        self.statements.insert(b"", Rc::clone(&statement));
        Some(statement)
    }
}
