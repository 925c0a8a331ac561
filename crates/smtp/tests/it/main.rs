//! Dialogues of the client and of the server session.

mod client_dialogues;
mod client_open;
mod client_random;
mod rig;
mod server_dialogues;
