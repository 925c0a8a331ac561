//! One part of a message as pieces: encoded text that never changes, slots for plain variables, and dynamic
//! stretches that the template engine renders.
//!
//! Must not know headers or MIME. A part is made once by the compiler and rendered for each recipient.

use std::borrow::Cow;
use std::collections::BTreeMap;

use postrider_mail::qp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::engine::{Engine, apply, text_of};
use crate::error::{PartName, RenderError};
use crate::escape;
use crate::input::{RecipientView, Sender};
use crate::limits;
use crate::place::Place;
use crate::template::{Checked, Fault, Simple, Tag, TagKind, TextOp};

/// Ends each dynamic stretch in the engine's output. Control characters cannot come from texts or values.
const END: char = '\u{1}';

/// Encoded bytes that one part may have: a megabyte in which every byte needs three.
const ENCODED_BYTES: usize = 3 * limits::PART_BYTES;

/// How the pieces of a part are stored and put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Quoted-printable, each piece on lines of its own.
    QuotedPrintable,
    /// As it is, for headers.
    None,
}

/// A template after its places are known: raw text, and tags by their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flat {
    /// Text, in the language of the part (HTML or plain).
    Raw(String),
    /// A tag; the place matters for tags that put a value out.
    Tag(usize, Place),
}

/// A part, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pieces: Vec<Piece>,
    /// Source of all dynamic stretches, each ended by [`END`].
    dynamic: Option<String>,
    /// Names that the dynamic source may ask for.
    names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Piece {
    /// Encoded text that begins at column 0 (or with a line end), and the column after it.
    Static(String, u8),
    /// A variable on the fast path.
    Slot(Slot),
    /// The next dynamic stretch.
    Dynamic,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    source: Source,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ops: Vec<TextOp>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Attribute(String),
    Mailbox,
    UnsubscribeUrl,
    PreferencesUrl,
    HostedUrl,
    Subject,
}

/// What a part is rendered from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The recipient.
    pub recipient: &'a RecipientView<'a>,
    /// The rendered subject; empty while the subject itself is rendered.
    pub subject: &'a str,
    /// The workspace's facts.
    pub sender: &'a Sender,
}

/// Makes a part out of a flat template.
///
/// # Errors
/// A constant of the workspace that cannot stand where the template wants it.
pub fn build(flat: &[Flat], tags: &[Tag], encoding: Encoding, sender: &Sender) -> Result<Part, Fault> {
    let mut builder = Builder {
        part: Part { pieces: Vec::new(), dynamic: None, names: Vec::new() },
        text: String::new(),
        stretch: String::new(),
        encoding,
    };
    let mut made: Vec<&str> = Vec::new();
    let mut depth = 0_usize;
    for item in flat {
        match item {
            Flat::Raw(text) if depth > 0 => push_literal(text, &mut builder.stretch),
            Flat::Raw(text) => {
                builder.end_stretch();
                builder.text.push_str(text);
            }
            Flat::Tag(index, place) => {
                let tag = &tags[*index];
                match &tag.kind {
                    TagKind::Emit(expression) => {
                        let simple = expression
                            .simple
                            .as_ref()
                            .filter(|simple| depth == 0 && !made.contains(&simple.name.as_str()));
                        match simple {
                            Some(simple) => builder.push_simple(simple, *place, tag, sender)?,
                            None => builder.push_emit(expression, *place),
                        }
                    }
                    TagKind::If(_) | TagKind::For(..) => {
                        depth += 1;
                        builder.push_statement(tag);
                    }
                    TagKind::EndIf | TagKind::EndFor => {
                        depth = depth.saturating_sub(1);
                        builder.push_statement(tag);
                    }
                    TagKind::Elif(_) | TagKind::Else => builder.push_statement(tag),
                    TagKind::Set(name, _) => {
                        made.push(name);
                        builder.push_statement(tag);
                    }
                }
            }
        }
    }
    Ok(builder.finish())
}

