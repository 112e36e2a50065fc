//! A plan as the rows of `EXPLAIN (ROUTE)`.

use crate::plan::{Access, Answer, CacheBy, CachePlan, CopyPlan, Local, Part, Plan, Refusal, Route};
use merge::{MergeKind, MergeSpec};
use topology::{Role, ShardId};

/// What is known of the server that a shard's part would go to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExplainEndpoint {
    /// The shard's name.
    pub shard: String,
    /// The server's region.
    pub region: String,
    /// Its role.
    pub role: Option<Role>,
    /// Why it was taken.
    pub reason: String,
}

/// One row: what, and its value.
pub type Row = (String, String);

/// The rows for a plan; `endpoint` tells the server that a shard's part would go to.
pub fn rows(plan: &Plan, endpoint: &dyn Fn(ShardId) -> Option<ExplainEndpoint>) -> Vec<Row> {
    if let Route::Local(Local::ExplainRoute { inner }) = &plan.route {
        return rows(inner, endpoint);
    }
    let mut out = Rows {
        rows: Vec::new(),
        endpoint,
    };
    out.row("route", route_name(&plan.route));
    out.row(
        "access",
        if plan.access == Access::Read {
            "read"
        } else {
            "write"
        },
    );
    out.route(&plan.route);
    if matches!(plan.route, Route::Single { .. } | Route::Any) && plan.access == Access::Read {
        match &plan.cache {
            Some(cache) => out.cache(cache),
            None => out.row("cache", "no"),
        }
    }
    if !plan.effects.is_empty() {
        out.row("effects", plan.effects.to_string());
    }
    out.rows
}

fn route_name(route: &Route) -> &'static str {
    match route {
        Route::Single { .. } => "single",
        Route::Any => "any",
        Route::Utility { .. } => "utility",
        Route::Split { .. } => "split",
        Route::Scatter { .. } => "scatter",
        Route::Everywhere { .. } => "everywhere",
        Route::Copy(_) => "copy",
        Route::Local(_) => "local",
        Route::Refuse(_) => "refuse",
    }
}

struct Rows<'e> {
    rows: Vec<Row>,
    endpoint: &'e dyn Fn(ShardId) -> Option<ExplainEndpoint>,
}

impl Rows<'_> {
    fn row(&mut self, name: &str, value: impl Into<String>) {
        self.rows.push((name.to_owned(), value.into()));
    }

    fn route(&mut self, route: &Route) {
        match route {
            Route::Single { shard, slot } => {
                if let Some(slot) = slot {
                    self.row("slot", slot.to_string());
                }
                self.shard(*shard);
            }
            Route::Any => self.row("shard", "any"),
            Route::Utility { shard } => self.shard(*shard),
            Route::Split { parts } => {
                self.row("transaction", "two-phase commit");
                self.parts(parts);
            }
            Route::Scatter { parts, merge, .. } => {
                self.row("merge", merge_text(merge));
                self.parts(parts);
            }
            Route::Everywhere { shards, answer } => {
                let answer = match answer {
                    Answer::First => "of the first shard: all answer the same",
                    Answer::Sum => "counts added, rows one after the other",
                };
                self.row("answer", answer);
                self.shards(shards);
            }
            Route::Copy(copy) => self.copy(copy),
            Route::Local(_) => self.row("answered by", "the session"),
            Route::Refuse(refusal) => self.refusal(refusal),
        }
    }

    fn shard(&mut self, shard: ShardId) {
        match (self.endpoint)(shard) {
            Some(endpoint) => {
                self.row("shard", endpoint.shard);
                self.row("region", endpoint.region);
                let role = match endpoint.role {
                    Some(Role::Primary) => "primary",
                    Some(Role::Standby) => "standby",
                    None => "none",
                };
                self.row("role", format!("{role} ({})", endpoint.reason));
            }
            None => self.row("shard", shard.to_string()),
        }
    }

    fn shards(&mut self, shards: &[ShardId]) {
        for shard in shards {
            self.shard(*shard);
        }
    }

    fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            self.shard(part.shard);
            if let Some(text) = &part.text {
                self.row("sql", text.text.as_ref());
            }
        }
    }

    fn copy(&mut self, copy: &CopyPlan) {
        match copy {
            CopyPlan::Whole { shards } => self.shards(shards),
            CopyPlan::ByRow { key_column, .. } => {
                self.row(
                    "rows",
                    format!("each to the shard of its column {}", key_column + 1),
                );
            }
            CopyPlan::Gather { shards, .. } => {
                self.row("rows", "of all shards, one shard after the other");
                self.shards(shards);
            }
        }
    }

    fn refusal(&mut self, refusal: &Refusal) {
        self.row("sqlstate", refusal.sqlstate);
        self.row("message", refusal.message.as_str());
        self.row("reason", refusal.reason.as_str());
        if !refusal.hint.is_empty() {
            self.row("hint", refusal.hint.as_str());
        }
    }

    fn cache(&mut self, cache: &CachePlan) {
        let template = &cache.template;
        let by = match template.by {
            CacheBy::PrimaryKey => "primary key",
            CacheBy::ShardKey => "shard key",
        };
        let keys: Vec<String> = template
            .key_columns
            .iter()
            .zip(&cache.key)
            .map(|(column, key)| format!("{column} = {key}"))
            .collect();
        self.row(
            "cache",
            format!("{} by {by} ({})", template.table, keys.join(", ")),
        );
        let policy = &template.policy;
        self.row(
            "cache policy",
            format!("bound {:?}, ttl {:?}", policy.bound, policy.ttl),
        );
    }
}

fn merge_text(merge: &MergeSpec) -> String {
    let mut text = match &merge.kind {
        MergeKind::Rows { order } if order.is_empty() => "rows one shard after the other".to_owned(),
        MergeKind::Rows { order } => {
            let keys: Vec<String> = order
                .iter()
                .map(|key| {
                    let direction = if key.descending { " desc" } else { "" };
                    let nulls = if key.nulls_first {
                        " nulls first"
                    } else {
                        " nulls last"
                    };
                    format!("{}{direction}{nulls}", key.column + 1)
                })
                .collect();
            format!("ordered by column {}", keys.join(", "))
        }
        MergeKind::Aggregates(aggregates) => format!("aggregates {aggregates:?}"),
    };
    if merge.offset > 0 {
        text.push_str(&format!(", offset {}", merge.offset));
    }
    if let Some(limit) = merge.limit {
        text.push_str(&format!(", limit {limit}"));
    }
    if merge.hidden_columns > 0 {
        text.push_str(&format!(", {} hidden", merge.hidden_columns));
    }
    text
}
