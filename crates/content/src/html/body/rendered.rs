//! Bodies that become HTML by way of MJML: their tags are marked, rendered, and counted anew.
//!
//! Must not know what is done with the HTML.

use super::super::marks::Marked;
use super::super::mjml::{self, MjmlFault};
use super::super::scanner::{self, Item, MarkForm};
use super::{Protected, Stop, Work};
use crate::blocks::bits::Bit;
use crate::compile::FieldItem;
use crate::template::{Fault, check_structure};
use crate::{escape, limits};

/// Marks of fragments count on from here: no template has as many tags.
const FRAGMENTS: usize = 1_000_000;

impl Work<'_> {
    /// MJML as the author wrote it, with marks.
    pub(super) fn mark_source(&self) -> Protected {
        let mut source =
            Protected { html: String::with_capacity(self.body.source.len()), origins: Vec::new(), is_source: true };
        let mut scan = mjml::Scan::default();
        for item in &self.body.items {
            match item {
                FieldItem::Raw(text, offset) => {
                    source.origins.push((source.html.len(), *offset));
                    let text = escape::scrub(text);
                    scan.feed(&text);
                    source.html.push_str(&text);
                }
                FieldItem::Tag(tag) => {
                    let form = if self.tags[*tag].is_emit() { MarkForm::Word } else { scan.form() };
                    source.origins.push((source.html.len(), self.tags[*tag].offset));
                    source.html.push_str(&self.marks.mark(*tag, form));
                }
            }
        }
        source
    }

    /// Blocks: their MJML is rendered with marks for tags and for the HTML of people, which no reader of MJML sees.
    pub(super) fn render_blocks(&mut self) -> Result<(Protected, scanner::Found), Stop> {
        let Some(written) = &self.body.blocks else { return Err(Stop::Told) };
        let bits = |bits: &[Bit]| -> String {
            bits.iter()
                .map(|bit| match bit {
                    Bit::Raw(text) => escape::scrub(text),
                    Bit::Tag(tag, form) => self.marks.mark(*tag, *form),
                    Bit::Fragment(number) => self.marks.mark(FRAGMENTS + number, MarkForm::Word),
                })
                .collect()
        };
        let source = Protected { html: bits(&written.mjml), origins: Vec::new(), is_source: false };
        let fragments: Vec<String> = written.fragments.iter().map(|fragment| bits(fragment)).collect();
        let marks = self.marks.clone();
        let put_in = |html: String| {
            let mut whole = String::with_capacity(html.len() * 2);
            for item in marks.split(&html) {
                match item {
                    Marked::Tag(tag) if tag >= FRAGMENTS => {
                        whole.push_str(fragments.get(tag - FRAGMENTS).map_or("", String::as_str));
                    }
                    Marked::Tag(tag) => whole.push_str(&marks.mark(tag, MarkForm::Word)),
                    Marked::Raw(raw) => whole.push_str(raw),
                }
            }
            whole
        };
        self.render_mjml(&source, put_in)
    }

    /// Renders marked MJML. A renderer may repeat an attribute or put it elsewhere, so the tags are counted anew.
    pub(super) fn render_mjml(
        &mut self,
        source: &Protected,
        finish: impl FnOnce(String) -> String,
    ) -> Result<(Protected, scanner::Found), Stop> {
        let html = mjml::to_html(&source.html).map_err(|fault| self.mjml_fault(source, fault))?;
        let html = finish(html);
        let items = self.items(&html);
        let mut found = scanner::walk(&items, &self.tags)?;
        let mut seen = vec![false; self.tags.len()];
        let mut tags = Vec::with_capacity(found.places.len());
        for placed in &mut found.places {
            seen[placed.tag] = true;
            tags.push(self.tags[placed.tag].clone());
            placed.tag = tags.len() - 1;
        }
        if let Some(dropped) = seen.iter().position(|seen| !seen) {
            return Err(self.moved(dropped));
        }
        if tags.len() > limits::TAGS {
            let message = format!("there are over {} tags in the rendered HTML: use fewer", limits::TAGS);
            return Err(Stop::Message("template_too_long", message));
        }
        check_structure(&tags)?;
        let mut placed = found.places.iter();
        let html = items
            .iter()
            .map(|item| match item {
                Item::Raw(raw, _) => (*raw).to_owned(),
                Item::Tag(_) => {
                    placed.next().map_or_else(String::new, |placed| self.marks.mark(placed.tag, placed.form))
                }
            })
            .collect();
        self.own = tags.len();
        self.tags = tags;
        Ok((Protected { html, origins: Vec::new(), is_source: false }, found))
    }

    fn mjml_fault(&self, source: &Protected, fault: MjmlFault) -> Stop {
        match fault.offset.and_then(|offset| source.origin(offset)) {
            Some(offset) => Stop::Fault(Fault::new(fault.code, offset, fault.message)),
            None => Stop::Message(fault.code, fault.message),
        }
    }
}