/// Drops lines of a text that hold nothing but statements, and one of two empty lines around them: they would
/// leave empty lines behind.
pub fn drop_statement_lines(flat: Vec<Flat>, tags: &[Tag]) -> Vec<Flat> {
    let mut out: Vec<Flat> = Vec::with_capacity(flat.len());
    let mut after_blank = true;
    let mut skips_blank = false;
    for mut line in lines(flat) {
        let is_blank = line.iter().all(|item| matches!(item, Flat::Raw(text) if text.trim().is_empty()));
        let only_statements = !is_blank
            && line.iter().all(|item| match item {
                Flat::Raw(text) => text.trim().is_empty(),
                Flat::Tag(tag, _) => !tags[*tag].is_emit(),
            });
        if only_statements {
            out.extend(line.drain(..).filter(|item| matches!(item, Flat::Tag(..))));
            skips_blank = after_blank;
        } else if !(is_blank && skips_blank) {
            out.append(&mut line);
            after_blank = is_blank;
            skips_blank = false;
        }
    }
    out
}

/// The lines of a text, each with its line end.
fn lines(flat: Vec<Flat>) -> Vec<Vec<Flat>> {
    let mut lines = vec![Vec::new()];
    for item in flat {
        match item {
            Flat::Raw(text) => {
                for piece in text.split_inclusive('\n') {
                    if let Some(line) = lines.last_mut() {
                        line.push(Flat::Raw(piece.to_owned()));
                    }
                    if piece.ends_with('\n') {
                        lines.push(Vec::new());
                    }
                }
            }
            tag @ Flat::Tag(..) => {
                if let Some(line) = lines.last_mut() {
                    line.push(tag);
                }
            }
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

struct Builder {
    part: Part,
    /// Static text not yet encoded.
    text: String,
    /// Dynamic source not yet ended.
    stretch: String,
    encoding: Encoding,
}

impl Builder {
    fn end_text(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        let piece = match self.encoding {
            Encoding::None => Piece::Static(text, 0),
            Encoding::QuotedPrintable => {
                let mut out = Vec::new();
                let column = qp::encode_segment(text.as_bytes(), 0, &mut out);
                let text = String::from_utf8(out).expect("quoted-printable is ASCII");
                Piece::Static(text, u8::try_from(column).expect("lines have at most 76 columns"))
            }
        };
        self.part.pieces.push(piece);
    }

    fn end_stretch(&mut self) {
        if self.stretch.is_empty() {
            return;
        }
        self.end_text();
        let source = self.part.dynamic.get_or_insert_default();
        source.push_str(&self.stretch);
        source.push(END);
        self.stretch.clear();
        self.part.pieces.push(Piece::Dynamic);
    }

    fn push_simple(&mut self, simple: &Simple, place: Place, tag: &Tag, sender: &Sender) -> Result<(), Fault> {
        self.end_stretch();
        let constant = constant_of(&simple.name, sender);
        if let Some(constant) = constant {
            let value = run_ops(Some(Cow::Borrowed(constant)), &simple.ops);
            // Lines of the postal address are lines in text and in HTML.
            for (index, line) in value.lines().enumerate() {
                if index > 0 {
                    match place {
                        Place::Html => self.text.push_str("<br>"),
                        Place::Plain => self.text.push('\n'),
                        Place::Attribute | Place::Header => self.text.push_str(", "),
                        Place::UrlStart | Place::UrlPart | Place::PlainUrlStart | Place::PlainUrlPart => {}
                    }
                }
                escape::push(line.trim(), place, &mut self.text).map_err(|_| {
                    Fault::new(
                        "unsafe_url",
                        tag.offset,
                        format!("the workspace's {} is no web address: correct it in the settings", simple.name),
                    )
                })?;
            }
            return Ok(());
        }
        let source = match simple.name.as_str() {
            "mailbox" => Source::Mailbox,
            "unsubscribe_url" => Source::UnsubscribeUrl,
            "preferences_url" => Source::PreferencesUrl,
            "hosted_url" => Source::HostedUrl,
            "subject" => Source::Subject,
            name => Source::Attribute(name.to_owned()),
        };
        self.end_text();
        self.part.pieces.push(Piece::Slot(Slot { source, ops: simple.ops.clone(), place }));
        Ok(())
    }

    fn push_emit(&mut self, expression: &Checked, place: Place) {
        self.end_text();
        self.note_names(expression);
        let filter = place.filter();
        match place {
            Place::UrlStart | Place::PlainUrlStart => {
                let name = expression.uses.first().map_or("address", |used| used.name.as_str());
                self.stretch.push_str(&format!("{{{{ ({})|{filter}(\"{name}\") }}}}", expression.source));
            }
            Place::Html | Place::Attribute | Place::UrlPart | Place::Plain | Place::PlainUrlPart | Place::Header => {
                self.stretch.push_str(&format!("{{{{ ({})|{filter} }}}}", expression.source));
            }
        }
    }

    fn push_statement(&mut self, tag: &Tag) {
        self.end_text();
        match &tag.kind {
            TagKind::If(expression)
            | TagKind::Elif(expression)
            | TagKind::For(_, expression)
            | TagKind::Set(_, expression)
            | TagKind::Emit(expression) => {
                self.note_names(expression);
            }
            TagKind::Else | TagKind::EndIf | TagKind::EndFor => {}
        }
        self.stretch.push_str(&tag.source());
    }

    fn note_names(&mut self, expression: &Checked) {
        for used in &expression.uses {
            if !self.part.names.contains(&used.name) {
                self.part.names.push(used.name.clone());
            }
        }
    }

    fn finish(mut self) -> Part {
        self.end_stretch();
        match self.encoding {
            Encoding::None => {}
            // Bodies end with a line end of their own, so that the boundary never joins a soft break.
            Encoding::QuotedPrintable if self.text.ends_with('\n') => {}
            Encoding::QuotedPrintable => self.text.push('\n'),
        }
        self.end_text();
        self.part
    }
}

/// Raw text inside of a dynamic stretch: a brace that could begin a tag is put out by a tag.
fn push_literal(text: &str, out: &mut String) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for at in memchr::memchr_iter(b'{', bytes) {
        if matches!(bytes.get(at + 1), Some(b'{' | b'%' | b'#') | None) {
            out.push_str(&text[from..at]);
            out.push_str("{{ \"{\" }}");
            from = at + 1;
        }
    }
    out.push_str(&text[from..]);
}

fn constant_of<'a>(name: &str, sender: &'a Sender) -> Option<&'a str> {
    match name {
        "controller_name" => Some(&sender.controller_name),
        "postal_address" => Some(&sender.postal_address),
        "privacy_url" => Some(&sender.privacy_url),
        _ => None,
    }
}

