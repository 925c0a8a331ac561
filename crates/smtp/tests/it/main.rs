//! Dialogues of the client and of the server session, the TLS matrix, and look-ups of a trusted resolver.

mod client_dialogues;
mod client_open;
mod client_random;
mod lab;
mod ladder;
mod rig;
mod secure_dns;
mod server_dialogues;
mod server_lifecycle;
mod server_malformed;
mod server_memory;
mod server_rig;
mod server_scripts;
mod server_smuggling;
