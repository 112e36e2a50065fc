//! What went wrong, by whose fault, and whether another try is sensible.
//!
//! The table in [`classify`] is the only place that knows SQLSTATEs; it is pure. What an error means for a transaction depends on
//! how far it had come ([`Phase`]): before COMMIT was sent nothing of it can be committed, whatever broke; from then on a lost answer
//! leaves the outcome unknown.

use std::borrow::Cow;
use std::fmt;

/// Who has to change something for the call to succeed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Blame {
    /// Whoever called: a value, a statement, a right, a token or a header is wrong. The same call fails again.
    Caller,
    /// Another transaction got in between. The same call, made again, may succeed.
    Conflict,
    /// A server can't answer at the moment (failover, shutdown, its own error).
    Database,
    /// A bound was reached: connections, memory, the retry budget, the circuit breaker.
    Overload,
    /// The connection could not be made, or broke.
    Network,
    /// The time that the caller gave is over.
    Deadline,
}

/// Whether another try is sensible.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Retry {
    /// No: it fails again, or there is no time left.
    Never,
    /// Yes: nothing of the call was done.
    Safe,
    /// Only with an idempotency key: the call may have been done.
    WithKey,
}

/// How far a call had come when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Getting a connection, a read, or a transaction whose COMMIT was not sent: nothing is committed.
    BeforeCommit,
    /// COMMIT was sent.
    Commit,
}

