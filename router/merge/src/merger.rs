//! The streaming merge: rows of several shards in, the rows of one answer out.
//!
//! The caller asks [`Merger::next_row`] and does what it says: send a row, read from a stream, or end. It may push rows
//! of any stream that [`Merger::has_room`], so that bytes that already came need not wait outside.

use crate::aggregate::Accumulator;
use crate::value::Value;
use crate::{MergeError, MergeKind, MergeSpec, OrderKey, row};
use bytes::Bytes;
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::collections::VecDeque;
use wire::Format;
use wire::backend::DataRow;

/// Rows of one stream that the merger holds at the most.
pub const MAX_ROWS_HELD: usize = 64;
/// Bytes of rows of one stream from which on it takes no further row (a single longer row is still taken).
pub const MAX_BYTES_HELD: usize = 256 * 1024;

/// What the caller is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MergeStep {
    /// Send this body of a DataRow.
    Row(Bytes),
    /// Push a row of this stream, or say that it is done. Without ORDER BY any other stream will do as well.
    Need(usize),
    /// The answer is complete. Rows that shards still send are pushed and dropped, or not read at all.
    Done,
}

/// Merges the rows of several shards into one answer.
///
/// Streams are numbered from 0 in the order in which rows that compare equal are given.
#[derive(Debug)]
pub struct Merger {
    formats: Formats,
    streams: Vec<Stream>,
    mode: Mode,
    hidden_columns: usize,
    to_skip: u64,
    to_give: u64,
    given: u64,
}

