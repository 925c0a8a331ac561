//! From a document to MJML. Every value passes one of four doors: words, address, rich text, or a word of our own.
//!
//! Must not know how MJML becomes HTML.

use super::bits::{Bit, Written};
use super::document::{Align, Block, Document, Font, Frame, Test, Theme, VerticalAlign, When};
use super::label::Label;
use super::rich;
use crate::escape;
use crate::html::inspect;
use crate::html::marks::{Marked, Marks};
use crate::html::scanner::{self, Item, MarkForm};
use crate::template::{Fault, Parsed, Tag, check_structure, parse};

mod block;

/// What a document is written with, besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Whether the workspace has a privacy notice to link to.
    pub has_privacy: bool,
}

/// Writes a document that passed the checks.
pub fn write(document: &Document, facts: Facts) -> Written {
    let mut writer = Writer { out: Written::default(), theme: &document.theme, facts, raw: String::new() };
    writer.document(document);
    writer.out
}

/// Where a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// In a row of its own.
    Row,
    /// In one of several columns.
    Column,
}

struct Writer<'a> {
    out: Written,
    theme: &'a Theme,
    facts: Facts,
    /// MJML not yet put into a bit.
    raw: String,
}

/// Whether a row of simple blocks is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Open,
    Closed,
}

impl Writer<'_> {
    fn document(&mut self, document: &Document) {
        let theme = self.theme;
        let (font, text, accent) = (stack(theme.font), &theme.text, &theme.accent);
        self.own(&format!(
            "<mjml>\n<mj-head>\n<mj-attributes>\
             <mj-all font-family=\"{font}\" />\
             <mj-text font-size=\"{size}px\" line-height=\"1.5\" color=\"{text}\" padding=\"0\" />\
             <mj-table font-size=\"{size}px\" line-height=\"1.5\" color=\"{text}\" padding=\"0\" />\
             <mj-section padding=\"0\" />\
             </mj-attributes>\n<mj-style>\n\
             .r p {{ margin: 0 0 12px; }}\n.r ul, .r ol {{ margin: 0 0 12px; padding: 0 0 0 24px; }}\n.r li {{ margin: 0 0 4px; }}\n\
             .r h2, .r h3, .r h4 {{ margin: 0 0 8px; line-height: 1.25; }}\n\
             .r blockquote {{ margin: 0 0 12px; padding: 0 0 0 16px; border-left: 3px solid {accent}; }}\n\
             .r p:last-child, .r ul:last-child, .r ol:last-child {{ margin-bottom: 0; }}\n\
             .r a {{ color: {accent}; text-decoration: underline; }}\n\
             </mj-style>\n</mj-head>\n<mj-body width=\"{width}px\" background-color=\"{background}\">\n",
            size = theme.font_size,
            width = theme.width,
            background = theme.background,
        ));
        let mut row = Row::Closed;
        self.rows(&document.blocks, "", 1, &mut row);
        self.close(&mut row);
        self.own("</mj-body>\n</mjml>\n");
        self.end_raw();
    }

    /// Blocks at the top level, or in a condition there: each stands in a row that goes over the whole width.
    fn rows(&mut self, blocks: &[Block], path: &str, first: usize, row: &mut Row) {
        for (block, number) in blocks.iter().zip(first..) {
            let path = format!("{path}{number}");
            match block {
                Block::Columns(columns) => {
                    self.close(row);
                    self.columns(columns, &path);
                }
                Block::Conditional(group) => {
                    self.close(row);
                    let label = self.label(&path, block);
                    self.statement(&format!("{{% if {} %}}", condition(&group.when)), label);
                    self.rows(&group.blocks, &format!("{path}."), 1, row);
                    self.close(row);
                    if !group.otherwise.is_empty() {
                        self.statement("{% else %}", label);
                        self.rows(&group.otherwise, &format!("{path}."), group.blocks.len() + 1, row);
                        self.close(row);
                    }
                    self.statement("{% endif %}", label);
                }
                Block::Footer(footer) => {
                    self.close(row);
                    let label = self.label(&path, block);
                    self.footer(footer, label);
                }
                Block::Heading(_)
                | Block::Text(_)
                | Block::Image(_)
                | Block::Button(_)
                | Block::Divider(_)
                | Block::Spacer(_)
                | Block::Social(_)
                | Block::Quote(_)
                | Block::Products(_)
                | Block::Video(_)
                | Block::Html(_) => {
                    if *row == Row::Closed {
                        let surface = self.theme.surface.clone();
                        self.own(&format!("<mj-section background-color=\"{surface}\">\n<mj-column>\n"));
                        *row = Row::Open;
                    }
                    self.block(block, &path, Inside::Row);
                }
            }
        }
    }

    fn close(&mut self, row: &mut Row) {
        if *row == Row::Open {
            self.own("</mj-column>\n</mj-section>\n");
            *row = Row::Closed;
        }
    }

    fn columns(&mut self, columns: &super::document::Columns, path: &str) {
        let frame = &columns.frame;
        let background = if frame.background.is_empty() { &self.theme.surface } else { &frame.background };
        let section =
            format!("<mj-section background-color=\"{background}\" padding=\"{}\">\n", padding(frame, 10, 10, 12));
        self.own(&section);
        // A group stays side by side on phones.
        if columns.keep_on_phone {
            self.own("<mj-group>\n");
        }
        let align = match columns.vertical_align {
            VerticalAlign::Top => "top",
            VerticalAlign::Middle => "middle",
            VerticalAlign::Bottom => "bottom",
        };
        for (column, number) in columns.columns.iter().zip(1..) {
            let width = column.width.map(|width| format!(" width=\"{width}%\"")).unwrap_or_default();
            self.own(&format!("<mj-column vertical-align=\"{align}\"{width}>\n"));
            self.stack(&column.blocks, &format!("{path}.{number}."), 1);
            self.own("</mj-column>\n");
        }
        if columns.keep_on_phone {
            self.own("</mj-group>\n");
        }
        self.own("</mj-section>\n");
    }

    /// Blocks in one of several columns.
    fn stack(&mut self, blocks: &[Block], path: &str, first: usize) {
        for (block, number) in blocks.iter().zip(first..) {
            let path = format!("{path}{number}");
            if let Block::Conditional(group) = block {
                let label = self.label(&path, block);
                self.statement(&format!("{{% if {} %}}", condition(&group.when)), label);
                self.stack(&group.blocks, &format!("{path}."), 1);
                if !group.otherwise.is_empty() {
                    self.statement("{% else %}", label);
                    self.stack(&group.otherwise, &format!("{path}."), group.blocks.len() + 1);
                }
                self.statement("{% endif %}", label);
            } else {
                self.block(block, &path, Inside::Column);
            }
        }
    }

    fn label(&mut self, path: &str, block: &Block) -> usize {
        self.out.labels.push(Label::of(path, block));
        self.out.labels.len() - 1
    }

    // The doors.

    /// MJML of our own.
    fn own(&mut self, mjml: &str) {
        self.raw.push_str(mjml);
    }

    fn end_raw(&mut self) {
        if !self.raw.is_empty() {
            self.out.mjml.push(Bit::Raw(std::mem::take(&mut self.raw)));
        }
    }

    fn tag(&mut self, tag: Tag, form: MarkForm) {
        self.end_raw();
        self.out.tags.push(tag);
        self.out.mjml.push(Bit::Tag(self.out.tags.len() - 1, form));
    }

    /// A statement between blocks.
    fn statement(&mut self, source: &str, label: usize) {
        self.own("<mj-raw>");
        match parse(source) {
            Ok(parsed) => {
                for item in parsed {
                    if let Parsed::Tag(tag) = item {
                        self.tag(at(tag, label), MarkForm::Comment);
                    }
                }
            }
            Err(fault) => self.fault(label, "value", &fault),
        }
        self.own("</mj-raw>\n");
    }

    fn fault(&mut self, label: usize, field: &str, fault: &Fault) {
        let finding = self.out.labels[label].error(fault.code, &format!("`{field}`: {}", fault.message));
        self.out.findings.push(finding);
    }

    fn warn(&mut self, label: usize, code: &str, message: &str) {
        let finding = self.out.labels[label].warning(code, message);
        self.out.findings.push(finding);
    }

    /// Parses a template whose blocks close in it; nothing after a finding.
    fn parsed<'t>(&mut self, label: usize, field: &str, text: &'t str) -> Vec<Parsed<'t>> {
        let parsed = parse(text).and_then(|parsed| {
            check_structure(parsed.iter().filter_map(|item| match item {
                Parsed::Tag(tag) => Some(tag),
                Parsed::Raw(..) => None,
            }))?;
            Ok(parsed)
        });
        parsed.unwrap_or_else(|fault| {
            self.fault(label, field, &fault);
            Vec::new()
        })
    }

    /// Plain text between elements; line breaks are kept.
    fn words(&mut self, label: usize, field: &str, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        for item in self.parsed(label, field, text.trim()) {
            match item {
                Parsed::Raw(raw, _) => {
                    let mut escaped = String::with_capacity(raw.len());
                    for (number, line) in raw.split('\n').enumerate() {
                        if number > 0 {
                            escaped.push_str("<br>");
                        }
                        escape::push_html(line, &mut escaped);
                    }
                    self.literal(&escaped);
                }
                Parsed::Tag(tag) => {
                    let form = if tag.is_emit() { MarkForm::Word } else { MarkForm::Comment };
                    self.tag(at(tag, label), form);
                }
            }
        }
    }

    /// Plain text in a quoted attribute.
    fn attribute(&mut self, label: usize, field: &str, text: &str) {
        for item in self.parsed(label, field, text.trim()) {
            match item {
                Parsed::Raw(raw, _) => {
                    let mut escaped = String::with_capacity(raw.len());
                    escape::push_html(raw, &mut escaped);
                    self.literal(&escaped);
                }
                Parsed::Tag(tag) => self.tag(at(tag, label), MarkForm::Word),
            }
        }
    }

    /// Text of people. What looks like a tag in it stands in a bit of its own, for [`Written::text`].
    fn literal(&mut self, text: &str) {
        if text.contains('{') {
            self.end_raw();
            self.own(text);
            self.end_raw();
        } else {
            self.own(text);
        }
    }

    /// An address in an attribute named `name`; nothing when it is empty.
    fn address(&mut self, label: usize, name: &str, field: &str, address: &str) {
        if address.trim().is_empty() {
            return;
        }
        self.own(&format!(" {name}=\""));
        self.attribute(label, field, address);
        self.own("\"");
    }

    /// Rich text: cleaned, put into a fragment.
    fn rich(&mut self, label: usize, field: &str, html: &str) {
        let parsed = self.parsed(label, field, html);
        let marks = Marks::new(&[html]);
        let mut tags = Vec::new();
        let mut marked = String::with_capacity(html.len());
        for item in parsed {
            match item {
                Parsed::Raw(raw, _) => marked.push_str(&escape::scrub(raw)),
                Parsed::Tag(tag) => {
                    marked.push_str(&marks.mark(tags.len(), MarkForm::Word));
                    tags.push(at(tag, label));
                }
            }
        }
        // Readers of HTML take long over deep or crooked nesting: look before they do.
        if let Err(fault) = scanner::walk(&[Item::Raw(&marked, None)], &[]) {
            self.fault(label, field, &fault);
            return;
        }
        let clean = rich::clean(&marked);
        if inspect::links_without_address(&clean) > 0 {
            self.warn(label, "empty_link", "a link in it leads nowhere: write its address, with https:// before it");
        }
        self.fragment(label, field, &clean, &marks, tags);
    }

    /// HTML as it is, put into a fragment.
    fn html(&mut self, label: usize, field: &str, html: &str) {
        let html = html.replace("\r\n", "\n").replace('\r', "\n");
        let parsed = self.parsed(label, field, &html);
        let marks = Marks::new(&[&html]);
        let mut tags = Vec::new();
        let mut marked = String::with_capacity(html.len());
        for item in parsed {
            match item {
                Parsed::Raw(raw, _) => marked.push_str(&escape::scrub(raw)),
                Parsed::Tag(tag) => {
                    marked.push_str(&marks.mark(tags.len(), MarkForm::Word));
                    tags.push(at(tag, label));
                }
            }
        }
        for remark in inspect::remarks(&marked, &marks, inspect::Made::ByHand) {
            let label = &self.out.labels[label];
            // In a block of somebody nothing is loaded from elsewhere.
            let finding = if remark.is_error || remark.code == "remote_style" {
                label.error(remark.code, &remark.message)
            } else {
                label.warning(remark.code, &remark.message)
            };
            self.out.findings.push(finding);
        }
        self.fragment(label, field, &marked, &marks, tags);
    }

    /// Makes a fragment of marked HTML. It must be whole by itself, so that it can break nothing around it.
    fn fragment(&mut self, label: usize, field: &str, html: &str, marks: &Marks, tags: Vec<Tag>) {
        let items: Vec<Item<'_>> = marks
            .split(html)
            .into_iter()
            .map(|item| match item {
                Marked::Raw(text) => Item::Raw(text, None),
                Marked::Tag(tag) => Item::Tag(tag),
            })
            .collect();
        let found = match scanner::walk(&items, &tags) {
            Ok(found) => found,
            Err(fault) => return self.fault(label, field, &fault),
        };
        let kept: Vec<&Tag> = found.places.iter().map(|placed| &tags[placed.tag]).collect();
        if let Err(fault) = check_structure(kept) {
            // Half of a condition stood where everything is dropped.
            return self.fault(label, field, &fault);
        }
        if let Some((name, _)) = found.misnested.first() {
            let name: String = name.chars().take(20).collect();
            let message = format!("`{field}`: <{name}> is not closed, or closed in the wrong order: correct the HTML");
            let finding = self.out.labels[label].error("html_unclosed", &message);
            self.out.findings.push(finding);
            return;
        }
        let mut places = found.places.iter();
        let mut bits = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Raw(text, _) => bits.push(Bit::Raw(text.to_owned())),
                Item::Tag(tag) => {
                    let form = places.next().map_or(MarkForm::Word, |placed| placed.form);
                    self.out.tags.push(tags[tag].clone());
                    bits.push(Bit::Tag(self.out.tags.len() - 1, form));
                }
            }
        }
        self.end_raw();
        self.out.fragments.push(bits);
        self.out.mjml.push(Bit::Fragment(self.out.fragments.len() - 1));
    }
}

