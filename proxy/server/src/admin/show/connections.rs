//! What SHOW says of clients and server connections: PgBouncer's columns first, in its order, ours behind them.

use super::{Columns, Place, Row, Rows};
use crate::admin::table::Cell;
use crate::admin::table::ColumnType::{Bytea, Int4, Int8, Text};
use crate::admin::time::utc;
use crate::admin::view::{AdminView, ClientRow, ClientState, ServerConnectionState, ServerRow};
use std::net::SocketAddr;

/// PgBouncer 1.18's columns of a connection, which both sides share.
macro_rules! connection_columns {
    ($($more:expr),* $(,)?) => {
        &[
            ("type", Text),
            ("user", Text),
            ("database", Text),
            ("state", Text),
            ("addr", Text),
            ("port", Int4),
            ("local_addr", Text),
            ("local_port", Int4),
            ("connect_time", Text),
            ("request_time", Text),
            ("wait", Int4),
            ("wait_us", Int4),
            ("close_needed", Int4),
            ("ptr", Text),
            ("link", Text),
            ("remote_pid", Int4),
            ("tls", Text),
            ("application_name", Text),
            $($more),*
        ]
    };
}

pub(super) const CLIENTS: Columns = connection_columns![
    // Later versions of PgBouncer.
    ("prepared_statements", Int4),
    ("id", Int8),
    ("replication", Text),
    // Ringway.
    ("activity", Text),
    ("thread", Int4),
    ("pinned", Text),
];

pub(super) const SERVERS: Columns = connection_columns![
    // Later versions of PgBouncer.
    ("prepared_statements", Int4),
    ("id", Int8),
    ("replication", Text),
    // Ringway.
    ("shard", Text),
    ("region", Text),
    ("thread", Int4),
    ("pinned", Text),
];

pub(super) const SOCKETS: Columns = connection_columns![
    ("recv_pos", Int4),
    ("pkt_pos", Int4),
    ("pkt_remain", Int4),
    ("send_pos", Int4),
    ("send_remain", Int4),
    ("pkt_avail", Int4),
    ("send_avail", Int4),
    ("prepared_statements", Int4),
    ("id", Int8),
    ("replication", Text),
];

pub(super) const FDS: Columns = &[
    ("fd", Int4),
    ("task", Text),
    ("user", Text),
    ("database", Text),
    ("addr", Text),
    ("port", Int4),
    ("cancel", Int8),
    ("link", Int4),
    ("client_encoding", Text),
    ("std_strings", Text),
    ("datestyle", Text),
    ("timezone", Text),
    ("password", Text),
    ("scram_client_key", Bytea),
    ("scram_server_key", Bytea),
];

/// No connection is a walsender's: those of the control plane are not in pools.
const REPLICATION: &str = "none";
/// What a connection without TLS says of it.
const NO_TLS: &str = "";

pub(super) fn clients(view: &AdminView) -> Rows {
    let rows = view.clients.iter().map(|client| {
        let more = vec![
            Cell::number(client.prepared_statements),
            Cell::number(client.id),
            Cell::text(REPLICATION),
            Cell::text(activity(client.state)),
            Cell::number(client.thread),
            Cell::text(client.pinned.to_string()),
        ];
        [client_cells(view, client, ""), more].concat()
    });
    rows.collect()
}

pub(super) fn servers(view: &AdminView) -> Rows {
    let rows = view.servers.iter().map(|server| {
        let place = Place::of(view, server.endpoint);
        let more = vec![
            Cell::option(server.prepared_statements),
            Cell::number(server.id),
            Cell::text(REPLICATION),
            place.shard,
            place.region,
            Cell::number(server.thread),
            Cell::text(server.pinned.to_string()),
        ];
        [server_cells(view, server, ""), more].concat()
    });
    rows.collect()
}

/// Clients and server connections; the positions in their buffers are not known here.
pub(super) fn sockets(view: &AdminView) -> Rows {
    sockets_where(view, |_| true, |_| true)
}

pub(super) fn active_sockets(view: &AdminView) -> Rows {
    sockets_where(
        view,
        |client| matches!(client.state, ClientState::Active | ClientState::Waiting),
        |server| {
            matches!(
                server.state,
                ServerConnectionState::Active | ServerConnectionState::Tested
            )
        },
    )
}

fn sockets_where(
    view: &AdminView,
    client_shown: impl Fn(&ClientRow) -> bool,
    server_shown: impl Fn(&ServerRow) -> bool,
) -> Rows {
    let buffers = || vec![Cell::Null; 7];
    let more = |prepared: Option<usize>, id: u64| {
        vec![Cell::option(prepared), Cell::number(id), Cell::text(REPLICATION)]
    };
    let clients = view
        .clients
        .iter()
        .filter(|client| client_shown(client))
        .map(|client| {
            [
                client_cells(view, client, "cl_"),
                buffers(),
                more(Some(client.prepared_statements), client.id),
            ]
            .concat()
        });
    let servers = view
        .servers
        .iter()
        .filter(|server| server_shown(server))
        .map(|server| {
            [
                server_cells(view, server, "sv_"),
                buffers(),
                more(server.prepared_statements, server.id),
            ]
            .concat()
        });
    clients.chain(servers).collect()
}

