//! A body with its template tags: checked, inlined, finished, and cut into raw text and places.
//!
//! Must not know recipients or encodings.

use postrider_domain::campaign::{BodyFormat, Finding};
use postrider_domain::stream::Stream;

use super::inline::{self, InlineFault};
use super::inspect::{self, Additions, Made};
use super::marks::{Marked, Marks};
use super::scanner::{self, Item, MarkForm, Placed};
use super::{markdown, text};
use crate::blocks::Written;
use crate::compile::{Field, FieldItem};
use crate::compiled::Link;
use crate::escape;
use crate::footer;
use crate::input::Sender;
use crate::limits;
use crate::part::{Encoding, Flat, Part, build};
use crate::place::Place;
use crate::template::{Fault, Parsed, Tag, check_structure, parse, position};

mod rendered;

/// What came of a body.
pub struct Outcome {
    /// Findings, with line and column where known.
    pub findings: Vec<Finding>,
    /// The body; `None` after an error that left nothing to go on with.
    pub body: Option<HtmlBody>,
}

/// A compiled HTML body.
pub struct HtmlBody {
    /// The part.
    pub part: Part,
    /// Its links.
    pub links: Vec<Link>,
    /// The text derived from it, without preheader and footer.
    pub derived: Derived,
}

/// A derived text as a template.
pub struct Derived {
    /// Text and tags.
    pub flat: Vec<Flat>,
    /// The tags that `flat` numbers.
    pub tags: Vec<Tag>,
}

/// Compiles a body.
pub fn compile(
    body: &Field,
    preheader: Option<&Field>,
    format: BodyFormat,
    sender: &Sender,
    stream: Stream,
) -> Outcome {
    let tags = body.tags.clone();
    let mut work = Work { body, findings: Vec::new(), own: tags.len(), tags, marks: marks(body, preheader) };
    let body = match work.run(preheader, format, sender, stream) {
        Ok(body) => Some(body),
        Err(Stop::Fault(fault)) => {
            work.push_fault(fault);
            None
        }
        Err(Stop::Told) => None,
        Err(Stop::Message(code, message)) => {
            work.findings.push(Finding::error(code, "body", message));
            None
        }
    };
    Outcome { findings: work.findings, body }
}

enum Stop {
    /// The findings say it already.
    Told,
    Fault(Fault),
    Message(&'static str, String),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

struct Work<'a> {
    body: &'a Field,
    findings: Vec<Finding>,
    /// Tags of the body, then those of preheader and footer.
    tags: Vec<Tag>,
    /// How many of them are the body's.
    own: usize,
    marks: Marks,
}

fn marks(body: &Field, preheader: Option<&Field>) -> Marks {
    let written = body.blocks.as_ref().map(Written::text);
    let mut sources = vec![body.source.as_str()];
    sources.extend(written.as_deref());
    sources.extend(preheader.map(|field| field.source.as_str()));
    Marks::new(&sources)
}

/// The author's text with marks, and where each stretch came from.
struct Protected {
    html: String,
    origins: Vec<(usize, usize)>,
    /// Offsets mean something to the author.
    is_source: bool,
}

impl Protected {
    fn origin(&self, offset: usize) -> Option<usize> {
        if !self.is_source {
            return None;
        }
        let at = self.origins.partition_point(|(begin, _)| *begin <= offset).checked_sub(1)?;
        let (begin, source) = self.origins[at];
        Some(source + (offset - begin))
    }
}

impl Work<'_> {
    fn push_fault(&mut self, fault: Fault) {
        self.findings.push(self.body.finding(fault));
    }

    fn run(
        &mut self,
        preheader: Option<&Field>,
        format: BodyFormat,
        sender: &Sender,
        stream: Stream,
    ) -> Result<HtmlBody, Stop> {
        let (protected, found) = match format {
            BodyFormat::Markdown => self.protect_markdown()?,
            BodyFormat::Html | BodyFormat::Text => self.protect_html()?,
            BodyFormat::Mjml => {
                let source = self.mark_source();
                self.render_mjml(&source, |html| html)?
            }
            BodyFormat::Blocks => self.render_blocks()?,
        };
        self.remark(&protected, &found, format);
        if self.findings.iter().any(|finding| finding.severity == postrider_domain::campaign::Severity::Error) {
            return Err(Stop::Told);
        }
        let style = match format {
            BodyFormat::Markdown => markdown::STYLE,
            // MJML brings its own.
            BodyFormat::Html | BodyFormat::Text | BodyFormat::Mjml | BodyFormat::Blocks => "",
        };
        let document = inline::document(&protected.html, style);
        let inlined = inline::inline(&document, found.elements).map_err(|fault| match fault {
            InlineFault::TooLarge => Stop::Message(
                "style_too_large",
                "the style sheet has too many rules for this many elements: remove rules that are not used".to_owned(),
            ),
            InlineFault::Broken(message) => Stop::Message(
                "style_broken",
                format!("the styles cannot be inlined ({message}): correct the style sheet"),
            ),
        })?;
        if inspect::hidden_elements(&inlined) > 0 {
            self.findings.push(Finding::warning(
                "hidden_text",
                "body",
                "some elements are hidden by their style, which filters take for deceit: remove them (for the first words in the inbox use the preheader field)",
            ));
        }
        let derived = self.derive(&inlined)?;
        let additions = self.additions(preheader, &derived, sender, stream);
        let finished = inspect::finish(&inlined, &additions, &self.marks)
            .map_err(|message| Stop::Message("html_broken", message))?;
        let flat = self.flatten(&finished.html, &found.places)?;
        let size: usize = flat
            .iter()
            .map(|item| match item {
                Flat::Raw(text) => text.len(),
                Flat::Tag(..) => 16,
            })
            .sum();
        if size > limits::CLIPPED_BYTES {
            self.findings.push(Finding::warning(
                "clipped",
                "body",
                format!(
                    "the HTML has {size} bytes; Gmail cuts messages off at {}, with the unsubscribe link: shorten it",
                    limits::CLIPPED_BYTES
                ),
            ));
        }
        let part = build(&flat, &self.tags, Encoding::QuotedPrintable, sender)?;
        let links = finished
            .links
            .iter()
            .zip(1..)
            .map(|(address, number)| Link {
                number,
                address: self
                    .marks
                    .restore(address, |tag| self.tags.get(tag).map_or_else(String::new, |tag| tag.written.clone())),
            })
            .collect();
        Ok(HtmlBody { part, links, derived })
    }

