//! The fetcher against servers on the loopback address that do what hostile servers do.

mod guard;
mod limits;
mod server;
mod tls;
