//! What a server is asked, and how its answer reads.

use crate::error::ProbeError;
use crate::link::Row;
use crate::observation::Place;
use std::str::FromStr;
use topology::{Epoch, Lsn, Timeline};

/// How many digits of a WAL file's name are its timeline, in hexadecimal.
const TIMELINE_DIGITS: usize = 8;

/// Everything that plain SQL can tell; no witness is read.
pub(crate) const WITHOUT_WITNESS: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
         ELSE pg_catalog.pg_current_wal_insert_lsn() END, \
    CASE WHEN NOT pg_catalog.pg_is_in_recovery() \
         THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) END, \
    (SELECT s.system_identifier FROM pg_catalog.pg_control_system() s), \
    (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint, \
    coalesce(pg_catalog.has_table_privilege(pg_catalog.to_regclass('ringway.witness'), 'SELECT'), false), \
    NULL";

/// The same with the witness, in one statement with the insert position. Only on a primary: a standby can't read
/// unlogged tables.
pub(crate) const WITH_WITNESS: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
    pg_catalog.pg_current_wal_insert_lsn(), \
    pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), \
    (SELECT s.system_identifier FROM pg_catalog.pg_control_system() s), \
    (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint, \
    true, \
    (SELECT w.epoch FROM ringway.witness w)";

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
        let place = match flag(recovery)? {
            true => Place::Replay { lsn: lsn? },
            false => Place::Insert {
                lsn: lsn?,
                witness: witness.transpose()?,
            },
        };
        Ok(Self {
            // PostgreSQL shows it as a signed bigint here, as unsigned elsewhere.
            system_identifier: parse::<i64>(text(identifier)?, "no system identifier")?.cast_unsigned(),
            started_at_us: parse(text(started)?, "no start time")?,
            place,
            timeline: file.as_deref().map(timeline_of_file).transpose()?,
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

fn timeline_of_file(name: &str) -> Result<Timeline, ProbeError> {
    let digits = name
        .get(..TIMELINE_DIGITS)
        .ok_or(ProbeError::Answer("no WAL file name"))?;
    u32::from_str_radix(digits, 16)
        .map(Timeline)
        .map_err(|_| ProbeError::Answer("no WAL file name"))
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
            "0000000A0000000000000003",
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
    fn other_shapes_are_errors() {
        for bad in [
            &["f"][..],
            &["maybe", "0/0", "NULL", "5", "17", "f", "NULL"],
            &["f", "nowhere", "NULL", "5", "17", "f", "NULL"],
            &["f", "0/1", "0000", "5", "17", "f", "NULL"],
            &["f", "0/1", "000000010000000000000001", "NULL", "17", "f", "NULL"],
            &["f", "0/1", "000000010000000000000001", "5", "17", "t", "epoch"],
        ] {
            assert!(Answer::read(&row(bad)).is_err(), "{bad:?}");
        }
    }
}
