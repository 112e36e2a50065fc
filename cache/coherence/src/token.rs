//! Tokens: a session's write positions as text, to be taken to another proxy or region.

use crate::error::{Error, Malformed};
use smallvec::SmallVec;
use std::fmt;
use topology::{Lsn, Position, ShardId, Timeline};

/// The most shards that a token may name.
pub const MAX_TOKEN_SHARDS: usize = 1_024;

/// The longest text of a token: each shard takes at most 36 bytes.
pub const MAX_TOKEN_BYTES: usize = 32 + 36 * MAX_TOKEN_SHARDS;

const PREFIX: &str = "rw1";

/// What a session needs to read its own writes, wherever it goes.
///
/// The text is `rw1/MAP` and for each shard `/SHARD:TIMELINE:LSN`, ascending; numbers in hexadecimal. It carries no secret and no proof: a client that
/// makes one up can only ask for more freshness, or lose its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    map_version: u64,
    positions: SmallVec<[(ShardId, Position); 2]>,
}

impl Token {
    pub(crate) fn new(map_version: u64, positions: impl Iterator<Item = (ShardId, Position)>) -> Self {
        let mut positions: SmallVec<[(ShardId, Position); 2]> = positions.collect();
        positions.sort_unstable_by_key(|(shard, _)| *shard);
        Self {
            map_version,
            positions,
        }
    }

    /// The version of the slot map under which its shards were written.
    pub fn map_version(&self) -> u64 {
        self.map_version
    }

    /// The positions, by shard.
    pub fn positions(&self) -> impl Iterator<Item = (ShardId, Position)> {
        self.positions.iter().copied()
    }

    /// A token that asks for all that both ask for.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        let mut positions = self.positions.clone();
        for (shard, position) in other.positions() {
            match positions.iter_mut().find(|(known, _)| *known == shard) {
                Some((_, known)) => *known = position.max(*known),
                None => positions.push((shard, position)),
            }
        }
        Self::new(self.map_version.max(other.map_version), positions.into_iter())
    }

    /// Reads the text of a token for a proxy that routes `shards` shards by map `map_version`.
    ///
    /// # Errors
    /// [`Error::Token`]; [`Error::TokenNeedsNewerMap`]: a slot may have moved to a shard that this proxy would not ask;
    /// [`Error::TokenUnknownShard`].
    pub fn parse(text: &str, map_version: u64, shards: u16) -> Result<Self, Error> {
        let token = Self::read(text).map_err(Error::Token)?;
        if token.map_version > map_version {
            return Err(Error::TokenNeedsNewerMap {
                needs: token.map_version,
                has: map_version,
            });
        }
        match token.positions.iter().find(|(shard, _)| shard.0 >= shards) {
            Some((shard, _)) => Err(Error::TokenUnknownShard(*shard)),
            None => Ok(token),
        }
    }

    /// Reads the text of a token, for who carries tokens and routes nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Malformed::TooMany {
                count: text.len(),
                bound: MAX_TOKEN_BYTES,
            });
        }
        let mut fields = text.split('/');
        if fields.next() != Some(PREFIX) {
            return Err(Malformed::Field);
        }
        let map_version = hex(fields.next().ok_or(Malformed::Truncated)?)?;
        let mut positions: SmallVec<[(ShardId, Position); 2]> = SmallVec::new();
        for field in fields {
            let mut parts = field.split(':').map(hex);
            let mut part = || parts.next().ok_or(Malformed::Truncated)?;
            let shard = ShardId(u16::try_from(part()?).map_err(|_| Malformed::Field)?);
            let timeline = Timeline(u32::try_from(part()?).map_err(|_| Malformed::Field)?);
            let lsn = Lsn(part()?);
            if parts.next().is_some() {
                return Err(Malformed::Trailing);
            }
            if positions.last().is_some_and(|(last, _)| *last >= shard) {
                return Err(Malformed::NotAscending);
            }
            positions.push((shard, Position::new(timeline, lsn)));
        }
        Ok(Self {
            map_version,
            positions,
        })
    }
}

