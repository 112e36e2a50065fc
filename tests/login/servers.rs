//! TLS towards PostgreSQL, and what a proxy demands that takes nobody without TLS.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::sync::Arc;

use anyhow::{Result, ensure};
use cluster::{PostgresSpec, Ringway};
use tests::{Ports, Reply, SOON, Server, Session, Shared, Target, eventually, only_shard};
use wire::backend::ErrorFields;
use wire::frame;
use wire::startup::{ProtocolVersion, encode_startup};

use crate::stage::{Ran, certificates, psql};

/// A PostgreSQL with a certificate. Dropping it ends it.
struct Secured {
    server: Server,
    folder: tempfile::TempDir,
}

static SECURED: Shared<Secured> = Shared::new();

fn secured() -> Result<Arc<Secured>> {
    SECURED.get(Secured::start)
}

impl Secured {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        certificates(folder.path())?;
        let spec = PostgresSpec::new("secured").role("shop", "shop", "").hba(
            "hostssl all all 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 scram-sha-256\n",
        );
        let server = Server::start(spec)?;
        let data = server.postgres().data();
        let owner = fs::metadata(&data)?;
        for name in ["server.crt", "server.key"] {
            let file = data.join(name);
            fs::copy(folder.path().join(name), &file)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
            chown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        server.wait(server.postgres().configure(&[("ssl", "on")]))?;
        eventually("TLS is on", || Ok(server.ask("postgres", "SHOW ssl")? == "on"))?;
        Ok(Self { server, folder })
    }

    /// A Ringway that reaches it at `host` in this way, with these lines in section `listen`.
    fn ringway(&self, host: &str, endpoint: &str, listen: &str) -> Result<Ringway> {
        let folder = self.folder.path().display().to_string();
        let (endpoint, listen) = (endpoint.replace('@', &folder), listen.replace('@', &folder));
        self.server
            .ringway("secured", |ports| configuration(ports, host, &endpoint, &listen))
    }

    fn target(&self, ringway: &Ringway) -> Target {
        Target {
            port: ringway.port(),
            ..self.server.target("shop", "postgres")
        }
    }

    fn psql(&self, ringway: &Ringway, more: &str) -> Result<Ran> {
        let more = more.replace('@', &self.folder.path().display().to_string());
        let login = ("shop", "shop", "postgres");
        let doing = psql(ringway.port(), login, &more, "SELECT 41 + 1");
        self.server.wait(doing)
    }
}

fn configuration(ports: Ports, host: &str, endpoint: &str, listen: &str) -> String {
    let Ports { own, http, server } = ports;
    format!(
        r#"
region = "here"

[listen]
port = {own}
http_port = {http}
{listen}

[pool]
server_login_retry = "100ms"

[[user]]
name = "shop"
password = "shop"

[[database]]
name = "postgres"
{shard}{endpoint}
"#,
        shard = only_shard(host, server),
    )
}

#[test]
fn servers_are_verified_as_they_are_to_be() -> Result<()> {
    let secured = secured()?;
    let (verify_ca, verify_full) = (
        "server_tls_sslmode = \"verify-ca\"\nserver_tls_ca_file = \"@/ca.crt\"",
        "server_tls_sslmode = \"verify-full\"\nserver_tls_ca_file = \"@/ca.crt\"",
    );
    for (host, endpoint) in [
        ("127.0.0.1", "server_tls_sslmode = \"prefer\""),
        ("127.0.0.1", "server_tls_sslmode = \"require\""),
        ("127.0.0.1", verify_ca),
        ("localhost", verify_full),
    ] {
        let ringway = secured.ringway(host, endpoint, "")?;
        let mut client = Session::connect(&secured.target(&ringway))?;
        let replies = client.simple(
            "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            None,
        )?;
        ensure!(
            Reply::value(&replies).as_deref() == Some("true"),
            "{endpoint}: {replies:?}"
        );
    }
    Ok(())
}

