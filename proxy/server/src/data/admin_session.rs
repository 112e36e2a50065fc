//! A client of the admin database: one command at a time, answered from what the threads report.

use crate::admin::{AdminCommand, render};
use crate::control;
use crate::data::io::ClientIo;
use crate::data::request::{Assembled, Assembler, Request};
use crate::data::thread::Thread;
use bytes::Buf;
use settings::AdminRights;
use std::rc::Rc;
use wire::backend::{
    BackendKeyData, CommandComplete, ParameterStatus, ReadyForQuery, encode_empty_query_response,
};
use wire::{ProxyError, TransactionStatus};

/// The longest admin command.
const MAX_COMMAND: usize = 64 << 10;

/// Serves an administrator until they leave.
pub(crate) async fn serve(mut io: ClientIo, rights: AdminRights, thread: Rc<Thread>) {
    greeting(&mut io);
    let mut assembler = Assembler::default();
    loop {
        if io.flush().await.is_err() {
            return;
        }
        match assembler.next(&io.input, MAX_COMMAND) {
            Ok(Assembled::Request(Request::Terminate, _)) => return,
            Ok(Assembled::Request(request, used)) => {
                if let Err(error) = answer(&mut io, &request, rights, &thread).await {
                    error.encode(&mut io.out);
                }
                ReadyForQuery {
                    status: TransactionStatus::Idle,
                }
                .encode(&mut io.out);
                io.input.advance(used);
            }
            Ok(Assembled::NeedMore) => {
                if !io.read_more().await.unwrap_or(false) {
                    return;
                }
            }
            Err(error) => {
                error.encode(&mut io.out);
                let _ = io.flush().await;
                return;
            }
        }
    }
}

fn greeting(io: &mut ClientIo) {
    let version = concat!(env!("CARGO_PKG_VERSION"), " (Ringway)");
    for (name, value) in [
        ("server_version", version),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("DateStyle", "ISO"),
    ] {
        ParameterStatus {
            name: name.as_bytes(),
            value: value.as_bytes(),
        }
        .encode(&mut io.out);
    }
    BackendKeyData {
        pid: 0,
        secret: &[0; 4],
    }
    .encode(&mut io.out);
    ReadyForQuery {
        status: TransactionStatus::Idle,
    }
    .encode(&mut io.out);
}

async fn answer(
    io: &mut ClientIo,
    request: &Request,
    rights: AdminRights,
    thread: &Rc<Thread>,
) -> Result<(), ProxyError> {
    let Request::Query(message) = request else {
        return Err(ProxyError::unsupported(
            "the admin database takes simple queries only",
            "The extended query protocol is not available here.",
            "Use psql, or your driver's simple query mode.",
        ));
    };
    let body = io.input.get(message.body()).unwrap_or_default();
    let sql = String::from_utf8_lossy(body.strip_suffix(&[0]).unwrap_or(body)).into_owned();
    let command = AdminCommand::parse(&sql)?;
    command.authorise(rights)?;
    match command {
        AdminCommand::Empty => encode_empty_query_response(&mut io.out),
        AdminCommand::Show(show) => {
            let view = control::admin_view(&thread.shared).await;
            render(show, &view).encode(&mut io.out);
        }
        AdminCommand::Reload => {
            thread.shared.reload.notify_one();
            CommandComplete { tag: b"RELOAD" }.encode(&mut io.out);
        }
        AdminCommand::Shutdown => {
            thread.shared.shutdown.notify_one();
            CommandComplete { tag: b"SHUTDOWN" }.encode(&mut io.out);
        }
    }
    Ok(())
}
