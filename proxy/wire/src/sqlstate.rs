//! SQLSTATEs that Ringway itself raises or acts upon. Names as in PostgreSQL's `errcodes.txt`.

use std::fmt;

/// Five characters that say what kind of an error it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// A SQLSTATE from its five characters.
    pub const fn new(code: [u8; 5]) -> SqlState {
        SqlState(code)
    }

    /// A SQLSTATE as it stands in an ErrorResponse; `None` unless it has five digits and capital letters.
    pub fn from_bytes(code: &[u8]) -> Option<SqlState> {
        let code: [u8; 5] = code.try_into().ok()?;
        code.iter()
            .all(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
            .then_some(SqlState(code))
    }

    /// The five characters.
    pub fn as_bytes(&self) -> &[u8; 5] {
        &self.0
    }

    /// The first two characters.
    pub fn class(&self) -> [u8; 2] {
        let [a, b, ..] = self.0;
        [a, b]
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|&c| fmt::Write::write_char(f, char::from(c)))
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub const $name: SqlState = SqlState::new(*$code);)*
    };
}

codes! {
    /// `successful_completion`
    SUCCESSFUL_COMPLETION = b"00000";
    /// `warning`
    WARNING = b"01000";
    /// `connection_exception`
    CONNECTION_EXCEPTION = b"08000";
    /// `sqlserver_rejected_establishment_of_sqlconnection`
    CONNECTION_REJECTED = b"08004";
    /// `connection_failure`
    CONNECTION_FAILURE = b"08006";
    /// `transaction_resolution_unknown`
    TRANSACTION_RESOLUTION_UNKNOWN = b"08007";
    /// `protocol_violation`
    PROTOCOL_VIOLATION = b"08P01";
    /// `feature_not_supported`
    FEATURE_NOT_SUPPORTED = b"0A000";
    /// `numeric_value_out_of_range`
    NUMERIC_VALUE_OUT_OF_RANGE = b"22003";
    /// `invalid_parameter_value`
    INVALID_PARAMETER_VALUE = b"22023";
    /// `invalid_text_representation`
    INVALID_TEXT_REPRESENTATION = b"22P02";
    /// `bad_copy_file_format`
    BAD_COPY_FILE_FORMAT = b"22P04";
    /// `active_sql_transaction`
    ACTIVE_SQL_TRANSACTION = b"25001";
    /// `read_only_sql_transaction`
    READ_ONLY_SQL_TRANSACTION = b"25006";
    /// `no_active_sql_transaction`
    NO_ACTIVE_SQL_TRANSACTION = b"25P01";
    /// `in_failed_sql_transaction`
    IN_FAILED_SQL_TRANSACTION = b"25P02";
    /// `idle_in_transaction_session_timeout`
    IDLE_IN_TRANSACTION_SESSION_TIMEOUT = b"25P03";
    /// `transaction_timeout`
    TRANSACTION_TIMEOUT = b"25P04";
    /// `invalid_sql_statement_name`
    INVALID_SQL_STATEMENT_NAME = b"26000";
    /// `invalid_authorization_specification`
    INVALID_AUTHORIZATION_SPECIFICATION = b"28000";
    /// `invalid_password`
    INVALID_PASSWORD = b"28P01";
    /// `invalid_cursor_name`
    INVALID_CURSOR_NAME = b"34000";
    /// `invalid_catalog_name`
    INVALID_CATALOG_NAME = b"3D000";
    /// `serialization_failure`
    SERIALIZATION_FAILURE = b"40001";
    /// `statement_completion_unknown`
    STATEMENT_COMPLETION_UNKNOWN = b"40003";
    /// `deadlock_detected`
    DEADLOCK_DETECTED = b"40P01";
    /// `insufficient_privilege`
    INSUFFICIENT_PRIVILEGE = b"42501";
    /// `syntax_error`
    SYNTAX_ERROR = b"42601";
    /// `undefined_object`
    UNDEFINED_OBJECT = b"42704";
    /// `data_corrupted`
    DATA_CORRUPTED = b"XX001";
    /// `duplicate_prepared_statement`
    DUPLICATE_PREPARED_STATEMENT = b"42P05";
    /// `too_many_connections`
    TOO_MANY_CONNECTIONS = b"53300";
    /// `configuration_limit_exceeded`
    CONFIGURATION_LIMIT_EXCEEDED = b"53400";
    /// `program_limit_exceeded`
    PROGRAM_LIMIT_EXCEEDED = b"54000";
    /// `object_not_in_prerequisite_state`
    OBJECT_NOT_IN_PREREQUISITE_STATE = b"55000";
    /// `cant_change_runtime_param`
    CANT_CHANGE_RUNTIME_PARAM = b"55P02";
    /// `query_canceled`
    QUERY_CANCELED = b"57014";
    /// `admin_shutdown`
    ADMIN_SHUTDOWN = b"57P01";
    /// `crash_shutdown`
    CRASH_SHUTDOWN = b"57P02";
    /// `cannot_connect_now`
    CANNOT_CONNECT_NOW = b"57P03";
    /// `database_dropped`
    DATABASE_DROPPED = b"57P04";
    /// `config_file_error`
    CONFIG_FILE_ERROR = b"F0000";
    /// `idle_session_timeout`
    IDLE_SESSION_TIMEOUT = b"57P05";
    /// `internal_error`
    INTERNAL_ERROR = b"XX000";
}
