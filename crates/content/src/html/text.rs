//! The text part that is derived from HTML: paragraphs, lists, and links as `text (address)`.
//!
//! Must not know templates: their tags are marks and pass through as words.

use html2text::config::{self, ImageRenderMode};
use html2text::render::TextDecorator;

/// Marks around a link's text and address while html2text works; blanks stand for them in the source.
const LINK_START: char = '\u{E000}';
const LINK_MIDDLE: char = '\u{E001}';
const LINK_END: char = '\u{E002}';

/// Stands for an image without words inside of a link, which html2text would drop with the link.
pub const WORDLESS: char = '\u{E003}';

/// No line of ours is this long: the reader's program breaks lines, quoted-printable breaks ours.
const WIDTH: usize = 60_000;

/// The text of a linearised document; `said` gives what a text with marks says, to compare labels with addresses.
///
/// # Errors
/// What html2text says.
pub fn derive(html: &str, said: &dyn Fn(&str) -> String) -> Result<String, String> {
    let clean: String =
        html.chars().map(|c| if matches!(c, LINK_START | LINK_MIDDLE | LINK_END) { ' ' } else { c }).collect();
    let text = config::with_decorator(Plain { addresses: Vec::new() })
        .allow_width_overflow()
        .empty_img_mode(ImageRenderMode::ShowAlways)
        .no_link_wrapping()
        .string_from_read(clean.as_bytes(), WIDTH)
        .map_err(|error| error.to_string())?;
    Ok(tidy(&links(&text, said)))
}

/// `text (address)`, or the address alone where the text says the same or nothing.
fn links(text: &str, said: &dyn Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(LINK_START) {
        out.push_str(&rest[..start]);
        rest = &rest[start + LINK_START.len_utf8()..];
        let Some(middle) = rest.find(LINK_MIDDLE) else { break };
        let label = &rest[..middle];
        let after = &rest[middle + LINK_MIDDLE.len_utf8()..];
        let Some(end) = after.find(LINK_END) else { break };
        // A link inside of a link cannot be; a stray mark would only be put out as nothing.
        let label = label.replace([LINK_START, WORDLESS], "");
        let address: String = after[..end].chars().filter(|c| !c.is_whitespace()).collect();
        rest = &after[end + LINK_END.len_utf8()..];
        let whole = said(&address);
        let whole = whole.trim_end_matches('/');
        let bare = whole.trim_start_matches("https://").trim_start_matches("http://").trim_start_matches("mailto:");
        let label_says = said(label.trim());
        let label_says = label_says.trim_end_matches('/');
        if address.is_empty() || address.starts_with('#') {
            out.push_str(&label);
        } else if label_says.is_empty() || label_says == bare || label_says == whole {
            out.push_str(address.trim_start_matches("mailto:"));
        } else {
            out.push_str(label.trim_end());
            out.push_str(" (");
            out.push_str(&address);
            out.push(')');
        }
    }
    out.extend(rest.chars().filter(|c| !matches!(*c, LINK_START | LINK_MIDDLE | LINK_END | WORDLESS)));
    out
}

/// No blanks at line ends, at most one empty line in a row, one line end at the end.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if empty > 0 { "\n\n" } else { "\n" });
        }
        empty = 0;
        out.push_str(line);
    }
    out.push('\n');
    out
}

struct Plain {
    addresses: Vec<String>,
}

impl TextDecorator for Plain {
    type Annotation = ();

    fn decorate_link_start(&mut self, url: &str) -> (String, ()) {
        self.addresses.push(url.to_owned());
        (LINK_START.to_string(), ())
    }

    fn decorate_link_end(&mut self) -> String {
        let address = self.addresses.pop().unwrap_or_default();
        format!("{LINK_MIDDLE}{}{LINK_END}", address.split_whitespace().collect::<String>())
    }

    fn decorate_em_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_em_end(&self) -> String {
        String::new()
    }

    fn decorate_strong_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_strong_end(&self) -> String {
        String::new()
    }

    fn decorate_strikeout_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_strikeout_end(&self) -> String {
        String::new()
    }

    fn decorate_code_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_code_end(&self) -> String {
        String::new()
    }

    fn decorate_preformat_first(&self) {}

    fn decorate_preformat_cont(&self) {}

    fn decorate_image(&mut self, _src: &str, title: &str) -> (String, ()) {
        (title.to_owned(), ())
    }

    fn header_prefix(&self, _level: usize) -> String {
        String::new()
    }

    fn quote_prefix(&self) -> String {
        "> ".to_owned()
    }

    fn unordered_item_prefix(&self) -> String {
        "* ".to_owned()
    }

    fn ordered_item_prefix(&self, i: i64) -> String {
        format!("{i}. ")
    }

    fn make_subblock_decorator(&self) -> Self {
        Plain { addresses: Vec::new() }
    }
}
