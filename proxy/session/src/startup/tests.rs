//! The handshake with clients of every kind.
