//! One PostgreSQL with roles of every kind, a Ringway before it with a rule for each of them, and certificates.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::{Postgres, PostgresSpec, Programs, Ringway};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tests::{Ports, Server, Shared, only_shard};

/// For one run of psql, and for one answer to raw bytes.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// The one client that `lonely` may have.
pub(crate) const LONELY: &str = "lonely";

/// What PostgreSQL asks for, of whom. Ringway's rules are the same but for the last lines: PostgreSQL has no TLS here.
const SERVER_HBA: &str = "\
host  norule     postgres 127.0.0.1/32 scram-sha-256
host  all        rejected 127.0.0.1/32 reject
host  all        trusted,certified 127.0.0.1/32 trust
host  all        md5er    127.0.0.1/32 md5
host  one,postgres,made all 127.0.0.1/32 scram-sha-256
";

const RULES: &str = r#"
[[hba]]
type = "host"
user = ["rejected"]
method = "reject"
[[hba]]
type = "host"
user = ["trusted"]
address = "127.0.0.0/8"
method = "trust"
[[hba]]
type = "host"
user = ["md5er"]
method = "md5"
[[hba]]
type = "host"
user = ["clear"]
method = "password"
[[hba]]
type = "hostssl"
user = ["certified"]
method = "cert"
[[hba]]
type = "hostssl"
user = ["bound"]
method = "scram-sha-256-plus"
[[hba]]
type = "host"
database = ["one", "postgres", "made", "ringway", "nothing"]
user = ["all"]
address = "127.0.0.1"
method = "scram-sha-256"
"#;

/// The servers. Dropping them ends them.
pub(crate) struct Stage {
    // First, because it uses the other: fields are dropped in this order.
    ringway: Ringway,
    server: Server,
    folder: tempfile::TempDir,
}

static STAGE: Shared<Stage> = Shared::new();

/// What psql printed, and whether it was let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) out: String,
    /// Without host and port.
    pub(crate) err: String,
}

/// The servers that the tests share, started unless they run.
pub(crate) fn stage() -> Result<Arc<Stage>> {
    STAGE.get(Stage::start)
}

impl Stage {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        certificates(folder.path())?;
        let spec = PostgresSpec::new("login")
            .hba(SERVER_HBA)
            .role("scram", "scrampw", "")
            .role("bound", "boundpw", "")
            .role("clear", "clearpw", "")
            .role("trusted", "unused", "")
            .role("certified", "unused", "")
            .role("rejected", "unused", "")
            .role(LONELY, "lonelypw", "")
            .database("one", "postgres");
        let server = Server::start(spec)?;
        for sql in [
            "SET password_encryption = md5; CREATE ROLE md5er LOGIN PASSWORD 'md5pw'",
            "CREATE ROLE verified LOGIN PASSWORD 'verifiedpw'; CREATE ROLE nologin PASSWORD 'nologinpw'",
        ] {
            server.run("postgres", sql)?;
        }
        let verifier = server.ask(
            "postgres",
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'verified'",
        )?;
        let make = |ports| configuration(ports, folder.path(), &verifier);
        let ringway = server.ringway("ringway-login", make)?;
        Ok(Self {
            ringway,
            server,
            folder,
        })
    }

    pub(crate) fn ringway(&self) -> &Ringway {
        &self.ringway
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        self.server.postgres()
    }

    /// A file of the certificates' folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn wait<T>(&self, doing: impl Future<Output = T>) -> T {
        self.server.wait(doing)
    }

    /// Runs SQL as the superuser on the server itself.
    pub(crate) fn on_server(&self, sql: &str) -> Result<()> {
        self.server.run("postgres", sql).map(drop)
    }

    /// psql through Ringway: `more` is added to the connection string.
    pub(crate) fn psql(
        &self,
        user: &str,
        password: &str,
        database: &str,
        more: &str,
        sql: &str,
    ) -> Result<Ran> {
        self.psql_at(self.ringway.port(), user, password, database, more, sql)
    }

    /// psql straight to the server.
    pub(crate) fn straight(&self, user: &str, password: &str, database: &str, sql: &str) -> Result<Ran> {
        self.psql_at(self.postgres().port(), user, password, database, "", sql)
    }

    fn psql_at(
        &self,
        port: u16,
        user: &str,
        password: &str,
        database: &str,
        more: &str,
        sql: &str,
    ) -> Result<Ran> {
        self.wait(psql(port, (user, password, database), more, sql))
    }

    /// A socket to Ringway whose reads and writes are bounded.
    pub(crate) fn raw(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ringway.port()))?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        Ok(stream)
    }
}

/// Runs psql at this port: `more` is added to the connection string.
pub(crate) async fn psql(
    port: u16,
    (user, password, database): (&str, &str, &str),
    more: &str,
    sql: &str,
) -> Result<Ran> {
    let address = format!("host=127.0.0.1 port={port} user={user} dbname={database} {more}");
    let mut command = tokio::process::Command::new(Programs::postgres()?.join("psql"));
    command
        .args(["-X", "-A", "-t", "-d", &address, "-c", sql])
        .env("PGPASSWORD", password)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(SOON, command.output()).await;
    let output = output.context("psql does not end")??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let err = text(&output.stderr).replace(
        &format!("connection to server at \"127.0.0.1\", port {port} "),
        "",
    );
    Ok(Ran {
        out: text(&output.stdout),
        err,
    })
}

fn configuration(ports: Ports, folder: &Path, verifier: &str) -> String {
    let Ports { own, http, server } = ports;
    let folder = folder.display();
    format!(
        r#"
region = "here"

[listen]
port = {own}
http_port = {http}
client_tls_sslmode = "allow"
client_tls_cert_file = "{folder}/server.crt"
client_tls_key_file = "{folder}/server.key"
client_tls_ca_file = "{folder}/ca.crt"

[auth]
auth_user = "postgres"
auth_dbname = "postgres"
admin_users = ["postgres"]
{RULES}
[[user]]
name = "postgres"
password = "postgres"

[[user]]
name = "verified"
password = "{verifier}"

[[user]]
name = "{LONELY}"
password = "lonelypw"
max_user_client_connections = 1

[[database]]
name = "one"
max_db_client_connections = 20

[[database]]
name = "*"
{shard}"#,
        shard = only_shard("127.0.0.1", server),
    )
}

/// An authority (`ca`), and made out by it a server (`server`), a client called `certified` (`client`), one called otherwise (`other`).
/// And a client that another authority (`stranger-ca`) made out (`stranger`).
pub(crate) fn certificates(folder: &Path) -> Result<()> {
    let authority = |name: &str| -> Result<(Issuer<'static, KeyPair>, String)> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok((Issuer::new(params, key), certificate))
    };
    let (issuer, ca) = authority("authority")?;
    let (stranger, stranger_ca) = authority("stranger")?;
    fs::write(folder.join("ca.crt"), ca)?;
    fs::write(folder.join("stranger-ca.crt"), stranger_ca)?;
    for (file, name, issuer) in [
        ("server", "server", &issuer),
        ("client", "certified", &issuer),
        ("other", "somebody", &issuer),
        ("stranger", "certified", &stranger),
    ] {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        fs::write(folder.join(format!("{file}.crt")), certificate.pem())?;
        write_key(&folder.join(format!("{file}.key")), &key.serialize_pem())?;
    }
    Ok(())
}

/// libpq takes no key that others may read.
fn write_key(path: &Path, pem: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(pem.as_bytes())?)
}
