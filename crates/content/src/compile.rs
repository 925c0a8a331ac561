//! From a draft to a version: every finding at once, and a version only when none is an error.
//!
//! Must not know the store. Line and column are those of the author's text.

use std::collections::BTreeSet;

use postrider_domain::campaign::{BodyFormat, Draft, Finding, Severity};
use postrider_domain::id::DeliveryId;
use postrider_domain::stream::Stream;
use postrider_mail::Mailbox;
use serde_json::Map;

use crate::blocks::{self, Written};
use crate::compiled::{Compiled, RENDERER, Stored};
use crate::error::RenderError;
use crate::escape;
use crate::html::body::{self, HtmlBody};
use crate::input::{Compilation, CompileInput, ListFacts, MessageFacts, RecipientView};
use crate::part::{Encoding, Flat, Part, build, drop_statement_lines};
use crate::place::Place;
use crate::prepared::Prepared;
use crate::template::{BUILTINS, CONSTANTS, Fault, Names, Parsed, Tag, check_names, check_structure, parse, position};
use crate::{footer, limits, lint};

mod document;

/// Compiles a draft.
pub fn compile(input: &CompileInput<'_>) -> Compilation {
    let mut compiler = Compiler { input: *input, findings: Vec::new(), used: BTreeSet::new(), warned: BTreeSet::new() };
    let compiled = compiler.run();
    let failed = compiler.findings.iter().any(|finding| finding.severity == Severity::Error);
    Compilation { findings: compiler.findings, compiled: if failed { None } else { compiled } }
}

/// The findings of [`compile`] alone.
pub fn check(input: &CompileInput<'_>) -> Vec<Finding> {
    compile(input).findings
}

/// Names in a draft that are not built in: the contact attributes that it would need. Texts that do not parse give none.
pub fn variables(draft: &Draft) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let body = match draft.format {
        Some(BodyFormat::Blocks) => {
            if let Ok(document) = blocks::read(&draft.body) {
                let written = blocks::write(&document, blocks::Facts { has_privacy: false });
                names.extend(check_names(&written.tags, |_| true).attributes);
            }
            ""
        }
        Some(BodyFormat::Html | BodyFormat::Markdown | BodyFormat::Text | BodyFormat::Mjml) | None => &draft.body,
    };
    for source in [draft.subject.as_str(), &draft.preheader, body, &draft.text] {
        if let Ok(parsed) = parse(source) {
            let tags = parsed.iter().filter_map(|item| match item {
                Parsed::Tag(tag) => Some(tag),
                Parsed::Raw(..) => None,
            });
            names.extend(check_names(tags, |_| true).attributes);
        }
    }
    names
}

/// The variables that every template has besides the contact's attributes, for help texts.
pub fn builtin_variables() -> impl Iterator<Item = &'static str> {
    BUILTINS.into_iter().chain(CONSTANTS)
}

/// A field's template after parsing.
pub struct Field {
    /// Name of the field in findings.
    pub name: &'static str,
    /// The source, with `\n` line ends.
    pub source: String,
    /// Raw text with offsets, and numbers of tags.
    pub items: Vec<FieldItem>,
    /// The tags.
    pub tags: Vec<Tag>,
    /// What a block document was written as; offsets of its tags are numbers of blocks.
    pub blocks: Option<Written>,
}

impl Field {
    /// A fault at its place: line and column, or the block.
    pub fn finding(&self, fault: Fault) -> Finding {
        match &self.blocks {
            None => {
                let (line, column) = position(&self.source, fault.offset);
                Finding::error(fault.code, self.name, fault.message).at(line, column)
            }
            Some(written) => match written.label(fault.offset) {
                Some(label) => label.error(fault.code, &fault.message),
                None => Finding::error(fault.code, self.name, fault.message),
            },
        }
    }
}

/// A stretch of a field.
pub enum FieldItem {
    /// Text and its offset.
    Raw(String, usize),
    /// A tag.
    Tag(usize),
}

struct Compiler<'a> {
    input: CompileInput<'a>,
    findings: Vec<Finding>,
    used: BTreeSet<String>,
    /// Variables without default that were named already.
    warned: BTreeSet<String>,
}