    /// HTML: the places are found in the author's own text, so that faults have his lines.
    fn protect_html(&mut self) -> Result<(Protected, scanner::Found), Fault> {
        let items: Vec<Item<'_>> = self
            .body
            .items
            .iter()
            .map(|item| match item {
                FieldItem::Raw(text, offset) => Item::Raw(text, Some(*offset)),
                FieldItem::Tag(tag) => Item::Tag(*tag),
            })
            .collect();
        let found = scanner::walk(&items, &self.body.tags)?;
        let mut forms = found.places.iter();
        let mut protected =
            Protected { html: String::with_capacity(self.body.source.len()), origins: Vec::new(), is_source: true };
        for item in &self.body.items {
            match item {
                FieldItem::Raw(text, offset) => {
                    protected.origins.push((protected.html.len(), *offset));
                    protected.html.push_str(&escape::scrub(text));
                }
                FieldItem::Tag(tag) => {
                    let form = forms.next().map_or(MarkForm::Word, |placed| placed.form);
                    protected.origins.push((protected.html.len(), self.body.tags[*tag].offset));
                    protected.html.push_str(&self.marks.mark(*tag, form));
                }
            }
        }
        Ok((protected, found))
    }

    /// Markdown: tags become marks first; the places are found in the HTML that Markdown made.
    fn protect_markdown(&mut self) -> Result<(Protected, scanner::Found), Fault> {
        let mut source = String::with_capacity(self.body.source.len());
        for item in &self.body.items {
            match item {
                FieldItem::Raw(text, _) => source.push_str(&escape::scrub(text)),
                FieldItem::Tag(tag) => {
                    let form = if self.body.tags[*tag].is_emit() { MarkForm::Word } else { MarkForm::Comment };
                    source.push_str(&self.marks.mark(*tag, form));
                }
            }
        }
        let html = markdown::to_html(&source);
        let items: Vec<Item<'_>> = self.items(&html);
        let found = scanner::walk(&items, &self.tags)?;
        Ok((Protected { html, origins: Vec::new(), is_source: false }, found))
    }

