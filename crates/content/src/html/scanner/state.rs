//! The tokenizer behind the walk, after the HTML standard's (13.2.5), without what only scripts need.
//!
//! Must not know branches.

use super::{Found, MarkForm};
use crate::limits;
use crate::place::Place;
use crate::template::{Fault, Tag};

/// Whether a value is the beginning of an address or stands inside of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Url {
    #[default]
    Start,
    Inside,
    Either,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Data,
    TagOpen,
    EndTagOpen,
    TagName,
    BeforeAttribute,
    AttributeName,
    AfterAttributeName,
    BeforeValue,
    DoubleQuoted,
    SingleQuoted,
    Unquoted,
    /// After `<!`.
    Markup(String),
    /// Dashes seen in a row; `true` while the comment could end with `>` alone.
    Comment(u8, bool),
    Bogus,
    /// Text that ends with its own end tag only.
    RawText(String),
}

/// Where the walk is: a browser's tokenizer, with the elements that are open.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub mode: Mode,
    is_end_tag: bool,
    is_self_closing: bool,
    name: String,
    attribute: String,
    pub url: Url,
    tag_at: Option<usize>,
    attributes: usize,
    pub open: Vec<(String, Option<usize>)>,
}

const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "param"];
const OPTIONAL: [&str; 18] = [
    "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "colgroup", "option", "optgroup", "html",
    "head", "body", "rt", "rp",
];
const RAW: [&str; 8] = ["script", "style", "xmp", "iframe", "noembed", "noframes", "plaintext", "noscript"];

/// Elements that may hold elements, but no text.
const MOVERS: [&str; 8] = ["table", "thead", "tbody", "tfoot", "tr", "colgroup", "head", "frameset"];
/// Most attributes of one element: readers compare each with all others.
const ATTRIBUTES: usize = 100;

/// Whether an element's end tag may be left out.
pub fn closes_itself(name: &str) -> bool {
    OPTIONAL.contains(&name)
}

impl State {
    pub fn same_but_url(&self, other: &State) -> bool {
        let names = |state: &State| state.open.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        self.mode == other.mode
            && (matches!(self.mode, Mode::Data | Mode::RawText(_))
                || (self.name == other.name && self.attribute == other.attribute))
            && names(self) == names(other)
    }

    /// Forgets elements whose end tag may be left out, down to what was open before.
    pub fn close_optional(&mut self, depth: usize) {
        while self.open.len() > depth && self.open.last().is_some_and(|(name, _)| closes_itself(name)) {
            self.open.pop();
        }
    }

    /// The place of a value here.
    pub fn place(&self, tag: &Tag) -> Result<Place, Fault> {
        let refuse =
            |message: &str| Err(Fault::new("place_not_allowed", tag.offset, format!("{}: {message}", tag.written)));
        match &self.mode {
            Mode::Data => match self.open.last() {
                // HTML readers move text out of these, or begin the body there.
                Some((parent, _)) if MOVERS.contains(&parent.as_str()) => Err(Fault::new(
                    "tag_moved",
                    tag.offset,
                    format!(
                        "{} stands directly inside of <{parent}>, where HTML allows no text: put it into a cell or an element",
                        tag.written
                    ),
                )),
                _ => Ok(Place::Html),
            },
            Mode::RawText(name) if name == "title" || name == "textarea" => Ok(Place::Html),
            Mode::RawText(name) if name == "style" => {
                refuse("a variable may not stand in a style sheet; put it in text or in a quoted attribute")
            }
            Mode::RawText(_) => {
                refuse("a variable may not stand in a script or the like; put it in text or in a quoted attribute")
            }
            Mode::Comment(..) | Mode::Bogus | Mode::Markup(_) => {
                refuse("a variable may not stand in an HTML comment; put it in text")
            }
            Mode::Unquoted | Mode::BeforeValue => {
                refuse("a variable may not stand in an attribute without quotes; write the value in \"…\"")
            }
            Mode::TagOpen | Mode::EndTagOpen | Mode::TagName => refuse("a variable may not be the name of an element"),
            Mode::BeforeAttribute | Mode::AttributeName | Mode::AfterAttributeName => {
                refuse("a variable may not be the name of an attribute; put it in a quoted value")
            }
            Mode::DoubleQuoted | Mode::SingleQuoted => {
                let name = self.attribute.as_str();
                if name.starts_with("on") {
                    return refuse(
                        "a variable may not stand in an event handler; remove the handler, mail programs do not run it",
                    );
                }
                match name {
                    "style" => refuse("a variable may not stand in a style; choose between classes with {% if … %}"),
                    "srcset" | "srcdoc" | "ping" | "archive" | "imagesrcset" => {
                        refuse("a variable may not stand in this attribute")
                    }
                    "content" if self.name == "meta" => refuse("a variable may not stand in a meta element"),
                    "href" | "src" | "action" | "formaction" | "cite" | "background" | "poster" | "longdesc"
                    | "data" | "manifest" | "xlink:href" | "codebase" | "classid" | "usemap" | "profile" | "lowsrc"
                    | "dynsrc" => match self.url {
                        Url::Start => Ok(Place::UrlStart),
                        Url::Inside => Ok(Place::UrlPart),
                        Url::Either => refuse(
                            "it is unclear whether the address begins here; write the whole address in each branch",
                        ),
                    },
                    _ => Ok(Place::Attribute),
                }
            }
        }
    }

