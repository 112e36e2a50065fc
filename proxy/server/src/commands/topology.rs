//! `ringway topology`: the map of slots.

use crate::cli::{Exit, InitArgs, OutputFormat, TopologyAction, TopologyArgs, print_table};
use crate::serve::map_file::{self, Written};
use anyhow::Result;
use serde_json::Value;
use settings::Settings;
use topology::SlotMap;

/// Shows the map, or makes it.
pub(crate) fn topology(args: &TopologyArgs, format: OutputFormat) -> Exit {
    let file = match &args.action {
        TopologyAction::Show(config) => &config.config,
        TopologyAction::Init(init) => &init.config.config,
    };
    let settings = match super::load_settings(file) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let done = match &args.action {
        TopologyAction::Show(_) => show(&settings, format),
        TopologyAction::Init(args) => init(&settings, args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("ringway: {error:#}");
        Exit::Failed
    })
}

fn show(settings: &Settings, format: OutputFormat) -> Result<Exit> {
    let Some(map) = map_file::read(settings)? else {
        let path = settings.map_file.display();
        eprintln!(
            "ringway: there is no slot map {path}: `ringway topology init` makes one, and so does `ringway serve`"
        );
        return Ok(Exit::Failed);
    };
    let columns = ["from_slot", "to_slot", "shard"];
    print_table(&mut std::io::stdout(), format, &columns, &runs(settings, &map))?;
    Ok(Exit::Done)
}

/// One row for each run of slots with one owner.
fn runs(settings: &Settings, map: &SlotMap) -> Vec<Vec<Value>> {
    let mut runs: Vec<(u16, u16, topology::ShardId)> = Vec::new();
    for (slot, owner) in map.iter() {
        match runs.last_mut() {
            Some((_, to, shard)) if *shard == owner => *to = slot.number(),
            Some(_) | None => runs.push((slot.number(), slot.number(), owner)),
        }
    }
    let name = |shard| {
        settings
            .shard(shard)
            .map_or_else(|| format!("{shard}"), |shard| shard.name.to_string())
    };
    runs.into_iter()
        .map(|(from, to, shard)| vec![from.into(), to.into(), name(shard).into()])
        .collect()
}

fn init(settings: &Settings, args: &InitArgs) -> Result<Exit> {
    let map = map_file::propose(settings)?;
    if args.dry_run {
        print!("{}", settings::print_slot_map(&map, &settings.shards)?);
        return Ok(Exit::Done);
    }
    let path = settings.map_file.display();
    match map_file::write_new(settings, &map)? {
        Written::New => {
            println!("{path} written");
            Ok(Exit::Done)
        }
        Written::There => {
            eprintln!("ringway: {path} is there already, and is not replaced: rows lie where it says");
            Ok(Exit::Refused)
        }
    }
}
