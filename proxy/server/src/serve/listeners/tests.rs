//! Addresses that are free and taken, and how their sockets are spread over threads.

use super::{Bound, Listening};
use crate::data::accept::Spread;
use crate::serve::inherited::Inherited;
use settings::{ClientTls, Listen, ListenAddresses, TcpSettings, UnixFolder, UnixSocket};
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

fn on(addresses: ListenAddresses, port: u16) -> Listen {
    Listen {
        addresses,
        port,
        unix_socket: None,
        backlog: 16,
        tcp: TcpSettings {
            keepalive: None,
            user_timeout: None,
        },
        http: (Ipv4Addr::LOCALHOST, 1).into(),
        client_tls: ClientTls::Disable,
    }
}

fn these(addresses: &[IpAddr]) -> ListenAddresses {
    ListenAddresses::These(addresses.to_vec())
}

fn take(listen: &Listen, threads: usize) -> anyhow::Result<Listening> {
    Bound::postgres(listen, threads, &mut Inherited::default())?.listen()
}

/// A port that was free a moment ago; asks again should somebody else be quicker.
fn on_a_free_port(mut listen: Listen, threads: usize) -> (Listen, Listening) {
    for _ in 0..20 {
        listen.port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        if let Ok(listening) = take(&listen, threads) {
            return (listen, listening);
        }
    }
    panic!("no port is free");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = on(
        these(&[Ipv4Addr::LOCALHOST.into()]),
        other.local_addr().unwrap().port(),
    );
    for threads in [1, 2] {
        let error = take(&listen, threads).unwrap_err().to_string();
        assert!(
            error.contains(&format!("port {} is taken", listen.port)),
            "{error}"
        );
    }
    drop(other);
    let listening = take(&listen, 2).unwrap();
    assert_eq!(listening.sockets().len(), 2);
    assert!(take(&listen, 2).is_err());
}

#[test]
fn every_address_is_listened_on() {
    let addresses = these(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    let (listen, listening) = on_a_free_port(on(addresses, 0), 1);
    for address in listen.postgres() {
        TcpStream::connect(address).unwrap();
    }
    assert_eq!(listening.sockets().len(), 2);
    drop(listening);
    let (listen, _listening) = on_a_free_port(on(ListenAddresses::All, 0), 2);
    TcpStream::connect(("127.0.0.1", listen.port)).unwrap();
    TcpStream::connect(("::1", listen.port)).unwrap();
}

#[test]
fn each_thread_has_a_socket_or_they_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let mut listen = on(these(&[Ipv4Addr::LOCALHOST.into()]), 0);
    listen.unix_socket = Some(UnixSocket {
        folder: UnixFolder::Path(folder.path().to_owned()),
        mode: 0o700,
        group: None,
    });
    let (listen, listening) = on_a_free_port(listen, 2);
    let spreads = |threads| -> Vec<Vec<Spread>> {
        let doors = listening.doors(threads).unwrap();
        let of = |doors: &Vec<crate::data::accept::Door>| doors.iter().map(|door| door.spread).collect();
        doors.iter().map(of).collect()
    };
    use Spread::{InTurn, Own};
    assert_eq!(spreads(2), [vec![Own, InTurn], vec![Own]]);
    // As after a takeover by a process with other numbers of threads.
    assert_eq!(spreads(1), [vec![Own, Own, Own]]);
    assert_eq!(spreads(3), [vec![InTurn, InTurn], vec![InTurn], vec![]]);
    let path = folder.path().join(format!(".s.PGSQL.{}", listen.port));
    std::os::unix::net::UnixStream::connect(&path).unwrap();
    drop(listening);
    assert!(!path.exists());
}

#[test]
fn abstract_names_need_no_file() {
    let mut listen = on(these(&[]), 5432);
    let name = format!("ringway-test-{}", std::process::id());
    listen.unix_socket = Some(UnixSocket {
        folder: UnixFolder::Abstract(name.clone()),
        mode: 0o777,
        group: None,
    });
    let listening = take(&listen, 1).unwrap();
    let error = take(&listen, 1).unwrap_err().to_string();
    assert!(error.contains("another process listens there"), "{error}");
    let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let address = SockAddr::unix(format!("\0{name}/.s.PGSQL.5432")).unwrap();
    client.connect(&address).unwrap();
    drop(listening);
    take(&listen, 1).unwrap();
}
