//! COPY over the cluster: the client's rows to the shards that they belong to, the shards' rows to the client.

use super::backends::{CopyFrom, Protocol};
use super::parts::Frame;
use super::single::Form;
use super::{Client, Failure};
use merge::copy::{CopyRow, CsvEndMarker, KeyNull, RowKey, RowSplitter};
use planner::{CopyPlan, KeyValue, Part, Plan, slot_of, slot_of_null};
use topology::{KeyType, ShardId, SlotMap};
use wire::backend::{CommandComplete, encode_bind_complete, encode_no_data, encode_parse_complete};
use wire::copy::{CopyData, CopyFail, CopyResponse, encode_copy_done};
use wire::frame::{self, Scan};
use wire::{ProxyError, sqlstate};

/// What waits for one shard before it is sent.
const SEND_BATCH: usize = 32 << 10;
/// The signature and the fixed part of the header of COPY's binary format.
const BINARY_HEADER: usize = 19;
/// What ends a stream in COPY's binary format.
const BINARY_TRAILER: [u8; 2] = [0xff, 0xff];

/// Where the client's rows go.
enum Spread {
    /// All of them to every place.
    All,
    /// Each to the shard of its key.
    ByKey {
        splitter: Box<RowSplitter>,
        key_type: KeyType,
        map: std::sync::Arc<SlotMap>,
    },
}

/// A message of the client during COPY FROM STDIN.
enum FromClient {
    Data(bytes::BytesMut),
    Done,
    Fail(Vec<u8>),
    Sync,
}

/// How the client ended its data.
enum Ended {
    Done,
    Failed(Vec<u8>),
}

impl Client {
    /// Carries out COPY.
    pub(crate) async fn copy(&mut self, copy: &CopyPlan, plan: &Plan, form: &Form) -> Result<(), Failure> {
        let outcome = match copy {
            CopyPlan::Whole { shards } => self.copy_from(shards, Spread::All, plan, form).await,
            CopyPlan::ByRow {
                key_column,
                key_type,
                options,
            } => {
                let splitter =
                    RowSplitter::new(split_options(options)?, *key_column).map_err(refused_copy)?;
                let map = std::sync::Arc::clone(&self.database.snapshot().map);
                let shards: Vec<ShardId> = self.database.snapshot().shards.iter().map(|s| s.id).collect();
                let spread = Spread::ByKey {
                    splitter: Box::new(splitter),
                    key_type: *key_type,
                    map,
                };
                self.copy_from(&shards, spread, plan, form).await
            }
            CopyPlan::Gather { shards, options } => self.copy_to(shards, options, plan, form).await,
        };
        if outcome.is_err() {
            self.drain_all().await;
        }
        outcome
    }

    async fn copy_from(
        &mut self,
        shards: &[ShardId],
        spread: Spread,
        plan: &Plan,
        form: &Form,
    ) -> Result<(), Failure> {
        if let ([shard], Spread::All) = (shards, &spread) {
            let at = self.acquire(*shard, plan).await?;
            return self.forward(at, plan, form).await;
        }
        self.begin_implicit();
        let parts: Vec<Part> = shards
            .iter()
            .map(|shard| Part {
                shard: *shard,
                text: None,
            })
            .collect();
        let places = self.send_parts(plan, &parts, form, 0).await?;
        let protocol = match form {
            Form::Simple(_) => Protocol::Simple,
            Form::Extended(_) => Protocol::Extended,
        };
        self.note_copy(&places, CopyFrom::Asked(protocol));
        let mut ready = None;
        for at in &places {
            self.note_ran(*at, plan);
            let frame = self.start_of_copy(*at, b'G').await?;
            self.note_copy(&[*at], CopyFrom::Taking(protocol));
            ready.get_or_insert(frame);
        }
        self.answered_by_servers(&places, plan.access);
        self.begin_copy(ready, form);
        let ended = self.pump(&places, spread, form).await?;
        self.end_copy(&places, &ended, form).await?;
        let mut rows = Vec::with_capacity(places.len());
        for at in &places {
            rows.push(self.rest_of_copy(*at).await?);
        }
        let total = copied(&rows, plan);
        self.complete(&format!("COPY {}", total?), form);
        Ok(())
    }

    fn note_copy(&mut self, places: &[usize], copy: CopyFrom) {
        for at in places {
            if let Some(participant) = self.participants.get_mut(*at) {
                participant.copy = copy;
            }
        }
    }

