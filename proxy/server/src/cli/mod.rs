//! The command line: what can be asked for, how results are printed, and what the exit code says.
//!
//! **Invariant:** does nothing itself: it reads arguments and prints values.

mod output;

pub(crate) use output::{OutputFormat, colours, print_table};

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Ringway: a sharding proxy for PostgreSQL with regional reads and a cache that is never silently stale.
#[derive(Parser, Debug)]
#[command(name = "ringway", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How to print results.
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run the proxy.
    Serve(ServeArgs),
    /// Start, stop or look at a local cluster of real servers. Not for production.
    Demo(DemoArgs),
    /// Say what is wrong with a configuration, without starting anything.
    Check(ConfigArgs),
    /// Show where a statement would go, without running it.
    Route(RouteArgs),
    /// Show or make the map of slots.
    Topology(TopologyArgs),
    /// Create the schema `ringway` on every shard's primary, as a superuser. Safe to repeat.
    Install(InstallArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// The configuration to use.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    /// The configuration.
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "RINGWAY_CONFIG",
        default_value = "ringway.toml"
    )]
    pub(crate) config: PathBuf,
}

/// `ringway serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// The configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Replace the process that runs with this configuration, without refusing a connection: its listening sockets are taken
    /// over, and its clients stay with it until they leave. If none runs, start as usual.
    #[arg(long)]
    pub(crate) takeover: bool,
}

/// `ringway demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// What to do; `up` if left out.
    #[command(subcommand)]
    action: Option<DemoAction>,
    /// PostgreSQL alone: the event stream and the shared store run inside the proxies.
    #[arg(long, global = true)]
    pub(crate) embedded: bool,
    /// Where the servers' data, logs and addresses are kept.
    #[arg(long, global = true, value_name = "DIR", default_value = ".ringway")]
    pub(crate) state_dir: PathBuf,
}

impl DemoArgs {
    /// What to do.
    pub(crate) fn action(&self) -> DemoAction {
        self.action.unwrap_or(DemoAction::Up)
    }
}

/// What to do with the demo.
#[derive(Subcommand, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DemoAction {
    /// Start the cluster, load the shop, and print how to reach it.
    Up,
    /// Stop and remove everything that `up` started, and nothing else.
    Down,
    /// Say what runs.
    Status,
}

/// `ringway route`.
#[derive(Args, Debug)]
pub(crate) struct RouteArgs {
    /// The configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The database; the only one of the configuration if left out.
    #[arg(long, short, value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// The user to plan for; the first one of the configuration if left out.
    #[arg(long, short, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The statement.
    pub(crate) sql: String,
}

/// `ringway topology`.
#[derive(Args, Debug)]
pub(crate) struct TopologyArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: TopologyAction,
}

/// What to do with the map of slots.
#[derive(Subcommand, Debug)]
pub(crate) enum TopologyAction {
    /// Print which shard owns which slots.
    Show(ConfigArgs),
    /// Propose a map by the ring of shards and write it to the map file. Refuses to replace a file.
    Init(InitArgs),
}

/// `ringway topology init`.
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print the map, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `ringway install`.
#[derive(Args, Debug)]
pub(crate) struct InstallArgs {
    /// The configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The superuser to connect as; the control user if left out.
    #[arg(long, value_name = "NAME", requires = "superuser_password_env")]
    pub(crate) superuser: Option<String>,
    /// The environment variable that holds the superuser's password.
    #[arg(long, value_name = "VARIABLE", requires = "superuser")]
    pub(crate) superuser_password_env: Option<String>,
    /// Print the SQL, and run nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How a command ended: the exit codes that scripts rely on. Clap itself ends with 2 on a wrong command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// A verification found a difference.
    Differs,
    /// A guard refused.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Differs => 3,
            Exit::Refused => 4,
        })
    }
}

/// Writes the completions for `shell`.
pub(crate) fn print_completions(shell: Shell, out: &mut impl io::Write) {
    clap_complete::generate(shell, &mut Cli::command(), "ringway", out);
}

#[cfg(test)]
mod tests;
