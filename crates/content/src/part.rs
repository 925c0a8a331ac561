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
use crate::template::TextOp;

mod build;

pub use build::{build, drop_statement_lines};

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
                    if column > 0 && !text.starts_with("\r\n") {
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
