//! What a server's answers say of the session.

use crate::data::relay::{RelayError, Reported, Watch, survivable};
use crate::data::thread::PlanRef;
use bytes::BytesMut;
use session::ClientStatements;
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
    /// Errors since this was looked at.
    pub(super) errors: u32,
    /// Commands that change what names mean.
    pub(super) catalog_changed: bool,
    /// Statements prepared on the connection are gone.
    pub(super) deallocated: bool,
    /// A prepared statement doesn't fit the tables any more.
    pub(super) stale_statement: bool,
    /// Settings that the proxy itself goes by.
    pub(super) reported: Vec<Reported>,
}

/// Looks at answers on their way to one client.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    /// What was seen.
    pub(super) seen: &'a mut Seen,
    /// The client's statements, for errors that name one.
    pub(super) statements: &'a ClientStatements<PlanRef>,
}

/// Settings that the proxy itself goes by.
const HEEDED: [&[u8]; 3] = [
    b"application_name",
    b"client_encoding",
    b"standard_conforming_strings",
];

impl Seen {
    fn see_tag(&mut self, tag: &[u8]) {
        self.tag = SmallVec::from_slice(tag);
        match tag.first() {
            Some(b'C' | b'A' | b'D' | b'G' | b'R' | b'I') => {
                self.catalog_changed |= super::super::changes_catalog(tag);
                self.deallocated |= tag == b"DEALLOCATE ALL" || tag == b"DISCARD ALL";
            }
            Some(b'S') => self.catalog_changed |= tag.starts_with(b"SELECT INTO"),
            _ => {}
        }
    }

    fn see_error(&mut self, frame: &[u8]) -> Result<(), RelayError> {
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
    fn see(&mut self, tag: u8, frame: &[u8]) -> Result<Option<Vec<u8>>, RelayError> {
        let body = frame::body(frame);
        match tag {
            b'C' => self.seen.see_tag(body.strip_suffix(&[0]).unwrap_or(body)),
            b'Z' => self.seen.status = body.first().copied().and_then(TransactionStatus::from_byte),
            b'E' => {
                self.seen.see_error(frame)?;
                return Ok(super::names::with_clients_name(frame, self.statements));
            }
            b'S' => {
                if let Ok(status) = ParameterStatus::decode(body)
                    && HEEDED.contains(&status.name)
                {
                    self.seen.reported.push((status.name.into(), status.value.into()));
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
