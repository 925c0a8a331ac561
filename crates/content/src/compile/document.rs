//! A body that is a block document: read, written as MJML, its names looked up.
//!
//! Must not know what becomes of the MJML.

use postrider_domain::campaign::Severity;

use super::{Compiler, Field, no_default};
use crate::template::{check_names, check_structure};
use crate::{blocks, limits};

impl Compiler<'_> {
    /// Reads a block document and writes its MJML; every field of it was parsed by itself.
    pub(super) fn blocks(&mut self) -> Option<Field> {
        if self.input.draft.body.trim().is_empty() {
            return None;
        }
        let document = match blocks::read(&self.input.draft.body) {
            Ok(document) => document,
            Err(findings) => {
                self.findings.extend(findings);
                return None;
            }
        };
        let has_privacy = !self.input.sender.privacy_url.trim().is_empty();
        let mut written = blocks::write(&document, blocks::Facts { has_privacy });
        let failed = written.findings.iter().any(|finding| finding.severity == Severity::Error);
        self.findings.append(&mut written.findings);
        if failed {
            return None;
        }
        if written.tags.len() > limits::TAGS {
            self.error("template_too_long", "body", format!("there are over {} tags: use fewer", limits::TAGS));
            return None;
        }
        let tags = written.tags.clone();
        let field = Field { name: "body", source: String::new(), items: Vec::new(), tags, blocks: Some(written) };
        if let Err(fault) = check_structure(&field.tags) {
            self.findings.push(field.finding(fault));
            return None;
        }
        let names = check_names(&field.tags, |name| self.input.attributes.contains(name));
        let is_known = names.unknown.is_empty();
        for fault in names.unknown {
            self.findings.push(field.finding(fault));
        }
        for (name, place) in names.uncovered {
            if self.warned.insert(name.clone())
                && let Some(label) = field.blocks.as_ref().and_then(|written| written.label(place))
            {
                self.findings.push(label.warning("no_default", &no_default(&name)));
            }
        }
        self.used.extend(names.attributes);
        is_known.then_some(field)
    }
}
