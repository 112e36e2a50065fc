//! What a server is asked, and how its answer reads.

use crate::error::ProbeError;
use crate::link::Row;
use crate::observation::Place;
use std::str::FromStr;
use topology::{Epoch, Lsn, Timeline};

/// How many digits of a WAL file's name are its timeline, in hexadecimal.
const TIMELINE_DIGITS: usize = 8;
/// The header of the first page of a WAL file (`SizeOfXLogLongPHD` where pointers have 64 bits).
const FILE_HEADER_LEN: u64 = 40;
/// The header of any other page (`SizeOfXLogShortPHD`).
const PAGE_HEADER_LEN: u64 = 24;

/// Everything that plain SQL can tell; no witness is read. A primary's position comes with its file, its place in that
/// file and the size of a page.
pub(crate) const WITHOUT_WITNESS: &str = "SELECT s.recovery, s.lsn, \
    CASE WHEN NOT s.recovery THEN (SELECT o.file_name || ' ' || o.file_offset || ' ' || \
        pg_catalog.current_setting('wal_block_size') FROM pg_catalog.pg_walfile_name_offset(s.lsn) o) END, \
    (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c), \
    (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint, \
    coalesce(pg_catalog.has_table_privilege(pg_catalog.to_regclass('ringway.witness'), 'SELECT'), false), \
    NULL \
    FROM (SELECT r.recovery, CASE WHEN r.recovery THEN pg_catalog.pg_last_wal_replay_lsn() \
            ELSE pg_catalog.pg_current_wal_insert_lsn() END AS lsn \
        FROM (SELECT pg_catalog.pg_is_in_recovery() AS recovery OFFSET 0) r OFFSET 0) s";

/// The same with the witness, in one statement with the insert position. Only on a primary: a standby can't read
/// unlogged tables.
pub(crate) const WITH_WITNESS: &str = "SELECT pg_catalog.pg_is_in_recovery(), s.lsn, \
    (SELECT o.file_name || ' ' || o.file_offset || ' ' || pg_catalog.current_setting('wal_block_size') \
        FROM pg_catalog.pg_walfile_name_offset(s.lsn) o), \
    (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c), \
    (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint, \
    true, \
    (SELECT w.epoch FROM ringway.witness w) \
    FROM (SELECT pg_catalog.pg_current_wal_insert_lsn() AS lsn OFFSET 0) s";

/// Asks for the replay timeline, over a replication connection. The received one would not do: a standby may have
/// received what it has not replayed.
pub(crate) const REPLAY_TIMELINE: &str = "IDENTIFY_SYSTEM";

/// What a server said of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) system_identifier: u64,
    pub(crate) started_at_us: i64,
    pub(crate) place: Place,
    /// On a primary. A standby is asked by [`REPLAY_TIMELINE`].
    pub(crate) timeline: Option<Timeline>,
    /// Whether there is a witness to read, and the right to.
    pub(crate) witness_readable: bool,
}

impl Answer {
    /// Reads the answer to [`WITHOUT_WITNESS`] or [`WITH_WITNESS`].
    pub(crate) fn read(row: &Row) -> Result<Self, ProbeError> {
        let [recovery, lsn, file, identifier, started, readable, witness] = row.as_slice() else {
            return Err(ProbeError::Answer("not seven columns"));
        };
        let lsn = lsn.as_deref().map_or(Ok(Lsn(0)), |text| {
            text.parse::<Lsn>()
                .map_err(|_| ProbeError::Answer("not a position in the log"))
        });
        let witness = witness.as_deref().map(|text| {
            // A bigint that holds the 64 bits of an epoch.
            parse::<i64>(text, "the witness is not a number").map(|bits| Epoch(bits.cast_unsigned()))
        });
        let file = file.as_deref().map(WalFile::read).transpose()?;
        let place = match flag(recovery)? {
            true => Place::Replay { lsn: lsn? },
            false => Place::Insert {
                lsn: last_end(lsn?, file.as_ref()),
                witness: witness.transpose()?,
            },
        };
        Ok(Self {
            // PostgreSQL shows it as a signed bigint here, as unsigned elsewhere.
            system_identifier: parse::<i64>(text(identifier)?, "no system identifier")?.cast_unsigned(),
            started_at_us: parse(text(started)?, "no start time")?,
            place,
            timeline: file.map(|file| file.timeline),
            witness_readable: flag(readable)?,
        })
    }
}

/// Reads the timeline out of the answer to [`REPLAY_TIMELINE`].
pub(crate) fn replay_timeline(row: &Row) -> Result<Timeline, ProbeError> {
    let timeline = row
        .get(1)
        .ok_or(ProbeError::Answer("IDENTIFY_SYSTEM without a timeline"))?;
    parse(text(timeline)?, "the timeline is not a number").map(Timeline)
}

/// The WAL file that a position lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct WalFile {
    timeline: Timeline,
    offset: u64,
    page_size: u64,
}

