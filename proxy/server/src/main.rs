//! The binary `ringway`.

mod access;
mod admin;
mod cli;
mod client;
mod commands;
mod control;
mod data;
mod gate;
mod http;
mod metrics;
mod quotas;
mod reading;
mod serve;
mod shared;

use clap::Parser;
use cli::{Cli, Command, Exit};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = cli.output;
    let exit = match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => commands::demo(args, output),
        Command::Check(args) => commands::check(args, output),
        Command::Route(args) => commands::route(args, output),
        Command::Topology(args) => commands::topology(args, output),
        Command::Install(args) => commands::install(args, output),
        Command::Completions { shell } => {
            cli::print_completions(*shell, &mut std::io::stdout());
            Exit::Done
        }
    };
    exit.into()
}
