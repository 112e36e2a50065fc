//! Sockets on a thread's io_uring: bytes come and go without a system call for each.
//!
//! A thread has one [`Ring`]. A socket on it is received from all the time, into buffers of the kernel's that are emptied at every
//! turn, and what is written to it goes out at the end of the turn, all sockets' sends by one system call. A turn is made when
//! the thread has nothing else to do ([`turn`], to be called before it parks). A busy thread also waits there; at rest
//! [`Ring::watch`] wakes it when there is a reason to.
//!
//! Differences from an ordinary socket: what was written may be lost without the writer being told at once (the error comes with the next
//! write or read), and dropping a [`Socket`] closes it after everything written was sent, or gives up after some seconds without a reader.

mod kernel;
mod rest;
mod ring;
mod socket;
mod table;

pub use ring::{Ring, turn};
pub use socket::Socket;

#[cfg(test)]
mod tests;
