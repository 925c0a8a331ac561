//! Finds the place of each template tag by walking the HTML around it as a browser's tokenizer would.
//!
//! Must not know templates beyond "a tag stands here". Both arms of a condition must end in the same state, and
//! elements opened in an arm must close in it: otherwise no one could say what follows.

use crate::limits;
use crate::place::Place;
use crate::template::{Fault, Tag, TagKind};

/// Raw HTML, or a tag by its number.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// Text, and its byte offset in the author's source where that is known.
    Raw(&'a str, Option<usize>),
    /// A template tag.
    Tag(usize),
}

/// How a mark must look to survive at a tag's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkForm {
    /// An HTML comment: between elements, also where text may not stand (tables).
    Comment,
    /// A bare word: inside of attributes and titles.
    Word,
}

/// Where a tag stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Number of the tag.
    pub tag: usize,
    /// Its place; of no meaning for statements.
    pub place: Place,
    /// How its mark must look.
    pub form: MarkForm,
    /// Inside of an attribute: serialisers may put attributes into another order.
    pub in_value: bool,
}

/// What the walk found.
#[derive(Debug, Default)]
pub struct Found {
    /// Each tag in order of appearance.
    pub places: Vec<Placed>,
    /// Elements left open or closed in the wrong order, with their offsets where known.
    pub misnested: Vec<(String, Option<usize>)>,
    /// Elements begun.
    pub elements: usize,
}

/// Walks the items.
///
/// # Errors
/// A tag where no value may stand, arms that end differently, or HTML beyond the limits.
pub fn walk(items: &[Item<'_>], tags: &[Tag]) -> Result<Found, Fault> {
    let mut found = Found::default();
    let mut state = State::default();
    let mut blocks: Vec<Block> = Vec::new();
    let mut offset = 0;
    for item in items {
        match item {
            Item::Raw(text, at) => {
                state.feed(text, *at, &mut found)?;
            }
            Item::Tag(index) => {
                let tag = &tags[*index];
                offset = tag.offset;
                if let TagKind::Emit(_) = tag.kind {
                    let place = state.place(tag)?;
                    found.places.push(Placed { tag: *index, place, form: MarkForm::Word, in_value: state.in_value() });
                    state.after_value();
                } else {
                    let form = state.statement_form(tag)?;
                    found.places.push(Placed { tag: *index, place: Place::Html, form, in_value: state.in_value() });
                    branch(&mut blocks, &mut state, tag)?;
                }
            }
        }
    }
    if !matches!(state.mode, Mode::Data) {
        return Err(Fault::new("html_unclosed", offset, "the HTML ends inside of a tag, comment or script: close it"));
    }
    for (name, at) in state.open.iter().filter(|(name, _)| !closes_itself(name)) {
        found.misnested.push((name.clone(), *at));
    }
    Ok(found)
}

struct Block {
    is_for: bool,
    has_else: bool,
    entry: State,
    end: Option<State>,
}

fn branch(blocks: &mut Vec<Block>, state: &mut State, tag: &Tag) -> Result<(), Fault> {
    match &tag.kind {
        TagKind::Emit(_) | TagKind::Set(..) => {}
        TagKind::If(_) | TagKind::For(..) => {
            let is_for = matches!(tag.kind, TagKind::For(..));
            blocks.push(Block { is_for, has_else: false, entry: state.clone(), end: None });
        }
        TagKind::Elif(_) | TagKind::Else => {
            if let Some(block) = blocks.last_mut() {
                block.join(state, tag)?;
                block.has_else |= matches!(tag.kind, TagKind::Else);
                *state = block.entry.clone();
            }
        }
        TagKind::EndIf | TagKind::EndFor => {
            if let Some(mut block) = blocks.pop() {
                block.join(state, tag)?;
                if !block.has_else || block.is_for {
                    let mut entry = block.entry.clone();
                    std::mem::swap(&mut entry, state);
                    block.join(state, tag)?;
                }
                if let Some(end) = block.end {
                    *state = end;
                }
            }
        }
    }
    Ok(())
}

impl Block {
    /// Takes the end of one arm; it must be the end of the others too.
    fn join(&mut self, state: &State, tag: &Tag) -> Result<(), Fault> {
        let mut ended = state.clone();
        ended.close_optional(self.entry.open.len());
        match &mut self.end {
            None => self.end = Some(ended),
            Some(end) if end.same_but_url(&ended) => {
                if end.url != ended.url {
                    end.url = Url::Either;
                }
            }
            Some(_) => {
                return Err(Fault::new(
                    "html_branches",
                    tag.offset,
                    "the branches of this block end at different places of the HTML: open and close elements and quotes within the same branch",
                ));
            }
        }
        Ok(())
    }
}

/// Whether a value is the beginning of an address or stands inside of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Url {
    #[default]
    Start,
    Inside,
    Either,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Mode {
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

#[derive(Debug, Clone, Default)]
struct State {
    mode: Mode,
    is_end_tag: bool,
    is_self_closing: bool,
    name: String,
    attribute: String,
    url: Url,
    tag_at: Option<usize>,
    attributes: usize,
    open: Vec<(String, Option<usize>)>,
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

fn closes_itself(name: &str) -> bool {
    OPTIONAL.contains(&name)
}

impl State {
    fn same_but_url(&self, other: &State) -> bool {
        let names = |state: &State| state.open.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        self.mode == other.mode
            && (matches!(self.mode, Mode::Data | Mode::RawText(_))
                || (self.name == other.name && self.attribute == other.attribute))
            && names(self) == names(other)
    }

    /// Forgets elements whose end tag may be left out, down to what was open before.
    fn close_optional(&mut self, depth: usize) {
        while self.open.len() > depth && self.open.last().is_some_and(|(name, _)| closes_itself(name)) {
            self.open.pop();
        }
    }

    /// The place of a value here.
    fn place(&self, tag: &Tag) -> Result<Place, Fault> {
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
    fn statement_form(&self, tag: &Tag) -> Result<MarkForm, Fault> {
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

    fn after_value(&mut self) {
        self.url = Url::Inside;
    }

    fn feed(&mut self, text: &str, at: Option<usize>, found: &mut Found) -> Result<(), Fault> {
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

    fn in_value(&self) -> bool {
        matches!(self.mode, Mode::DoubleQuoted | Mode::SingleQuoted)
    }
}