#[test]
fn servers_that_are_not_who_they_should_be_get_nothing() -> Result<()> {
    let secured = secured()?;
    for (what, endpoint) in [
        // The certificate is made out by another authority.
        (
            "wrong authority",
            "server_tls_sslmode = \"verify-ca\"\nserver_tls_ca_file = \"@/stranger-ca.crt\"",
        ),
        (
            "wrong authority",
            "server_tls_sslmode = \"verify-full\"\nserver_tls_ca_file = \"@/stranger-ca.crt\"",
        ),
        // The server lets nobody in without TLS.
        ("no TLS", "server_tls_sslmode = \"disable\""),
    ] {
        let ringway = secured.ringway("localhost", endpoint, "")?;
        let refused = Session::connect(&secured.target(&ringway)).err();
        let refused = refused.map(|error| format!("{error:#}")).unwrap_or_default();
        let code = if what == "no TLS" { "28000" } else { "08006" };
        ensure!(refused.contains(code), "{what}: {refused}");
        // Clients learn nothing of the servers' certificates.
        ensure!(
            !refused.to_lowercase().contains("certificate"),
            "{what}: {refused}"
        );
    }
    Ok(())
}

const IDENTITY: &str = "client_tls_cert_file = \"@/server.crt\"\nclient_tls_key_file = \"@/server.key\"\n";

#[test]
fn a_proxy_that_requires_tls_takes_nobody_without() -> Result<()> {
    let secured = secured()?;
    let listen = format!("client_tls_sslmode = \"require\"\n{IDENTITY}");
    let ringway = secured.ringway("127.0.0.1", "server_tls_sslmode = \"require\"", &listen)?;
    for more in [
        "sslmode=require",
        "sslmode=prefer",
        "sslmode=verify-full sslrootcert=@/ca.crt channel_binding=require",
    ] {
        let ran = secured.psql(&ringway, more)?;
        ensure!(ran.out == "42", "{more}: {ran:?}");
    }
    let ran = secured.psql(&ringway, "sslmode=disable")?;
    ensure!(
        ran.out.is_empty() && ran.err.contains("FATAL:  TLS is required"),
        "{ran:?}"
    );
    // The name has to be right, and the authority.
    let ran = secured.psql(&ringway, "sslmode=verify-full sslrootcert=@/stranger-ca.crt")?;
    ensure!(
        ran.out.is_empty() && ran.err.contains("certificate verify failed"),
        "{ran:?}"
    );

    let mut stream = TcpStream::connect(("127.0.0.1", ringway.port()))?;
    stream.set_read_timeout(Some(SOON))?;
    let mut packet = Vec::new();
    let parameters: [(&[u8], &[u8]); 2] = [(b"user", b"shop"), (b"database", b"postgres")];
    encode_startup(&mut packet, ProtocolVersion::V3_0, parameters);
    stream.write_all(&packet)?;
    let mut words = Vec::new();
    stream.read_to_end(&mut words)?;
    let fields = ErrorFields::decode(frame::body(&words))?;
    ensure!(fields.get(b'C') == Some(&b"28000"[..]));
    Ok(())
}

#[test]
fn a_proxy_that_verifies_clients_takes_nobody_without_a_certificate() -> Result<()> {
    let secured = secured()?;
    let listen =
        format!("client_tls_sslmode = \"verify-full\"\nclient_tls_ca_file = \"@/ca.crt\"\n{IDENTITY}");
    let ringway = secured.ringway("127.0.0.1", "server_tls_sslmode = \"require\"", &listen)?;
    let ran = secured.psql(
        &ringway,
        "sslmode=require sslcert=@/client.crt sslkey=@/client.key",
    )?;
    ensure!(ran.out == "42", "{ran:?}");
    for more in [
        "sslmode=require sslcert=/nowhere",
        "sslmode=require sslcert=@/stranger.crt sslkey=@/stranger.key",
        "sslmode=disable",
    ] {
        let ran = secured.psql(&ringway, more)?;
        ensure!(ran.out.is_empty() && !ran.err.is_empty(), "{more}: {ran:?}");
    }
    Ok(())
}