#[derive(Debug)]
enum Mode {
    Concatenate,
    Order(Vec<OrderKey>),
    Aggregate {
        columns: Vec<Accumulator>,
        emitted: Emitted,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emitted {
    No,
    Yes,
}

#[derive(Debug, Default)]
struct Stream {
    rows: VecDeque<HeldRow>,
    bytes_held: usize,
    /// Rows of aggregates that came.
    aggregate_rows: u64,
    state: StreamState,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    #[default]
    Open,
    Done,
}

#[derive(Debug)]
struct HeldRow {
    body: Bytes,
    keys: SmallVec<[Value; 2]>,
}

impl Merger {
    /// A merger of `streams` shards' rows.
    ///
    /// `formats` are those of the shards' columns, hidden ones included, as in Bind: none (all text), one for all, or
    /// one per column. The answer has the same.
    ///
    /// # Errors
    /// [`MergeError::InexactSum`] for a sum that would depend on the order of adding.
    pub fn new(spec: &MergeSpec, formats: &[Format], streams: usize) -> Result<Self, MergeError> {
        let mode = match &spec.kind {
            MergeKind::Rows { order } if order.is_empty() => Mode::Concatenate,
            MergeKind::Rows { order } => Mode::Order(order.clone()),
            MergeKind::Aggregates(aggregates) => {
                let columns = aggregates
                    .iter()
                    .copied()
                    .map(Accumulator::new)
                    .collect::<Result<_, _>>()?;
                Mode::Aggregate {
                    columns,
                    emitted: Emitted::No,
                }
            }
        };
        // An aggregate answer is made anew, without the hidden columns.
        let hidden_columns = if matches!(mode, Mode::Aggregate { .. }) {
            0
        } else {
            spec.hidden_columns
        };
        Ok(Self {
            formats: Formats(SmallVec::from_slice(formats)),
            streams: (0..streams).map(|_| Stream::default()).collect(),
            mode,
            hidden_columns,
            to_skip: spec.offset,
            to_give: spec.limit.unwrap_or(u64::MAX),
            given: 0,
        })
    }

    /// Whether [`push_row`](Self::push_row) may be called for this stream: at most [`MAX_ROWS_HELD`] rows of
    /// [`MAX_BYTES_HELD`] bytes are held, and more are left in the socket until they are asked for.
    pub fn has_room(&self, stream: usize) -> bool {
        self.streams.get(stream).is_some_and(|stream| {
            let room = stream.rows.len() < MAX_ROWS_HELD && stream.bytes_held < MAX_BYTES_HELD;
            stream.state == StreamState::Open && (room || self.to_give == 0)
        })
    }

    /// Takes the body of a DataRow.
    ///
    /// # Errors
    /// A body or value that can't be merged, or a stream without room.
    pub fn push_row(&mut self, stream: usize, body: Bytes) -> Result<(), MergeError> {
        if !self.has_room(stream) {
            return Err(MergeError::Unexpected { stream });
        }
        let Some(held) = self.streams.get_mut(stream) else {
            return Err(MergeError::Unexpected { stream });
        };
        if self.to_give == 0 {
            return Ok(());
        }
        match &mut self.mode {
            Mode::Concatenate => held.push(body, SmallVec::new()),
            Mode::Order(order) => {
                let keys = decode_keys(order, &self.formats, &body)?;
                held.push(body, keys);
            }
            Mode::Aggregate { columns, .. } => {
                held.aggregate_rows += 1;
                if held.aggregate_rows > 1 {
                    return Err(MergeError::AggregateRows { stream });
                }
                add_aggregates(columns, &self.formats, &body)?;
            }
        }
        Ok(())
    }

    /// Notes that this stream's last row was pushed (its CommandComplete came).
    ///
    /// # Errors
    /// [`MergeError::AggregateRows`] where a row of aggregates is missing.
    pub fn shard_done(&mut self, stream: usize) -> Result<(), MergeError> {
        let is_aggregate = matches!(self.mode, Mode::Aggregate { .. });
        let Some(held) = self.streams.get_mut(stream) else {
            return Err(MergeError::Unexpected { stream });
        };
        held.state = StreamState::Done;
        if is_aggregate && held.aggregate_rows == 0 && self.to_give > 0 {
            return Err(MergeError::AggregateRows { stream });
        }
        Ok(())
    }

    /// The next row of the answer, or what it takes to know it.
    ///
    /// # Errors
    /// A row without the hidden columns that were to be taken off.
    pub fn next_row(&mut self) -> Result<MergeStep, MergeError> {
        while self.to_give > 0 {
            let body = match self.next_merged() {
                Merged::Row(body) => body,
                Merged::Need(stream) => return Ok(MergeStep::Need(stream)),
                Merged::End => break,
            };
            if self.to_skip > 0 {
                self.to_skip -= 1;
                continue;
            }
            self.to_give -= 1;
            self.given += 1;
            return row::strip(body, self.hidden_columns).map(MergeStep::Row);
        }
        self.to_give = 0;
        for stream in &mut self.streams {
            stream.rows.clear();
        }
        Ok(MergeStep::Done)
    }

    /// How many rows were given.
    pub fn rows_given(&self) -> u64 {
        self.given
    }

    /// The command tag of the answer: the shards' own count what offset and limit took off.
    pub fn command_tag(&self) -> String {
        format!("SELECT {}", self.given)
    }

    fn next_merged(&mut self) -> Merged {
        match &mut self.mode {
            Mode::Concatenate => next_of_any(&mut self.streams),
            Mode::Order(order) => next_in_order(order, &mut self.streams),
            Mode::Aggregate { columns, emitted } => {
                if let Some(open) = first_open(&self.streams) {
                    return Merged::Need(open);
                }
                if *emitted == Emitted::Yes {
                    return Merged::End;
                }
                *emitted = Emitted::Yes;
                let merged = columns.iter().enumerate();
                let values: Vec<_> = merged
                    .map(|(column, state)| state.finish(self.formats.of(column)))
                    .collect();
                Merged::Row(row::of_values(&values))
            }
        }
    }
}

enum Merged {
    Row(Bytes),
    Need(usize),
    End,
}

fn next_of_any(streams: &mut [Stream]) -> Merged {
    match streams.iter_mut().find_map(Stream::pop) {
        Some(body) => Merged::Row(body),
        None => first_open(streams).map_or(Merged::End, Merged::Need),
    }
}

/// The smallest of the first rows, once every open stream has one. With the few streams of a scatter, looking at
/// each is cheaper than keeping a heap.
fn next_in_order(order: &[OrderKey], streams: &mut [Stream]) -> Merged {
    let mut smallest: Option<(usize, &HeldRow)> = None;
    for (index, stream) in streams.iter().enumerate() {
        let Some(row) = stream.rows.front() else {
            if stream.state == StreamState::Open {
                return Merged::Need(index);
            }
            continue;
        };
        if smallest.is_none_or(|(_, best)| compare_keys(order, row, best) == Ordering::Less) {
            smallest = Some((index, row));
        }
    }
    let chosen = smallest.map(|(index, _)| index);
    match chosen
        .and_then(|index| streams.get_mut(index))
        .and_then(Stream::pop)
    {
        Some(body) => Merged::Row(body),
        None => Merged::End,
    }
}

fn first_open(streams: &[Stream]) -> Option<usize> {
    streams
        .iter()
        .position(|stream| stream.state == StreamState::Open)
}

fn compare_keys(order: &[OrderKey], left: &HeldRow, right: &HeldRow) -> Ordering {
    let pairs = order.iter().zip(left.keys.iter().zip(&right.keys));
    pairs
        .map(|(key, (left, right))| compare_key(*key, left, right))
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn compare_key(key: OrderKey, left: &Value, right: &Value) -> Ordering {
    match (left.is_null(), right.is_null()) {
        (true, true) => Ordering::Equal,
        (false, false) if key.descending => right.compare(left),
        (false, false) => left.compare(right),
        (left_is_null, _) if left_is_null == key.nulls_first => Ordering::Less,
        _ => Ordering::Greater,
    }
}

fn decode_keys(
    order: &[OrderKey],
    formats: &Formats,
    body: &Bytes,
) -> Result<SmallVec<[Value; 2]>, MergeError> {
    let values = DataRow::decode(body)?.values;
    let decode = |key: &OrderKey| {
        let missing = MergeError::Columns {
            needed: key.column + 1,
            found: values.len(),
        };
        let raw = values.get(key.column).ok_or(missing)?;
        Value::decode(key.column, key.column_type, formats.of(key.column), raw, body)
    };
    order.iter().map(decode).collect()
}

fn add_aggregates(columns: &mut [Accumulator], formats: &Formats, body: &Bytes) -> Result<(), MergeError> {
    let values = DataRow::decode(body)?.values;
    if values.len() < columns.len() {
        return Err(MergeError::Columns {
            needed: columns.len(),
            found: values.len(),
        });
    }
    for (column, (state, raw)) in columns.iter_mut().zip(values.iter()).enumerate() {
        state.add(column, formats.of(column), raw, body)?;
    }
    Ok(())
}

impl Stream {
    fn push(&mut self, body: Bytes, keys: SmallVec<[Value; 2]>) {
        self.bytes_held += body.len();
        self.rows.push_back(HeldRow { body, keys });
    }

    fn pop(&mut self) -> Option<Bytes> {
        let row = self.rows.pop_front()?;
        self.bytes_held -= row.body.len();
        Some(row.body)
    }
}

/// The formats of the columns, as Bind gives them.
#[derive(Debug)]
struct Formats(SmallVec<[Format; 8]>);

impl Formats {
    fn of(&self, column: usize) -> Format {
        match self.0.as_slice() {
            [] => Format::Text,
            [all] => *all,
            each => each.get(column).copied().unwrap_or(Format::Text),
        }
    }
}

#[cfg(test)]
mod tests;
