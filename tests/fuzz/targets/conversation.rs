//! Both sides at once: a client that says anything, a server that answers as PostgreSQL does or says anything as well, and the
//! bytes of both in any pieces.

use std::collections::VecDeque;

use anyhow::{Result, ensure};
use bytes::BytesMut;
use session::relay::{Cursor, Fault, RelayEnd, Watch, survivable, take};
use session::{Expected, ReplyTracker, StatementId};

use crate::target::{Script, Target, Trace, variant};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("conversation", conversation, conversations)
        .weight(16)
        .memory(MEMORY, 2048),
    Target::new("answers", answers, answer_scripts)
        .weight(12)
        .memory(MEMORY, 2048),
];

/// A row that is forwarded in pieces, a few times over.
const MEMORY: usize = 2 << 20;
/// Rows up to this length: more than what is held.
const LONG_ROW: usize = 20 << 10;
/// Long rows in one conversation.
const LONG_ROWS: usize = 4;

/// What the client, or Ringway in between, sends to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    /// A message of the extended protocol that is answered by one frame with this tag.
    Simple(u8),
    /// Describe of a statement.
    Describe,
    /// Execute of something with rows, or of a COPY.
    Execute(Work),
    Query(Work),
    Sync,
    Flush,
    CopyData,
    CopyDone,
    CopyFail,
    /// Kept back: the client gets the frame with this tag.
    Local(u8),
    /// Put in by Ringway, answered by one frame with this tag.
    Injected(u8),
    /// Put in by Ringway: a query of its own, or a batch with its own Sync.
    InjectedQuery,
    InjectedBatch,
    /// Put in by Ringway where it isn't sure what is owed: a query without a statement.
    Settling,
}

/// What a statement does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    Rows(u8),
    LongRow,
    Nothing,
    CopyIn,
    CopyOut,
    Call,
}

/// A message on its way to the server, and whether it will fail there.
#[derive(Clone, Copy, Debug)]
struct Message {
    said: Said,
    fails: bool,
}

/// Where the server stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Ready,
    /// After an error, up to Sync.
    Skipping,
    CopyInOfQuery,
    CopyInOfExecute,
}

/// A PostgreSQL, as far as the order of its answers goes.
struct Server {
    standing: Standing,
    /// What it says.
    says: Vec<u8>,
    /// What of it the client would be told without Ringway between them.
    owed: Vec<u8>,
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 4).unwrap_or(4).to_be_bytes();
    [&[tag][..], &len, body].concat()
}

const ERROR: &[u8] = b"SERROR\0VERROR\0C22012\0Mno\0\0";

impl Server {
    fn tell(&mut self, tag: u8, body: &[u8]) {
        let frame = frame(tag, body);
        self.says.extend_from_slice(&frame);
        self.owed.extend_from_slice(&frame);
    }

    fn fail(&mut self) {
        self.tell(b'E', ERROR);
    }

    /// Takes one message.
    fn take(&mut self, message: Message) {
        match self.standing {
            Standing::CopyInOfQuery | Standing::CopyInOfExecute => return self.take_in_copy(message),
            Standing::Skipping if message.said != Said::Sync => return,
            Standing::Skipping | Standing::Ready => {}
        }
        self.standing = Standing::Ready;
        match message.said {
            Said::Sync => self.tell(b'Z', b"I"),
            Said::Flush | Said::CopyData | Said::CopyDone | Said::CopyFail => {}
            Said::Query(_) if message.fails => {
                self.fail();
                self.tell(b'Z', b"E");
            }
            Said::Query(work) => {
                self.work(work, Standing::CopyInOfQuery, true);
                if self.standing == Standing::Ready {
                    self.tell(b'Z', b"I");
                }
            }
            Said::Local(tag) => self.owed.extend_from_slice(&frame(tag, b"")),
            Said::InjectedQuery => {
                for (tag, body) in [(b'S', &b"a\0b\0"[..]), (b'C', b"SET\0"), (b'Z', b"I")] {
                    self.says.extend_from_slice(&frame(tag, body));
                }
            }
            Said::Settling => {
                self.says.extend_from_slice(&frame(b'I', b""));
                self.says.extend_from_slice(&frame(b'Z', b"I"));
            }
            Said::InjectedBatch if message.fails => {
                self.says.extend_from_slice(&frame(b'E', ERROR));
                self.says.extend_from_slice(&frame(b'Z', b"I"));
            }
            Said::InjectedBatch => {
                self.says.extend_from_slice(&frame(b'1', b""));
                self.says.extend_from_slice(&frame(b'Z', b"I"));
            }
            _ if message.fails => {
                self.fail();
                self.standing = Standing::Skipping;
            }
            Said::Injected(tag) => self.says.extend_from_slice(&frame(tag, b"")),
            Said::Simple(tag) => self.tell(tag, b""),
            Said::Describe => {
                self.tell(b't', b"\0\0");
                self.tell(b'n', b"");
            }
            Said::Execute(work) => self.work(work, Standing::CopyInOfExecute, false),
        }
    }

