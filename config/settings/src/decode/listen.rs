//! `[listen]`: where clients connect, and how their connections are watched.

use super::{Files, sections};
use crate::context::Reported;
use crate::document::{Field, Section};
use crate::error::Problem;
use crate::model::{Listen, ListenAddresses, TcpKeepalive, TcpSettings, UnixFolder, UnixSocket};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

const POSTGRES_PORT: u16 = 6432;
const HTTP_PORT: u16 = 8432;
/// What a unix socket is called; the port follows.
const UNIX_SOCKET_NAME: &str = ".s.PGSQL.";
/// The longest path of a unix socket, by `sockaddr_un`: with the zero byte at its end 108.
const MAX_UNIX_PATH: usize = 107;
/// What a socket's path is longer by while it is made: `.` and a process id.
const UNIX_PATH_RESERVE: usize = 12;
/// The permissions of a file.
const MAX_MODE: u32 = 0o777;
const BACKLOG: RangeInclusive<u64> = 1..=65535;
const KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32767);
const KEEPALIVE_COUNT: RangeInclusive<u64> = 1..=127;
const KEEPALIVE_DEFAULT: Duration = Duration::from_secs(30);
const USER_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);

pub(super) fn listen(section: &Section<'_>, files: &Files<'_>) -> Result<Listen, Reported> {
    let addresses = addresses(section);
    let http_addr = http_address(section);
    let postgres_port = sections::port(section, "port");
    let http_port = sections::port(section, "http_port");
    let unix_socket = unix_socket(section, files);
    let backlog = section.number("listen_backlog", BACKLOG);
    let tcp = tcp(section);
    let client_tls = sections::client_tls(section, files);
    section.close();
    let (postgres_port, http_port) = (postgres_port?, http_port?);
    let place = http_port
        .as_ref()
        .or(postgres_port.as_ref())
        .map(|port| port.place.clone());
    let listen = Listen {
        addresses: addresses?,
        port: postgres_port.map_or(POSTGRES_PORT, |port| port.value),
        unix_socket: unix_socket?,
        backlog: backlog?.map_or(1024, |backlog| u32::try_from(backlog.value).unwrap_or(u32::MAX)),
        tcp: tcp?,
        http: SocketAddr::new(http_addr?, http_port.map_or(HTTP_PORT, |port| port.value)),
        client_tls: client_tls?,
    };
    if listen.postgres().contains(&listen.http) {
        let message = format!("PostgreSQL and HTTP can't both listen on {}", listen.http);
        let place = place.unwrap_or_else(|| section.place());
        return Err(section.report(Problem::new(&place, message)));
    }
    check_unix_path(section, &listen)?;
    Ok(listen)
}

fn http_address(section: &Section<'_>) -> Result<IpAddr, Reported> {
    match section.text("http_addr")? {
        None => Ok(Ipv4Addr::LOCALHOST.into()),
        Some(field) => address(section, "http_addr", &field, &field.value),
    }
}

fn address(section: &Section<'_>, key: &str, field: &Field<String>, given: &str) -> Result<IpAddr, Reported> {
    given.parse().map_err(|_| {
        let message = format!("`{key}` must be an IP address, not `{given}`");
        let help = match key {
            "addr" => "several are separated by commas; `*`: every address of this machine, `off`: none",
            _ => "every address of this machine: 0.0.0.0 or ::",
        };
        section.report(Problem::new(&field.place, message).help(help))
    })
}

