//! What a session keeps of a conversation: the answers that are owed, settings, prepared statements, the open block.

use std::rc::Rc;

use anyhow::{Result, ensure};
use session::{
    BackendState, ClientStatements, Disposition, Expected, GlobalStatements, Injection, Meaning,
    ReplyTracker, Settings, SettingsScope, StatementId, TransactionBlock,
};

use crate::target::{Script, Target, Trace, variant};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("replies", replies, reply_scripts)
        .weight(16)
        .memory(4096, 96),
    Target::new("session-settings", settings, setting_scripts)
        .weight(6)
        .memory(16 * 1024, 1024),
    Target::new("prepared", prepared, prepared_scripts)
        .weight(6)
        .memory(16 * 1024, 512),
];

const TAGS: &[u8] = b"123CDEGHINRSTVWZAcdnst?\0";

/// Both sides at once: messages are sent, and answers come, whether they fit or not.
fn replies(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut script = Script::new(input);
    let mut tracker = ReplyTracker::new();
    let mut local = Vec::new();
    let (mut sent, mut emitted) = (0_usize, 0);
    while !script.is_over() {
        match script.below(4) {
            0 | 1 => {
                let expected = expected(&mut script);
                let (skipped, done) = (tracker.is_skipping(), tracker.is_done());
                tracker.expect(expected);
                sent += 1;
                // What the server skips is not owed; nor is what belongs to COPY.
                let vanishes = matches!(expected, Expected::Sync | Expected::CopyEnd) || skipped;
                ensure!(!tracker.is_done() || (done && vanishes));
            }
            2 => {
                let tag = TAGS.get(script.below(TAGS.len())).copied().unwrap_or(0);
                let done_before = tracker.is_done();
                let disposition = tracker.on_frame(tag, b'I');
                trace.saw(variant(&disposition));
                if disposition == Disposition::CopyIn {
                    tracker.copy_started();
                }
                if let Disposition::Ready(status) = disposition {
                    ensure!(tag == b'Z' && status == b'I' && !done_before);
                    ensure!(tracker.is_done(), "ready, and something is owed");
                }
            }
            _ => {
                tracker.emit_local(&mut local);
                ensure!(!tracker.local_is_due());
                emitted += local.len();
                local.clear();
            }
        }
        trace.saw(u64::from(tracker.is_done()) + 2 * u64::from(tracker.has_failed()));
    }
    let failed = tracker.take_failed_statements().len();
    let told = tracker.take_outcomes().len() + tracker.take_kept_statements().len();
    ensure!(failed <= sent && told <= sent);
    tracker.take_unnamed_failed();
    tracker.take_injected_failed();
    ensure!(!tracker.has_news());
    ensure!(emitted <= sent * 5, "{emitted} bytes for {sent} messages");
    Ok(())
}

/// Anything that may be sent.
pub(crate) fn expected(script: &mut Script<'_>) -> Expected {
    let id = StatementId(u64::from(script.byte()));
    match script.below(23) {
        0 => Expected::LocalParse,
        1 => Expected::LocalClose,
        2 => Expected::Parse(Some(id)),
        3 => Expected::InjectedParse(id),
        4 => Expected::InjectedClose(Some(id)),
        5 => Expected::Bind,
        6 => Expected::DescribeStatement,
        7 => Expected::DescribePortal,
        8 => Expected::Execute,
        9 => Expected::Close,
        10 => Expected::Query,
        11 => Expected::InjectedQuery,
        13 => Expected::CopyEnd,
        14 => Expected::NamedParse(id),
        15 => Expected::LocalNamedParse,
        16 => Expected::NamedClose,
        17 => Expected::UnnamedParse,
        18 => Expected::InjectedBatch,
        19 => Expected::Refused,
        20 => Expected::RefusedQuery,
        21 => Expected::Injected,
        22 => Expected::Settling,
        _ => Expected::Sync,
    }
}

fn reply_scripts() -> Vec<Vec<u8>> {
    let expect = |what: u8| [0, 1, what];
    let frame = |tag: u8| {
        let at = TAGS.iter().position(|known| *known == tag).unwrap_or(0);
        vec![2, at as u8]
    };
    let mut all = Vec::new();
    for (sent, answers) in [
        (&[3_u8, 5, 8, 12][..], &b"12DDCZ"[..]),
        (&[0, 5, 1, 8, 12], b"2CZ"),
        (&[2, 0, 5, 8, 12], b"EZ"),
        (&[11, 10], b"SCNZTDCZ"),
        (&[5, 8, 12, 5, 8, 12], b"2CZ2CZ"),
        (&[2, 6, 5, 7, 8, 9, 12], b"1tT2TDs3Z"),
        (&[10], b"GCZ"),
        (&[10], b"HddcCZ"),
        (&[5, 8, 12, 13, 12], b"2GCZ"),
        (&[5, 8, 12, 13, 12], b"2GEZZ"),
        (&[14, 15, 16, 12, 18, 10], b"13Z1EZDCZ"),
        (&[17, 19, 12, 20], b"1EZEZ"),
    ] {
        let mut script = Vec::new();
        sent.iter().for_each(|what| script.extend(expect(*what)));
        for answer in answers {
            script.push(3);
            script.extend(frame(*answer));
        }
        all.push(script);
    }
    all
}

