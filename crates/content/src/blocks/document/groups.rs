//! Blocks that hold several things or other blocks: columns, links, products, conditions, the footer.
//!
//! Plain data; must not know what is allowed inside of the fields.

use serde::{Deserialize, Serialize};

use super::super::look::{Align, Frame, VerticalAlign};
use super::Block;
use super::single::center;

/// Two or three columns, one below the other on phones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// Two or three.
    pub columns: Vec<Column>,
    /// Where lower ones stand.
    #[serde(default)]
    pub vertical_align: VerticalAlign,
    /// Whether they stay side by side on phones.
    #[serde(default)]
    pub keep_on_phone: bool,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// In percent, 10 to 90; either all columns have one and they make 100, or none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u16>,
    /// What it holds; no columns and no footer.
    pub blocks: Vec<Block>,
}

/// Links to profiles, as words: pictures would load from elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Social {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// Up to 12.
    pub links: Vec<SocialLink>,
    /// Where they stand.
    #[serde(default = "center")]
    pub align: Align,
    /// Empty: the theme's accent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub color: String,
}

/// One profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocialLink {
    /// Which network.
    pub network: Network,
    /// Its address.
    #[serde(default)]
    pub href: String,
    /// The words; empty: the network's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
}

/// A network with a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Bluesky.
    Bluesky,
    /// Facebook.
    Facebook,
    /// GitHub.
    Github,
    /// Instagram.
    Instagram,
    /// LinkedIn.
    Linkedin,
    /// Mastodon.
    Mastodon,
    /// Pinterest.
    Pinterest,
    /// Telegram.
    Telegram,
    /// Threads.
    Threads,
    /// TikTok.
    Tiktok,
    /// A web site.
    Website,
    /// WhatsApp.
    Whatsapp,
    /// X.
    X,
    /// XING.
    Xing,
    /// YouTube.
    Youtube,
}

/// Products as a list, or rows of a receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Products {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// How they are shown.
    #[serde(default)]
    pub layout: ProductLayout,
    /// Up to 50.
    pub items: Vec<Product>,
    /// The last row, e.g. the sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Total>,
    /// Words of the link below each product that has an address; empty: the name is the link.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link_label: String,
}

/// How products are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductLayout {
    /// Picture, name, description and price of each.
    #[default]
    List,
    /// One row each: name, quantity, price.
    Table,
}

/// One product. All words are plain text and templates.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Its name.
    pub name: String,
    /// A sentence about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// With its currency.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub price: String,
    /// How many; shown in tables.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub quantity: String,
    /// Address of a picture; shown in lists.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// What the picture shows; empty: the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alt: String,
    /// Where a click leads.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub href: String,
}

/// The last row of products.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// Its words.
    pub label: String,
    /// The sum with its currency.
    pub value: String,
}

/// A still that leads to a video; mail programs play none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// Address of the video's page.
    #[serde(default)]
    pub href: String,
    /// Address of the still; empty: a coloured plate with the caption.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// What the still shows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alt: String,
    /// The words below: plain text, a template; empty: “Watch the video”.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub caption: String,
}

/// Blocks that only some recipients see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditional {
    /// Unique in the document.
    pub id: String,
    /// Who sees `blocks`.
    pub when: When,
    /// What they see.
    pub blocks: Vec<Block>,
    /// What the others see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<Block>,
}

/// A question to one variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Name of a contact attribute, or a built-in variable.
    pub variable: String,
    /// The question.
    #[serde(rename = "is")]
    pub test: Test,
    /// What to compare with, as text; for `equal` and `not_equal`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// What is asked of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// It is there and not blank.
    Set,
    /// It is missing or blank.
    NotSet,
    /// It is the value, capitals included.
    Equal,
    /// It is not the value (or missing).
    NotEqual,
}

/// Who sends, and how to get no more. What the law wants is added to marketing messages even without it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Footer {
    /// Unique in the document.
    pub id: String,
    /// Background and spaces.
    #[serde(default, skip_serializing_if = "Frame::is_default")]
    pub frame: Frame,
    /// Words above, e.g. why people get this: the subset of HTML of a text block.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub html: String,
    /// Where it stands.
    #[serde(default = "center")]
    pub align: Align,
    /// Whether the controller's name and postal address are shown.
    #[serde(default = "yes")]
    pub address: bool,
    /// Whether the links to unsubscribe, preferences and the privacy notice are shown.
    #[serde(default = "yes")]
    pub links: bool,
    /// Words of the unsubscribe link; empty: “Unsubscribe”.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unsubscribe_label: String,
    /// Words of the preferences link; empty: “Preferences”.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub preferences_label: String,
    /// Words of the privacy link; empty: “Privacy”.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub privacy_label: String,
}

const fn yes() -> bool {
    true
}
