//! The configuration of a proxy: TOML and the environment in, validated [`Settings`] or every mistake at once out.
//!
//! In: the text of one TOML file, the environment, and a function that reads the files which hold secrets.
//! Out: a [`Settings`] in which every name refers to something, or a [`SettingsError`] that names file, line, column
//! and the nearest right name for each mistake. Also the text form of the slot map, and what a reload may change.
//!
//! **Invariant:** no global state, no I/O of its own (files are read by the caller's function), no clock.
//! **Invariant:** a secret is in no error, no `Debug` and no diff: the source lines that errors show are masked.
//! **Invariant:** the raw document never leaves this crate; what leaves it needs no more checks.

mod auth;
mod change;
mod context;
mod decode;
mod document;
mod entries;
mod error;
mod hba;
mod mask;
mod model;
mod needs;
mod pools;
mod reload;
mod secret;
mod slots;
mod units;

pub use auth::{AdminRights, Auth, AuthQuery, AuthRules, PoolOverrides, User, UserSecret};
pub use change::ChangeError;
pub use decode::Input;
pub use entries::Entry;
pub use error::SettingsError;
pub use hba::{AuthMethod, HbaAddress, HbaConnection, HbaName, HbaRule, LoginAttempt, Network, shown_host};
pub use model::{
    CacheSettings, ClientTls, Database, HealthSettings, IoDriver, Limits, Listen, ListenAddresses, LogFormat,
    LogLevel, LogSettings, PoolMode, PoolSettings, ProxyId, RedisSettings, ServerTls, Settings, Shard,
    ShardEndpoint, StreamSettings, StreamTransport, TcpKeepalive, TcpSettings, TlsIdentity, UnixFolder,
    UnixSocket,
};
pub use needs::Needs;
pub use pools::PoolFor;
pub use reload::{Change, Reload};
pub use secret::Secret;
pub use slots::{SlotMapFileError, parse_slot_map, print_slot_map};
pub use units::{parse_duration, parse_size};
