//! What a server's answers say of the session.

use crate::client::greeting::Greeted;
use crate::data::thread::PlanRef;
use bytes::BytesMut;
use session::relay::{Fault, Reported, Watch, survivable};
use session::{ClientStatements, Settings};
use smallvec::SmallVec;
use wire::backend::ParameterStatus;
use wire::{TransactionStatus, frame};

/// What was seen of answers on their way.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What the last ReadyForQuery said.
    pub(super) status: Option<TransactionStatus>,
    /// The last command tag of the statement that is followed.
    pub(super) tag: SmallVec<[u8; 16]>,
    /// Errors of the statement that is followed.
    pub(super) errors: u32,
    /// How many statements of the text that is followed are done.
    pub(super) completed: usize,
    /// Commands that change what names mean.
    pub(super) catalog_changed: bool,
    /// Statements prepared on the connection are gone.
    pub(super) deallocated: bool,
    /// A prepared statement doesn't fit the tables any more.
    pub(super) stale_statement: bool,
    /// Settings that the proxy itself goes by.
    pub(super) reported: Vec<Reported>,
    /// What the client was told of settings since its login, where it was told anything.
    told: Vec<Reported>,
}

/// Looks at answers on their way to one client.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    /// What was seen.
    pub(super) seen: &'a mut Seen,
    /// The client's statements, for errors that name one.
    pub(super) statements: &'a ClientStatements<PlanRef>,
    /// What the client was told at its login.
    pub(super) greeted: Option<&'a Greeted>,
    /// What the client began with, while a RESET is under way.
    pub(super) restored: Option<Restored<'a>>,
}

/// Settings of the client's startup: RESET goes back to them. The server connection didn't begin with them, and reports its own.
#[derive(Debug)]
pub(super) struct Restored<'a> {
    /// As the client wrote them.
    pub(super) startup: &'a Settings,
    /// As the server reported them.
    pub(super) greeted: &'a Greeted,
}

impl Restored<'_> {
    fn value_of(&self, name: &[u8]) -> Option<&str> {
        let name = std::str::from_utf8(name).ok()?;
        self.startup.get(&name.to_ascii_lowercase())?;
        self.greeted.reported(name)
    }
}

/// Settings that the proxy itself goes by.
const HEEDED: [&[u8]; 3] = [
    b"application_name",
    b"client_encoding",
    b"standard_conforming_strings",
];

impl Seen {
    /// The client is to be told a setting. Whether that is news to it.
    pub(super) fn is_news(&mut self, name: &[u8], value: &[u8], greeted: Option<&Greeted>) -> bool {
        if let Some((_, told)) = self.told.iter_mut().find(|(told, _)| **told == *name) {
            let is_news = **told != *value;
            *told = value.into();
            return is_news;
        }
        self.told.push((name.into(), value.into()));
        let name = std::str::from_utf8(name).unwrap_or_default();
        let began = greeted.and_then(|greeted| greeted.reported(name));
        began.map(str::as_bytes) != Some(value)
    }

    fn see_tag(&mut self, tag: &[u8]) {
        self.tag = SmallVec::from_slice(tag);
        self.completed += 1;
        match tag.first() {
            Some(b'C' | b'A' | b'D' | b'G' | b'R' | b'I') => {
                self.catalog_changed |= super::super::changes_catalog(tag);
                self.deallocated |= tag == b"DEALLOCATE ALL" || tag == b"DISCARD ALL";
            }
            Some(b'S') => self.catalog_changed |= tag.starts_with(b"SELECT INTO"),
            _ => {}
        }
    }

    fn see_error(&mut self, frame: &[u8]) -> Result<(), Fault> {
        const REVALIDATION: &[u8] = b"RevalidateCachedQuery";
        let fields = survivable(frame)?;
        self.errors += 1;
        self.stale_statement |= fields.get(b'R') == Some(REVALIDATION);
        Ok(())
    }
}

impl Watch for Watcher<'_> {
    const PUMPS: bool = true;

    #[inline]
    fn see(&mut self, tag: u8, frame: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let body = frame::body(frame);
        match tag {
            b'C' => self.seen.see_tag(body.strip_suffix(&[0]).unwrap_or(body)),
            b'Z' => self.seen.status = body.first().copied().and_then(TransactionStatus::from_byte),
            b'E' => {
                self.seen.see_error(frame)?;
                return Ok(super::names::with_clients_name(frame, self.statements));
            }
            b'S' => {
                let Ok(status) = ParameterStatus::decode(body) else {
                    return Ok(None);
                };
                let restored = self
                    .restored
                    .as_ref()
                    .and_then(|restored| restored.value_of(status.name));
                let value = restored.map_or(status.value, str::as_bytes);
                if HEEDED.contains(&status.name) {
                    self.seen.reported.push((status.name.into(), value.into()));
                }
                if !self.seen.is_news(status.name, value, self.greeted) {
                    // The server had another value for another client, or for the moment.
                    return Ok(Some(Vec::new()));
                }
                if restored.is_some() {
                    let mut told = Vec::new();
                    ParameterStatus { value, ..status }.encode(&mut told);
                    return Ok(Some(told));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn pass(&mut self, bytes: &[u8], out: &mut BytesMut) {
        out.extend_from_slice(bytes);
    }

    fn withholds_ready(&self) -> bool {
        false
    }
}
