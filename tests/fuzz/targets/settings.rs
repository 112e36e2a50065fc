//! What whoever runs Ringway writes: the configuration file, the slot map, commands of the admin database.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use anyhow::{Result, ensure};
use session::admin::AdminCommand;
use settings::{Input, Settings, Shard, parse_slot_map, print_slot_map};
use topology::ShardId;

use crate::mutate::Shape;
use crate::target::{Target, Trace, seeds, variant};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("admin-commands", admin_commands, admin_texts)
        .shape(Shape::Text)
        .words(&[
            "SHOW",
            "SET",
            "PAUSE",
            "KILL_CLIENT",
            "SHUTDOWN",
            "WAIT_FOR_CLIENTS",
            "SELECT",
            "version",
            "(",
            ")",
            "=",
            ";",
            "--",
            "/*",
            "*/",
            "'",
            "\"",
            "\"\"",
            "TIME ZONE",
            "\u{20ac}",
            "\0",
        ])
        .weight(8)
        .memory(4096, 512),
    Target::new("settings", toml, files)
        .shape(Shape::Text)
        .words(WORDS)
        .weight(2)
        .memory(4 * 1024 * 1024, 16 * 1024),
    Target::new("slot-map", slot_map, maps)
        .shape(Shape::Text)
        .words(&[
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"from\"",
            "\"to\"",
            "\"shard\"",
            "\"shard-0\"",
            "\"shard-1\"",
            "0",
            "16383",
            "65535",
        ])
        .weight(1)
        .memory(512 * 1024, 256),
];

const WORDS: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "=",
    "\n",
    "\"",
    "\"\"\"",
    "'",
    "{",
    "}",
    ",",
    ".",
    "true",
    "0",
    "-1",
    "1e400",
    "inf",
    "nan",
    "\"1h\"",
    "\"2s\"",
    "\"1MiB\"",
    "99999999999999999999",
    "1979-05-27",
    "region",
    "[listen]",
    "[pool]",
    "[limits]",
    "[[shard]]",
    "[[table]]",
    "[[user]]",
    "[cache]",
    "password",
    "password_file",
    "password_env",
    "port",
    "name",
    "\\u0000",
    "\u{e4}",
    "#",
];
const SECRET: &str = "hunter2-is-secret";

/// A file and what may follow from it: settings whose every entry can be shown, or mistakes; secrets in neither.
fn toml(input: &[u8], trace: &mut Trace) -> Result<()> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    let read_file = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let environment = [
        ("RINGWAY_CONTROL_PASSWORD", SECRET),
        ("RINGWAY_SHOP_PASSWORD", SECRET),
        ("RINGWAY__LISTEN__PORT", "7432"),
    ];
    let environment = environment.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let input = Input {
        path: Path::new("/etc/ringway/ringway.toml"),
        text,
        read_file: &read_file,
    };
    match Settings::parse(input, environment) {
        Ok(settings) => {
            trace.saw(settings.entries().len() as u64);
            ensure!(!format!("{settings:?}").contains(SECRET), "a secret is shown");
            ensure!(
                settings
                    .entries()
                    .iter()
                    .all(|entry| !entry.value().contains(SECRET))
            );
        }
        Err(error) => {
            trace.saw(1000 + error.count().min(64) as u64);
            ensure!(error.count() > 0, "refused without a mistake");
            let shown = error.render(false);
            ensure!(
                text.contains(SECRET) || !shown.contains(SECRET),
                "a secret is shown: {shown}"
            );
        }
    }
    Ok(())
}

fn slot_map(input: &[u8], trace: &mut Trace) -> Result<()> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    let shard = |id: u16| Shard {
        id: ShardId(id),
        name: format!("shard-{id}").into(),
        endpoints: Vec::new(),
    };
    let shards = [shard(0), shard(1)];
    let parsed = parse_slot_map(text, &shards);
    trace.took(1, &parsed);
    if let Ok(map) = parsed {
        let printed = print_slot_map(&map, &shards)?;
        ensure!(parse_slot_map(&printed, &shards)? == map, "printed as {printed}");
    }
    Ok(())
}

fn files() -> Vec<Vec<u8>> {
    const SAMPLE: &str = include_str!("../../../config/ringway.toml");
    const SMALL: &str = r#"region = "us-east"
[control_user]
name = "ringway"
password = "c0ntrol"
[[user]]
name = "shop"
password = "hunter2"
[[database]]
name = "shop"
[[shard]]
name = "shard-0"
[[shard.endpoint]]
region = "us-east"
host = "127.0.0.1"
port = 15432
[[table]]
name = "users"
sharding = { kind = "hash", column = "user_id" }
"#;
    vec![SAMPLE.as_bytes().to_vec(), SMALL.as_bytes().to_vec()]
}

fn maps() -> Vec<Vec<u8>> {
    vec![
        br#"{"version": 1, "slots": [{"from": 0, "to": 8191, "shard": "shard-0"}, {"from": 8192, "to": 16383, "shard": "shard-1"}]}"#.to_vec(),
        br#"{"version": 2, "slots": [{"from": 0, "to": 16383, "shard": "shard-0"}]}"#.to_vec(),
    ]
}

/// What an administrator types: each command is one of the text's statements, and a refusal repeats little of it.
fn admin_commands(input: &[u8], trace: &mut Trace) -> Result<()> {
    /// The longest message, with what it repeats.
    const LONGEST: usize = 256;
    let text = String::from_utf8_lossy(input);
    match AdminCommand::parse(&text) {
        Ok(commands) => {
            for command in &commands {
                trace.saw(variant(command) ^ u64::from(command.only_looks()));
            }
            ensure!(commands.len() <= text.matches(';').count() + 1);
            ensure!(AdminCommand::parse(&text).as_ref() == Ok(&commands));
        }
        Err(error) => {
            trace.saw(error.message.len() as u64);
            ensure!(error.message.len() <= LONGEST && !error.is_fatal(), "{error}");
        }
    }
    Ok(())
}

fn admin_texts() -> Vec<Vec<u8>> {
    seeds([
        b"SHOW POOLS; show stats_totals ;; -- more",
        b"SET pool.default_pool_size = 'it''s', b",
        b"PAUSE \"my \"\"db\"; RESUME shop /* ; */; KILL_CLIENT 17",
        b"SELECT pg_catalog.version()",
        b"SHOW TRANSACTION ISOLATION LEVEL; SET TIME ZONE 'UTC'; SHUTDOWN WAIT_FOR_CLIENTS",
        b"BEGIN; RELOAD; DISCARD ALL; COMMIT",
    ])
}