    fn work(&mut self, work: Work, copying: Standing, described: bool) {
        let row = [&b"\0\x01\0\0\0\x02"[..], b"42"].concat();
        match work {
            Work::Rows(count) => {
                if described {
                    self.tell(b'T', b"\0\0");
                }
                for _ in 0..count {
                    self.tell(b'D', &row);
                }
                self.tell(b'C', b"SELECT\0");
            }
            Work::LongRow => {
                self.tell(b'D', &[b'x'; LONG_ROW]);
                self.tell(b'N', b"SNOTICE\0C00000\0Mx\0\0");
                self.tell(b'C', b"SELECT 1\0");
            }
            Work::Nothing => self.tell(b'I', b""),
            Work::CopyOut => {
                self.tell(b'H', b"\0\0\0");
                self.tell(b'd', b"row\n");
                self.tell(b'c', b"");
                self.tell(b'C', b"COPY 1\0");
            }
            Work::Call if described => self.tell(b'V', b"\xff\xff\xff\xff"),
            Work::Call => self.tell(b's', b""),
            Work::CopyIn => {
                self.tell(b'G', b"\0\0\0");
                self.standing = copying;
            }
        }
    }

    fn take_in_copy(&mut self, message: Message) {
        let query = self.standing == Standing::CopyInOfQuery;
        let failed = match message.said {
            Said::CopyDone => message.fails,
            Said::CopyFail => true,
            Said::CopyData if message.fails => true,
            // Sync and Flush are for others; nothing else is sent while a COPY may be open.
            _ => return,
        };
        self.standing = if failed && !query {
            Standing::Skipping
        } else {
            Standing::Ready
        };
        if failed {
            self.fail();
        } else {
            self.tell(b'C', b"COPY 2\0");
        }
        if query {
            self.tell(b'Z', b"I");
        }
    }
}

/// A client, Ringway and a server.
struct Talk {
    tracker: ReplyTracker,
    cursor: Cursor,
    out: BytesMut,
    server: Server,
    /// Sent and not yet taken by the server.
    way: VecDeque<Message>,
    /// Of what the server has said, what Ringway has read.
    read: usize,
    copy: CopyOfClient,
    /// Messages of the extended protocol that no Sync followed.
    open: bool,
    long: usize,
}

/// COPY as the client sees it.
#[derive(Clone, Copy, Default, Debug)]
struct CopyOfClient {
    /// It may be in the middle of one.
    open: bool,
    /// There was one since everything was quiet: until then nothing of Ringway's own is put in.
    was: bool,
    /// A Sync was sent in the middle of it: if it fails, only the server knows whether it answers. A client that does this
    /// waits for the end before it goes on; else its connection may be lost.
    synced: bool,
}

/// Hands everything on, as for a client of the direct way.
struct Direct;

impl Watch for Direct {
    const PUMPS: bool = true;

