//! Tests of the public face of the crate: the relay's headers by a table, and whole messages by a parser of others.

mod corpus;
mod relay_headers;
mod relay_messages;
mod relay_properties;