/// Lower-case hexadecimal without leading zeros, as written below: one text for each number.
fn hex(text: &str) -> Result<u64, Malformed> {
    let plain = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return Err(Malformed::Field);
    }
    u64::from_str_radix(text, 16).map_err(|_| Malformed::Field)
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}/{:x}", self.map_version)?;
        for (shard, position) in &self.positions {
            write!(f, "/{:x}:{:x}:{:x}", shard.0, position.timeline.0, position.lsn.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_token() -> impl Strategy<Value = Token> {
        let positions = prop::collection::btree_map(0..4_u16, (0..3_u32, 0..9_u64), 0..4);
        (0..3_u64, positions).prop_map(|(map, positions)| {
            let positions = positions.into_iter();
            Token::new(
                map,
                positions.map(|(shard, (t, lsn))| (ShardId(shard), Position::new(Timeline(t), Lsn(lsn)))),
            )
        })
    }

    proptest! {
        #[test]
        fn round_trips(map in any::<u64>(), positions in prop::collection::btree_map(any::<u16>(), (any::<u32>(), any::<u64>()), 0..5)) {
            let positions = positions.iter().map(|(shard, (t, lsn))| (ShardId(*shard), Position::new(Timeline(*t), Lsn(*lsn))));
            let token = Token::new(map, positions);
            prop_assert_eq!(Token::read(&token.to_string()), Ok(token));
        }

        #[test]
        fn joined_tokens_ask_for_what_each_asks_for(a in any_token(), b in any_token(), c in any_token()) {
            prop_assert_eq!(a.joined(&b), b.joined(&a));
            prop_assert_eq!(a.joined(&b).joined(&c), a.joined(&b.joined(&c)));
            prop_assert_eq!(a.joined(&a), a.clone());
            let joined = a.joined(&b);
            for (shard, position) in a.positions().chain(b.positions()) {
                prop_assert!(joined.positions().any(|(known, reached)| known == shard && reached >= position));
            }
            prop_assert_eq!(Token::read(&joined.to_string()), Ok(joined));
        }

        #[test]
        fn there_is_one_text_of_each_token(text in "(rw1)?[/:0-9a-f]{0,40}") {
            if let Ok(token) = Token::read(&text) {
                prop_assert_eq!(token.to_string(), text);
            }
        }
    }

    #[test]
    fn the_longest_token_fits_its_bound() {
        let last = Position::new(Timeline(u32::MAX), Lsn(u64::MAX));
        let token = Token::new(
            u64::MAX,
            (0..MAX_TOKEN_SHARDS).map(|n| (ShardId(u16::MAX - n as u16), last)),
        );
        assert!(token.to_string().len() <= MAX_TOKEN_BYTES);
        assert_eq!(
            Token::parse(&token.to_string(), u64::MAX, u16::MAX).unwrap_err(),
            Error::TokenUnknownShard(ShardId(u16::MAX))
        );
    }

    #[test]
    fn bad_tokens_say_what_is_wrong() {
        let parse = |text: &str| Token::parse(text, 5, 2);
        assert!(parse("rw1/5/1:1:ff").is_ok() && parse("rw1/0").is_ok());
        assert_eq!(
            parse("rw1/6"),
            Err(Error::TokenNeedsNewerMap { needs: 6, has: 5 })
        );
        assert_eq!(parse("rw1/5/2:1:1"), Err(Error::TokenUnknownShard(ShardId(2))));
        for text in [
            "",
            "rw1",
            "rw2/1",
            "rw1/",
            "rw1/1/",
            "rw1/1/1:1",
            "rw1/1/1:1:1:1",
            "rw1/1/1:1:1/0:1:1",
            "rw1/+1",
        ] {
            assert!(matches!(parse(text), Err(Error::Token(_))), "{text}");
        }
        assert!(parse(&"/".repeat(MAX_TOKEN_BYTES + 1)).is_err());
    }
}
