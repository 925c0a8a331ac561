//! What the writer makes: MJML in bits, so that template tags and HTML of people never have to be read as MJML.
//!
//! Must not know blocks.

use postrider_domain::campaign::Finding;

use super::label::Label;
use crate::html::scanner::MarkForm;
use crate::template::Tag;

/// A bit of MJML or of HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bit {
    /// As it is.
    Raw(String),
    /// A template tag by its number, and how its mark must look.
    Tag(usize, MarkForm),
    /// HTML by its number; whole elements, only in bits of MJML.
    Fragment(usize),
}

/// A document as MJML.
#[derive(Debug, Default)]
pub struct Written {
    /// The MJML.
    pub mjml: Vec<Bit>,
    /// The HTML that stands in it.
    pub fragments: Vec<Vec<Bit>>,
    /// The template tags, in order; `offset` is a place for [`Written::label`].
    pub tags: Vec<Tag>,
    /// The blocks that tags came from.
    pub labels: Vec<Label>,
    /// What is wrong or doubtful.
    pub findings: Vec<Finding>,
}

impl Written {
    /// The block at a place that a tag names; 0 is no place.
    pub fn label(&self, place: usize) -> Option<&Label> {
        self.labels.get(place.checked_sub(1)?)
    }

    /// The whole MJML as text, with the tags as people wrote them: for those who go on in MJML.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.push(&self.mjml, &mut out);
        out
    }

    fn push(&self, bits: &[Bit], out: &mut String) {
        for bit in bits {
            match bit {
                // What looks like a tag here came out of a `raw` block.
                Bit::Raw(text) if ["{{", "{%", "{#"].iter().any(|open| text.contains(open)) => {
                    out.push_str("{% raw %}");
                    out.push_str(text);
                    out.push_str("{% endraw %}");
                }
                Bit::Raw(text) => out.push_str(text),
                Bit::Tag(tag, _) => out.push_str(&self.tags[*tag].written),
                Bit::Fragment(number) => self.push(&self.fragments[*number], out),
            }
        }
    }
}