fn run_ops<'a>(value: Option<Cow<'a, str>>, ops: &[TextOp]) -> Cow<'a, str> {
    let mut value = value.unwrap_or(Cow::Borrowed(""));
    for op in ops {
        value = match op {
            TextOp::Default(_) if !value.trim().is_empty() => value,
            op => Cow::Owned(apply(op, value)),
        };
    }
    value
}

/// The engine's value of an attribute; lists, objects and null are missing.
fn engine_value(value: &Json) -> Option<minijinja::Value> {
    match value {
        Json::String(text) => Some(minijinja::Value::from(text.as_str())),
        Json::Bool(flag) => Some(minijinja::Value::from(*flag)),
        Json::Number(number) => Some(match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => minijinja::Value::from(number),
            (None, Some(number)) => minijinja::Value::from(number),
            (None, None) => minijinja::Value::from(number.as_f64()?),
        }),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// The text of an attribute, the same as the engine would write.
fn json_text(value: &Json) -> Option<Cow<'_, str>> {
    match value {
        Json::String(text) => Some(Cow::Borrowed(text)),
        other => engine_value(other).map(|value| Cow::Owned(text_of(&value).into_owned())),
    }
}

fn attribute<'a>(vars: &'a Map<String, Json>, name: &str, part: PartName) -> Result<Option<Cow<'a, str>>, RenderError> {
    let text = vars.get(name).and_then(json_text);
    match text {
        Some(text) if text.len() > limits::VALUE_BYTES => {
            Err(RenderError::ValueTooLong { part, name: name.to_owned() })
        }
        text => Ok(text),
    }
}

impl Part {
    /// Source of the dynamic stretches, for [`Engine::new`].
    pub fn dynamic(&self) -> Option<&str> {
        self.dynamic.as_deref()
    }

