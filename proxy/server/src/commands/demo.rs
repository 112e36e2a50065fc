//! `ringway demo`: a local cluster to try things out on.

use crate::cli::{DemoAction, DemoArgs, Exit, OutputFormat, print_table};
use anyhow::{Context, Result};
use changes::INSTALL_SQL;
use cluster::demo::{self, Options, Services, Wanted};
use serde_json::Value;
use std::path::Path;

/// `off` leaves the shop's services out.
const SHOP: &str = "RINGWAY_SHOP";

/// Starts, stops or shows it.
pub(crate) fn demo(args: &DemoArgs, format: OutputFormat) -> Exit {
    super::run(async {
        match args.action() {
            DemoAction::Up => Box::pin(up(args)).await,
            DemoAction::Down => {
                let ended = demo::down(args.state_dir.clone()).await?;
                match ended.as_slice() {
                    [] => println!("Nothing was running."),
                    ended => println!("Stopped and removed: {}", ended.join(", ")),
                }
                Ok(Exit::Done)
            }
            DemoAction::Status => status(args, format),
        }
    })
}

async fn up(args: &DemoArgs) -> Result<Exit> {
    let executable = std::env::current_exe().context("where this program is")?;
    let wanted = if args.embedded {
        Wanted::Embedded
    } else {
        Wanted::WhatIsThere
    };
    let services = services(&executable);
    let mut options = Options::new(args.state_dir.clone(), wanted, executable, INSTALL_SQL);
    options.services = services;
    match demo::up(options).await {
        Ok(summary) => {
            println!("{summary}");
            Ok(Exit::Done)
        }
        Err(error @ cluster::Error::Usage(_)) => {
            eprintln!("ringway: {error}");
            Ok(Exit::Usage)
        }
        Err(error) => Err(error.into()),
    }
}

/// The shop's services, unless they are not wanted; the program lies beside this one.
fn services(executable: &Path) -> Option<Services> {
    if std::env::var(SHOP).is_ok_and(|word| word == "off") {
        return None;
    }
    let program = executable.with_file_name("ringway-shop");
    if !program.exists() {
        eprintln!(
            "ringway: THE SHOP'S SERVICES ARE LEFT OUT: there is no {}",
            program.display()
        );
        return None;
    }
    Some(Services::new(program))
}

/// Fails if there is no demo, or if a part of it doesn't run.
fn status(args: &DemoArgs, format: OutputFormat) -> Result<Exit> {
    let servers = demo::status(&args.state_dir);
    let rows: Vec<Vec<Value>> = servers
        .iter()
        .map(|server| {
            let state = if server.pid.is_some() {
                "running"
            } else {
                "stopped"
            };
            vec![
                server.name.as_str().into(),
                state.into(),
                server.pid.map_or(Value::Null, Value::from),
            ]
        })
        .collect();
    print_table(&mut std::io::stdout(), format, &["server", "state", "pid"], &rows)?;
    let all = !servers.is_empty() && servers.iter().all(|server| server.pid.is_some());
    Ok(if all { Exit::Done } else { Exit::Failed })
}