/// File descriptors. Secrets are not shown, and what a session has set is none of an administrator's business here.
pub(super) fn fds(view: &AdminView) -> Rows {
    let row = |fd: i32, task: &'static str, names: [Cell; 2], (addr, port): (Cell, Cell), link: Cell| {
        let [user, database] = names;
        let mut row = vec![
            Cell::number(fd),
            Cell::text(task),
            user,
            database,
            addr,
            port,
            Cell::number(0),
            link,
        ];
        row.resize(FDS.len(), Cell::Null);
        row
    };
    let clients = view.clients.iter().filter_map(|client| {
        let link = view
            .servers
            .iter()
            .find(|server| server.link == Some(client.id))
            .map(|server| server.fd);
        let names = [
            Cell::text(client.user.clone()),
            Cell::text(client.database.clone()),
        ];
        let fd = client.fd?;
        Some(row(
            fd,
            "client",
            names,
            address(client.peer),
            Cell::option(link.flatten()),
        ))
    });
    let servers = view.servers.iter().filter_map(|server| {
        let link = view
            .clients
            .iter()
            .find(|client| server.link == Some(client.id))
            .map(|client| client.fd);
        let names = [
            Cell::text(server.user.clone()),
            Cell::text(server.database.clone()),
        ];
        let place = Place::of(view, server.endpoint);
        let at = (place.host, place.port);
        Some(row(server.fd?, "server", names, at, Cell::option(link.flatten())))
    });
    clients.chain(servers).collect()
}

/// The cells of PgBouncer's columns. SHOW SOCKETS says in its states which side it speaks of.
fn client_cells(view: &AdminView, client: &ClientRow, side: &str) -> Row {
    let state = match client.state {
        ClientState::Idle => "idle",
        ClientState::IdleInTransaction | ClientState::Active => "active",
        ClientState::Waiting => "waiting",
    };
    let linked = view
        .servers
        .iter()
        .filter(|server| server.link == Some(client.id));
    let links: Vec<String> = linked.map(|server| server_ptr(server.id)).collect();
    let (addr, port) = address(client.peer);
    let (local_addr, local_port) = address(client.local);
    vec![
        Cell::text("C"),
        Cell::text(client.user.clone()),
        Cell::text(client.database.clone()),
        Cell::text(format!("{side}{state}")),
        addr,
        port,
        local_addr,
        local_port,
        Cell::text(utc(client.connected_at)),
        Cell::text(client.request_at.map(utc).unwrap_or_default()),
        Cell::number(client.waited.as_secs()),
        Cell::number(client.waited.subsec_micros()),
        Cell::number(0),
        Cell::text(client_ptr(client.id)),
        Cell::text(links.join(",")),
        Cell::number(client.remote_pid.unwrap_or(0)),
        Cell::text(if client.tls { "TLS" } else { NO_TLS }),
        Cell::text(client.application_name.clone()),
    ]
}

fn server_cells(view: &AdminView, server: &ServerRow, side: &str) -> Row {
    let state = match server.state {
        ServerConnectionState::Idle => "idle",
        ServerConnectionState::Active => "active",
        ServerConnectionState::Used => "used",
        ServerConnectionState::Tested => "tested",
    };
    let client = view.clients.iter().find(|client| server.link == Some(client.id));
    let place = Place::of(view, server.endpoint);
    let (local_addr, local_port) = address(server.local);
    vec![
        Cell::text("S"),
        Cell::text(server.user.clone()),
        Cell::text(server.database.clone()),
        Cell::text(format!("{side}{state}")),
        place.host,
        place.port,
        local_addr,
        local_port,
        Cell::text(utc(server.connected_at)),
        Cell::text(server.request_at.map(utc).unwrap_or_default()),
        Cell::number(0),
        Cell::number(0),
        Cell::number(u8::from(server.close_needed)),
        Cell::text(server_ptr(server.id)),
        Cell::text(server.link.map(client_ptr).unwrap_or_default()),
        Cell::number(server.remote_pid),
        Cell::text(if server.tls { "TLS" } else { NO_TLS }),
        Cell::text(
            client
                .map(|client| client.application_name.clone())
                .unwrap_or_default(),
        ),
    ]
}

/// What links the rows of both sides, in the form of PgBouncer's addresses.
fn client_ptr(id: u64) -> String {
    format!("0xc{id:011x}")
}

fn server_ptr(id: u64) -> String {
    format!("0x5{id:011x}")
}

/// As `pg_stat_activity` has it.
fn activity(state: ClientState) -> &'static str {
    match state {
        ClientState::Idle => "idle",
        ClientState::IdleInTransaction => "idle in transaction",
        ClientState::Active => "active",
        ClientState::Waiting => "waiting",
    }
}

/// PgBouncer's word for a client or server without an address.
fn address(address: Option<SocketAddr>) -> (Cell, Cell) {
    match address {
        Some(address) => (Cell::text(address.ip().to_string()), Cell::number(address.port())),
        None => (Cell::text("unix"), Cell::number(0)),
    }
}
