//! Messages of servers: decoded from backends, encoded towards clients.

mod auth;
mod command;
mod error_fields;
mod negotiate;
mod notification;
mod row;
mod status;

pub use auth::{
    Authentication, Mechanisms, encode_authentication_cleartext, encode_authentication_md5,
    encode_authentication_ok, encode_authentication_sasl, encode_authentication_sasl_continue,
    encode_authentication_sasl_final,
};
pub use command::{
    CommandComplete, encode_bind_complete, encode_close_complete, encode_empty_query_response,
    encode_no_data, encode_parse_complete, encode_portal_suspended,
};
pub use error_fields::ErrorFields;
pub use negotiate::NegotiateProtocolVersion;
pub use notification::NotificationResponse;
pub use row::{DataRow, Field, ParameterDescription, RowDescription};
pub use status::{BackendKeyData, ParameterStatus, ReadyForQuery};