    /// Tells a participant that waits for COPY data, or is known to have been sent a COPY that begins now, that none comes.
    pub(crate) async fn fail_copy(&mut self, at: usize) -> Result<(), Failure> {
        let Some(participant) = self.participants.get_mut(at) else {
            return Ok(());
        };
        let copy = std::mem::replace(&mut participant.copy, CopyFrom::No);
        let (CopyFrom::Asked(protocol) | CopyFrom::Taking(protocol)) = copy else {
            return Ok(());
        };
        let out = participant.backend.unsent();
        CopyFail {
            reason: b"ringway: the COPY was given up",
        }
        .encode(out);
        // The Sync behind its Execute came while it was in COPY, where a server ignores it.
        if protocol == Protocol::Extended {
            wire::frontend::encode_sync(out);
        }
        self.push(at).await
    }

    /// A server that took COPY FROM by a statement of one shard: passes the data on and waits for the end.
    pub(crate) async fn copy_in(&mut self, at: usize, form: &Form) -> Result<(), Failure> {
        if let Some(participant) = self.participants.get_mut(at) {
            participant.readies_due = 1;
        }
        let ended = self.pump(&[at], Spread::All, form).await?;
        self.end_copy(&[at], &ended, form).await?;
        // The relay that goes on from here sees to the ReadyForQuery.
        if let Some(participant) = self.participants.get_mut(at) {
            participant.readies_due = 0;
        }
        Ok(())
    }

    /// Reads a participant up to the message that starts COPY.
    async fn start_of_copy(&mut self, at: usize, wanted: u8) -> Result<Frame, Failure> {
        loop {
            let frame = self.next_of_statement(at).await?;
            match frame.tag {
                tag if tag == wanted => return Ok(frame),
                b'1' | b'2' | b'n' => {}
                _ => return Err(ProxyError::internal().into()),
            }
        }
    }

    /// Reads the command tag and ReadyForQuery after COPY; gives the rows.
    async fn rest_of_copy(&mut self, at: usize) -> Result<u64, Failure> {
        let mut rows = 0;
        loop {
            let frame = self.next_of_statement(at).await?;
            match frame.tag {
                b'C' => {
                    let body = frame.body();
                    rows = CommandComplete::decode(&body)
                        .map_err(ProxyError::from)?
                        .rows()
                        .unwrap_or(0);
                }
                b'Z' => return Ok(rows),
                b'c' | b'd' => {}
                _ => return Err(ProxyError::internal().into()),
            }
        }
    }

    fn begin_copy(&mut self, response: Option<Frame>, form: &Form) {
        let out = &mut self.io.out;
        if let Form::Extended(extended) = form {
            if extended.parse_pending {
                encode_parse_complete(out);
            }
            encode_bind_complete(out);
            if extended.describe {
                encode_no_data(out);
            }
        }
        if let Some(response) = response {
            out.extend_from_slice(&response.bytes);
        }
    }

    /// Takes the client's data until it ends it.
    async fn pump(&mut self, places: &[usize], mut spread: Spread, form: &Form) -> Result<Ended, Failure> {
        self.io.flush().await.map_err(|_| Failure::ClientGone)?;
        loop {
            match self.copy_message().await? {
                FromClient::Data(data) => {
                    if let Err(failure) = self.spread(places, &mut spread, Some(&data)) {
                        return self.refuse_copy(failure, form).await;
                    }
                }
                FromClient::Done => {
                    if let Err(failure) = self.spread(places, &mut spread, None) {
                        return self.refuse_copy(failure, form).await;
                    }
                    return Ok(Ended::Done);
                }
                FromClient::Fail(reason) => return Ok(Ended::Failed(reason)),
                // A server in COPY ignores Sync, and so does this.
                FromClient::Sync => {}
            }
            for at in places {
                if self
                    .participants
                    .get(*at)
                    .is_some_and(|p| p.backend.unsent_len() >= SEND_BATCH)
                {
                    self.push(*at).await?;
                }
            }
        }
    }

    /// Rows that can't be routed. The shards are told by [`Client::drain`], the client here if it goes on sending.
    async fn refuse_copy(&mut self, failure: Failure, form: &Form) -> Result<Ended, Failure> {
        match (form, failure) {
            // The client hears of it while it sends. Its Sync after the data is the one that is answered.
            (Form::Extended(_), Failure::Proxy(error)) => {
                error.encode(&mut self.io.out);
                self.io.flush().await.map_err(|_| Failure::ClientGone)?;
                while !matches!(self.copy_message().await?, FromClient::Sync) {}
                Err(Failure::Reported)
            }
            (_, failure) => Err(failure),
        }
    }

