//! Fixtures and end-to-end tests over real servers.
