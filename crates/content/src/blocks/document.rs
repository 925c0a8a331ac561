//! The block document: what the block editor saves, version 1 of its JSON (docs/blocks.md has an example of each).
//!
//! Plain data; must not know MJML or what is allowed inside of the fields (that is [`super::check`]).

use serde::{Deserialize, Serialize};

mod groups;
mod single;

pub use super::look::{Align, Font, Frame, Theme, VerticalAlign};
pub use groups::{
    Column, Columns, Conditional, Footer, Network, Product, ProductLayout, Products, Social, SocialLink, Test, Total,
    Video, When,
};
pub use single::{Button, Divider, Heading, Html, Image, Line, Quote, Spacer, Text};

/// The version of the document that this build reads and writes.
pub const VERSION: u16 = 1;

/// A body as blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// [`VERSION`].
    pub version: u16,
    /// Colours, fonts and width.
    #[serde(default)]
    pub theme: Theme,
    /// The blocks from top to bottom.
    pub blocks: Vec<Block>,
}

/// One block. `type` says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// A heading.
    Heading(Heading),
    /// Paragraphs, lists, links.
    Text(Text),
    /// A picture.
    Image(Image),
    /// A button.
    Button(Button),
    /// A line.
    Divider(Divider),
    /// Empty space.
    Spacer(Spacer),
    /// Two or three columns.
    Columns(Columns),
    /// Links to profiles.
    Social(Social),
    /// A quotation.
    Quote(Quote),
    /// Products as a list, or rows of a receipt.
    Products(Products),
    /// A still that leads to a video.
    Video(Video),
    /// HTML as it is.
    Html(Html),
    /// Blocks that only some recipients see.
    Conditional(Conditional),
    /// Who sends, and how to get no more.
    Footer(Footer),
}

impl Block {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Block::Heading(block) => &block.id,
            Block::Text(block) => &block.id,
            Block::Image(block) => &block.id,
            Block::Button(block) => &block.id,
            Block::Divider(block) => &block.id,
            Block::Spacer(block) => &block.id,
            Block::Columns(block) => &block.id,
            Block::Social(block) => &block.id,
            Block::Quote(block) => &block.id,
            Block::Products(block) => &block.id,
            Block::Video(block) => &block.id,
            Block::Html(block) => &block.id,
            Block::Conditional(block) => &block.id,
            Block::Footer(block) => &block.id,
        }
    }

    /// The word after `type`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Block::Heading(_) => "heading",
            Block::Text(_) => "text",
            Block::Image(_) => "image",
            Block::Button(_) => "button",
            Block::Divider(_) => "divider",
            Block::Spacer(_) => "spacer",
            Block::Columns(_) => "columns",
            Block::Social(_) => "social",
            Block::Quote(_) => "quote",
            Block::Products(_) => "products",
            Block::Video(_) => "video",
            Block::Html(_) => "html",
            Block::Conditional(_) => "conditional",
            Block::Footer(_) => "footer",
        }
    }

    /// Background and spaces; a group of blocks with a condition has none of its own.
    pub const fn frame(&self) -> Option<&Frame> {
        match self {
            Block::Heading(block) => Some(&block.frame),
            Block::Text(block) => Some(&block.frame),
            Block::Image(block) => Some(&block.frame),
            Block::Button(block) => Some(&block.frame),
            Block::Divider(block) => Some(&block.frame),
            Block::Spacer(block) => Some(&block.frame),
            Block::Columns(block) => Some(&block.frame),
            Block::Social(block) => Some(&block.frame),
            Block::Quote(block) => Some(&block.frame),
            Block::Products(block) => Some(&block.frame),
            Block::Video(block) => Some(&block.frame),
            Block::Html(block) => Some(&block.frame),
            Block::Footer(block) => Some(&block.frame),
            Block::Conditional(_) => None,
        }
    }
}
