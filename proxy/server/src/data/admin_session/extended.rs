//! The extended protocol of the admin database: prepared statements, portals, rows in text or binary.

use super::{AdminSession, Outcome, columns_of};
use crate::admin::{AdminCommand, Table, describe};
use session::requests::Message;
use std::collections::HashMap;
use std::rc::Rc;
use wire::backend::{
    ParameterDescription, encode_bind_complete, encode_close_complete, encode_empty_query_response,
    encode_no_data, encode_parse_complete, encode_portal_suspended,
};
use wire::frontend::{Bind, Close, Describe, Execute, Parse, Target};
use wire::{Format, ProxyError, TransactionStatus, sqlstate};

/// Statements and portals that an administrator may keep.
const MAX_NAMED: usize = 1_000;

/// A command by the name of its statement; `None`: nothing to do.
type Statement = Rc<Option<AdminCommand>>;

/// Prepared statements and portals.
#[derive(Default)]
pub(super) struct Named {
    statements: HashMap<Vec<u8>, Statement>,
    portals: HashMap<Vec<u8>, Portal>,
}

impl Named {
    /// Portals live as long as their transaction.
    pub(super) fn end_transaction(&mut self, status: TransactionStatus) {
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
    }
}

/// A statement that was bound.
struct Portal {
    statement: Statement,
    formats: Vec<Format>,
    /// What Execute has not given yet, once it was run.
    rest: Option<(Table, &'static str, usize)>,
}

impl Portal {
    fn format(&self, place: usize) -> Format {
        match self.formats.as_slice() {
            [] => Format::Text,
            [all] => *all,
            each => each.get(place).copied().unwrap_or(Format::Text),
        }
    }
}

impl AdminSession {
    /// Messages of the extended protocol, up to the first that fails.
    pub(super) async fn batch(&mut self, messages: &[Message]) -> Result<(), ProxyError> {
        for message in messages {
            if self.skips {
                return Ok(());
            }
            let body = self.io.input.get(message.body()).unwrap_or_default().to_vec();
            match message.tag {
                b'P' => self.parse(&Parse::decode(&body)?)?,
                b'B' => self.bind(&Bind::decode(&body)?)?,
                b'D' => self.describe(&Describe::decode(&body)?)?,
                b'E' => self.execute(&Execute::decode(&body)?).await?,
                _ => self.close(&Close::decode(&body)?),
            }
        }
        Ok(())
    }

