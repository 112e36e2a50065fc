//! Backend sockets: connect, authenticate, check out, limits.
