//! How documents and blocks look: colours, fonts, places, spaces.
//!
//! Plain data; must not know blocks.

use serde::{Deserialize, Serialize};

/// How a document looks; every field has a default. Colours are `#rgb` or `#rrggbb`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Theme {
    /// Width of the content in pixels, 320 to 800.
    pub width: u16,
    /// Colour around the content.
    pub background: String,
    /// Colour behind the content.
    pub surface: String,
    /// Colour of text and headings.
    pub text: String,
    /// Colour of small print: footer, captions, descriptions.
    pub muted: String,
    /// Colour of links and buttons.
    pub accent: String,
    /// Colour of the words on buttons.
    pub on_accent: String,
    /// Font of text.
    pub font: Font,
    /// Font of headings.
    pub heading_font: Font,
    /// Size of text in pixels, 12 to 24.
    pub font_size: u16,
    /// Rounding of buttons and pictures in pixels, 0 to 40.
    pub radius: u16,
}

impl Default for Theme {
    fn default() -> Theme {
        Theme {
            width: 600,
            background: "#f3f4f6".to_owned(),
            surface: "#ffffff".to_owned(),
            text: "#1f2937".to_owned(),
            muted: "#565f6c".to_owned(),
            accent: "#1d4ed8".to_owned(),
            on_accent: "#ffffff".to_owned(),
            font: Font::Arial,
            heading_font: Font::Arial,
            font_size: 16,
            radius: 6,
        }
    }
}

/// Fonts that every mail program has; each is a whole stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Font {
    /// Arial, Helvetica.
    #[default]
    Arial,
    /// Verdana, Geneva.
    Verdana,
    /// Tahoma, Geneva.
    Tahoma,
    /// Trebuchet MS.
    Trebuchet,
    /// Georgia.
    Georgia,
    /// Times New Roman.
    Times,
    /// Courier New.
    Courier,
    /// The reader's system font.
    System,
}

/// Where something stands in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// Left.
    #[default]
    Left,
    /// In the middle.
    Center,
    /// Right.
    Right,
}

/// Where columns stand that are lower than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerticalAlign {
    /// Top.
    #[default]
    Top,
    /// In the middle.
    Middle,
    /// Bottom.
    Bottom,
}

/// What every block may have.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Frame {
    /// Colour behind the block; empty: the theme's surface.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub background: String,
    /// Space above in pixels, 0 to 100; absent: the type's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding_top: Option<u16>,
    /// Space below in pixels, 0 to 100; absent: the type's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding_bottom: Option<u16>,
    /// Space at both sides in pixels, 0 to 100; absent: the type's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding_side: Option<u16>,
}

impl Frame {
    /// Whether nothing of it was chosen.
    pub(super) fn is_default(&self) -> bool {
        *self == Frame::default()
    }
}