    fn parse(&mut self, parse: &Parse<'_>) -> Result<(), ProxyError> {
        let mut commands = AdminCommand::parse(&String::from_utf8_lossy(parse.sql))?;
        if commands.len() > 1 {
            return Err(ProxyError::error(
                sqlstate::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        let statements = &mut self.named.statements;
        if !parse.name.is_empty() && statements.contains_key(parse.name) {
            let name = String::from_utf8_lossy(parse.name);
            return Err(ProxyError::error(
                sqlstate::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        if statements.len() >= MAX_NAMED {
            return Err(too_many("prepared statements"));
        }
        statements.insert(parse.name.to_vec(), Rc::new(commands.pop()));
        self.info.prepared_statements.set(statements.len());
        encode_parse_complete(&mut self.io.out);
        Ok(())
    }

    fn bind(&mut self, bind: &Bind<'_>) -> Result<(), ProxyError> {
        let statement = self.statement(bind.statement)?;
        if !bind.values.is_empty() {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires 0",
                bind.values.len(),
                String::from_utf8_lossy(bind.statement)
            );
            return Err(ProxyError::error(sqlstate::PROTOCOL_VIOLATION, message));
        }
        let formats = bind.result_formats.iter().map(|code| {
            Format::from_code(code).ok_or_else(|| {
                ProxyError::error(
                    sqlstate::INVALID_PARAMETER_VALUE,
                    format!("unsupported format code: {code}"),
                )
            })
        });
        let portal = Portal {
            statement,
            formats: formats.collect::<Result<_, _>>()?,
            rest: None,
        };
        let portals = &mut self.named.portals;
        if portals.len() >= MAX_NAMED {
            return Err(too_many("portals"));
        }
        portals.insert(bind.portal.to_vec(), portal);
        encode_bind_complete(&mut self.io.out);
        Ok(())
    }

    fn describe(&mut self, asked: &Describe<'_>) -> Result<(), ProxyError> {
        let (statement, portal) = match asked.target {
            Target::Statement => {
                let statement = self.statement(asked.name)?;
                ParameterDescription::encode(&mut self.io.out, &[]);
                (statement, None)
            }
            Target::Portal => {
                let portal = self.named.portals.get(asked.name);
                let portal = portal.ok_or_else(|| no_portal(asked.name))?;
                (Rc::clone(&portal.statement), Some(portal))
            }
        };
        match statement.as_ref().as_ref().and_then(columns_of) {
            Some(columns) => {
                let format = |place| portal.map_or(Format::Text, |portal| portal.format(place));
                describe(columns, format, &mut self.io.out);
            }
            None => encode_no_data(&mut self.io.out),
        }
        Ok(())
    }

    async fn execute(&mut self, execute: &Execute<'_>) -> Result<(), ProxyError> {
        let Some(mut portal) = self.named.portals.remove(execute.portal) else {
            return Err(no_portal(execute.portal));
        };
        if portal.rest.is_none() {
            let Some(command) = portal.statement.as_ref().clone() else {
                encode_empty_query_response(&mut self.io.out);
                return Ok(());
            };
            match self.run(command).await? {
                Outcome::Done(tag) => {
                    self.complete(tag);
                    return Ok(());
                }
                Outcome::Rows(table, tag) => portal.rest = Some((table, tag, 0)),
            }
        }
        let Some((table, tag, given)) = portal.rest.take() else {
            return Err(ProxyError::internal());
        };
        let limit = usize::try_from(execute.max_rows).ok().filter(|&limit| limit > 0);
        let rows = table.rows.iter().skip(given);
        let format = |place| portal.format(place);
        for row in rows.take(limit.unwrap_or(usize::MAX)) {
            table.encode_row(row, format, &mut self.io.out)?;
        }
        let given = given.saturating_add(limit.unwrap_or(usize::MAX));
        // As in PostgreSQL, a limit that is reached exactly leaves the end to be found by the next Execute.
        if limit.is_some() && given <= table.rows.len() {
            encode_portal_suspended(&mut self.io.out);
            portal.rest = Some((table, tag, given));
        } else {
            self.complete(tag);
            let done = Table {
                columns: table.columns,
                rows: Vec::new(),
            };
            portal.rest = Some((done, tag, 0));
        }
        self.named.portals.insert(execute.portal.to_vec(), portal);
        Ok(())
    }

    fn close(&mut self, close: &Close<'_>) {
        match close.target {
            Target::Statement => {
                self.named.statements.remove(close.name);
                self.info.prepared_statements.set(self.named.statements.len());
            }
            Target::Portal => {
                self.named.portals.remove(close.name);
            }
        }
        encode_close_complete(&mut self.io.out);
    }

    fn statement(&self, name: &[u8]) -> Result<Statement, ProxyError> {
        self.named.statements.get(name).map(Rc::clone).ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!(
                    "prepared statement \"{}\" does not exist",
                    String::from_utf8_lossy(name)
                )
            };
            ProxyError::error(sqlstate::INVALID_SQL_STATEMENT_NAME, message)
        })
    }
}

fn no_portal(name: &[u8]) -> ProxyError {
    let name = String::from_utf8_lossy(name);
    ProxyError::error(
        sqlstate::INVALID_CURSOR_NAME,
        format!("portal \"{name}\" does not exist"),
    )
}

fn too_many(what: &str) -> ProxyError {
    ProxyError::error(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        format!("an administrator may keep {MAX_NAMED} {what}"),
    )
}
