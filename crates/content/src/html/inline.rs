//! A whole document out of what the author wrote, with its styles inlined (media queries stay).
//!
//! Must not know templates, and loads nothing: no files, no network.

use css_inline::InlineOptions;

use crate::limits;

/// Why the styles cannot be inlined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InlineFault {
    /// Too many selectors for this many elements.
    TooLarge,
    /// What css-inline says.
    Broken(String),
}

/// A document around a fragment; what already is a document stays.
pub fn document(html: &str, style: &str) -> String {
    let lower = html.get(..html.len().min(4096)).unwrap_or(html).to_ascii_lowercase();
    if lower.contains("<html") || lower.contains("<!doctype") || lower.contains("<body") || lower.contains("<head") {
        return html.to_owned();
    }
    let style = if style.is_empty() { String::new() } else { format!("<style>{style}</style>") };
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{style}</head>\n<body>\n{html}\n</body>\n</html>\n"
    )
}

/// The document with its `<style>` rules written into the elements; rules that cannot be (media queries, `:hover`) stay.
///
/// # Errors
/// [`InlineFault`].
pub fn inline(html: &str, elements: usize) -> Result<String, InlineFault> {
    if selectors(html).saturating_mul(elements.max(1)) > limits::STYLE_WORK {
        return Err(InlineFault::TooLarge);
    }
    let inliner = InlineOptions::default()
        .inline_style_tags(true)
        .keep_style_tags(true)
        .remove_inlined_selectors(true)
        .keep_link_tags(false)
        .load_remote_stylesheets(false)
        .build();
    inliner.inline(html).map_err(|error| InlineFault::Broken(error.to_string()))
}

/// At least the number of selectors in all style sheets.
fn selectors(html: &str) -> usize {
    let lower = html.to_ascii_lowercase();
    let mut count = 0;
    let mut rest = lower.as_str();
    while let Some(start) = rest.find("<style") {
        let sheet = &rest[start..];
        let end = sheet.find("</style").unwrap_or(sheet.len());
        count += sheet[..end].bytes().filter(|byte| matches!(byte, b'{' | b',')).count();
        rest = &sheet[end..];
        rest = rest.strip_prefix("</style").unwrap_or(rest);
    }
    count
}
