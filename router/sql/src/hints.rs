//! Hints in comments: `/* ringway: level=bounded(2s) cache=off */`.
//!
//! A hint may tighten what the configuration says, never loosen it; the planner sees to that.

use std::time::Duration;

/// What a comment asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Hints {
    /// `level=`.
    pub level: Option<HintLevel>,
    /// `cache=`.
    pub cache: CacheHint,
}

/// `cache=`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum CacheHint {
    /// As configured.
    #[default]
    Default,
    /// Neither answered from the cache nor filled into it.
    Off,
}

/// `level=`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HintLevel {
    /// The primary.
    Strong,
    /// Read-your-writes.
    Ryw,
    /// Fresh as of at most this long ago.
    Bounded(Duration),
}

/// A hint that says nothing known.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown hint \"{word}\"")]
pub struct HintError {
    /// The part that is not understood.
    pub word: String,
}

/// What the inside of a comment must start with to be a hint.
pub(crate) const HINT_PREFIX: &[u8] = b"ringway:";

/// The hints in all comments of `sql`; of one named twice the last holds.
///
/// # Errors
/// A comment starts with `ringway:` and goes on with something unknown.
pub fn hints(sql: &str) -> Result<Hints, HintError> {
    let mut hints = Hints::default();
    if !sql.contains("ringway:") {
        return Ok(hints);
    }
    for comment in crate::normalise::hint_comments(sql.as_bytes()) {
        let Some(body) = sql.get(comment) else { continue };
        for word in body.split_ascii_whitespace() {
            apply(&mut hints, word).ok_or_else(|| HintError {
                word: word.to_owned(),
            })?;
        }
    }
    Ok(hints)
}

fn apply(hints: &mut Hints, word: &str) -> Option<()> {
    match word.split_once('=')? {
        ("cache", "off") => hints.cache = CacheHint::Off,
        ("cache", "on") => hints.cache = CacheHint::Default,
        ("level", level) => hints.level = Some(parse_level(level)?),
        _ => return None,
    }
    Some(())
}

/// A level as SET ringway.level and hints spell it: `strong`, `ryw`, `bounded(2s)`.
pub fn parse_level(text: &str) -> Option<HintLevel> {
    match text.trim() {
        "strong" => Some(HintLevel::Strong),
        "ryw" => Some(HintLevel::Ryw),
        other => {
            let inner = other.strip_prefix("bounded(")?.strip_suffix(')')?;
            parse_span(inner.trim()).map(HintLevel::Bounded)
        }
    }
}

/// A time span: digits and one of `ms`, `s`, `min`.
fn parse_span(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().ok()?;
    match unit.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "min" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}
