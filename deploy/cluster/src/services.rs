//! The shop's services as processes: instances of `ringway-shop serve` in both regions, and `ringway-shop partners`, which plays their
//! payment provider, their carrier, and who brings letters.
//!
//! The order in which things come up: [`Cluster::shop`] writes the configurations; Ringways start with [`Shop::tables`] behind theirs;
//! [`Shop::install`] makes tables and topics; [`Shop::start`] runs everything.

mod config;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::future::try_join_all;
use rustix::process::Signal;

use crate::cluster::placed;
use crate::launch::{Daemon, Folder, Kind, Launch};
use crate::programs::output_of;
use crate::{Cluster, Error, OnDrop, PerRegion, PortLock, Region, StopMode, http, reserve_port, run};
use config::Secrets;

/// From the start of an instance until `/readyz` says yes: it waits for its tables to be known.
const START_BOUND: Duration = Duration::from_secs(90);
/// An instance's or the partners' configuration, in its folder.
const CONFIG: &str = "shop.toml";

/// Which instances there are, and where they and the partners listen.
#[derive(Debug)]
pub struct ShopPlan {
    partners: PartnerPorts,
    instances: Vec<InstancePlan>,
    limits: Limits,
}

/// What bounds how much one address and one user may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Limits {
    /// As shops have them.
    Usual,
    /// Load of a few users from one machine passes.
    Load,
}

#[derive(Debug)]
struct PartnerPorts {
    payment: PortLock,
    carrier: PortLock,
    letters: PortLock,
}

#[derive(Debug)]
struct InstancePlan {
    name: String,
    region: Region,
    /// Where services reach each other.
    services: PortLock,
    /// The gateway.
    public: PortLock,
}

impl ShopPlan {
    /// What the demo documents: an instance for each region, its gateway at port 8080 (us-west: 8081) and its services at 8090 (8091); the payment provider at
    /// 8095, the carrier at 8096, and who brings letters at 8097.
    pub fn documented() -> Self {
        let instance = |region: Region, nth: u16| InstancePlan {
            name: format!("shop-{}", region.name()),
            region,
            services: PortLock::fixed(8090 + nth),
            public: PortLock::fixed(8080 + nth),
        };
        Self {
            partners: PartnerPorts {
                payment: PortLock::fixed(8095),
                carrier: PortLock::fixed(8096),
                letters: PortLock::fixed(8097),
            },
            instances: vec![instance(Region::UsEast, 0), instance(Region::UsWest, 1)],
            limits: Limits::Usual,
        }
    }

    /// So many instances in each region, on free ports.
    ///
    /// # Errors
    /// No port is free.
    pub fn free(instances: &PerRegion<usize>) -> Result<Self, Error> {
        let mut plan = Self {
            partners: PartnerPorts {
                payment: reserve_port()?,
                carrier: reserve_port()?,
                letters: reserve_port()?,
            },
            instances: Vec::new(),
            limits: Limits::Usual,
        };
        for region in Region::ALL {
            for number in 0..*instances.of(region) {
                plan.instances.push(InstancePlan {
                    name: format!("shop-{}-{number}", region.name()),
                    region,
                    services: reserve_port()?,
                    public: reserve_port()?,
                });
            }
        }
        Ok(plan)
    }

    /// Without limits for an address and a user, and with no order that is suspicious: a few users of one machine make much load.
    #[must_use]
    pub fn for_load(mut self) -> Self {
        self.limits = Limits::Load;
        self
    }

    /// The ports, each with who wants it.
    pub(crate) fn wanted(&self) -> Vec<(u16, String)> {
        let PartnerPorts {
            payment,
            carrier,
            letters,
        } = &self.partners;
        let mut wanted = vec![
            (payment.port(), "the shop's payment provider".to_owned()),
            (carrier.port(), "the shop's carrier".to_owned()),
            (letters.port(), "who brings the shop's letters".to_owned()),
        ];
        for instance in &self.instances {
            let name = &instance.name;
            wanted.push((instance.services.port(), format!("the services of {name}")));
            wanted.push((instance.public.port(), format!("the gateway of {name}")));
        }
        wanted
    }
}

/// The shop's processes. Dropping it ends them.
#[derive(Debug)]
pub struct Shop {
    instances: Vec<ShopInstance>,
    partners: Partners,
}

impl Cluster {
    /// Lays the shop's processes out, and starts none of them. The program is `ringway-shop`.
    ///
    /// # Errors
    /// Files that can't be written.
    pub fn shop(&self, program: &Path, plan: ShopPlan) -> Result<Shop, Error> {
        let secrets = Secrets::random();
        let daemon = |name: &str, kind, text: &str, command: &str| {
            let folder = Folder::create(placed(self.placement(), name), name)?;
            let config = folder.path().join(CONFIG);
            run::write_private(&config, text)?;
            let mut words = vec![
                "--config".to_owned(),
                config.display().to_string(),
                command.to_owned(),
            ];
            if kind == Kind::Partners {
                words.extend(["--journals".to_owned(), folder.path().display().to_string()]);
            }
            let launch = Launch {
                program: program.to_owned(),
                arguments: words,
                environment: Vec::new(),
                user: None,
            };
            Ok::<_, Error>((Daemon::new(name, kind, folder, launch), config))
        };
        let mut instances = Vec::new();
        let texts: Vec<String> = plan
            .instances
            .iter()
            .map(|instance| config::instance(self, &plan, instance, &secrets))
            .collect();
        // Webhooks go to the first instance.
        let first = texts.first().map(String::as_str).unwrap_or_default();
        let (partners, _) = daemon("partners", Kind::Partners, first, "partners")?;
        for (planned, text) in plan.instances.into_iter().zip(&texts) {
            let (daemon, config) = daemon(&planned.name, Kind::Shop, text, "serve")?;
            instances.push(ShopInstance {
                daemon,
                config,
                plan: planned,
            });
        }
        Ok(Shop {
            instances,
            partners: Partners {
                daemon: partners,
                ports: plan.partners,
            },
        })
    }
}

