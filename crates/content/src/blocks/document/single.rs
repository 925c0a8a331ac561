//! Blocks that are one thing: words, a picture, a button, a line.
//!
//! Plain data; must not know the document around them.

use serde::{Deserialize, Serialize};

use super::super::look::{Align, Frame};

/// A heading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heading {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// The words: plain text, a template; line breaks are kept.
    pub text: String,
    /// 1 to 3.
    #[serde(default = "first_level")]
    pub level: u8,
    /// Where it stands.
    #[serde(default)]
    pub align: Align,
    /// Empty: the theme's text colour.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub color: String,
}

const fn first_level() -> u8 {
    1
}

/// Paragraphs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// HTML of a small subset, a template; everything else is dropped when the body is rendered.
    pub html: String,
    /// Where it stands.
    #[serde(default)]
    pub align: Align,
    /// Empty: the theme's text colour.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub color: String,
    /// Size in pixels, 10 to 40; absent: the theme's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u16>,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// Address of the picture; empty: nothing is shown.
    #[serde(default)]
    pub src: String,
    /// What it shows, for those who do not see it; plain text, a template.
    #[serde(default)]
    pub alt: String,
    /// Where a click leads; empty: nowhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub href: String,
    /// Width in pixels, 16 to 800; absent: the whole width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u16>,
    /// Where it stands.
    #[serde(default = "center")]
    pub align: Align,
    /// Whether its corners are rounded as the theme says.
    #[serde(default)]
    pub rounded: bool,
}

pub(super) const fn center() -> Align {
    Align::Center
}

/// A button.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Button {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// The words: plain text, a template.
    pub label: String,
    /// Where it leads.
    #[serde(default)]
    pub href: String,
    /// Where it stands.
    #[serde(default = "center")]
    pub align: Align,
    /// Whether it is as wide as the content.
    #[serde(default)]
    pub full_width: bool,
    /// Colour of the button; empty: the theme's accent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub color: String,
    /// Colour of its words; empty: the theme's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text_color: String,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divider {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// Its colour; empty: a light grey.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub color: String,
    /// In pixels, 1 to 12.
    #[serde(default = "one")]
    pub thickness: u16,
    /// In percent of the width, 10 to 100.
    #[serde(default = "hundred")]
    pub width: u16,
    /// How it is drawn.
    #[serde(default)]
    pub line: Line,
}

const fn one() -> u16 {
    1
}

const fn hundred() -> u16 {
    100
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Without gaps.
    #[default]
    Solid,
    /// Short strokes.
    Dashed,
    /// Points.
    Dotted,
}

/// Empty space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spacer {
    /// Unique in the document.
    pub id: String,
    /// Background; its spaces are not used.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// In pixels, 4 to 200.
    pub height: u16,
}

/// A quotation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quote {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// What was said: plain text, a template; line breaks are kept.
    pub text: String,
    /// Who said it: plain text, a template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Colour of the stroke beside it; empty: the theme's accent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub color: String,
}

/// HTML as it is; what harms is refused like in an HTML body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Html {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// Whole elements, a template.
    pub html: String,
}
