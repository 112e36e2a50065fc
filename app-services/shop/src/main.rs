//! `ringway-shop`: the shop's services as one program.
//!
//! In: a configuration file (`config/shop.toml` explains each key) and which services this process runs. Out: those services, until SIGTERM.
//!
//! **Invariant:** knows of each service only its name and how it is made.
//! **Invariant:** a secret is never printed.

mod commands;
mod config;
mod partners;
mod services;

use clap::{Parser, Subcommand};
use config::Config;
use std::path::PathBuf;
use std::process::ExitCode;

/// The shop's services
#[derive(Debug, Parser)]
#[command(name = "ringway-shop", version)]
struct Arguments {
    /// The configuration file
    #[arg(long, global = true, default_value = "shop.toml", env = "RINGWAY_SHOP_CONFIG")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run services until SIGTERM
    Serve {
        /// Their names, with commas; or all
        #[arg(long, value_delimiter = ',', default_value = "all")]
        services: Vec<String>,
    },
    /// Play the payment provider, the carrier and who brings letters, for demos and tests: at the ports of this machine
    /// that the configuration names
    Partners {
        /// The folder in which they write down what they do, so that they know it after a restart
        #[arg(long)]
        journals: Option<PathBuf>,
    },
    /// Make the tables (through Ringway) and the Kafka topics that are missing
    Install,
    /// Print the [[table]] sections for Ringway's configuration
    Tables,
    /// Print the public signing keys (JWKS)
    Keys,
    /// Make a new signing key
    RotateKeys,
    /// Make a registered user one of the staff
    Staff {
        /// The address that the user registered with
        email: String,
    },
    /// Fill the catalogue and the warehouse with made-up products
    Seed {
        /// How many products
        #[arg(long, default_value_t = 500)]
        products: u32,
        /// How many pieces of each
        #[arg(long, default_value_t = 1_000)]
        stock: u32,
    },
    /// Build read models anew from events, while the old ones are served
    Rebuild {
        /// Their names, with commas; or all
        #[arg(value_delimiter = ',', default_value = "all")]
        read_models: Vec<String>,
    },
    /// List events that a consumer gave up, or send them back
    DeadLetters(ringway_sdk::events::DeadLettersCommand),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    match Box::pin(run(arguments)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Command::DeadLetters(command) = &arguments.command {
        return Ok(command.run(&mut std::io::stdout()).await?);
    }
    let config = Config::read(&arguments.config)?;
    match arguments.command {
        Command::Serve { services } => commands::serve(&config, &services).await,
        Command::Partners { journals } => partners::play(&config, journals.as_deref()).await,
        Command::Install => commands::install(&config).await,
        Command::Tables => commands::tables(&config),
        Command::Keys => commands::keys(&config).await,
        Command::RotateKeys => commands::rotate_keys(&config).await,
        Command::Staff { email } => commands::staff(&config, &email).await,
        Command::Seed { products, stock } => commands::seed(&config, products, stock).await,
        Command::Rebuild { read_models } => commands::rebuild(&config, &read_models).await,
        Command::DeadLetters(_) => Ok(()),
    }
}
