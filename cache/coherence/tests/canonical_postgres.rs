//! The canonical text of values, held against a real PostgreSQL: what this crate prints must be what the log prints.

#![expect(clippy::unwrap_used, reason = "a server that doesn't start must fail loudly")]

use coherence::{WAL_SETTINGS, canonical_binary, canonical_text};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use topology::KeyType;

/// A server on a unix socket in a folder of its own, gone with this value.
struct Server {
    folder: TempDir,
}

fn bin(program: &str) -> PathBuf {
    let folder = std::env::var("PG_BIN").unwrap_or_else(|_| "/usr/lib/postgresql/15/bin".to_owned());
    Path::new(&folder).join(program)
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// PostgreSQL refuses to run as root: then as `postgres`.
fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg(bin(program));
        command
    } else {
        Command::new(bin(program))
    };
    command.current_dir("/").args(arguments).output().unwrap()
}

fn must(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("ringway-canonical-")
            .tempdir_in("/tmp")
            .unwrap();
        if is_root() {
            must(
                &Command::new("chown")
                    .arg("postgres")
                    .arg(folder.path())
                    .output()
                    .unwrap(),
            );
        }
        let server = Self { folder };
        let (data, log) = (server.path("data"), server.path("log"));
        must(&run(
            "initdb",
            &[
                "-D",
                &data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
        ));
        let options = format!(
            "-c listen_addresses= -c fsync=off -k {}",
            server.folder.path().display()
        );
        must(&run(
            "pg_ctl",
            &["start", "-w", "-t", "60", "-D", &data, "-l", &log, "-o", &options],
        ));
        server
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Rows of fields, read under the settings of the connection that reads the log.
    fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let settings: String = WAL_SETTINGS
            .iter()
            .map(|(name, value)| format!("SET {name} = '{value}'; "))
            .collect();
        let socket = self.folder.path().to_str().unwrap();
        let script = format!("{settings}{sql}");
        let output = run(
            "psql",
            &[
                "-XqAt", "-F", "\t", "-h", socket, "-U", "postgres", "-c", &script, "postgres",
            ],
        );
        must(&output);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.path("data");
        let _ = run("pg_ctl", &["stop", "-m", "immediate", "-D", &data]);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// For each type: its name, its binary output function, and a query of values.
const SAMPLES: [(KeyType, &str, &str, &str); 7] = [
    (KeyType::Int2, "int2", "int2send", "SELECT n::int2 v FROM generate_series(-32768, 32767, 331) n"),
    (KeyType::Int4, "int4", "int4send", "SELECT n::int4 v FROM generate_series(-2147483648, 2147483647, 9876543) n"),
    (KeyType::Int8, "int8", "int8send", "SELECT (n * 92233720368547758)::int8 v FROM generate_series(-100, 100) n"),
    (KeyType::Uuid, "uuid", "uuid_send", "SELECT md5(n::text)::uuid v FROM generate_series(1, 200) n"),
    (KeyType::Bytea, "bytea", "byteasend", "SELECT decode(md5(n::text), 'hex') v FROM generate_series(1, 200) n"),
    (
        KeyType::Date,
        "date",
        "date_send",
        "SELECT date '0001-01-01' + n v FROM generate_series(0, 3652058, 97) n UNION ALL VALUES (date '9999-12-31'), (date '2000-02-29')",
    ),
    (
        KeyType::TimestampTz,
        "timestamptz",
        "timestamptz_send",
        "SELECT timestamptz '0001-01-01 00:00:00+00' + n * interval '97 days 3 hours 7 minutes 1.234567 seconds' v FROM generate_series(0, 37000) n
         UNION ALL SELECT timestamptz '2024-02-29 23:59:59+00' + n * interval '0.000100 seconds' v FROM generate_series(0, 2000) n",
    ),
];

#[test]
fn canonical_text_is_what_postgres_prints() {
    let server = Server::start();
    for (key_type, name, send, values) in SAMPLES {
        let rows = server.query(&format!(
            "SELECT v::text, encode({send}(v), 'hex') FROM ({values}) s"
        ));
        assert!(rows.len() > 100, "{name}");
        for row in rows {
            let (text, binary) = (row[0].as_bytes(), unhex(&row[1]));
            assert_eq!(
                canonical_binary(key_type, &binary).as_deref(),
                Some(text),
                "{name} {}",
                row[0]
            );
            assert_eq!(
                canonical_text(key_type, text).as_deref(),
                Some(text),
                "{name} {}",
                row[0]
            );
        }
    }
    what_clients_write(&server);
    beyond_what_is_certain(&server);
}

/// Other spellings of a value: the server must read them as we do.
fn what_clients_write(server: &Server) {
    let spellings = [
        (KeyType::Int4, "int4", "042"),
        (KeyType::Int8, "int8", "+7"),
        (KeyType::Int8, "int8", "-0"),
        (KeyType::Int8, "int8", "-9223372036854775808"),
        (KeyType::Uuid, "uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
        (KeyType::Uuid, "uuid", "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
        (KeyType::Bytea, "bytea", "\\xDEADbeef"),
        (KeyType::Date, "date", "2024-02-29"),
        (KeyType::TimestampTz, "timestamptz", "2024-02-29 12:00:00.5+00"),
    ];
    for (key_type, name, spelling) in spellings {
        let printed = server.query(&format!("SELECT '{spelling}'::{name}::text"));
        let ours = canonical_text(key_type, spelling.as_bytes());
        assert_eq!(
            ours.as_deref(),
            Some(printed[0][0].as_bytes()),
            "{name} {spelling}"
        );
    }
}

/// Values whose text has another form have no tag: never a wrong one.
fn beyond_what_is_certain(server: &Server) {
    let rows = server.query(
        "SELECT 'd', v::text, encode(date_send(v), 'hex') FROM (VALUES (date 'infinity'), ('-infinity'), ('0044-03-15 BC'), ('10000-01-01')) s(v)
         UNION ALL SELECT 't', v::text, encode(timestamptz_send(v), 'hex') FROM (VALUES (timestamptz 'infinity'), ('-infinity'),
         ('0044-03-15 00:00:00+00 BC'), ('10000-01-01 00:00:00+00')) s(v)",
    );
    assert_eq!(rows.len(), 8);
    for row in rows {
        let key_type = if row[0] == "d" {
            KeyType::Date
        } else {
            KeyType::TimestampTz
        };
        assert_eq!(canonical_binary(key_type, &unhex(&row[2])), None, "{}", row[1]);
        assert_eq!(canonical_text(key_type, row[1].as_bytes()), None, "{}", row[1]);
    }
}