fn addresses(section: &Section<'_>) -> Result<ListenAddresses, Reported> {
    let Some(field) = section.text("addr")? else {
        return Ok(ListenAddresses::These(vec![Ipv4Addr::LOCALHOST.into()]));
    };
    match field.value.as_str() {
        "*" => return Ok(ListenAddresses::All),
        "off" => return Ok(ListenAddresses::These(Vec::new())),
        _ => {}
    }
    let mut addresses = Vec::new();
    for given in field.value.split(',').map(str::trim) {
        let address = address(section, "addr", &field, given)?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(ListenAddresses::These(addresses))
}

fn unix_socket(section: &Section<'_>, files: &Files<'_>) -> Result<Option<UnixSocket>, Reported> {
    let folder = section.text("unix_socket_dir");
    let mode = mode(section);
    let group = section.text("unix_socket_group");
    let (folder, mode, group) = (folder?, mode?, group?);
    let Some(folder) = folder.filter(|folder| folder.value != "off") else {
        let Some(orphan) = group else { return Ok(None) };
        let message = "`unix_socket_group` without `unix_socket_dir`";
        return Err(section.report(Problem::new(&orphan.place, message)));
    };
    let folder = match folder.value.strip_prefix('@') {
        Some(name) => UnixFolder::Abstract(name.to_owned()),
        None => UnixFolder::Path(files.path(&folder.value)),
    };
    Ok(Some(UnixSocket {
        folder,
        mode,
        group: group.map(|group| group.value),
    }))
}

/// Octal, as text: TOML takes no number that begins with 0.
fn mode(section: &Section<'_>) -> Result<u32, Reported> {
    let Some(field) = section.text("unix_socket_mode")? else {
        return Ok(MAX_MODE);
    };
    u32::from_str_radix(&field.value, 8)
        .ok()
        .filter(|mode| *mode <= MAX_MODE)
        .ok_or_else(|| {
            let message = format!(
                "`unix_socket_mode` must be octal permissions such as \"0770\", not `{}`",
                field.value
            );
            section.report(Problem::new(&field.place, message))
        })
}

/// The system has a bound, and `bind` would name neither the path nor the bound.
fn check_unix_path(section: &Section<'_>, listen: &Listen) -> Result<(), Reported> {
    let Some(socket) = &listen.unix_socket else {
        return Ok(());
    };
    let length = socket.folder.to_string().len() + 1 + UNIX_SOCKET_NAME.len() + listen.port.to_string().len();
    if length + UNIX_PATH_RESERVE <= MAX_UNIX_PATH {
        return Ok(());
    }
    let message = format!(
        "`unix_socket_dir` {} is too long for a unix socket",
        socket.folder
    );
    Err(section.report(Problem::new(&section.place(), message)))
}

fn tcp(section: &Section<'_>) -> Result<TcpSettings, Reported> {
    let wanted = section.flag("tcp_keepalive", true);
    let idle = section.time("tcp_keepidle", KEEPALIVE, KEEPALIVE_DEFAULT);
    let interval = section.time("tcp_keepintvl", KEEPALIVE, KEEPALIVE_DEFAULT);
    let count = section.number("tcp_keepcnt", KEEPALIVE_COUNT);
    let user_timeout = section.time_or_off("tcp_user_timeout", USER_TIMEOUT, None);
    let keepalive = TcpKeepalive {
        idle: idle?,
        interval: interval?,
        count: count?.map_or(4, |count| u32::try_from(count.value).unwrap_or(u32::MAX)),
    };
    Ok(TcpSettings {
        keepalive: wanted?.then_some(keepalive),
        user_timeout: user_timeout?,
    })
}

#[cfg(test)]
mod tests {
    use crate::decode::tests::{SMALL, check, parse};
    use expect_test::expect;

    fn listen(keys: &str) -> crate::Listen {
        let text = SMALL.replace("[control_user]", &format!("[listen]\n{keys}\n[control_user]"));
        parse(&text, &[]).expect("a good section").listen
    }

    #[test]
    fn several_addresses() {
        let addresses = |keys: &str| {
            let listen = listen(keys);
            let all: Vec<String> = listen.postgres().iter().map(ToString::to_string).collect();
            (listen.addresses.to_string(), all.join(" "))
        };
        let written = |shown: &str, all: &str| (shown.to_owned(), all.to_owned());
        assert_eq!(addresses(""), written("127.0.0.1", "127.0.0.1:6432"));
        assert_eq!(
            addresses("addr = \"127.0.0.1, ::1,127.0.0.1\"\nport = 5"),
            written("127.0.0.1,::1", "127.0.0.1:5 [::1]:5")
        );
        assert_eq!(addresses("addr = \"*\""), written("*", "0.0.0.0:6432 [::]:6432"));
        assert_eq!(addresses("addr = \"off\""), written("off", ""));
    }

    #[test]
    fn unix_sockets() {
        assert_eq!(listen("").unix_socket, None);
        assert_eq!(listen("unix_socket_dir = \"off\"").unix_socket, None);
        let socket = |keys: &str| {
            let socket = listen(keys).unix_socket.expect("a socket");
            (socket.folder.to_string(), socket.mode, socket.group)
        };
        assert_eq!(
            socket("unix_socket_dir = \"/run\""),
            ("/run".to_owned(), 0o777, None)
        );
        assert_eq!(
            socket("unix_socket_dir = \"sockets\"\nunix_socket_mode = \"0750\"\nunix_socket_group = \"app\""),
            ("/etc/ringway/sockets".to_owned(), 0o750, Some("app".to_owned()))
        );
        assert_eq!(socket("unix_socket_dir = \"@ringway\"").0, "@ringway");
    }

    #[test]
    fn how_connections_are_watched() {
        let tcp = listen("tcp_keepalive = 0\ntcp_user_timeout = \"10s\"").tcp;
        assert_eq!(tcp.keepalive, None);
        assert_eq!(tcp.user_timeout, Some(std::time::Duration::from_secs(10)));
        let keepalive = listen("tcp_keepidle = \"5s\"\ntcp_keepcnt = 2").tcp.keepalive;
        let keepalive = keepalive.expect("probes by default");
        assert_eq!(
            (
                keepalive.idle.as_secs(),
                keepalive.interval.as_secs(),
                keepalive.count
            ),
            (5, 30, 2)
        );
    }

    #[test]
    fn what_can_not_be_listened_on() {
        let bad = |keys: &str, expected| {
            check(
                "[control_user]",
                &format!("[listen]\n{keys}\n[control_user]"),
                expected,
            );
        };
        bad(
            "addr = \"127.0.0.1,here\"",
            &expect![
                "/etc/ringway/ringway.toml:3:8: `addr` must be an IP address, not `here` (several are separated by commas; `*`: every address of this machine, `off`: none)"
            ],
        );
        bad(
            "unix_socket_dir = \"/run\"\nunix_socket_mode = \"rwx\"",
            &expect![[
                r#"/etc/ringway/ringway.toml:4:20: `unix_socket_mode` must be octal permissions such as "0770", not `rwx`"#
            ]],
        );
        bad(
            "unix_socket_group = \"app\"",
            &expect!["/etc/ringway/ringway.toml:3:21: `unix_socket_group` without `unix_socket_dir`"],
        );
        bad(
            &format!("unix_socket_dir = \"/{}\"", "x".repeat(90)),
            &expect![
                "/etc/ringway/ringway.toml:2:1: `unix_socket_dir` /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx is too long for a unix socket"
            ],
        );
        bad(
            "tcp_keepalive = \"maybe\"",
            &expect!["/etc/ringway/ringway.toml:3:17: `tcp_keepalive` must be true or false, not `maybe`"],
        );
        bad(
            "http_port = 6432\naddr = \"::1,127.0.0.1\"",
            &expect![
                "/etc/ringway/ringway.toml:3:13: PostgreSQL and HTTP can't both listen on 127.0.0.1:6432"
            ],
        );
    }
}
