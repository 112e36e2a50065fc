//! `ringway install`: what Ringway keeps in each database, on every shard's primary.

use super::live;
use crate::access::secrets::password_of;
use crate::cli::{Exit, InstallArgs, OutputFormat, print_table};
use crate::control::{install, link};
use crate::shared;
use anyhow::{Context, Result};
use serde_json::Value;
use settings::{Secret, Settings, User, UserSecret};
use std::collections::BTreeSet;

/// Runs the script everywhere. One failure doesn't keep the others from being done.
pub(crate) fn install(args: &InstallArgs, format: OutputFormat) -> Exit {
    let settings = match super::load_settings(&args.config.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let control = match link::control_user(&settings) {
        Ok(control) => control,
        Err(error) => {
            eprintln!("ringway: {error}");
            return Exit::Usage;
        }
    };
    if args.dry_run {
        print!("{}", install::script(&control.name));
        return Exit::Done;
    }
    let superuser = match superuser(args, control) {
        Ok(superuser) => superuser,
        Err(error) => {
            eprintln!("ringway: {error:#}");
            return Exit::Usage;
        }
    };
    super::run(async {
        let databases: BTreeSet<&str> = settings
            .databases
            .iter()
            .map(|database| database.dbname.as_str())
            .collect();
        let mut rows = Vec::new();
        let mut failed = false;
        for dbname in databases {
            let seen = live::roles(&settings, dbname).await;
            for shard in &settings.shards {
                let result = Box::pin(on_shard(&settings, &superuser, dbname, &seen, shard)).await;
                failed |= result.is_err();
                let text = result.map_or_else(|error| format!("{error:#}"), |()| "installed".to_owned());
                rows.push(vec![Value::from(&*shard.name), dbname.into(), text.into()]);
            }
        }
        print_table(
            &mut std::io::stdout(),
            format,
            &["shard", "database", "result"],
            &rows,
        )?;
        Ok(if failed { Exit::Failed } else { Exit::Done })
    })
}

async fn on_shard(
    settings: &Settings,
    superuser: &User,
    dbname: &str,
    seen: &[live::Seen<'_>],
    shard: &settings::Shard,
) -> Result<()> {
    let primary = live::primary(seen, shard.id).ok_or_else(|| live::no_primary(settings, seen, shard.id))?;
    let (mut target, _) = shared::target(settings, &superuser.name, dbname, primary)
        .context("the server's TLS can't be used")?;
    target.password = password_of(superuser);
    Ok(install::install(&target, &link::control_user(settings)?.name).await?)
}

fn superuser(args: &InstallArgs, control: &User) -> Result<User> {
    let (Some(name), Some(variable)) = (&args.superuser, &args.superuser_password_env) else {
        return Ok(control.clone());
    };
    let password = std::env::var(variable)
        .with_context(|| format!("the password of {name} in the environment variable {variable}"))?;
    Ok(User {
        name: name.clone(),
        secret: Some(UserSecret::Password(Secret::new(&password))),
        ..control.clone()
    })
}
