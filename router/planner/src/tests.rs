//! Statements and their plans, on a shop over two shards.

mod bind;
mod cases;
pub(crate) mod shop;

use crate::plan::{Access, CacheBy, CopyPlan, Plan, Route};
use crate::{Effects, Request, Template, Values};
use shop::Shop;
use sql::{Normaliser, StatementKind};
use std::fmt::Write;

/// The plan as one line.
fn render(plan: &Plan) -> String {
    let mut line = route(&plan.route);
    if plan.access == Access::Write && !matches!(plan.route, Route::Refuse(_) | Route::Local(_)) {
        line.push_str(" WRITE");
    }
    if let Some(cache) = &plan.cache {
        let by = match cache.template.by {
            CacheBy::PrimaryKey => "pk",
            CacheBy::ShardKey => "shard key",
        };
        let keys: Vec<String> = cache.key.iter().map(ToString::to_string).collect();
        write!(
            line,
            " cache({by}={}, {:?})",
            keys.join(","),
            cache.template.policy.bound
        )
        .unwrap();
    }
    if !plan.effects.is_empty() && !matches!(plan.route, Route::Refuse(_) | Route::Local(_)) {
        write!(line, " leaves({})", plan.effects).unwrap();
    }
    line
}

fn route(route: &Route) -> String {
    match route {
        Route::Single {
            shard,
            slot: Some(slot),
        } => format!("single {shard} slot {slot}"),
        Route::Single { shard, slot: None } => format!("single {shard}"),
        Route::Any => "any".to_owned(),
        Route::Utility { shard } => format!("utility {shard}"),
        Route::Split { parts } => format!("split {}", texts(parts)),
        Route::Scatter {
            parts,
            merge,
            columns,
        } => {
            let bounds = format!("offset {} limit {:?}", merge.offset, merge.limit);
            let hidden = merge.hidden_columns;
            format!(
                "scatter {:?} {bounds} columns {columns} hidden {hidden} {}",
                merge.kind,
                texts(parts)
            )
        }
        Route::Everywhere { shards, answer } => format!("everywhere {:?} {answer:?}", numbers(shards)),
        Route::Copy(CopyPlan::Whole { shards }) => format!("copy whole {:?}", numbers(shards)),
        Route::Copy(CopyPlan::ByRow { key_column, .. }) => format!("copy by row, key {key_column}"),
        Route::Copy(CopyPlan::Gather { shards, .. }) => format!("copy gather {:?}", numbers(shards)),
        Route::Local(crate::Local::ExplainRoute { inner }) => format!("explain route: {}", render(inner)),
        Route::Local(local) => format!("local {local:?}"),
        Route::Refuse(refusal) => format!("refuse {}: {}", refusal.sqlstate, refusal.reason),
    }
}

fn numbers(shards: &[topology::ShardId]) -> Vec<u16> {
    shards.iter().map(|shard| shard.0).collect()
}

fn texts(parts: &[crate::Part]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|part| match &part.text {
            Some(text) => format!("{}: {}", part.shard, text.text),
            None => part.shard.to_string(),
        })
        .collect();
    format!("[{}]", parts.join(" | "))
}

/// The plans of a simple Query, as the server makes them: by template where that can be read.
fn plans(shop: &Shop, sql: &str) -> Vec<Plan> {
    let mut normaliser = Normaliser::new();
    let normalised = normaliser.normalise(sql.as_bytes());
    let template = shop.prepare(std::str::from_utf8(normalised.template).unwrap());
    if template.needs_exact_text() || normalised.exact_text_only {
        return exact_plans(shop, sql);
    }
    let values = Values::Literals {
        sql: sql.as_bytes(),
        literals: normalised.literals,
    };
    let plans: Vec<Plan> = (0..template.len())
        .map(|index| template.bind(index, &values, &shop.map))
        .collect();
    short_cut_agrees(shop, &template, &values, &plans);
    plans
}

/// What is told without a plan is what the plan says.
fn short_cut_agrees(shop: &Shop, template: &Template, values: &Values<'_>, plans: &[Plan]) {
    let Some(short) = template.one_shard(values, &shop.map) else {
        return;
    };
    let [plan] = plans else { panic!("one statement") };
    let (Route::Single { shard, .. } | Route::Utility { shard }) = plan.route else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (short.shard, short.access, short.replica_bound),
        (shard, plan.access, plan.replica_bound)
    );
    assert_eq!((short.level, plan.effects), (plan.hints.level, Effects::NONE));
    let cache = plan.cache.as_ref().map(|cache| &cache.template);
    assert_eq!(short.cache, cache);
}

/// The plans by the text itself.
fn exact_plans(shop: &Shop, sql: &str) -> Vec<Plan> {
    let template = shop.prepare(sql);
    (0..template.len())
        .map(|index| template.bind(index, &Values::None, &shop.map))
        .collect()
}

/// One SQL statement a line; the answer holds each with its plan.
fn check(statements: &str, expected: expect_test::Expect) {
    let shop = Shop::two_shards();
    let mut out = String::new();
    for sql in statements.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let plans = plans(&shop, sql);
        let lines: Vec<String> = plans.iter().map(render).collect();
        writeln!(out, "{sql}\n    {}", lines.join("\n    ")).unwrap();
        same_by_text(&shop, sql, &plans);
    }
    expected.assert_eq(&out);
}

/// A text planned through its template goes where the text planned by itself goes.
fn same_by_text(shop: &Shop, sql: &str, plans: &[Plan]) {
    let shape = |plan: &Plan| {
        let mut plan = plan.clone();
        if let Route::Split { parts } | Route::Scatter { parts, .. } = &mut plan.route {
            parts.iter_mut().for_each(|part| part.text = None);
        }
        if let Route::Local(crate::Local::ExplainRoute { inner }) = &plan.route {
            return render(inner);
        }
        render(&plan)
    };
    let exact = exact_plans(shop, sql);
    let (a, b): (Vec<_>, Vec<_>) = (
        plans.iter().map(shape).collect(),
        exact.iter().map(shape).collect(),
    );
    assert_eq!(a, b, "{sql}");
}

impl Shop {
    fn prepare(&self, text: &str) -> Template {
        Template::prepare(&Request {
            text,
            catalog: &self.catalog,
            tables: &self.tables,
            search_path: &self.search_path,
            user: "shop",
        })
    }
}

/// Used by tests that look at facts.
fn is_query(template: &Template) -> bool {
    matches!(template.kind(0), Some(StatementKind::Query(_)))
}