    fn see(&mut self, tag: u8, frame: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        if tag == b'E' {
            survivable(frame)?;
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

impl Talk {
    fn new() -> Self {
        Self {
            tracker: ReplyTracker::new(),
            cursor: Cursor::default(),
            out: BytesMut::new(),
            server: Server {
                standing: Standing::Ready,
                says: Vec::new(),
                owed: Vec::new(),
            },
            way: VecDeque::new(),
            read: 0,
            copy: CopyOfClient::default(),
            open: false,
            long: 0,
        }
    }

    fn send(&mut self, said: Said, expected: Option<Expected>, fails: bool) {
        self.way.push_back(Message { said, fails });
        expected
            .into_iter()
            .for_each(|expected| self.tracker.expect(expected));
    }

    /// The client says something.
    fn say(&mut self, script: &mut Script<'_>) {
        let choice = script.byte();
        let fails = choice >= 0xe0;
        let id = StatementId(u64::from(choice % 5) + 1);
        if self.copy.open {
            return self.say_in_copy(choice, fails);
        }
        if self.copy.synced {
            return;
        }
        if self.tracker.is_unsure() && self.tracker.is_done() && !self.open && !self.tracker.is_skipping() {
            self.send(Said::Settling, Some(Expected::Settling), false);
        }
        let own = !self.copy.was && !self.tracker.is_unsure();
        match choice % 16 {
            0 => self.extended(Said::Simple(b'1'), Expected::NamedParse(id), fails),
            1 => self.extended(Said::Simple(b'1'), Expected::UnnamedParse, fails),
            2 if own => self.extended(Said::Local(b'1'), Expected::LocalNamedParse, false),
            3 if own => self.extended(Said::Local(b'3'), Expected::LocalClose, false),
            4 | 5 => {
                if own && choice & 0x10 != 0 {
                    self.extended(Said::Injected(b'3'), Expected::InjectedClose(Some(id)), false);
                    self.extended(Said::Injected(b'1'), Expected::InjectedParse(id), false);
                }
                self.extended(Said::Simple(b'2'), Expected::Bind, fails);
            }
            6 => self.extended(Said::Describe, Expected::DescribeStatement, fails),
            7 => self.extended(Said::Simple(b'T'), Expected::DescribePortal, fails),
            8 => self.extended(Said::Simple(b'3'), Expected::NamedClose, fails),
            9 | 10 => {
                let work = self.work(script);
                self.extended(Said::Execute(work), Expected::Execute, fails);
            }
            11 => {
                if own && !self.open && choice & 0x10 != 0 {
                    self.send(
                        Said::InjectedBatch,
                        Some(Expected::InjectedBatch),
                        choice & 0x20 != 0,
                    );
                }
                if own && !self.open && choice & 0x40 != 0 {
                    self.send(Said::InjectedQuery, Some(Expected::InjectedQuery), false);
                }
                let work = self.work(script);
                self.send(Said::Query(work), Some(Expected::Query), fails);
            }
            12 => self.send(Said::Flush, None, false),
            13 => self.send(Said::CopyDone, Some(Expected::CopyEnd), false),
            _ => {
                self.send(Said::Sync, Some(Expected::Sync), false);
                self.open = false;
            }
        }
    }

    fn say_in_copy(&mut self, choice: u8, fails: bool) {
        match choice % 8 {
            0 => {
                self.send(Said::Sync, Some(Expected::Sync), false);
                self.copy.synced = true;
            }
            1 => self.send(Said::Flush, None, false),
            2 | 3 => {
                let said = if choice % 8 == 2 {
                    Said::CopyDone
                } else {
                    Said::CopyFail
                };
                self.send(said, Some(Expected::CopyEnd), fails);
                self.copy.open = false;
            }
            _ => self.send(Said::CopyData, None, fails),
        }
    }

    fn extended(&mut self, said: Said, expected: Expected, fails: bool) {
        self.open = true;
        self.send(said, Some(expected), fails);
    }

    fn work(&mut self, script: &mut Script<'_>) -> Work {
        let choice = script.byte();
        match choice % 8 {
            0 if self.long < LONG_ROWS => {
                self.long += 1;
                Work::LongRow
            }
            1 => Work::Nothing,
            2 => {
                self.copy.open = true;
                self.copy.was = true;
                Work::CopyIn
            }
            3 => Work::CopyOut,
            4 => Work::Call,
            _ => Work::Rows(choice >> 5),
        }
    }

    /// Ringway reads so much of what the server has said.
    fn read(&mut self, count: usize, trace: &mut Trace) -> Result<()> {
        let said = self.server.says.get(self.read..).unwrap_or_default();
        let piece = said.get(..count.min(said.len())).unwrap_or_default();
        let end = take(
            piece,
            &mut self.cursor,
            &mut self.tracker,
            &mut Direct,
            &mut self.out,
        );
        let end = end.map_err(|fault| anyhow::anyhow!("{fault}: {self}"))?;
        trace.saw(end.as_ref().map_or(1, variant));
        ensure!(end.is_none_or(|end| end == RelayEnd::Flushed), "{end:?}");
        self.read += piece.len();
        self.pass_over();
        let owed = &self.server.owed;
        ensure!(owed.starts_with(&self.out), "told {:?} of {:?}", self.out, owed);
        Ok(())
    }

    /// What Ringway answers by itself waits for nothing that the server answers not at all.
    fn pass_over(&mut self) {
        while let Some(message) = self.way.front().copied() {
            let silent = matches!(
                message.said,
                Said::Flush | Said::CopyData | Said::CopyDone | Said::CopyFail
            );
            let ready = self.server.standing == Standing::Ready;
            if !(matches!(message.said, Said::Local(_)) || (silent && ready)) {
                return;
            }
            self.way.pop_front();
            self.server.take(message);
        }
    }

    /// Everything that is under way arrives.
    fn settle(&mut self, trace: &mut Trace) -> Result<()> {
        while let Some(message) = self.way.pop_front() {
            self.server.take(message);
        }
        self.tracker.emit_local(&mut self.out);
        self.read(usize::MAX, trace)?;
        ensure!(
            self.out == self.server.owed,
            "told {:?} of {:?}",
            self.out,
            self.server.owed
        );
        ensure!(self.cursor.is_at_rest());
        let in_copy = matches!(
            self.server.standing,
            Standing::CopyInOfQuery | Standing::CopyInOfExecute
        );
        ensure!(
            self.tracker.is_done() || in_copy || self.tracker.is_unsure(),
            "{:?}",
            self.tracker
        );
        if self.tracker.is_done() && !in_copy && !self.copy.open {
            self.copy.was = false;
        }
        self.copy.synced &= self.copy.open;
        Ok(())
    }
}

impl std::fmt::Display for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, after {} bytes of the server", self.tracker, self.read)
    }
}

/// An honest server: the client gets exactly what it would get without Ringway, however both sides' bytes arrive.
fn conversation(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut script = Script::new(input);
    let mut talk = Talk::new();
    while !script.is_over() {
        let choice = script.byte();
        match choice % 8 {
            0..=3 => talk.say(&mut script),
            4 => {
                if let Some(message) = talk.way.pop_front() {
                    talk.server.take(message);
                }
            }
            5 => talk.settle(trace)?,
            _ => {
                talk.tracker.emit_local(&mut talk.out);
                let count = usize::from(choice >> 3) + 1;
                talk.read(if choice >= 0xf0 { LONG_ROW } else { count }, trace)?;
            }
        }
        let flags = [
            talk.tracker.is_done(),
            talk.tracker.is_skipping(),
            talk.tracker.is_unsure(),
            talk.copy.open,
            talk.open,
        ];
        let flags = flags.iter().fold(1, |all, flag| all << 1 | u64::from(*flag));
        let sent = talk.way.back().map_or(0, |message| variant(&message.said));
        trace.saw(flags ^ variant(&talk.server.standing) ^ sent ^ u64::from(choice % 8));
    }
    talk.settle(trace)
}

fn conversations() -> Vec<Vec<u8>> {
    let say = |choices: &[u8]| -> Vec<u8> { choices.iter().flat_map(|choice| [0, *choice]).collect() };
    // Choices of `say`; Execute and Query take one more byte for what they do.
    let extended = [&say(&[0, 20, 7])[..], &[0, 9, 0x65], &say(&[15])].concat();
    let failing = [&say(&[0, 0xe4, 7])[..], &[0, 9, 0x65], &say(&[15, 2, 5, 15])].concat();
    let query = vec![0, 0x5b, 0x45];
    let copy = [&[0, 9, 2][..], &say(&[0, 4, 5, 2, 15])].concat();
    let broken = [&[0, 11, 2][..], &say(&[4, 0xe4, 0, 2, 15])].concat();
    let steps = [4, 4, 0x1e, 4, 4, 0x3e, 4, 6, 4, 4, 0xfe, 5];
    vec![
        [&extended[..], &steps, &query, &[5]].concat(),
        [&failing[..], &steps, &extended, &[5]].concat(),
        [&copy[..], &steps, &query].concat(),
        [&broken[..], &steps, &copy].concat(),
        [&[0, 9, 0][..], &say(&[15]), &[4, 4, 0x0e, 0xfe, 5]].concat(),
        [
            &say(&[2, 3, 0x14, 2])[..],
            &[0, 9, 0x25],
            &say(&[3, 15, 15]),
            &steps,
        ]
        .concat(),
    ]
}

/// A server that says anything: what is taken from it is the same in any pieces, and nothing of it is lost or made up.
fn answers(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut script = Script::new(input);
    let expected: Vec<Expected> = (0..script.below(12))
        .map(|_| super::session::expected(&mut script))
        .collect();
    let pieces: Vec<usize> = (0..script.below(16)).map(|_| script.below(40) + 1).collect();
    let said = said(&mut script);
    let whole = relayed(&expected, &said, std::iter::empty())?;
    let parts = relayed(&expected, &said, pieces.iter().copied())?;
    trace.saw(whole.fault.as_ref().map_or(0, |fault| fault.len() as u64));
    trace.saw((whole.told.len() as u64).min(99));
    ensure!(whole == parts, "whole {whole:?}, in pieces {parts:?}");
    Ok(())
}

/// Frames of any tag, some long, some that end too early.
fn said(script: &mut Script<'_>) -> Vec<u8> {
    const TAGS: &[u8] = b"123CDEGHINRSTVWZAcdnst?\0";
    let (mut said, mut long) = (Vec::new(), 0);
    while !script.is_over() {
        let choice = script.byte();
        let tag = TAGS.get(usize::from(choice) % TAGS.len()).copied().unwrap_or(0);
        match choice {
            0xf0.. if long < LONG_ROWS => {
                long += 1;
                said.extend(frame(b'D', &[b'y'; LONG_ROW]));
            }
            0xe8.. => said.extend_from_slice(script.bytes(9)),
            _ if tag == b'E' => said.extend(frame(tag, ERROR)),
            _ => {
                let count = script.below(8);
                said.extend(frame(tag, script.bytes(count)));
            }
        }
    }
    said
}

/// What came of a server's words.
#[derive(PartialEq, Eq, Debug)]
struct Relayed {
    told: BytesMut,
    fault: Option<String>,
    done: bool,
}

fn relayed(expected: &[Expected], said: &[u8], pieces: impl Iterator<Item = usize>) -> Result<Relayed> {
    let (mut tracker, mut cursor, mut told) = (ReplyTracker::new(), Cursor::default(), BytesMut::new());
    expected.iter().for_each(|expected| tracker.expect(*expected));
    tracker.emit_local(&mut told);
    let (mut rest, mut fault) = (said, None);
    for size in pieces.chain(std::iter::once(usize::MAX)) {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        match take(piece, &mut cursor, &mut tracker, &mut Direct, &mut told) {
            Ok(None | Some(RelayEnd::Flushed)) => {}
            // Our own query has failed: nobody reads on.
            Ok(Some(_)) => break,
            Err(ended) => {
                fault = Some(ended.to_string());
                break;
            }
        }
    }
    // Five bytes for each answer of our own, and the rest is the server's.
    ensure!(told.len() <= said.len() + 5 * expected.len());
    Ok(Relayed {
        told,
        fault,
        done: tracker.is_done(),
    })
}

fn answer_scripts() -> Vec<Vec<u8>> {
    vec![
        b"\x03\x05\x08\x0c\x04\x01\x05\x09\x20\x01\0\0\x04\x02ab\x04\x01c\x03\x01\0\x0f\x01I".to_vec(),
        b"\x02\x0a\x0c\x02\x03\x11\xf0\x08\x04\x02ab\x0b\0\x0f\x01I".to_vec(),
        b"\x04\x0e\x05\x08\x0c\x00\x05\x09\x0f\x01I".to_vec(),
    ]
}
