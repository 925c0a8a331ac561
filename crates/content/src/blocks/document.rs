//! The block document: what the block editor saves, version 1 of its JSON (docs/blocks.md has an example of each).
//!
//! Plain data; must not know MJML or what is allowed inside of the fields (that is [`super::check`]).

use serde::{Deserialize, Serialize};

pub use super::look::{Align, Font, Frame, Theme, VerticalAlign};

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

const fn center() -> Align {
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
