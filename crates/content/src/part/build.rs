//! Makes a part: static text is encoded once, plain variables become slots, the rest becomes dynamic source.
//!
//! Must not know recipients.

use std::borrow::Cow;

use postrider_mail::qp;

use super::{END, Encoding, Flat, Part, Piece, Slot, Source, constant_of, run_ops};
use crate::escape;
use crate::input::Sender;
use crate::place::Place;
use crate::template::{Checked, Fault, Simple, Tag, TagKind};

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
