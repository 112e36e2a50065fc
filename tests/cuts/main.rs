//! Connections that end anywhere: the server's and the client's cut at every byte of what they say, held, damaged, read
//! slowly, cancelled at random. Each wait is bounded, what was lost has the right error, nobody else notices, nothing is left.

mod backend;
mod cancel;
mod client;
mod conversation;
mod copy;
mod damage;
mod login;
mod relay;
mod scene;
mod slow;
