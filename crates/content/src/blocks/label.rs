//! How a block is named to people: its number in the document, its kind and its id.
//!
//! Must not know what is wrong with it.

use postrider_domain::campaign::Finding;

use super::document::Block;

/// The name of a block in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Numbers from 1: block, column, block.
    pub path: String,
    /// The word after `type`.
    pub kind: String,
    /// Its id, cut to what an id may have.
    pub id: String,
}

impl Label {
    /// A label from what is known.
    pub fn new(path: &str, kind: &str, id: &str) -> Label {
        Label { path: path.to_owned(), kind: kind.chars().take(40).collect(), id: id.chars().take(40).collect() }
    }

    /// The label of a block.
    pub fn of(path: &str, block: &Block) -> Label {
        Label::new(path, block.kind(), block.id())
    }

    /// The field that findings name, so that an editor finds the block.
    pub fn field(&self) -> String {
        if self.id.is_empty() { "body".to_owned() } else { format!("body#{}", self.id) }
    }

    /// The message with the block before it.
    pub fn say(&self, message: &str) -> String {
        format!("block {} ({}): {message}", self.path, self.kind)
    }

    /// A finding that refuses the start.
    pub fn error(&self, code: &str, message: &str) -> Finding {
        Finding::error(code, &self.field(), self.say(message))
    }

    /// A finding that a person decides about.
    pub fn warning(&self, code: &str, message: &str) -> Finding {
        Finding::warning(code, &self.field(), self.say(message))
    }
}