impl Shop {
    /// The instances, those of us-east first.
    pub fn instances(&self) -> &[ShopInstance] {
        &self.instances
    }

    /// The first instance of a region.
    pub fn of(&self, region: Region) -> Option<&ShopInstance> {
        self.instances.iter().find(|one| one.plan.region == region)
    }

    /// How many processes it is, with the partners'.
    pub(crate) fn processes(&self) -> usize {
        self.instances.len() + 1
    }

    /// Who the shop does business with.
    pub fn partners(&self) -> &Partners {
        &self.partners
    }

    /// The `[[table]]` sections for the Ringways' configuration.
    ///
    /// # Errors
    /// The program fails.
    pub async fn tables(&self) -> Result<String, Error> {
        self.run(&["tables"]).await
    }

    /// Makes tables and topics, through the Ringway of us-east.
    ///
    /// # Errors
    /// The program fails.
    pub async fn install(&self) -> Result<(), Error> {
        self.run(&["install"]).await.map(drop)
    }

    /// Runs `ringway-shop` with these words and the first instance's configuration; gives what it prints.
    ///
    /// # Errors
    /// The program fails; its last lines are in the error.
    pub async fn run(&self, words: &[&str]) -> Result<String, Error> {
        let none = || Error::Usage("the shop has no instance".to_owned());
        let first = self.instances.first().ok_or_else(none)?;
        let mut command = Command::new(first.daemon.program());
        command.arg("--config").arg(&first.config).args(words);
        output_of("ringway-shop", first.daemon.name(), command).await
    }

    /// Starts the partners and all instances, and waits until each is ready.
    ///
    /// # Errors
    /// One of them doesn't start.
    pub async fn start(&self, started: &dyn Fn(&str)) -> Result<(), Error> {
        self.partners.start_again().await?;
        started(self.partners.daemon.name());
        let start = async |instance: &ShopInstance| {
            instance.start_again().await?;
            started(instance.name());
            Ok::<_, Error>(())
        };
        try_join_all(self.instances.iter().map(start)).await?;
        Ok(())
    }

    /// Chooses what happens when this handle is dropped.
    pub fn set_on_drop(&mut self, on_drop: OnDrop) {
        self.partners.daemon.set_on_drop(on_drop);
        for instance in &mut self.instances {
            instance.daemon.set_on_drop(on_drop);
        }
    }
}

/// A process that runs all services of a region, with a gateway.
#[derive(Debug)]
pub struct ShopInstance {
    daemon: Daemon,
    config: PathBuf,
    plan: InstancePlan,
}

impl ShopInstance {
    /// Its name.
    pub fn name(&self) -> &str {
        self.daemon.name()
    }

    /// Where it runs.
    pub fn region(&self) -> Region {
        self.plan.region
    }

    /// Its gateway: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plan.public.port())
    }

    /// Its services, past the gateway.
    pub fn services_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plan.services.port())
    }

    /// Its configuration file.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// Starts the process, and waits until its services and its gateway are ready.
    ///
    /// # Errors
    /// It runs, or doesn't become ready in time.
    pub async fn start_again(&self) -> Result<(), Error> {
        self.daemon.spawn()?;
        let (services, public) = (self.plan.services.port(), self.plan.public.port());
        let ready = || async move { http::is_ready(services).await && http::is_ready(public).await };
        self.daemon.wait_ready(START_BOUND, ready).await
    }

    /// Ends the process: with SIGTERM (it drains), or abruptly with SIGKILL.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn stop(&self, mode: StopMode) -> Result<(), Error> {
        self.daemon.stop(Kind::Shop.recipe(mode.manner())).await
    }

    /// Stops the process without ending it (SIGSTOP).
    pub fn pause(&self) {
        self.daemon.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.daemon.signal(Signal::CONT);
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.daemon.pid()
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }
}

/// The process that plays the payment provider, the carrier, and who brings letters.
#[derive(Debug)]
pub struct Partners {
    daemon: Daemon,
    ports: PartnerPorts,
}

impl Partners {
    /// Where customers' cards become tokens, and payments are made.
    pub fn payment_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.payment.port())
    }

    /// The carrier.
    pub fn carrier_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.carrier.port())
    }

    /// Who brings letters.
    pub fn letters_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.letters.port())
    }

    /// What the payment provider has done: a line for each operation and each decision.
    pub fn payments_journal(&self) -> PathBuf {
        self.daemon.folder().join("payments.journal")
    }

    /// Starts the process, and waits until it listens.
    ///
    /// # Errors
    /// It runs, or doesn't listen in time.
    pub async fn start_again(&self) -> Result<(), Error> {
        self.daemon.spawn()?;
        let port = self.ports.letters.port();
        // Any answer will do: it has listened to the other ports before this one.
        let listens = || async move { http::get(port, "/").await.is_ok() };
        self.daemon.wait_ready(START_BOUND, listens).await
    }

    /// Ends the process: with SIGTERM, or abruptly with SIGKILL.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn stop(&self, mode: StopMode) -> Result<(), Error> {
        self.daemon.stop(Kind::Partners.recipe(mode.manner())).await
    }

    /// Stops the process without ending it (SIGSTOP).
    pub fn pause(&self) {
        self.daemon.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.daemon.signal(Signal::CONT);
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.daemon.pid()
    }
}