    /// Queues rows for their shards; `None` is the end of the data.
    fn spread(&mut self, places: &[usize], spread: &mut Spread, data: Option<&[u8]>) -> Result<(), Failure> {
        let participants = &mut self.participants;
        match spread {
            Spread::All => {
                for at in places {
                    if let (Some(participant), Some(data)) = (participants.get_mut(*at), data) {
                        CopyData { data }.encode(participant.backend.unsent());
                    }
                }
                Ok(())
            }
            Spread::ByKey {
                splitter,
                key_type,
                map,
            } => {
                let mut place = |row: CopyRow<'_>| -> Result<(), CopyRefusal> {
                    let shard = match &row.key {
                        RowKey::Header => None,
                        RowKey::Value(text) => {
                            let key = KeyValue::from_text(*key_type, text).map_err(bad_key)?;
                            if !key.is_stored_uncut() {
                                return Err(key_may_be_cut());
                            }
                            Some(map.owner(slot_of(&key)))
                        }
                        RowKey::Null => Some(map.owner(slot_of_null())),
                        RowKey::Missing => participants.first().map(|p| p.backend.shard),
                    };
                    for at in places {
                        if let Some(participant) = participants.get_mut(*at)
                            && shard.is_none_or(|shard| participant.backend.shard == shard)
                        {
                            CopyData { data: row.bytes }.encode(participant.backend.unsent());
                        }
                    }
                    Ok(())
                };
                let done = match data {
                    Some(data) => splitter.feed(data, &mut place),
                    None => splitter.finish(&mut place),
                };
                done.map_err(|CopyRefusal(error)| error.into())
            }
        }
    }

    async fn end_copy(&mut self, places: &[usize], ended: &Ended, form: &Form) -> Result<(), Failure> {
        let extended = matches!(form, Form::Extended(_));
        for at in places {
            if let Some(participant) = self.participants.get_mut(*at) {
                participant.copy = CopyFrom::No;
                let out = participant.backend.unsent();
                match ended {
                    Ended::Done => encode_copy_done(out),
                    Ended::Failed(reason) => CopyFail { reason }.encode(out),
                }
                // In COPY the server ignored the Sync that came with Execute.
                if extended {
                    wire::frontend::encode_sync(out);
                }
            }
            self.push(*at).await?;
        }
        // And so does a client count: its own Sync after the data is the one that is answered.
        if extended {
            while !matches!(self.copy_message().await?, FromClient::Sync) {}
        }
        Ok(())
    }

    /// The next message of the client during COPY.
    async fn copy_message(&mut self) -> Result<FromClient, Failure> {
        let limit = self.thread.settings().limits.max_packet_size;
        self.consume_request();
        loop {
            match frame::scan(&self.io.input, limit) {
                Scan::Frame { tag, len } => {
                    let mut message = self.io.input.split_to(len);
                    match tag {
                        b'd' => return Ok(FromClient::Data(message.split_off(frame::HEADER_LEN))),
                        b'c' => return Ok(FromClient::Done),
                        b'f' => {
                            let reason = CopyFail::decode(frame::body(&message))
                                .map_err(ProxyError::from)?
                                .reason;
                            return Ok(FromClient::Fail(reason.to_vec()));
                        }
                        b'S' => return Ok(FromClient::Sync),
                        b'H' => {}
                        b'X' => return Err(Failure::ClientGone),
                        _ => {
                            return Err(ProxyError::protocol_violation(format!(
                                "unexpected message type 0x{tag:02X} during COPY from stdin"
                            ))
                            .into());
                        }
                    }
                }
                Scan::NeedMore { .. } => {
                    if !self.io.read_more().await.unwrap_or(false) {
                        return Err(Failure::ClientGone);
                    }
                }
                Scan::Malformed(error) => return Err(ProxyError::from(error).into()),
            }
        }
    }

    /// COPY TO from several shards: their rows one after the other.
    async fn copy_to(
        &mut self,
        shards: &[ShardId],
        options: &sql::CopyOptions,
        plan: &Plan,
        form: &Form,
    ) -> Result<(), Failure> {
        let parts: Vec<Part> = shards
            .iter()
            .map(|shard| Part {
                shard: *shard,
                text: None,
            })
            .collect();
        let places = self.send_parts(plan, &parts, form, 0).await?;
        let mut total = 0;
        for (n, at) in places.iter().enumerate() {
            let response = self.start_of_copy(*at, b'H').await?;
            if n == 0 {
                let body = response.body();
                CopyResponse::decode(&body).map_err(ProxyError::from)?;
                self.begin_copy(Some(response), form);
            }
            total += self
                .gather_one(*at, n == 0, n + 1 == places.len(), options)
                .await?;
            self.note_ran(*at, plan);
        }
        self.answered_by_servers(&places, plan.access);
        encode_copy_done(&mut self.io.out);
        self.complete(&format!("COPY {total}"), form);
        Ok(())
    }

    /// Passes on one shard's rows, without the header and trailer that come once for all.
    async fn gather_one(
        &mut self,
        at: usize,
        first: bool,
        last: bool,
        options: &sql::CopyOptions,
    ) -> Result<u64, Failure> {
        let binary = options.format == sql::CopyFormat::Binary;
        let mut skip_header = !first && options.header != sql::CopyHeader::Off;
        let mut skip_signature = !first && binary;
        let mut rows = 0;
        loop {
            let frame = self.next_of_statement(at).await?;
            match frame.tag {
                b'd' => {
                    let mut data = frame.body();
                    if std::mem::take(&mut skip_signature) {
                        data = data.slice(BINARY_HEADER.min(data.len())..);
                    }
                    let trailer = binary && !last && data[..] == BINARY_TRAILER;
                    if !std::mem::take(&mut skip_header) && !trailer && !data.is_empty() {
                        CopyData { data: &data }.encode(&mut self.io.out);
                        self.flush_if_full().await?;
                    }
                }
                b'c' => {}
                b'C' => {
                    let body = frame.body();
                    rows = CommandComplete::decode(&body)
                        .map_err(ProxyError::from)?
                        .rows()
                        .unwrap_or(0);
                }
                b'Z' => return Ok(rows),
                _ => return Err(ProxyError::internal().into()),
            }
        }
    }
}

