//! A client of the admin database: commands by the simple and the extended protocol, answered from what the threads report.

mod control;
mod extended;

use crate::admin::{
    AdminCommand, ClientState, Columns, Courtesy, REPORTED, Table, columns, courtesy, courtesy_columns,
    describe, render,
};
use crate::control as plane;
use crate::data::io::ClientIo;
use crate::data::thread::{ClientInfo, ClientLogin, Thread, Turn};
use bytes::Buf;
use extended::Named;
use session::requests::{Assembled, Assembler, BatchEnd, Message, Request};
use std::rc::Rc;
use wire::backend::{
    BackendKeyData, CommandComplete, ParameterStatus, ReadyForQuery, encode_empty_query_response,
};
use wire::{Format, ProxyError, TransactionStatus, sqlstate};

/// The longest admin command.
const MAX_COMMAND: usize = 64 << 10;

/// Serves an administrator until they leave.
pub(crate) fn start(io: ClientIo, login: ClientLogin, thread: &Rc<Thread>) {
    let (place, info) = thread.register_admin(login);
    let registered = Registered {
        thread: Rc::clone(thread),
        place,
    };
    let session = AdminSession {
        io,
        info: Rc::clone(&info),
        registered,
        status: TransactionStatus::Idle,
        named: Named::default(),
        skips: false,
    };
    info.run(Box::pin(session.serve()));
}

/// A place among the administrators, left when the session ends in whatever way.
struct Registered {
    thread: Rc<Thread>,
    place: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut admins = self.thread.admins.borrow_mut();
        if admins.contains(self.place) {
            admins.remove(self.place);
        }
    }
}

/// An administrator's session.
struct AdminSession {
    io: ClientIo,
    info: Rc<ClientInfo>,
    registered: Registered,
    /// Nothing here can be rolled back; but drivers begin transactions, and count on what they are told of them.
    status: TransactionStatus,
    /// Prepared statements and portals.
    named: Named,
    /// After an error everything up to Sync is skipped.
    skips: bool,
}

