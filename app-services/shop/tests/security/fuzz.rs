//! Made-up requests by schemathesis, from each service's OpenAPI document: nothing fails, and each answer is what the document says.
//!
//! `RINGWAY_FUZZ_SECONDS` is how long each service is asked as each kind of user (2 if it isn't set), `RINGWAY_FUZZ_SEED` another seed.

use crate::person::Person;
use crate::room::Room;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// As in `deploy/install.sh`.
const VERSION: &str = "4.32.5";

/// The same requests each time.
const SEED: &str = "20261122";

/// How long each service is asked as each kind of user.
const SECONDS: u64 = 2;

/// It is asked for longer until there was time for a request, up to this.
const MOST_SECONDS: u64 = 64;

/// For starting, and for the requests that are under way when the time is over.
const MORE: Duration = Duration::from_secs(60);

/// What each answer is held to.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,negative_data_rejection,ignored_auth";

/// What can't be asked so: a stream has no end, and who has left the shop is refused everything.
const LEFT_OUT: [(&str, &str); 3] = [
    ("/api/v1/notifications/socket", "get"),
    ("/api/v1/notifications/stream", "get"),
    ("/api/v1/users/me", "delete"),
];

fn program() -> Result<PathBuf> {
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => anyhow::bail!("HOME is not set"),
    };
    let program = cache.join(format!("ringway/schemathesis-{VERSION}/bin/schemathesis"));
    ensure!(
        program.exists(),
        "{} is missing: run deploy/install.sh --bench",
        program.display()
    );
    Ok(program)
}

fn variable(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// Asks every service as a customer and as staff.
pub(crate) async fn answers_are_as_documented(room: &Room) -> Result<()> {
    let customer = Person::register(room, "explorer").await?;
    let staff = Person::staff(room, "inspector").await?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    std::fs::create_dir_all(&folder)?;
    let mut wrong = Vec::new();
    for (service, document) in &room.documents {
        let mut document = document.clone();
        for (path, method) in LEFT_OUT {
            if let Some(item) = document.pointer_mut(&format!("/paths/{}", path.replace('/', "~1"))) {
                item.as_object_mut().context("no path")?.remove(method);
            }
        }
        let file = folder.join(format!("{service}.json"));
        std::fs::write(&file, document.to_string())?;
        let mut seconds: u64 = variable("RINGWAY_FUZZ_SECONDS", &SECONDS.to_string()).parse()?;
        let reports = loop {
            let ask = |person| run(room, &file, person, seconds);
            let (by_customer, by_staff) = tokio::join!(ask(&customer), ask(&staff));
            let reports = [("customer", by_customer?), ("staff", by_staff?)];
            if reports.iter().all(|(_, report)| report.cases().is_some()) {
                break reports;
            }
            // On a busy machine the time is over before the document is read.
            seconds *= 2;
            ensure!(
                seconds <= MOST_SECONDS,
                "{service} was not asked: {}",
                reports[0].1.text
            );
        };
        for (who, report) in reports {
            println!("{service} as {who}: {}", report.cases().unwrap_or("no requests"));
            if !report.success {
                wrong.push(format!("{service} as {who}:\n{}", report.text));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

/// What schemathesis says of a service.
struct Report {
    success: bool,
    text: String,
}

impl Report {
    /// How many requests there were.
    fn cases(&self) -> Option<&str> {
        let counted = self.text.lines().find(|line| line.contains(" generated, "));
        counted.map(str::trim)
    }
}

/// Asks one service as somebody.
async fn run(room: &Room, document: &Path, person: &Person, seconds: u64) -> Result<Report> {
    let [services, _] = room.services();
    let mut command = Command::new(program()?);
    command
        .current_dir(document.parent().context("no folder")?)
        .arg("run")
        .arg(document)
        .args([
            "--url",
            &services,
            "--checks",
            CHECKS,
            "--no-color",
            "--warnings",
            "off",
        ])
        .args([
            "--seed",
            &variable("RINGWAY_FUZZ_SEED", SEED),
            "--generation-database",
            "none",
        ])
        .args([
            "--max-time",
            &seconds.to_string(),
            "--request-timeout",
            "15",
            "--continue-on-failure",
        ])
        .args(["--header", &format!("Authorization: Bearer {}", person.bearer)])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let bound = Duration::from_secs(seconds) + MORE;
    let ended = tokio::time::timeout(bound, command.output()).await;
    let output = ended.with_context(|| format!("{document:?}: schemathesis does not end"))??;
    let text = [output.stdout, output.stderr].concat();
    Ok(Report {
        success: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    })
}