    fn items<'h>(&self, html: &'h str) -> Vec<Item<'h>> {
        self.marks
            .split(html)
            .into_iter()
            .map(|item| match item {
                Marked::Raw(text) => Item::Raw(text, None),
                Marked::Tag(tag) => Item::Tag(tag),
            })
            .collect()
    }

    fn remark(&mut self, protected: &Protected, found: &scanner::Found, format: BodyFormat) {
        let at = |finding: Finding, offset: Option<usize>| match offset {
            Some(offset) => {
                let (line, column) = position(&self.body.source, offset);
                finding.at(line, column)
            }
            None => finding,
        };
        let made = match format {
            BodyFormat::Html | BodyFormat::Markdown | BodyFormat::Text => Made::ByHand,
            BodyFormat::Mjml | BodyFormat::Blocks => Made::ByMjml,
        };
        for remark in inspect::remarks(&protected.html, &self.marks, made) {
            // Doubts about blocks were told with the block's name already.
            if format == BodyFormat::Blocks && !remark.is_error {
                continue;
            }
            let finding = if remark.is_error {
                Finding::error(remark.code, "body", remark.message)
            } else {
                Finding::warning(remark.code, "body", remark.message)
            };
            self.findings.push(at(finding, protected.origin(remark.offset)));
        }
        for (name, offset) in &found.misnested {
            let message = format!(
                "<{}> is not closed, or closed in the wrong order: correct the HTML",
                name.chars().take(20).collect::<String>()
            );
            self.findings.push(at(Finding::warning("html_unclosed", "body", message), *offset));
        }
    }

    /// The text of the inlined document. Places come from the HTML: an address stays an address.
    fn derive(&self, inlined: &str) -> Result<Derived, Stop> {
        let broken = |message: String| {
            Stop::Message("text_not_derived", format!("no text part can be derived ({message}): write it"))
        };
        let found = scanner::walk(&self.items(inlined), &self.tags)?;
        let place_of = |tag: usize| {
            found.places.iter().find(|placed| placed.tag == tag).map_or(Place::Html, |placed| placed.place)
        };
        let line = inspect::linearise(inlined, &self.marks).map_err(broken)?;
        // Two tags that put the same out are the same text.
        let said =
            |text: &str| self.marks.restore(text, |tag| self.tags.get(tag).map_or_else(String::new, Tag::source));
        let text = text::derive(&line, &said).map_err(broken)?;
        let flat = self
            .marks
            .split(&text)
            .into_iter()
            .map(|item| match item {
                Marked::Raw(text) => Flat::Raw(escape::scrub(text)),
                Marked::Tag(tag) => Flat::Tag(
                    tag,
                    match place_of(tag) {
                        Place::UrlStart => Place::PlainUrlStart,
                        Place::UrlPart => Place::PlainUrlPart,
                        Place::Html
                        | Place::Attribute
                        | Place::Plain
                        | Place::PlainUrlStart
                        | Place::PlainUrlPart
                        | Place::Header => Place::Plain,
                    },
                ),
            })
            .collect();
        Ok(Derived { flat, tags: self.tags.clone() })
    }

    /// Preheader and footer as marked HTML; their tags are added to ours.
    fn additions(
        &mut self,
        preheader: Option<&Field>,
        derived: &Derived,
        sender: &Sender,
        stream: Stream,
    ) -> Additions {
        let mut additions = Additions::default();
        if let Some(field) = preheader.filter(|field| !field.source.trim().is_empty()) {
            let mut text = String::new();
            for item in &field.items {
                match item {
                    FieldItem::Raw(raw, _) => escape::push_html(raw, &mut text),
                    FieldItem::Tag(tag) => text.push_str(&self.add(field.tags[*tag].clone())),
                }
            }
            additions.preheader = footer::preheader(text.trim());
        }
        match stream {
            Stream::Transactional => {}
            Stream::Marketing => {
                let missing = footer::missing(&derived.flat, &derived.tags, sender, footer::Links::Clickable);
                if !missing.is_nothing() {
                    for item in parse(&footer::html(missing, sender)).expect("the footer is a template of ours") {
                        match item {
                            Parsed::Raw(raw, _) => additions.footer.push_str(raw),
                            Parsed::Tag(tag) => {
                                let mark = self.add(tag);
                                additions.footer.push_str(&mark);
                            }
                        }
                    }
                }
            }
        }
        additions
    }

    fn add(&mut self, tag: Tag) -> String {
        let form = if tag.is_emit() { MarkForm::Word } else { MarkForm::Comment };
        self.tags.push(tag);
        self.marks.mark(self.tags.len() - 1, form)
    }

    /// The finished document cut at its marks. Every tag must be there once, in order and at its place: what an HTML
    /// reader moves or drops would be shown elsewhere, or to nobody.
    fn flatten(&self, html: &str, before: &[Placed]) -> Result<Vec<Flat>, Stop> {
        let items = self.items(html);
        let found = scanner::walk(&items, &self.tags)?;
        let own = self.own;
        let mut seen = vec![0_usize; self.tags.len()];
        let mut last = None;
        for placed in &found.places {
            seen[placed.tag] += 1;
            let was = before.iter().find(|was| was.tag == placed.tag);
            let is_moved = was.is_some_and(|was| was.place != placed.place || was.in_value != placed.in_value)
                || (placed.tag < own && !placed.in_value && last.is_some_and(|last| last > placed.tag));
            if is_moved {
                return Err(self.moved(placed.tag));
            }
            if placed.tag < own && !placed.in_value {
                last = Some(placed.tag);
            }
        }
        if let Some(tag) = seen.iter().position(|times| *times != 1) {
            return Err(self.moved(tag));
        }
        // Whole attributes may have changed their order; their blocks must still hold together.
        check_structure(found.places.iter().map(|placed| &self.tags[placed.tag]))?;
        let mut places = found.places.iter();
        Ok(items
            .into_iter()
            .map(|item| match item {
                Item::Raw(text, _) => Flat::Raw(escape::scrub(text)),
                Item::Tag(tag) => Flat::Tag(tag, places.next().map_or(Place::Html, |placed| placed.place)),
            })
            .collect())
    }

    fn moved(&self, tag: usize) -> Stop {
        match self.tags.get(tag).filter(|_| tag < self.own) {
            Some(tag) => Stop::Fault(Fault::new(
                "tag_moved",
                tag.offset,
                format!(
                    "{} would be moved, dropped or doubled by HTML readers: correct the HTML around it",
                    tag.written
                ),
            )),
            None => Stop::Message(
                "tag_moved",
                "the preheader or footer found no place: correct the HTML's body element".to_owned(),
            ),
        }
    }
}