/// What became of a command.
enum Outcome {
    /// Rows, with the tag behind them.
    Rows(Table, &'static str),
    /// A tag alone.
    Done(&'static str),
}

impl AdminSession {
    async fn serve(mut self) {
        self.greet();
        let mut assembler = Assembler::default();
        loop {
            if self.io.flush().await.is_err() {
                return;
            }
            self.info.activity.set(ClientState::Idle);
            match assembler.next(&self.io.input, MAX_COMMAND) {
                Ok(Assembled::Request(Request::Terminate, _)) => return,
                Ok(Assembled::Request(request, used)) => {
                    self.info.request_at.set(health::boot_time());
                    self.info.activity.set(ClientState::Active);
                    let stays = self.handle(request).await;
                    self.io.input.advance(used);
                    if !stays {
                        let _ = self.io.flush().await;
                        return;
                    }
                }
                Ok(Assembled::NeedMore) => {
                    if !self.wait().await {
                        return;
                    }
                }
                Err(error) => {
                    error.encode(&mut self.io.out);
                    let _ = self.io.flush().await;
                    return;
                }
            }
        }
    }

    /// Waits for more input; `false` ends the session.
    async fn wait(&mut self) -> bool {
        self.io.rest();
        match self.info.turn(&mut self.io, None, true).await {
            Turn::Read => true,
            Turn::Gone | Turn::TimedOut => false,
            Turn::Stopped(reason) => {
                reason.error().encode(&mut self.io.out);
                let _ = self.io.flush().await;
                false
            }
        }
    }

    fn greet(&mut self) {
        for (name, value) in REPORTED {
            ParameterStatus {
                name: name.as_bytes(),
                value: value.as_bytes(),
            }
            .encode(&mut self.io.out);
        }
        BackendKeyData {
            pid: 0,
            secret: &[0; 4],
        }
        .encode(&mut self.io.out);
        self.ready();
    }

    fn ready(&mut self) {
        ReadyForQuery { status: self.status }.encode(&mut self.io.out);
    }

    /// Carries out a request; `false` ends the session.
    async fn handle(&mut self, request: Request) -> bool {
        let outcome = match request {
            Request::Query(message) => {
                let outcome = self.query(&message).await;
                let stays = self.end(outcome);
                // Only a batch has messages behind an error that are skipped.
                self.skips = false;
                self.ready();
                return stays;
            }
            Request::Batch(messages, end) => {
                let outcome = self.batch(&messages).await;
                let stays = self.end(outcome);
                if end == BatchEnd::Sync {
                    self.skips = false;
                    self.named.end_transaction(self.status);
                    self.ready();
                }
                return stays;
            }
            Request::FunctionCall => Err(ProxyError::unsupported(
                "the admin database has no functions",
                "The function call protocol calls one.",
                "SHOW HELP lists the commands.",
            )),
            Request::StrayCopy | Request::Terminate => return true,
        };
        let stays = self.end(outcome);
        self.skips = false;
        self.ready();
        stays
    }

    /// Tells of an error; `false`: it ends the session.
    fn end(&mut self, outcome: Result<(), ProxyError>) -> bool {
        let Err(error) = outcome else { return true };
        error.encode(&mut self.io.out);
        self.skips = true;
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
        }
        !error.is_fatal()
    }

    /// A simple query: all of its commands, up to the first that fails.
    async fn query(&mut self, message: &Message) -> Result<(), ProxyError> {
        let body = self.io.input.get(message.body()).unwrap_or_default();
        let sql = String::from_utf8_lossy(body.strip_suffix(&[0]).unwrap_or(body)).into_owned();
        let commands = AdminCommand::parse(&sql)?;
        if commands.is_empty() {
            encode_empty_query_response(&mut self.io.out);
        }
        for command in commands {
            match self.run(command).await? {
                Outcome::Rows(table, tag) => {
                    let text = |_: usize| Format::Text;
                    describe(table.columns, text, &mut self.io.out);
                    for row in &table.rows {
                        table.encode_row(row, text, &mut self.io.out)?;
                    }
                    self.complete(tag);
                }
                Outcome::Done(tag) => self.complete(tag),
            }
        }
        Ok(())
    }

    fn complete(&mut self, tag: &str) {
        CommandComplete { tag: tag.as_bytes() }.encode(&mut self.io.out);
    }

    /// Carries out one command, if the rights of the moment allow it.
    async fn run(&mut self, command: AdminCommand) -> Result<Outcome, ProxyError> {
        let thread = Rc::clone(&self.registered.thread);
        let rights = thread.settings().auth.admin_rights(&self.info.user);
        crate::admin::authorise(&command, rights)?;
        let ends = matches!(command, AdminCommand::Commit | AdminCommand::Rollback);
        if self.status == TransactionStatus::Failed && !ends {
            return Err(ProxyError::in_failed_transaction());
        }
        Ok(match command {
            AdminCommand::Show(show) => {
                let view = plane::admin_view(&thread.shared).await;
                Outcome::Rows(render(show, &view), "SHOW")
            }
            AdminCommand::Courtesy(asked @ (Courtesy::One | Courtesy::Version)) => {
                Outcome::Rows(courtesy(asked), "SELECT 1")
            }
            AdminCommand::Courtesy(asked) => Outcome::Rows(courtesy(asked), "SHOW"),
            AdminCommand::Ignored(tag) => Outcome::Done(tag),
            AdminCommand::Begin => {
                self.status = TransactionStatus::InTransaction;
                Outcome::Done("BEGIN")
            }
            AdminCommand::Commit => {
                let failed = std::mem::replace(&mut self.status, TransactionStatus::Idle);
                let rolled_back = failed == TransactionStatus::Failed;
                Outcome::Done(if rolled_back { "ROLLBACK" } else { "COMMIT" })
            }
            AdminCommand::Rollback => {
                self.status = TransactionStatus::Idle;
                Outcome::Done("ROLLBACK")
            }
            command => {
                let doing = control::carry_out(&thread, command);
                Outcome::Done(unless_gone(&mut self.io, doing).await?)
            }
        })
    }
}

/// `doing`, unless the client leaves meanwhile.
async fn unless_gone<T>(
    io: &mut ClientIo,
    doing: impl Future<Output = Result<T, ProxyError>>,
) -> Result<T, ProxyError> {
    let gone = async {
        while io.input.len() < MAX_COMMAND {
            if !io.read_more().await.unwrap_or(false) {
                return;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        outcome = doing => outcome,
        () = gone => Err(ProxyError::fatal(sqlstate::CONNECTION_FAILURE, "the administrator has left")),
    }
}

/// What a command answers with, before it is carried out; `None`: no rows.
fn columns_of(command: &AdminCommand) -> Option<Columns> {
    match command {
        AdminCommand::Show(show) => Some(columns(*show)),
        AdminCommand::Courtesy(asked) => Some(courtesy_columns(*asked)),
        _ => None,
    }
}
