//! Opaque marks that stand for template tags while HTML libraries work on a text.
//!
//! Must not know what a tag does. A mark is a word of letters and digits that occurs nowhere in the source, bare or
//! inside of an HTML comment, so that parsers, serialisers and Markdown leave it alone.

use super::scanner::MarkForm;

/// The marks of one text.
#[derive(Debug, Clone)]
pub struct Marks {
    prefix: String,
}

/// A stretch between marks, or a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked<'a> {
    /// Text.
    Raw(&'a str),
    /// The mark of a tag.
    Tag(usize),
}

impl Marks {
    /// Marks that occur in none of `sources`, whatever their case.
    pub fn new(sources: &[&str]) -> Marks {
        let lowered: Vec<String> = sources.iter().map(|source| source.to_ascii_lowercase()).collect();
        let prefix = (0_u32..)
            .map(|n| format!("qx{n}p"))
            .find(|prefix| lowered.iter().all(|source| !source.contains(prefix.as_str())))
            .expect("a text of bounded size does not hold every word");
        Marks { prefix }
    }

    /// The mark of a tag.
    pub fn mark(&self, tag: usize, form: MarkForm) -> String {
        match form {
            MarkForm::Word => format!("{}{tag}z", self.prefix),
            MarkForm::Comment => format!("<!--{}{tag}z-->", self.prefix),
        }
    }

    /// Cuts a text at its marks.
    pub fn split<'a>(&self, text: &'a str) -> Vec<Marked<'a>> {
        let mut out = Vec::new();
        let mut from = 0;
        for (at, _) in text.match_indices(self.prefix.as_str()) {
            let digits = at + self.prefix.len();
            let length = text[digits..].bytes().take_while(u8::is_ascii_digit).count();
            let end = digits + length;
            let Ok(tag) = text[digits..end].parse::<usize>() else { continue };
            if text.as_bytes().get(end) != Some(&b'z') {
                continue;
            }
            let (mut start, mut end) = (at, end + 1);
            if text[from..start].ends_with("<!--") && text[end..].starts_with("-->") {
                start -= 4;
                end += 3;
            }
            if start > from {
                out.push(Marked::Raw(&text[from..start]));
            }
            out.push(Marked::Tag(tag));
            from = end;
        }
        if from < text.len() {
            out.push(Marked::Raw(&text[from..]));
        }
        out
    }

    /// Whether a comment's text is a mark of ours; gives the bare word.
    pub fn in_comment<'a>(&self, comment: &'a str) -> Option<&'a str> {
        match self.split(comment).as_slice() {
            [Marked::Tag(_)] => Some(comment),
            _ => None,
        }
    }

    /// A text with its tags as people wrote them.
    pub fn restore(&self, text: &str, written: impl Fn(usize) -> String) -> String {
        self.split(text)
            .into_iter()
            .map(|item| match item {
                Marked::Raw(text) => text.to_owned(),
                Marked::Tag(tag) => written(tag),
            })
            .collect()
    }
}
