//! `ringway route`: where a statement would go.

use super::live::{self, Seen};
use crate::cli::{Exit, OutputFormat, RouteArgs, print_table};
use crate::control::catalog_task::CatalogReader;
use crate::control::link;
use crate::control::plane;
use crate::serve::map_file;
use planner::explain::{self, ExplainEndpoint};
use planner::{Access, Plan, Request, Template, Values};
use serde_json::Value;
use settings::Settings;
use topology::{Role, ShardId};

/// Where names are looked up that have no schema: PostgreSQL's default.
const SEARCH_PATH: [&str; 2] = ["$user", "public"];

/// Plans the statement by the catalog of the default shard's primary, and runs nothing.
pub(crate) fn route(args: &RouteArgs, format: OutputFormat) -> Exit {
    let settings = match super::load_settings(&args.config.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let database = match super::chosen_database(&settings, args.database.as_deref()) {
        Ok(database) => database,
        Err(why) => {
            eprintln!("ringway: {why}");
            return Exit::Usage;
        }
    };
    super::run(async {
        let seen = live::roles(&settings, &database.dbname).await;
        let endpoint = live::primary(&seen, database.default_shard)
            .ok_or_else(|| live::no_primary(&settings, &seen, database.default_shard))?;
        let target = link::control_target(&settings, &database.dbname, endpoint)?;
        let catalog =
            Box::pin(async { CatalogReader::open(&target).await?.load(None, |_| true).await }).await?;
        let map = match map_file::read(&settings)? {
            Some(map) => map,
            None => {
                eprintln!(
                    "There is no slot map {} yet: this is by the map that would be made.",
                    settings.map_file.display()
                );
                map_file::propose(&settings)?
            }
        };
        let first = settings.auth.users.first().map_or("", |user| user.name.as_str());
        let search_path = SEARCH_PATH.map(str::to_owned);
        let template = Template::prepare(&Request {
            text: &args.sql,
            catalog: &catalog,
            tables: &plane::tables(&settings, database),
            search_path: &search_path,
            user: args.user.as_deref().unwrap_or(first),
        });
        let mut rows = Vec::new();
        for statement in 0..template.len() {
            let plan = template.bind(statement, &Values::None, &map);
            let endpoint = |shard| described(&settings, &seen, &plan, shard);
            for (name, value) in explain::rows(&plan, &endpoint) {
                rows.push(vec![Value::from(statement + 1), name.into(), value.into()]);
            }
        }
        print_table(
            &mut std::io::stdout(),
            format,
            &["statement", "what", "value"],
            &rows,
        )?;
        Ok(Exit::Done)
    })
}

/// The server that would answer, as far as that can be said without watching the servers: how fresh a standby is
/// only a running proxy knows.
fn described(settings: &Settings, seen: &[Seen<'_>], plan: &Plan, shard: ShardId) -> Option<ExplainEndpoint> {
    let name = settings.shard(shard)?.name.to_string();
    let here = &settings.region;
    let of_shard = || seen.iter().filter(|seen| seen.server.endpoint.shard == shard);
    let primary = of_shard().find(|seen| matches!(seen.role, Ok(Role::Primary)));
    let standby = of_shard()
        .find(|seen| matches!(seen.role, Ok(Role::Standby)) && seen.server.endpoint.region == *here);
    let local_primary = primary.is_some_and(|seen| seen.server.endpoint.region == *here);
    let (server, role, reason) = match (plan.access, standby, primary) {
        (Access::Read, Some(standby), _) if !local_primary => (
            standby,
            Role::Standby,
            "nearest, if it is fresh enough when the statement runs; else the primary",
        ),
        (Access::Read, _, Some(primary)) => (primary, Role::Primary, "nearest"),
        (Access::Write, _, Some(primary)) => (primary, Role::Primary, "the statement may write"),
        (_, _, None) => {
            return Some(ExplainEndpoint {
                shard: name,
                region: String::new(),
                role: None,
                reason: "no primary can be reached".to_owned(),
            });
        }
    };
    Some(ExplainEndpoint {
        shard: name,
        region: server.server.endpoint.region.to_string(),
        role: Some(role),
        reason: reason.to_owned(),
    })
}