impl Compiler<'_> {
    fn error(&mut self, code: &str, field: &str, message: impl Into<String>) {
        self.findings.push(Finding::error(code, field, message));
    }

    fn fault(&mut self, field: &str, source: &str, fault: Fault) {
        let (line, column) = position(source, fault.offset);
        self.findings.push(Finding::error(fault.code, field, fault.message).at(line, column));
    }

    fn run(&mut self) -> Option<Compiled> {
        let draft = self.input.draft;
        let (from, reply_to) = lint::sender(draft, &mut self.findings);
        lint::subject(draft, &mut self.findings);
        self.workspace();
        let subject = self.subject();
        let format = draft.format.unwrap_or(BodyFormat::Html);
        if draft.body.trim().is_empty() {
            self.error("no_body", "body", "write a body");
        }
        let body = match format {
            BodyFormat::Html | BodyFormat::Markdown | BodyFormat::Text | BodyFormat::Mjml => {
                self.field("body", &draft.body, limits::TEMPLATE_BYTES)
            }
            BodyFormat::Blocks => self.blocks(),
        };
        let preheader = self.field("preheader", &draft.preheader, limits::LINE_BYTES);
        let written = match format {
            BodyFormat::Text => {
                if !draft.text.trim().is_empty() {
                    let message = "the body is plain text and is the text part; this one is not used: empty it";
                    self.findings.push(Finding::warning("text_ignored", "text", message));
                }
                None
            }
            BodyFormat::Html | BodyFormat::Markdown | BodyFormat::Mjml | BodyFormat::Blocks
                if draft.text.trim().is_empty() =>
            {
                None
            }
            BodyFormat::Html | BodyFormat::Markdown | BodyFormat::Mjml | BodyFormat::Blocks => {
                self.field("text", &draft.text, limits::TEMPLATE_BYTES)
            }
        };
        let (text, html, links) = match format {
            BodyFormat::Text => (self.text_part(&body?), None, Vec::new()),
            BodyFormat::Html | BodyFormat::Markdown | BodyFormat::Mjml | BodyFormat::Blocks => {
                let found = body::compile(&body?, preheader.as_ref(), format, self.input.sender, self.input.stream);
                self.findings.extend(found.findings);
                let HtmlBody { part, links, derived } = found.body?;
                let text = match &written {
                    Some(field) => self.text_part(field),
                    None => self.derived(&derived),
                };
                (text, Some(part), links)
            }
        };
        if self.findings.iter().any(|finding| finding.severity == Severity::Error) {
            return None;
        }
        self.version(from?, reply_to, subject?, text?, html, links)
    }

    /// Marketing needs to say who sends (LAW-40); the same words as the pre-launch check of the domain.
    fn workspace(&mut self) {
        match self.input.stream {
            Stream::Transactional => {}
            Stream::Marketing => {
                if self.input.sender.controller_name.trim().is_empty() {
                    self.error(
                        "no_controller",
                        "workspace.controller_name",
                        "the workspace has no controller name: set it, every marketing message must carry it (LAW-40)",
                    );
                }
                if self.input.sender.postal_address.trim().is_empty() {
                    self.error(
                        "no_postal_address",
                        "workspace.postal_address",
                        "the workspace has no postal address: set it, every marketing message must carry it (LAW-40)",
                    );
                }
            }
        }
    }

    /// Parses a field and looks its names up.
    fn field(&mut self, name: &'static str, source: &str, longest: usize) -> Option<Field> {
        if source.len() > longest {
            self.error("too_long", name, format!("this is longer than {longest} bytes: shorten it"));
            return None;
        }
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        if let Some(offset) = source.find(|c: char| {
            postrider_mail::header::has_control(c.encode_utf8(&mut [0; 4])) && !matches!(c, '\n' | '\t')
        }) {
            self.fault(
                name,
                &source,
                Fault::new("control_character", offset, "this character is invisible and cannot be sent: remove it"),
            );
            return None;
        }
        let (items, tags) = match parse(&source) {
            Ok(parsed) => split(parsed),
            Err(fault) => {
                self.fault(name, &source, fault);
                return None;
            }
        };
        if let Err(fault) = check_structure(&tags) {
            self.fault(name, &source, fault);
            return None;
        }
        let names = check_names(&tags, |name| self.input.attributes.contains(name));
        let is_known = names.unknown.is_empty();
        self.names(name, &source, names);
        is_known.then_some(Field { name, source, items, tags, blocks: None })
    }

    fn names(&mut self, field: &str, source: &str, names: Names) {
        for fault in names.unknown {
            self.fault(field, source, fault);
        }
        for (name, offset) in names.uncovered {
            if self.warned.insert(name.clone()) {
                let (line, column) = position(source, offset);
                self.findings.push(Finding::warning("no_default", field, no_default(&name)).at(line, column));
            }
        }
        self.used.extend(names.attributes);
    }

    fn subject(&mut self) -> Option<Part> {
        let source = &self.input.draft.subject;
        if source.trim().is_empty() {
            self.error("no_subject", "subject", "write a subject");
            return None;
        }
        if let Some(offset) = source.trim().find(['\r', '\n']) {
            self.fault(
                "subject",
                source.trim(),
                Fault::new("control_character", offset, "a subject is one line: remove the line break"),
            );
            return None;
        }
        let field = self.field("subject", source, limits::LINE_BYTES)?;
        let uses_itself = field.tags.iter().find_map(|tag| tag.uses().iter().find(|used| used.name == "subject"));
        if let Some(used) = uses_itself {
            let fault =
                Fault::new("unknown_variable", used.offset, "the subject cannot contain itself: remove `subject`");
            self.fault("subject", &field.source, fault);
            return None;
        }
        let flat: Vec<Flat> = field
            .items
            .iter()
            .map(|item| match item {
                FieldItem::Raw(text, _) => Flat::Raw(escape::scrub(text)),
                FieldItem::Tag(tag) => Flat::Tag(*tag, Place::Header),
            })
            .collect();
        self.built(&field, build(&flat, &field.tags, Encoding::None, self.input.sender))
    }

    fn built(&mut self, field: &Field, part: Result<Part, Fault>) -> Option<Part> {
        match part {
            Ok(part) => Some(part),
            Err(fault) => {
                self.findings.push(field.finding(fault));
                None
            }
        }
    }

    /// The text part as somebody wrote it.
    fn text_part(&mut self, field: &Field) -> Option<Part> {
        let mut flat: Vec<Flat> = Vec::with_capacity(field.items.len());
        let mut word = String::new();
        for item in &field.items {
            match item {
                FieldItem::Raw(text, _) => {
                    match text.rfind(char::is_whitespace) {
                        Some(at) => text[at..].trim_start().clone_into(&mut word),
                        None => word.push_str(text),
                    }
                    flat.push(Flat::Raw(escape::scrub(text)));
                }
                FieldItem::Tag(tag) => {
                    // Inside of an address a value is encoded, so that the address stays one.
                    let in_address = word.contains("://") && !word.ends_with(['>', ')', '"']);
                    let place = if in_address { Place::PlainUrlPart } else { Place::Plain };
                    flat.push(Flat::Tag(*tag, place));
                }
            }
        }
        let mut flat = drop_statement_lines(flat, &field.tags);
        let mut tags = field.tags.clone();
        self.text_footer(&mut flat, &mut tags);
        let part = build(&flat, &tags, Encoding::QuotedPrintable, self.input.sender);
        self.built(field, part)
    }

    /// The text part that was derived from the HTML.
    fn derived(&mut self, derived: &body::Derived) -> Option<Part> {
        let order: Vec<&Tag> = derived
            .flat
            .iter()
            .filter_map(|item| match item {
                Flat::Tag(tag, _) => derived.tags.get(*tag),
                Flat::Raw(_) => None,
            })
            .collect();
        let fits = check_structure(order.iter().copied()).is_ok()
            && check_names(order.iter().copied(), |name| self.input.attributes.contains(name)).unknown.is_empty();
        if !fits {
            self.error("text_not_derived", "text", "no text part can be derived from this HTML, since its conditions do not enclose whole elements: write the text part");
            return None;
        }
        let mut flat = drop_statement_lines(derived.flat.clone(), &derived.tags);
        let mut tags = derived.tags.clone();
        self.text_footer(&mut flat, &mut tags);
        match build(&flat, &tags, Encoding::QuotedPrintable, self.input.sender) {
            Ok(part) => Some(part),
            Err(fault) => {
                self.error(fault.code, "text", fault.message);
                None
            }
        }
    }

    fn text_footer(&mut self, flat: &mut Vec<Flat>, tags: &mut Vec<Tag>) {
        match self.input.stream {
            Stream::Transactional => return,
            Stream::Marketing => {}
        }
        let missing = footer::missing(flat, tags, self.input.sender, footer::Links::Visible);
        if missing.is_nothing() {
            return;
        }
        if !matches!(flat.last(), Some(Flat::Raw(text)) if text.ends_with('\n')) {
            flat.push(Flat::Raw("\n".to_owned()));
        }
        let template = footer::text(missing, self.input.sender);
        for item in parse(&template).expect("the footer is a template of ours") {
            match item {
                Parsed::Raw(text, _) => flat.push(Flat::Raw(text.to_owned())),
                Parsed::Tag(tag) => {
                    tags.push(tag);
                    flat.push(Flat::Tag(tags.len() - 1, Place::Plain));
                }
            }
        }
    }

    fn version(
        &mut self,
        from: Mailbox,
        reply_to: Option<Mailbox>,
        subject: Part,
        text: Part,
        html: Option<Part>,
        links: Vec<crate::compiled::Link>,
    ) -> Option<Compiled> {
        let sender = self.input.sender;
        let stored = Stored {
            renderer: RENDERER,
            stream: self.input.stream,
            from_name: self.input.draft.from_name.trim().to_owned(),
            from: from.wire(),
            reply_to: reply_to.map(|mailbox| mailbox.wire()),
            controller_name: sender.controller_name.clone(),
            postal_address: sender.postal_address.clone(),
            privacy_url: sender.privacy_url.clone(),
            subject,
            text,
            html,
            links,
            variables: self.used.iter().cloned().collect(),
        };
        let compiled = match Compiled::new(stored) {
            Ok(compiled) => compiled,
            Err(error) => {
                self.error("bad_from", "from_mailbox", format!("the From mailbox is not usable: {error}"));
                return None;
            }
        };
        self.rehearse(&compiled);
        Some(compiled)
    }

    /// Renders once for a contact who has nothing: what breaks there breaks at many.
    fn rehearse(&mut self, compiled: &Compiled) {
        let prepared = match Prepared::new(compiled.clone()) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.error("not_compiled", "body", format!("the version could not be made ready: {error}"));
                return;
            }
        };
        let vars = Map::new();
        let mailbox = Mailbox::parse("recipient@example.org").expect("a plain mailbox");
        let recipient = RecipientView {
            mailbox: &mailbox,
            vars: &vars,
            unsubscribe_url: "https://example.org/u/token",
            preferences_url: "https://example.org/p/token",
            hosted_url: None,
        };
        let list = ListFacts {
            list_id: "list.example.org",
            unsubscribe_url: "https://example.org/u/token",
            unsubscribe_mailbox: "u@example.org",
            feedback_id: "a:b:c:d",
        };
        let facts =
            MessageFacts { delivery: DeliveryId(1), message_id: "<m@example.org>", date_ms: 0, list: Some(list) };
        let mut message = Vec::new();
        if let Err(error) = prepared.render(&recipient, &facts, &mut message) {
            let (part, is_error) = match &error {
                RenderError::Budget { part, .. } => (part, true),
                RenderError::Template { part, .. }
                | RenderError::UnsafeUrl { part, .. }
                | RenderError::ValueTooLong { part, .. } => (part, false),
                RenderError::NoList | RenderError::Fact(_) | RenderError::Header(_) => {
                    self.error("not_compiled", "body", format!("a trial message failed: could not {error}"));
                    return;
                }
            };
            let field = match part {
                crate::PartName::Subject => "subject",
                crate::PartName::Html => "body",
                crate::PartName::Text if self.input.draft.text.is_empty() => "body",
                crate::PartName::Text => "text",
            };
            if is_error {
                self.error("template_too_expensive", field, format!("could not {error}"));
            } else {
                self.findings.push(Finding::warning(
                    "fails_without_values",
                    field,
                    format!("contacts without attributes would not get this message: could not {error}"),
                ));
            }
        }
    }
}

fn no_default(name: &str) -> String {
    format!(
        "contacts without `{name}` will see nothing here: write {{{{ {name}|default('…') }}}} to give them something"
    )
}

fn split(parsed: Vec<Parsed<'_>>) -> (Vec<FieldItem>, Vec<Tag>) {
    let mut tags = Vec::new();
    let items = parsed
        .into_iter()
        .map(|item| match item {
            Parsed::Raw(text, offset) => FieldItem::Raw(text.to_owned(), offset),
            Parsed::Tag(tag) => {
                tags.push(tag);
                FieldItem::Tag(tags.len() - 1)
            }
        })
        .collect();
    (items, tags)
}