/// How many rows the client is told: every shard's in a sharded table, one copy's in a reference table.
fn copied(rows: &[u64], plan: &Plan) -> Result<u64, Failure> {
    match &plan.route {
        planner::Route::Copy(CopyPlan::Whole { .. }) => {
            let first = rows.first().copied().unwrap_or(0);
            if rows.iter().any(|n| *n != first) {
                return Err(ProxyError::error(
                    sqlstate::DATA_CORRUPTED,
                    "the copies of a reference table took different numbers of rows",
                )
                .into());
            }
            Ok(first)
        }
        _ => Ok(rows.iter().sum()),
    }
}

/// Why a row has no shard.
struct CopyRefusal(ProxyError);

impl From<merge::CopyError> for CopyRefusal {
    fn from(error: merge::CopyError) -> Self {
        Self(refused_copy(error))
    }
}

fn refused_copy(error: merge::CopyError) -> ProxyError {
    ProxyError::error(sqlstate::BAD_COPY_FILE_FORMAT, error.to_string())
        .with_hint("Rows are sent to the shard of their key, so Ringway has to find where each row ends.")
}

fn bad_key(error: planner::KeyError) -> CopyRefusal {
    CopyRefusal(
        ProxyError::error(
            sqlstate::INVALID_TEXT_REPRESENTATION,
            "the shard key of a row can't be read",
        )
        .with_detail(error.to_string()),
    )
}

fn key_may_be_cut() -> CopyRefusal {
    CopyRefusal(ProxyError::unsupported(
        "the shard key of a row may not be stored as it is",
        "Text that ends with a blank may lose it in a varchar(n), and a timestamp may be rounded: the row would be on the wrong shard.",
        "Copy shard keys without trailing blanks and fractions of seconds.",
    ))
}

/// The options as the splitter takes them.
fn split_options(options: &sql::CopyOptions) -> Result<merge::copy::CopyOptions, ProxyError> {
    let mut split = match options.format {
        sql::CopyFormat::Text => merge::copy::CopyOptions::text(),
        sql::CopyFormat::Csv => merge::copy::CopyOptions::csv(),
        sql::CopyFormat::Binary => {
            return Err(ProxyError::unsupported(
                "COPY in binary format into a sharded table is not supported",
                "The rows of the binary format are not split by shard.",
                "Use the text or the CSV format.",
            ));
        }
    };
    let byte = |text: &Option<String>, default: u8| match text.as_deref().map(str::as_bytes) {
        None => Ok(default),
        Some([byte]) => Ok(*byte),
        Some(_) => Err(ProxyError::error(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "COPY delimiter, quote and escape must be a single one-byte character",
        )),
    };
    split.delimiter = byte(&options.delimiter, split.delimiter)?;
    if let Some(null) = &options.null {
        split.null = null.as_bytes().to_vec();
    }
    if options.header != sql::CopyHeader::Off {
        split.header = merge::copy::Header::Present;
    }
    if let merge::copy::CopyFormat::Csv(csv) = &mut split.format {
        csv.quote = byte(&options.quote, csv.quote)?;
        csv.escape = byte(&options.escape, csv.quote)?;
        csv.end_marker = CsvEndMarker::Ends;
        csv.key_null = KeyNull::Unquoted;
    }
    Ok(split)
}