/// A tag that says which block it came from.
fn at(mut tag: Tag, label: usize) -> Tag {
    tag.relocate(label + 1);
    tag
}

/// The expression of a condition. Values are compared as text, without blanks at their ends.
fn condition(when: &When) -> String {
    let name = &when.variable;
    let value = when.value.trim().replace('\\', "\\\\").replace('\'', "\\'").replace(['\r', '\n', '\t'], " ");
    match when.test {
        Test::Set => format!("{name}|trim != ''"),
        Test::NotSet => format!("{name}|trim == ''"),
        Test::Equal => format!("{name}|trim == '{value}'"),
        Test::NotEqual => format!("{name}|trim != '{value}'"),
    }
}

/// The families of a font. No quotes: they stand in attributes.
const fn stack(font: Font) -> &'static str {
    match font {
        Font::Arial => "Arial, Helvetica, sans-serif",
        Font::Verdana => "Verdana, Geneva, sans-serif",
        Font::Tahoma => "Tahoma, Geneva, sans-serif",
        Font::Trebuchet => "Trebuchet MS, Helvetica, sans-serif",
        Font::Georgia => "Georgia, Times, serif",
        Font::Times => "Times New Roman, Times, serif",
        Font::Courier => "Courier New, Courier, monospace",
        Font::System => "-apple-system, BlinkMacSystemFont, Segoe UI, Roboto, Helvetica, Arial, sans-serif",
    }
}

const fn align(align: Align) -> &'static str {
    match align {
        Align::Left => "left",
        Align::Center => "center",
        Align::Right => "right",
    }
}

/// The spaces of a frame, or the type's own.
fn padding(frame: &Frame, top: u16, bottom: u16, side: u16) -> String {
    let (top, bottom) = (frame.padding_top.unwrap_or(top), frame.padding_bottom.unwrap_or(bottom));
    let side = frame.padding_side.unwrap_or(side);
    format!("{top}px {side}px {bottom}px {side}px")
}

/// A colour, or the theme's.
fn or<'c>(color: &'c str, other: &'c str) -> &'c str {
    if color.is_empty() { other } else { color }
}
