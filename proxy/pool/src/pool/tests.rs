//! The pool over real sockets.
