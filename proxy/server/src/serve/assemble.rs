//! What all threads share, made from the settings.

use crate::access::secrets::Secrets;
use crate::access::wildcard::Wildcards;
use crate::control::plane::Probed;
use crate::data::login::ALPN;
use crate::gate::{Mode, Order};
use crate::metrics::{StatsPeriod, ThreadStats};
use crate::quotas::Quotas;
use crate::shared::{Cache, ClientTls, Shared};
use anyhow::{Context, Result};
use arc_swap::{ArcSwap, ArcSwapOption};
use coherence::KeyHasher;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use session::startup::TlsOffer;
use settings::{Settings, TlsIdentity};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use store::{
    BreakerPolicy, FlightPolicy, FlightStats, Flights, LeasePolicy, MemoryStore, SharedConfig, SharedStore,
};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use topology::SlotMap;

/// The bounds of single flight.
const FLIGHTS: FlightPolicy = FlightPolicy {
    max_waiters: 1_024,
    max_flights: 4_096,
};
/// The bound of a call to Redis that a statement waits for.
const REDIS_RESPONSE_TIMEOUT: Duration = Duration::from_millis(10);
/// The bound of connecting to it.
const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// When Redis is left alone, and for how long.
const REDIS_BREAKER: BreakerPolicy = BreakerPolicy {
    failures_to_open: 3,
    open_for: Duration::from_secs(1),
};
/// The bounds of the region's flights.
const REDIS_LEASE: LeasePolicy = LeasePolicy {
    ttl: Duration::from_secs(2),
    wait: Duration::from_millis(50),
    poll: Duration::from_millis(5),
};
/// What a value is larger by than the answer that it holds: header, tags, key.
const VALUE_OVERHEAD: usize = 64 << 10;

/// Everything that outlives a thread.
///
/// # Errors
/// Certificates or a Redis address that can't be used.
pub(crate) fn shared(
    settings: Arc<ArcSwap<Settings>>,
    databases: &[Probed],
    map: &Arc<SlotMap>,
    orders: mpsc::Sender<Order>,
) -> Result<Arc<Shared>> {
    let running = settings.load_full();
    let endpoints = running.endpoints().count();
    let seed: [u8; 32] = rand::random();
    Ok(Arc::new(Shared {
        databases: databases
            .iter()
            .map(|database| Arc::clone(&database.context))
            .collect(),
        wildcards: Wildcards::default(),
        map: Arc::clone(map),
        cache: cache(&running)?,
        admission: Arc::default(),
        clients: AtomicU64::new(0),
        logins: AtomicU64::new(0),
        next_thread: AtomicUsize::new(0),
        serving: AtomicBool::new(false),
        draining: AtomicBool::new(false),
        stats: (0..running.worker_threads)
            .map(|_| Arc::new(ThreadStats::new(running.databases.len(), endpoints)))
            .collect(),
        period: Mutex::new(StatsPeriod::new(health::boot_time())),
        secrets: Secrets::new(&running, seed),
        seed,
        tls: ArcSwapOption::from(client_tls(&running)?.map(Arc::new)),
        threads: OnceLock::new(),
        predecessor: ArcSwapOption::empty(),
        mode: Mode::default(),
        quotas: Quotas::default(),
        orders,
        next_client: AtomicU64::new(1),
        settings,
    }))
}

/// TLS towards clients; `None`: none.
///
/// # Errors
/// A certificate or key that can't be read or used.
pub(crate) fn client_tls(settings: &Settings) -> Result<Option<ClientTls>> {
    let (identity, offer, missing) = match &settings.listen.client_tls {
        settings::ClientTls::Disable => return Ok(None),
        settings::ClientTls::Allow(identity) => (identity, TlsOffer::Allowed, MissingCertificate::Allowed),
        settings::ClientTls::Require(identity) => (identity, TlsOffer::Required, MissingCertificate::Allowed),
        settings::ClientTls::Verify(identity) => (identity, TlsOffer::Required, MissingCertificate::Refused),
    };
    let unusable = || format!("client_tls_cert_file {}", identity.cert_file.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&identity.cert_file)
        .with_context(unusable)?
        .collect::<Result<_, _>>()
        .with_context(unusable)?;
    let end_point = chain
        .first()
        .and_then(|own| pool::certificate::end_point_hash(own));
    let acceptor = TlsAcceptor::from(Arc::new(server_config(identity, chain, missing)?));
    Ok(Some(ClientTls {
        offer,
        acceptor,
        end_point: end_point.map(Vec::into_boxed_slice),
    }))
}

/// What becomes of a client that shows no certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MissingCertificate {
    Allowed,
    Refused,
}

fn server_config(
    identity: &TlsIdentity,
    chain: Vec<CertificateDer<'static>>,
    missing: MissingCertificate,
) -> Result<ServerConfig> {
    let TlsIdentity {
        cert_file,
        key_file,
        ca_file,
    } = identity;
    let key = PrivateKeyDer::from_pem_file(key_file)
        .with_context(|| format!("client_tls_key_file {}", key_file.display()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match ca_file {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(ca_file) => {
            let unusable = || format!("client_tls_ca_file {}", ca_file.display());
            let verifier = WebPkiClientVerifier::builder_with_provider(
                Arc::new(authorities(ca_file).with_context(unusable)?),
                Arc::clone(&provider),
            );
            match missing {
                MissingCertificate::Allowed => verifier.allow_unauthenticated(),
                MissingCertificate::Refused => verifier,
            }
            .build()
            .with_context(unusable)?
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .with_context(|| {
            format!(
                "{} and {} don't make an identity",
                cert_file.display(),
                key_file.display()
            )
        })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn authorities(file: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

fn cache(settings: &Settings) -> Result<Cache> {
    let flight_stats = Arc::new(FlightStats::default());
    Ok(Cache {
        memory: MemoryStore::new(settings.cache.memory_bytes, Arc::default()),
        region: region_store(settings)?,
        flights: Flights::new(FLIGHTS, Arc::clone(&flight_stats)),
        flight_stats,
        hasher: KeyHasher::new(&hash_key(settings)),
    })
}

fn region_store(settings: &Settings) -> Result<Option<SharedStore>> {
    let Some(redis) = &settings.cache.redis else {
        return Ok(None);
    };
    let policies = settings.tables.iter().filter_map(|table| table.cache.as_ref());
    let largest = policies.map(|policy| policy.max_bytes).max().unwrap_or(0);
    let config = SharedConfig {
        url: redis.url.expose().to_owned(),
        namespace: settings.cluster.clone(),
        response_timeout: REDIS_RESPONSE_TIMEOUT,
        connect_timeout: REDIS_CONNECT_TIMEOUT,
        max_value_bytes: largest.saturating_add(VALUE_OVERHEAD),
        breaker: REDIS_BREAKER,
        lease: Some(REDIS_LEASE),
        clock: health::boot_time,
    };
    Ok(Some(
        SharedStore::new(config, Arc::default()).context("redis_url")?,
    ))
}

/// The same for all proxies that share a store; random where nobody shares.
fn hash_key(settings: &Settings) -> [u8; 16] {
    let Some(secret) = &settings.cache.key_secret else {
        return rand::random();
    };
    let mut key = [0; 16];
    for (byte, from) in key.iter_mut().zip(Sha256::digest(secret.expose().as_bytes())) {
        *byte = from;
    }
    key
}