    /// Statements may stand between elements and inside of quoted values.
    pub fn statement_form(&self, tag: &Tag) -> Result<MarkForm, Fault> {
        match &self.mode {
            Mode::Data => Ok(MarkForm::Comment),
            Mode::DoubleQuoted | Mode::SingleQuoted => Ok(MarkForm::Word),
            Mode::RawText(name) if name == "title" || name == "textarea" => Ok(MarkForm::Word),
            Mode::TagOpen
            | Mode::EndTagOpen
            | Mode::TagName
            | Mode::BeforeAttribute
            | Mode::AttributeName
            | Mode::AfterAttributeName
            | Mode::BeforeValue
            | Mode::Unquoted
            | Mode::Markup(_)
            | Mode::Comment(..)
            | Mode::Bogus
            | Mode::RawText(_) => Err(Fault::new(
                "place_not_allowed",
                tag.offset,
                format!("{} may not stand here: put it between elements or inside of a quoted value", tag.written),
            )),
        }
    }

    pub fn after_value(&mut self) {
        self.url = Url::Inside;
    }

    pub fn feed(&mut self, text: &str, at: Option<usize>, found: &mut Found) -> Result<(), Fault> {
        let bytes = text.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            let byte = bytes[index];
            let here = at.map(|at| at + index);
            match &mut self.mode {
                Mode::Data => match memchr::memchr(b'<', &bytes[index..]) {
                    Some(next) => {
                        index += next;
                        self.tag_at = at.map(|at| at + index);
                        self.mode = Mode::TagOpen;
                    }
                    None => return Ok(()),
                },
                Mode::TagOpen => match byte {
                    b'/' => self.mode = Mode::EndTagOpen,
                    b'!' => self.mode = Mode::Markup(String::new()),
                    b'?' => self.mode = Mode::Bogus,
                    b if b.is_ascii_alphabetic() => self.start_name(false, b),
                    _ => {
                        self.mode = Mode::Data;
                        continue;
                    }
                },
                Mode::EndTagOpen => match byte {
                    b if b.is_ascii_alphabetic() => self.start_name(true, b),
                    b'>' => self.mode = Mode::Data,
                    _ => self.mode = Mode::Bogus,
                },
                Mode::TagName => match byte {
                    b'>' => self.end_tag(found)?,
                    b'/' => self.mode = Mode::BeforeAttribute,
                    b if b.is_ascii_whitespace() => self.mode = Mode::BeforeAttribute,
                    b => self.name.push(char::from(b.to_ascii_lowercase())),
                },
                Mode::BeforeAttribute => match byte {
                    b'>' => self.end_tag(found)?,
                    b'/' => self.is_self_closing = true,
                    b if b.is_ascii_whitespace() => {}
                    b => {
                        self.attributes += 1;
                        self.attribute.clear();
                        self.attribute.push(char::from(b.to_ascii_lowercase()));
                        self.mode = Mode::AttributeName;
                    }
                },
                Mode::AttributeName => match byte {
                    b'=' => self.mode = Mode::BeforeValue,
                    b'>' => self.end_tag(found)?,
                    b'/' => self.mode = Mode::BeforeAttribute,
                    b if b.is_ascii_whitespace() => self.mode = Mode::AfterAttributeName,
                    b => self.attribute.push(char::from(b.to_ascii_lowercase())),
                },
                Mode::AfterAttributeName => match byte {
                    b'=' => self.mode = Mode::BeforeValue,
                    b if b.is_ascii_whitespace() => {}
                    _ => {
                        self.mode = Mode::BeforeAttribute;
                        continue;
                    }
                },
                Mode::BeforeValue => match byte {
                    b'"' => self.start_value(Mode::DoubleQuoted),
                    b'\'' => self.start_value(Mode::SingleQuoted),
                    b'>' => self.end_tag(found)?,
                    b if b.is_ascii_whitespace() => {}
                    _ => self.mode = Mode::Unquoted,
                },
                Mode::DoubleQuoted | Mode::SingleQuoted => {
                    let quote = if self.mode == Mode::DoubleQuoted { b'"' } else { b'\'' };
                    if byte == quote {
                        self.mode = Mode::BeforeAttribute;
                        self.is_self_closing = false;
                    } else if !byte.is_ascii_whitespace() {
                        self.url = Url::Inside;
                    }
                }
                Mode::Unquoted => match byte {
                    b'>' => self.end_tag(found)?,
                    b if b.is_ascii_whitespace() => self.mode = Mode::BeforeAttribute,
                    _ => {}
                },
                Mode::Markup(begun) => {
                    begun.push(char::from(byte));
                    if begun == "--" {
                        self.mode = Mode::Comment(0, true);
                    } else if !"--".starts_with(begun.as_str()) {
                        self.mode = if byte == b'>' { Mode::Data } else { Mode::Bogus };
                    }
                }
                Mode::Comment(dashes, is_fresh) => match byte {
                    // `<!-->` and `<!--->` are whole comments.
                    b'>' if *dashes >= 2 || *is_fresh => self.mode = Mode::Data,
                    b'-' => *dashes = dashes.saturating_add(1),
                    // `--!>` ends a comment too.
                    b'!' if *dashes >= 2 => *is_fresh = false,
                    _ => {
                        *dashes = 0;
                        *is_fresh = false;
                    }
                },
                Mode::Bogus => {
                    if byte == b'>' {
                        self.mode = Mode::Data;
                    }
                }
                Mode::RawText(name) => {
                    let rest = &bytes[index..];
                    let ends = rest.len() > name.len() + 2
                        && rest.starts_with(b"</")
                        && rest[2..2 + name.len()].eq_ignore_ascii_case(name.as_bytes())
                        && matches!(rest[2 + name.len()], b'>' | b'/' | b' ' | b'\t' | b'\n' | b'\r' | 0x0c);
                    if ends {
                        index += 2 + name.len();
                        self.name.clone_from(name);
                        self.is_end_tag = true;
                        self.is_self_closing = false;
                        self.tag_at = here;
                        self.mode = Mode::BeforeAttribute;
                        continue;
                    }
                }
            }
            index += 1;
        }
        Ok(())
    }

    fn start_name(&mut self, is_end_tag: bool, first: u8) {
        self.is_end_tag = is_end_tag;
        self.is_self_closing = false;
        self.attributes = 0;
        self.name.clear();
        self.name.push(char::from(first.to_ascii_lowercase()));
        self.attribute.clear();
        self.mode = Mode::TagName;
    }

    fn start_value(&mut self, mode: Mode) {
        self.mode = mode;
        self.url = Url::Start;
    }

    /// A whole start or end tag was read.
    fn end_tag(&mut self, found: &mut Found) -> Result<(), Fault> {
        self.mode = Mode::Data;
        let name = std::mem::take(&mut self.name);
        if self.is_end_tag {
            if let Some(at) = self.open.iter().rposition(|(open, _)| *open == name) {
                for (skipped, at) in self.open.drain(at..).skip(1) {
                    if !closes_itself(&skipped) {
                        found.misnested.push((skipped, at));
                    }
                }
            } else if name == "p" || name == "br" {
                // HTML 13.2.6.4.7: an end tag without its start makes a whole element.
                found.elements += 1;
            } else if !VOID.contains(&name.as_str()) && !closes_itself(&name) {
                found.misnested.push((name, self.tag_at));
            }
            return self.check_limits(found);
        }
        found.elements += 1;
        if VOID.contains(&name.as_str()) {
            return self.check_limits(found);
        }
        if RAW.contains(&name.as_str()) || name == "title" || name == "textarea" {
            self.mode = Mode::RawText(name.clone());
        }
        // `<p>a<p>b`: the second ends the first.
        if closes_itself(&name) {
            let barrier = self
                .open
                .iter()
                .rposition(|(open, _)| matches!(open.as_str(), "table" | "ul" | "ol" | "dl" | "div" | "blockquote"))
                .map_or(0, |at| at + 1);
            if let Some(at) = self.open[barrier..].iter().rposition(|(open, _)| *open == name) {
                for (skipped, at) in self.open.drain(barrier + at..).skip(1) {
                    if !closes_itself(&skipped) {
                        found.misnested.push((skipped, at));
                    }
                }
            }
        }
        self.open.push((name, self.tag_at));
        self.check_limits(found)
    }

    fn check_limits(&self, found: &Found) -> Result<(), Fault> {
        let at = self.tag_at.unwrap_or(0);
        if found.elements > limits::HTML_ELEMENTS
            || self.open.len() > limits::HTML_DEPTH
            || self.attributes > ATTRIBUTES
        {
            let message = format!(
                "the HTML has over {} elements, {} levels or {ATTRIBUTES} attributes at an element: make it simpler",
                limits::HTML_ELEMENTS,
                limits::HTML_DEPTH
            );
            return Err(Fault::new("html_too_large", at, message));
        }
        if found.misnested.len() > limits::HTML_MISNESTED {
            return Err(Fault::new(
                "html_unclosed",
                at,
                "too many elements are left open or closed in the wrong order: correct the HTML",
            ));
        }
        Ok(())
    }

    pub fn in_value(&self) -> bool {
        matches!(self.mode, Mode::DoubleQuoted | Mode::SingleQuoted)
    }
}