impl WalFile {
    fn read(answer: &str) -> Result<Self, ProbeError> {
        const OTHERWISE: &str = "no WAL file name, offset and page size";
        let mut words = answer.split(' ');
        let mut word = || words.next().ok_or(ProbeError::Answer(OTHERWISE));
        let digits = word()?
            .get(..TIMELINE_DIGITS)
            .ok_or(ProbeError::Answer(OTHERWISE))?;
        let timeline = u32::from_str_radix(digits, 16).map_err(|_| ProbeError::Answer(OTHERWISE))?;
        let (offset, page_size) = (parse(word()?, OTHERWISE)?, parse(word()?, OTHERWISE)?);
        Ok(Self {
            timeline: Timeline(timeline),
            offset,
            page_size,
        })
    }
}

/// Where the last record before the insert position `lsn` ends at the latest.
///
/// The server names the place where the next record will begin. After a switch of files, or a record that ends with its page,
/// that is behind the header of the next page: a place that no standby and no stream reaches before something more is written,
/// which on an idle shard may be never.
fn last_end(lsn: Lsn, file: Option<&WalFile>) -> Lsn {
    let header = match file {
        Some(file) if file.offset == FILE_HEADER_LEN => FILE_HEADER_LEN,
        Some(file) if file.offset.checked_rem(file.page_size) == Some(PAGE_HEADER_LEN) => PAGE_HEADER_LEN,
        Some(_) | None => 0,
    };
    Lsn(lsn.0.saturating_sub(header))
}

fn text(value: &Option<String>) -> Result<&str, ProbeError> {
    value
        .as_deref()
        .ok_or(ProbeError::Answer("NULL where a value must be"))
}

fn flag(value: &Option<String>) -> Result<bool, ProbeError> {
    match text(value)? {
        "t" => Ok(true),
        "f" => Ok(false),
        _ => Err(ProbeError::Answer("neither t nor f")),
    }
}

fn parse<T: FromStr>(text: &str, otherwise: &'static str) -> Result<T, ProbeError> {
    text.parse().map_err(|_| ProbeError::Answer(otherwise))
}

#[cfg(test)]
mod tests {
    use super::{Answer, replay_timeline};
    use crate::link::Row;
    use crate::observation::Place;
    use topology::{Epoch, Lsn, Timeline};

    fn row(values: &[&str]) -> Row {
        values
            .iter()
            .map(|v| (*v != "NULL").then(|| (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_primary_reads() {
        let row = row(&[
            "f",
            "0/3000148",
            "0000000A0000000000000003 328 8192",
            "-2",
            "17",
            "t",
            "42949672963",
        ]);
        let answer = Answer::read(&row).unwrap();
        let witness = Some(Epoch::new(Timeline(10), 3));
        assert_eq!(
            answer.place,
            Place::Insert {
                lsn: Lsn(0x300_0148),
                witness
            }
        );
        assert_eq!(answer.timeline, Some(Timeline(10)));
        assert_eq!(answer.system_identifier, u64::MAX - 1);
        assert!(answer.witness_readable);
    }

    #[test]
    fn a_standby_reads_even_before_it_replayed_anything() {
        let answer = Answer::read(&row(&["t", "NULL", "NULL", "5", "17", "f", "NULL"])).unwrap();
        assert_eq!(answer.place, Place::Replay { lsn: Lsn(0) });
        assert_eq!(answer.timeline, None);
    }

    #[test]
    fn the_replay_timeline_is_decimal() {
        assert_eq!(
            replay_timeline(&row(&["5", "12", "0/1", "NULL"])).unwrap(),
            Timeline(12)
        );
        assert!(replay_timeline(&row(&["5"])).is_err());
        assert!(replay_timeline(&row(&["5", "x"])).is_err());
    }

    #[test]
    fn behind_a_page_header_nothing_has_been_written() {
        let place = |lsn: &str, offset: u32| {
            let file = format!("000000010000000000000003 {offset} 8192");
            match Answer::read(&row(&["f", lsn, &file, "5", "17", "f", "NULL"]))
                .unwrap()
                .place
            {
                Place::Insert { lsn, .. } | Place::Replay { lsn } => lsn.to_string(),
            }
        };
        assert_eq!(place("0/3000028", 0x28), "0/3000000");
        assert_eq!(place("0/3004018", 0x4018), "0/3004000");
        // The rest of a record that began a page before ends here.
        assert_eq!(place("0/3004028", 0x4028), "0/3004028");
        assert_eq!(place("0/3000148", 0x148), "0/3000148");
    }

    #[test]
    fn other_shapes_are_errors() {
        for bad in [
            &["f"][..],
            &["maybe", "0/0", "NULL", "5", "17", "f", "NULL"],
            &["f", "nowhere", "NULL", "5", "17", "f", "NULL"],
            &["f", "0/1", "0000", "5", "17", "f", "NULL"],
            &["f", "0/1", "000000010000000000000001", "5", "17", "f", "NULL"],
            &[
                "f",
                "0/1",
                "000000010000000000000001 1 8192",
                "NULL",
                "17",
                "f",
                "NULL",
            ],
            &[
                "f",
                "0/1",
                "000000010000000000000001 1 8192",
                "5",
                "17",
                "t",
                "epoch",
            ],
        ] {
            assert!(Answer::read(&row(bad)).is_err(), "{bad:?}");
        }
    }
}
