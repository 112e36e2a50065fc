//! Command lines and what is printed.

use super::{
    Cli, Command, DemoAction, Exit, OutputFormat, TopologyAction, colours, print_completions, print_table,
};
use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use expect_test::expect;
use serde_json::json;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

fn cli(line: &str) -> Cli {
    Cli::try_parse_from(line.split(' ')).expect("a valid command line")
}

#[test]
fn the_definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn demo_starts_unless_told_otherwise() {
    for (line, action, embedded, dir) in [
        ("ringway demo", DemoAction::Up, false, ".ringway"),
        ("ringway demo --embedded", DemoAction::Up, true, ".ringway"),
        (
            "ringway demo up --embedded --state-dir /tmp/x",
            DemoAction::Up,
            true,
            "/tmp/x",
        ),
        (
            "ringway demo --state-dir /tmp/x down",
            DemoAction::Down,
            false,
            "/tmp/x",
        ),
        ("ringway demo status", DemoAction::Status, false, ".ringway"),
    ] {
        let Command::Demo(demo) = cli(line).command else {
            panic!("{line}")
        };
        assert_eq!(
            (demo.action(), demo.embedded, demo.state_dir.as_path()),
            (action, embedded, Path::new(dir)),
            "{line}"
        );
    }
}

#[test]
fn the_other_commands() {
    let Command::Serve(serve) = cli("ringway serve --config /etc/r.toml").command else {
        panic!("serve")
    };
    assert_eq!(serve.config.config, Path::new("/etc/r.toml"));
    assert!(!serve.takeover);
    let route = Cli::try_parse_from(["ringway", "route", "-d", "shop", "SELECT 1"]).expect("valid");
    let Command::Route(args) = route.command else {
        panic!("route")
    };
    assert_eq!(
        (args.sql.as_str(), args.database.as_deref()),
        ("SELECT 1", Some("shop"))
    );
    let topology = cli("ringway topology show --output json");
    assert_eq!(topology.output, OutputFormat::Json);
    assert!(
        matches!(topology.command, Command::Topology(args) if matches!(args.action, TopologyAction::Show(_)))
    );
    let Command::Install(install) = cli("ringway install --dry-run").command else {
        panic!("install")
    };
    assert!(install.dry_run && install.superuser.is_none());
}

#[test]
fn wrong_command_lines_end_with_2() {
    for line in [
        "ringway",
        "ringway sreve",
        "ringway route",
        "ringway serve --cofnig x",
        "ringway install --superuser x",
    ] {
        let error = Cli::try_parse_from(line.split(' ')).expect_err("wrong");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    let error = Cli::try_parse_from(["ringway", "serve", "--cofnig", "x"]).expect_err("wrong");
    assert!(error.to_string().contains("--config"), "{error}");
}

#[test]
fn exit_codes() {
    for (exit, code) in [
        (Exit::Done, 0),
        (Exit::Failed, 1),
        (Exit::Usage, 2),
        (Exit::Differs, 3),
        (Exit::Refused, 4),
    ] {
        assert_eq!(ExitCode::from(exit), ExitCode::from(code));
    }
}

#[test]
fn no_color_is_obeyed() {
    assert!(colours(None, true) && colours(Some(OsStr::new("")), true));
    assert!(!colours(Some(OsStr::new("1")), true) && !colours(None, false));
}

#[test]
fn completions_name_the_commands() {
    let mut out = Vec::new();
    print_completions(Shell::Bash, &mut out);
    let text = String::from_utf8(out).expect("text");
    for name in [
        "serve",
        "demo",
        "check",
        "route",
        "topology",
        "install",
        "completions",
    ] {
        assert!(text.contains(name), "{name}");
    }
}

fn printed(format: OutputFormat) -> String {
    let rows = [
        vec![json!("shard-0"), json!(8192), json!(null)],
        vec![json!("b"), json!(1), json!("10.0.0.1")],
    ];
    let mut out = Vec::new();
    print_table(&mut out, format, &["shard", "slots", "primary"], &rows).expect("written");
    String::from_utf8(out).expect("text")
}

#[test]
fn results_as_table_and_as_json() {
    expect![[r#"
        shard    slots  primary
        shard-0  8192
        b        1      10.0.0.1
    "#]]
    .assert_eq(&printed(OutputFormat::Table));
    expect![[r#"
        [
          {
            "primary": null,
            "shard": "shard-0",
            "slots": 8192
          },
          {
            "primary": "10.0.0.1",
            "shard": "b",
            "slots": 1
          }
        ]
    "#]]
    .assert_eq(&printed(OutputFormat::Json));
}
