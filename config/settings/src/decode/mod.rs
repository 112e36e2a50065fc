//! From the raw document to [`Settings`]: each section in a function, each mistake noted and the reading going on.

mod access;
mod auth;
mod cluster;
mod listen;
pub(crate) mod sections;

use crate::context::{Context, Reported};
use crate::document::{Choice, Field, Section};
use crate::error::{Problem, SettingsError};
use crate::mask::{masked, without_values};
use crate::model::{IoDriver, Listen, ProxyId, Settings};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::DeTable;
use topology::RegionName;

/// Most data threads.
const MAX_WORKER_THREADS: u64 = 256;
/// Longest name of a proxy, so that it fits the name of a slot.
const MAX_PROXY_ID_BYTES: usize = 40;

/// The name of a cluster whose configuration gives none.
const DEFAULT_CLUSTER: &str = "ringway";
/// Longest name of a cluster.
const MAX_CLUSTER_BYTES: usize = 63;

const IO_DRIVERS: [Choice<IoDriver>; 3] = [
    ("auto", Ok(IoDriver::Auto)),
    ("tokio", Ok(IoDriver::Tokio)),
    ("io_uring", Ok(IoDriver::IoUring)),
];

/// Where a configuration comes from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The file: its name in messages, and the folder that relative paths start from.
    pub path: &'a Path,
    /// What it holds.
    pub text: &'a str,
    /// Reads a file that holds a secret.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl Settings {
    /// Reads a configuration. `environment` is the whole environment (`std::env::vars_os()`): overrides and secrets.
    ///
    /// # Errors
    /// All mistakes that can be found at once.
    pub fn parse(
        input: Input<'_>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let name = input.path.display().to_string();
        let (document, syntax) = DeTable::parse_recoverable(input.text);
        if !syntax.is_empty() {
            let shown = without_values(input.text);
            return Err(SettingsError::new(
                &name,
                &shown,
                syntax.iter().map(malformed).collect(),
            ));
        }
        let environment: BTreeMap<String, String> = environment
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let context = Context::new(environment);
        let files = Files {
            folder: input.path.parent().unwrap_or(Path::new("")),
            read: input.read_file,
        };
        let settings = settings(&Section::root(&context, document.get_ref()), &files);
        let (problems, secrets) = context.finish();
        match settings {
            Ok(settings) if problems.is_empty() => Ok(settings),
            Ok(_) | Err(_) => Err(SettingsError::new(&name, &masked(input.text, &secrets), problems)),
        }
    }
}

fn malformed(error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    Problem::new(
        &crate::error::Place::Text(span),
        format!("not TOML: {}", error.message()),
    )
}

/// The files that a configuration names.
struct Files<'a> {
    folder: &'a Path,
    read: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl Files<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn settings(root: &Section<'_>, files: &Files<'_>) -> Result<Settings, Reported> {
    let cluster = cluster_name(root);
    let region = root.required_text("region");
    let regions = root.texts("regions");
    let worker_threads = root.count("worker_threads", 1..=MAX_WORKER_THREADS, 1);
    let io = root.choice("io", &IO_DRIVERS, IoDriver::Auto);
    let listen = listen::listen(&root.section("listen"), files);
    let pool = sections::pool(&root.section("pool"));
    let limits = sections::limits(&root.section("limits"));
    let cache = sections::cache(&root.section("cache"), files);
    let stream = sections::stream(&root.section("stream"));
    let health = sections::health(&root.section("health"));
    let log = sections::log(&root.section("log"));
    let map_file = sections::map_file(&root.section("topology"), files);
    let auth = auth::auth(root, files);
    let shards = cluster::shards(root, files, regions.as_ref().ok().and_then(Option::as_ref));
    let region = region.and_then(|region| cluster::own_region(root, &region, shards.as_deref().ok()));
    let proxy_id = proxy_id(root, region.as_ref().ok(), listen.as_ref().ok());
    let databases = access::databases(root, shards.as_deref().ok());
    let listed = databases
        .as_ref()
        .ok()
        .map(|databases| databases.listed.as_slice());
    let tables = cluster::tables(root, shards.as_deref().ok(), listed);
    root.close();
    regions?;
    let databases = databases?;
    let settings = Settings {
        cluster: cluster?,
        region: region?,
        proxy_id: proxy_id?,
        worker_threads: worker_threads?,
        io: io?,
        listen: listen?,
        pool: pool?,
        limits: limits?,
        auth: auth?,
        databases: databases.listed,
        wildcard: databases.wildcard,
        shards: shards?,
        tables: tables?,
        cache: cache?,
        stream: stream?,
        health: health?,
        map_file: map_file?,
        log: log?,
    };
    access::slot_names(root, &settings)?;
    access::needs(root, &settings)?;
    Ok(settings)
}

fn cluster_name(root: &Section<'_>) -> Result<String, Reported> {
    let Some(Field { value, place }) = root.text("cluster")? else {
        return Ok(DEFAULT_CLUSTER.to_owned());
    };
    if value.len() <= MAX_CLUSTER_BYTES
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    {
        return Ok(value);
    }
    let message =
        format!("`cluster` must be at most {MAX_CLUSTER_BYTES} letters, digits, - and _, not `{value}`");
    Err(root.report(Problem::new(&place, message)))
}

fn proxy_id(
    root: &Section<'_>,
    region: Option<&RegionName>,
    listen: Option<&Listen>,
) -> Result<ProxyId, Reported> {
    let given = root.text("proxy_id")?;
    let name = match (&given, region, listen) {
        (Some(field), _, _) => field.value.clone(),
        (None, Some(region), Some(listen)) => {
            format!("{}-{}", region.as_str().to_ascii_lowercase(), listen.port)
        }
        // The region or the port is wrong and was reported.
        (None, _, _) => String::from("unknown"),
    };
    let fits = name.len() <= MAX_PROXY_ID_BYTES
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    if fits {
        return Ok(ProxyId(Arc::from(name)));
    }
    let place = given.map_or_else(|| root.place(), |field| field.place);
    let message = format!(
        "`proxy_id` must be at most {MAX_PROXY_ID_BYTES} lower-case letters, digits, - and _, not `{name}`"
    );
    Err(root.report(Problem::new(&place, message)))
}

#[cfg(test)]
pub(crate) mod tests;
