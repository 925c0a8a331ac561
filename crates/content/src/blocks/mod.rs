//! Bodies made of blocks: the document, its checks, and its way to MJML.
//!
//! Must not know how MJML becomes HTML, recipients, or the store.

mod document;

pub use document::{
    Align, Block, Button, Column, Columns, Conditional, Divider, Document, Font, Footer, Frame, Heading, Html, Image,
    Line, Network, Product, ProductLayout, Products, Quote, Social, SocialLink, Spacer, Test, Text, Theme, Total,
    VERSION, VerticalAlign, Video, When,
};
