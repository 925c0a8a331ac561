//! Bodies made of blocks: the document, its checks, and its way to MJML.
//!
//! Must not know how MJML becomes HTML, recipients, or the store.

pub(crate) mod bits;
mod check;
mod document;
mod label;
mod look;
mod read;
mod rich;
mod starters;
mod write;

pub use document::{
    Align, Block, Button, Column, Columns, Conditional, Divider, Document, Font, Footer, Frame, Heading, Html, Image,
    Line, Network, Product, ProductLayout, Products, Quote, Social, SocialLink, Spacer, Test, Text, Theme, Total,
    VERSION, VerticalAlign, Video, When,
};
pub use read::read;
pub use starters::{Starter, starters};

pub(crate) use bits::Written;
pub(crate) use write::{Facts, write};

use postrider_domain::campaign::Finding;

/// A block document as MJML, for those who go on in code; there is no way back. Renders to the same message.
///
/// # Errors
/// What is wrong with the document, with the blocks that it is about.
pub fn to_mjml(json: &str, has_privacy: bool) -> Result<String, Vec<Finding>> {
    let document = read(json)?;
    let written = write(&document, Facts { has_privacy });
    let errors: Vec<Finding> = written
        .findings
        .iter()
        .filter(|finding| finding.severity == postrider_domain::campaign::Severity::Error)
        .cloned()
        .collect();
    if errors.is_empty() { Ok(written.text()) } else { Err(errors) }
}