    /// Bytes of static text, for buffers.
    pub fn size(&self) -> usize {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Static(text, _) => text.len(),
                Piece::Slot(_) | Piece::Dynamic => 64,
            })
            .sum()
    }

    /// Appends the part for one recipient.
    ///
    /// # Errors
    /// [`RenderError`]; `out` then holds a part of the output.
    pub fn render(
        &self,
        name: PartName,
        view: &View<'_>,
        engine: &Engine,
        encoding: Encoding,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        let start = out.len();
        let dynamic = match self.dynamic {
            Some(_) => engine.run(name, &self.context(name, view)?)?,
            None => String::new(),
        };
        let mut stretches = dynamic.split(END);
        let mut escaped = String::new();
        let mut column = 0;
        for piece in &self.pieces {
            let text = match piece {
                Piece::Static(text, end) => {
                    // What was encoded for column 0 can follow a value after a break, or as the end of its line.
                    if column > 0
                        && !text.starts_with(
                            "
",
                        )
                    {
                        out.extend_from_slice(qp::SOFT_BREAK);
                    }
                    out.extend_from_slice(text.as_bytes());
                    column = usize::from(*end);
                    continue;
                }
                Piece::Slot(slot) => {
                    escaped.clear();
                    let value = run_ops(slot.source.value(name, view)?, &slot.ops);
                    escape::push(&value, slot.place, &mut escaped)
                        .map_err(|_| RenderError::UnsafeUrl { part: name, name: slot.source.name().to_owned() })?;
                    escaped.as_str()
                }
                Piece::Dynamic => stretches.next().unwrap_or_default(),
            };
            match encoding {
                Encoding::None => out.extend_from_slice(text.as_bytes()),
                Encoding::QuotedPrintable => column = qp::encode_segment(text.as_bytes(), column, out),
            }
            if out.len() - start > ENCODED_BYTES {
                return Err(RenderError::Budget { part: name, limit: "3 MiB of encoded text" });
            }
        }
        Ok(())
    }

    /// The values that the dynamic source names.
    fn context(&self, part: PartName, view: &View<'_>) -> Result<minijinja::Value, RenderError> {
        let mut values: BTreeMap<String, minijinja::Value> = BTreeMap::new();
        for name in &self.names {
            let value = if let Some(constant) = constant_of(name, view.sender) {
                Some(minijinja::Value::from(constant))
            } else if let Some(source) = Source::builtin(name) {
                source.value(part, view)?.map(|text| minijinja::Value::from(&*text))
            } else {
                match view.recipient.vars.get(name) {
                    Some(Json::String(text)) if text.len() > limits::VALUE_BYTES => {
                        return Err(RenderError::ValueTooLong { part, name: name.clone() });
                    }
                    Some(value) => engine_value(value),
                    None => None,
                }
            };
            if let Some(value) = value {
                values.insert(name.clone(), value);
            }
        }
        Ok(minijinja::Value::from(values))
    }
}

impl Source {
    fn builtin(name: &str) -> Option<Source> {
        match name {
            "mailbox" => Some(Source::Mailbox),
            "unsubscribe_url" => Some(Source::UnsubscribeUrl),
            "preferences_url" => Some(Source::PreferencesUrl),
            "hosted_url" => Some(Source::HostedUrl),
            "subject" => Some(Source::Subject),
            _ => None,
        }
    }

    fn name(&self) -> &str {
        match self {
            Source::Attribute(name) => name,
            Source::Mailbox => "mailbox",
            Source::UnsubscribeUrl => "unsubscribe_url",
            Source::PreferencesUrl => "preferences_url",
            Source::HostedUrl => "hosted_url",
            Source::Subject => "subject",
        }
    }

    fn value<'a>(&'a self, part: PartName, view: &View<'a>) -> Result<Option<Cow<'a, str>>, RenderError> {
        Ok(match self {
            Source::Attribute(name) => attribute(view.recipient.vars, name, part)?,
            Source::Mailbox => Some(Cow::Owned(view.recipient.mailbox.wire())),
            Source::UnsubscribeUrl => Some(Cow::Borrowed(view.recipient.unsubscribe_url)),
            Source::PreferencesUrl => Some(Cow::Borrowed(view.recipient.preferences_url)),
            Source::HostedUrl => view.recipient.hosted_url.map(Cow::Borrowed),
            Source::Subject => Some(Cow::Borrowed(view.subject)),
        })
    }
}