const NAMES: [&str; 6] = [
    "role",
    "session_authorization",
    "timezone",
    "a.b",
    "x\"y",
    "search_path",
];
const VALUES: [&str; 4] = ["'UTC'", "DEFAULT", "'it''s'", "1, 2"];

/// Settings through blocks and savepoints: what a backend is told takes it from any state to any other.
fn settings(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut script = Script::new(input);
    let startup = Settings::default().with("timezone", "'UTC'");
    let mut scope = SettingsScope::new(startup.clone());
    let mut applied = Settings::default();
    let mut block: Option<TransactionBlock> = None;
    while !script.is_over() {
        let op = script.below(12);
        let name = NAMES.get(script.below(NAMES.len())).copied().unwrap_or_default();
        let value = VALUES
            .get(script.below(VALUES.len()))
            .copied()
            .unwrap_or_default();
        match op {
            0 => scope.set(name, value),
            1 => scope.set_local(name, value),
            2 => scope.reset(name, &startup),
            3 => scope.reset_all(&startup),
            4 => scope.discard_all(&startup),
            5 => {
                scope.begin();
                block.get_or_insert_with(|| TransactionBlock::new("BEGIN", false));
            }
            6 => {
                scope.savepoint(name);
                block.iter_mut().for_each(|block| block.savepoint(name));
            }
            7 => {
                scope.rollback_to(name);
                trace.saw(u64::from(
                    block.as_mut().is_some_and(|block| block.rollback_to(name)),
                ));
            }
            8 => {
                scope.release(name);
                trace.saw(u64::from(block.as_mut().is_some_and(|block| block.release(name))));
            }
            9 | 10 => {
                scope.end(op == 9);
                block = None;
                ensure!(
                    scope.local_statements().is_none(),
                    "SET LOCAL outlives its transaction"
                );
            }
            _ => {
                let told = applied.statements_towards(scope.current());
                ensure!(told.is_none() == (&applied == scope.current()));
                applied = scope.current().clone();
            }
        }
        trace.saw(op as u64 + 16 * u64::from(scope.local_statements().is_some()));
        ensure!(scope.effective(name).is_none_or(|value| !value.is_empty()));
    }
    Ok(())
}

fn setting_scripts() -> Vec<Vec<u8>> {
    vec![
        vec![
            0, 2, 0, 11, 0, 0, 5, 0, 0, 0, 1, 1, 6, 0, 0, 1, 2, 2, 7, 0, 0, 10, 0, 0, 11, 0, 0,
        ],
        vec![
            5, 0, 0, 6, 1, 0, 0, 1, 0, 8, 1, 0, 9, 0, 0, 3, 0, 0, 4, 0, 0, 2, 2, 0,
        ],
    ]
}

/// Statements of two clients over connections that know few of them.
fn prepared(input: &[u8], trace: &mut Trace) -> Result<()> {
    const CAPACITY: usize = 4;
    let mut script = Script::new(input);
    let mut global: GlobalStatements<u8> = GlobalStatements::new(CAPACITY);
    let mut clients = [ClientStatements::default(), ClientStatements::default()];
    let mut backend = BackendState::default();
    let mut held = 0_usize;
    while !script.is_over() {
        let op = script.below(6);
        let name: &[u8] = [&b""[..], b"a", b"b", b"c"]
            .get(script.below(4))
            .copied()
            .unwrap_or_default();
        let text = [b'0' + (script.byte() % 8)];
        let Some(client) = clients.get_mut(usize::from(text[0] & 1)) else {
            continue;
        };
        match op {
            0 | 1 => {
                let statement = global.intern(
                    Meaning::default(),
                    &text,
                    &[23],
                    |plan| *plan != text[0] - 1,
                    || match op {
                        0 => Ok(text[0]),
                        _ => Err(()),
                    },
                );
                trace.saw(u64::from(statement.is_ok()));
                if let Ok(statement) = statement.map_err(drop) {
                    statement.prove();
                    client.insert(name, Rc::clone(&statement));
                    ensure!(client.get(name).is_some_and(|known| known.id == statement.id));
                }
            }
            2 => trace.saw(u64::from(client.remove(name))),
            3 => client.clear(),
            _ => {
                let Some(statement) = client.get(name) else {
                    continue;
                };
                let injection = backend.use_statement(statement.id, CAPACITY);
                trace.saw(variant(&injection));
                if let Injection::CloseThenParse(gone) = injection {
                    ensure!(gone != statement.id && !backend.knows(gone));
                }
                ensure!(backend.knows(statement.id) && backend.statement_count() <= CAPACITY);
                if op == 5 {
                    backend.forget(statement.id);
                }
            }
        }
        // What nobody holds is forgotten at the next new text, not before.
        held = held.max(clients.iter().map(ClientStatements::len).sum());
        ensure!(
            global.len() <= CAPACITY + held + 1,
            "{} statements, {held} held",
            global.len()
        );
    }
    Ok(())
}

fn prepared_scripts() -> Vec<Vec<u8>> {
    vec![
        vec![
            0, 1, 0, 4, 1, 0, 0, 2, 1, 4, 2, 1, 0, 3, 2, 4, 3, 2, 0, 0, 3, 5, 0, 3, 2, 1, 0,
        ],
        vec![1, 0, 0, 0, 0, 0, 4, 0, 0, 3, 0, 0],
    ]
}
