//! Content: a draft is compiled once into pre-encoded pieces, and each recipient's message is spliced from them.
//!
//! Pure: must not know SQL, sockets, async or the clock. Same inputs, same bytes. Every template, value and
//! HTML is taken for hostile: bounds in [`limits`], escaping by place in [`place`].

pub mod blocks;
mod compile;
mod compiled;
mod engine;
mod error;
mod escape;
mod footer;
mod html;
mod input;
pub mod limits;
mod lint;
mod message;
mod part;
pub mod place;
mod prepared;
mod single;
mod template;

pub use compile::{builtin_variables, check, compile, variables};
pub use compiled::{Compiled, Link, RENDERER};
pub use error::{CompiledError, PartName, RenderError, SingleError};
pub use input::{Compilation, CompileInput, ListFacts, MessageFacts, RecipientView, Rendered, Sender, SingleMessage};
pub use prepared::Prepared;
pub use single::compose_single;