/// A SQLSTATE: five upper-case letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// `transaction_resolution_unknown`
    pub const RESOLUTION_UNKNOWN: Self = Self(*b"08007");
    /// `query_canceled`
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// `feature_not_supported`
    pub const NOT_SUPPORTED: Self = Self(*b"0A000");
    /// `in_failed_sql_transaction`
    pub const IN_FAILED_TRANSACTION: Self = Self(*b"25P02");
    /// `invalid_parameter_value`
    pub const INVALID_VALUE: Self = Self(*b"22023");
    /// `invalid_sql_statement_name`: a prepared statement that the other side has forgotten.
    pub const UNKNOWN_STATEMENT: Self = Self(*b"26000");
    /// A unique constraint is violated; [`Error::constraint`] says which.
    pub const UNIQUE_VIOLATION: Self = Self(*b"23505");

    /// Reads five letters and digits.
    pub fn new(code: &str) -> Option<Self> {
        let code: [u8; 5] = code.as_bytes().try_into().ok()?;
        let plain = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        code.iter().all(plain).then_some(Self(code))
    }

    /// The five characters.
    pub fn as_str(&self) -> &str {
        // Only ASCII passes `new`.
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a SQLSTATE blames and whether another try is sensible, for a call that had come to `phase`.
pub fn classify(code: SqlState, phase: Phase) -> (Blame, Retry) {
    // What says that a server or a connection went away says nothing of a COMMIT that was on its way there.
    let unless_committing = match phase {
        Phase::BeforeCommit => Retry::Safe,
        Phase::Commit => Retry::WithKey,
    };
    match code.as_str() {
        "40001" | "40P01" => (Blame::Conflict, Retry::Safe),
        "08007" | "40003" => (Blame::Database, Retry::WithKey),
        "57P03" => (Blame::Database, unless_committing),
        "53300" => (Blame::Overload, unless_committing),
        "57014" => (Blame::Deadline, Retry::Never),
        "08P01" => (Blame::Caller, Retry::Never),
        "57P01" | "57P02" | "25P03" => (Blame::Database, unless_committing),
        other => match other.get(..2).unwrap_or_default() {
            "08" => (Blame::Network, unless_committing),
            "53" | "54" => (Blame::Overload, Retry::Never),
            "55" => (Blame::Conflict, Retry::Never),
            "57" | "58" | "F0" | "XX" => (Blame::Database, Retry::Never),
            _ => (Blame::Caller, Retry::Never),
        },
    }
}

/// An error of this crate.
#[derive(Debug)]
pub struct Error {
    blame: Blame,
    retry: Retry,
    state: Option<SqlState>,
    message: Cow<'static, str>,
    constraint: Option<Box<str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the SDK's own.
    pub(crate) fn new(blame: Blame, retry: Retry, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            blame,
            retry,
            state: None,
            message: message.into(),
            constraint: None,
            source: None,
        }
    }

    /// A setting that a service can't be run with.
    pub fn setting(message: impl Into<Cow<'static, str>>) -> Self {
        Self::caller(message)
    }

    /// The caller gave something that can't be used.
    pub fn caller(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Blame::Caller, Retry::Never, message)
    }

    /// The caller's time is over. A COMMIT that was on its way may have been done; the deadline forbids another try all the same.
    pub(crate) fn deadline(phase: Phase) -> Self {
        match phase {
            Phase::BeforeCommit => Self::new(Blame::Deadline, Retry::Never, "the deadline has passed"),
            Phase::Commit => Self::new(
                Blame::Deadline,
                Retry::WithKey,
                "the deadline has passed while the transaction was being committed; its outcome is unknown",
            ),
        }
    }

    /// The same, with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What the driver says, for a call that had come to `phase`.
    pub(crate) fn from_driver(error: tokio_postgres::Error, phase: Phase) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::without_state(error, phase);
        };
        let state = SqlState::new(db.code().code());
        let (blame, retry) = state.map_or((Blame::Database, Retry::Never), |state| classify(state, phase));
        Self {
            blame,
            retry,
            state,
            message: db.message().to_owned().into(),
            constraint: db.constraint().map(Into::into),
            source: Some(Box::new(error)),
        }
    }

    /// No server spoke: either the connection broke, or the driver refused the values it was given.
    fn without_state(error: tokio_postgres::Error, phase: Phase) -> Self {
        let lost = error.is_closed()
            || std::error::Error::source(&error).is_some_and(|source| source.is::<std::io::Error>());
        let retry = match phase {
            Phase::BeforeCommit => Retry::Safe,
            Phase::Commit => Retry::WithKey,
        };
        let made = if lost {
            Self::new(Blame::Network, retry, "the connection to the endpoint was lost")
        } else {
            Self::caller(error.to_string())
        };
        made.with_source(error)
    }

    /// The same as seen by a caller for whom COMMIT was on its way.
    pub(crate) fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Who has to change something.
    pub fn blame(&self) -> Blame {
        self.blame
    }

    /// Whether another try is sensible.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// The server's or the endpoint's SQLSTATE; none if neither spoke.
    pub fn state(&self) -> Option<SqlState> {
        self.state
    }

    /// The constraint that was violated, by name.
    pub fn constraint(&self) -> Option<&str> {
        self.constraint.as_deref()
    }

    /// A statement was prepared before its table changed, or on a connection that has forgotten it.
    pub(crate) fn is_stale_plan(&self) -> bool {
        match self.state {
            Some(SqlState::UNKNOWN_STATEMENT) => true,
            Some(SqlState::NOT_SUPPORTED) => self.message == "cached plan must not change result type",
            _ => false,
        }
    }

    /// Whether the transaction may or may not be committed.
    pub fn is_outcome_unknown(&self) -> bool {
        self.retry == Retry::WithKey
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.state {
            Some(state) => write!(f, " ({state})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error type that closures of transactions may end with: the service's own, which has a place for the SDK's.
///
/// Whether the transaction is tried again is a question to the SDK's error in it. One without any is the service's own refusal: the
/// transaction is rolled back, and the error handed on.
pub trait FromSdk: From<Error> {
    /// The SDK's error in it, if that is what it is.
    fn as_sdk(&self) -> Option<&Error>;
}

impl FromSdk for Error {
    fn as_sdk(&self) -> Option<&Error> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(code: &str, phase: Phase) -> (Blame, Retry) {
        classify(SqlState::new(code).unwrap(), phase)
    }

    #[test]
    fn the_codes_that_are_retried() {
        use Phase::{BeforeCommit, Commit};
        for code in ["40001", "40P01"] {
            assert_eq!(of(code, BeforeCommit), (Blame::Conflict, Retry::Safe));
            assert_eq!(
                of(code, Commit),
                (Blame::Conflict, Retry::Safe),
                "a refused COMMIT is rolled back"
            );
        }
        for code in ["57P03", "53300", "57P01", "08006"] {
            assert_eq!(of(code, BeforeCommit).1, Retry::Safe);
            assert_eq!(of(code, Commit).1, Retry::WithKey, "{code}");
        }
        assert_eq!(of("08007", Commit), (Blame::Database, Retry::WithKey));
        assert_eq!(of("23505", Commit), (Blame::Caller, Retry::Never));
        assert_eq!(of("0A000", BeforeCommit), (Blame::Caller, Retry::Never));
    }

    proptest! {
        #[test]
        fn nothing_is_retried_without_a_key_that_may_have_been_committed(code in "[0-9A-Z]{5}") {
            let state = SqlState::new(&code).unwrap();
            let (blame, retry) = classify(state, Phase::Commit);
            if retry == Retry::Safe {
                prop_assert_eq!(blame, Blame::Conflict);
            }
            // A phase never changes whom the code blames.
            prop_assert_eq!(blame, classify(state, Phase::BeforeCommit).0);
        }

        #[test]
        fn only_five_letters_and_digits_are_a_code(text in "\\PC{0,8}") {
            let valid = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
            prop_assert_eq!(SqlState::new(&text).is_some(), valid);
        }
    }
}
