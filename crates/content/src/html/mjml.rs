//! MJML to HTML by mrml, within bounds: nothing is included, nothing is loaded, and size is looked at before.
//!
//! Must not know templates: their tags are marks. Where a mark stands decides how it must look.

use mrml::prelude::parser::noop_loader::NoopIncludeLoader;
use mrml::prelude::parser::{Error, ParserOptions};
use mrml::prelude::render::RenderOptions;

use super::scanner::MarkForm;
use crate::limits;

/// What is wrong with MJML, and where (byte offset) if that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MjmlFault {
    /// Fixed word for programs.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Byte offset in the MJML.
    pub offset: Option<usize>,
}

impl MjmlFault {
    fn new(code: &'static str, offset: Option<usize>, message: impl Into<String>) -> MjmlFault {
        MjmlFault { code, message: message.into(), offset }
    }
}

/// mrml calls itself for each level of elements, so that its stack must hold as many levels as there are elements.
const STACK_BYTES: usize = 96 * 1024 * 1024;

/// Renders MJML.
///
/// # Errors
/// What is wrong, with its place.
pub fn to_html(mjml: &str) -> Result<String, MjmlFault> {
    measure(mjml)?;
    let ascii = to_ascii(mjml);
    let located = |fault: MjmlFault| MjmlFault {
        offset: fault.offset.map(|offset| from_ascii(&ascii[..offset.min(ascii.len())]).len()),
        ..fault
    };
    // A thread for its stack: it is reserved, not used, and a fault of the reader ends here and not the process.
    let rendered = std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().name("mjml".to_owned()).stack_size(STACK_BYTES);
        match reader.spawn_scoped(scope, || render(&ascii)) {
            Ok(thread) => thread.join().unwrap_or_else(|_| {
                Err(MjmlFault::new("mjml_broken", None, "this MJML cannot be read: make it simpler"))
            }),
            Err(_) => Err(MjmlFault::new("mjml_broken", None, "there is no memory to read the MJML: try again")),
        }
    });
    let rendered = from_ascii(&rendered.map_err(located)?);
    if rendered.len() > limits::MJML_HTML_BYTES {
        return Err(MjmlFault::new(
            "mjml_too_large",
            None,
            "the HTML that this MJML makes is too large: make it simpler",
        ));
    }
    Ok(rendered)
}

/// The text with every character beyond ASCII as a reference of a fixed length: the tokenizer below mrml cuts texts
/// at bytes, and panics inside of longer characters.
fn to_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            out.push_str(&format!("&#x{:08x};", u32::from(c)));
        }
    }
    out
}

/// The way back. Nobody writes references of eight digits; who does gets the same character.
fn from_ascii(text: &str) -> String {
    const START: &str = "&#x00";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest
            .get(3..11)
            .filter(|_| rest.as_bytes().get(11) == Some(&b';'))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32)
            .filter(|c| !c.is_ascii() && !c.is_control());
        match known {
            Some(c) => {
                out.push(c);
                rest = &rest[12..];
            }
            None => {
                out.push_str(START);
                rest = &rest[START.len()..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn render(mjml: &str) -> Result<String, MjmlFault> {
    let options = ParserOptions { include_loader: Box::new(NoopIncludeLoader) };
    let parsed = mrml::parse_with_options(mjml, &options).map_err(|error| explain(mjml, &error))?;
    // No fonts of others: each would be a request that tells them who reads what.
    let options = RenderOptions { fonts: std::collections::HashMap::new(), ..RenderOptions::default() };
    parsed.element.render(&options).map_err(|error| {
        MjmlFault::new("mjml_broken", None, format!("this MJML cannot be rendered ({error}): correct it"))
    })
}

fn explain(mjml: &str, error: &Error) -> MjmlFault {
    // Some spans begin after the `<`.
    let open = |at: usize| at - usize::from(at > 0 && mjml.as_bytes().get(at - 1) == Some(&b'<'));
    let syntax = |offset: usize, message: String| MjmlFault::new("mjml_syntax", Some(open(offset)), message);
    let written = |start: usize, end: usize| -> String {
        let text = mjml.get(start..end.min(mjml.len())).unwrap_or_default();
        text.trim_start_matches(['<', '/']).chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect()
    };
    match error {
        Error::UnexpectedElement { position, .. } => {
            let name = written(position.start, position.end);
            syntax(position.start, format!("<{name}> may not stand here: move or remove it"))
        }
        Error::UnexpectedToken { position, .. } => {
            let text = written(position.start, position.end);
            syntax(
                position.start,
                format!("`{text}` may not stand here: move or remove it, or close what is open before it"),
            )
        }
        Error::MissingAttribute { name, position, .. } => {
            syntax(position.start, format!("this element needs the attribute `{name}`: add it"))
        }
        Error::InvalidAttribute { position, .. } => {
            syntax(position.start, "this attribute is not usable: correct it".to_owned())
        }
        Error::InvalidFormat { position, .. } => syntax(position.start, "this is no MJML: correct it".to_owned()),
        Error::EndOfStream { .. } => {
            syntax(mjml.trim_end().len(), "the MJML ends before everything is closed: close all elements".to_owned())
        }
        Error::SizeLimit { .. } => syntax(0, "the MJML is too large: shorten it".to_owned()),
        Error::ParserError { source, .. } => {
            let at = source.pos();
            let row = usize::try_from(at.row).unwrap_or(1).saturating_sub(1);
            let start: usize = mjml.split_inclusive('\n').take(row).map(str::len).sum();
            let line = &mjml[start.min(mjml.len())..];
            let column = usize::try_from(at.col).unwrap_or(1).saturating_sub(1);
            let within = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
            syntax(
                start + within,
                "this is no well-formed MJML: quote attributes, write & as &amp; and close all elements".to_owned(),
            )
        }
        Error::NoRootNode => syntax(0, "there is no <mjml> element: begin with <mjml><mj-body>".to_owned()),
        Error::IncludeLoaderError { position, .. } => MjmlFault::new(
            "mjml_include",
            Some(open(position.start)),
            "mj-include is not available, nothing is loaded from elsewhere: put the content here",
        ),
    }
}

/// Looks at what decides how much the renderer has to do.
fn measure(mjml: &str) -> Result<(), MjmlFault> {
    let too_large = |offset: usize, message: String| MjmlFault::new("mjml_too_large", Some(offset), message);
    let bytes = mjml.as_bytes();
    // Whatever a reader takes for an element begins so, in comments too.
    let mut elements = 0;
    for at in memchr::memchr_iter(b'<', bytes) {
        if bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic) {
            elements += 1;
            if elements > limits::MJML_ELEMENTS {
                let message = format!("the MJML has over {} elements: make it simpler", limits::MJML_ELEMENTS);
                return Err(too_large(at, message));
            }
        }
    }
    // Attributes can be repeated in every element: by mj-attributes, and by elements in those that they hold.
    let mut scan = Scan::default();
    scan.feed(mjml);
    if let Some(at) = scan.long_attribute {
        let message = format!("an attribute has over {} bytes: shorten it", limits::MJML_ATTRIBUTE_BYTES);
        return Err(too_large(at, message));
    }
    if let Some((at, end, open)) = scan.crooked {
        let message = if open.is_empty() {
            format!("</{end}> closes nothing: remove it")
        } else {
            format!("</{end}> stands where <{open}> is open: close <{open}> first, or correct the name")
        };
        return Err(MjmlFault::new("mjml_syntax", Some(at), message));
    }
    let mut shared = 0;
    let mut rest = mjml;
    while let Some(at) = rest.find("<mj-attributes") {
        let inner = &rest[at..];
        let end = inner.find("</mj-attributes").unwrap_or(inner.len());
        shared += end;
        rest = &inner[end..];
    }
    if shared.saturating_mul(elements) > limits::MJML_ATTRIBUTE_WORK {
        return Err(too_large(0, "mj-attributes is too long for this many elements: shorten it".to_owned()));
    }
    Ok(())
}

/// Walks MJML to know what a mark stands in.
#[derive(Debug, Default)]
pub struct Scan {
    mode: Mode,
    name: String,
    open: Vec<String>,
    at: usize,
    value_at: usize,
    long_attribute: Option<usize>,
    /// An end tag that does not close what is open: its offset, its name, and what is open.
    crooked: Option<(usize, String, String)>,
    tag_at: usize,
}

/// Elements without an end tag.
const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "param"];

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    #[default]
    Data,
    Comment,
    /// In a tag; whether it is an end tag.
    Tag(bool),
    Quoted(bool, u8),
}

/// Elements whose content is text only: no comment may stand there.
const TEXT_ONLY: [&str; 4] = ["mj-title", "mj-preview", "mj-style", "title"];

impl Scan {
    /// Reads on.
    pub fn feed(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            let byte = bytes[index];
            match self.mode {
                Mode::Data => match memchr::memchr(b'<', &bytes[index..]) {
                    None => break,
                    Some(next) => {
                        index += next;
                        let rest = &bytes[index..];
                        // What stands in a condition for Outlook is read like everything else.
                        if rest.starts_with(b"<!--") && !rest.starts_with(b"<!--[") {
                            self.mode = Mode::Comment;
                            index += 3;
                        } else if rest.get(1).is_some_and(|next| next.is_ascii_alphabetic() || *next == b'/') {
                            let is_end = rest[1] == b'/';
                            self.tag_at = self.at + index;
                            self.name.clear();
                            let from = index + 1 + usize::from(is_end);
                            self.name.extend(
                                bytes[from..]
                                    .iter()
                                    .take(40)
                                    .take_while(|b| b.is_ascii_alphanumeric() || **b == b'-')
                                    .map(|b| char::from(*b)),
                            );
                            self.mode = Mode::Tag(is_end);
                        }
                    }
                },
                Mode::Comment => match memchr::memmem::find(&bytes[index..], b"-->") {
                    None => break,
                    Some(next) => {
                        index += next + 2;
                        self.mode = Mode::Data;
                    }
                },
                Mode::Tag(is_end) => match byte {
                    b'"' | b'\'' => {
                        self.mode = Mode::Quoted(is_end, byte);
                        self.value_at = self.at + index;
                    }
                    b'>' => {
                        let is_closed = index > 0 && bytes[index - 1] == b'/';
                        self.mode = Mode::Data;
                        if is_end {
                            let open = self.open.pop().unwrap_or_default();
                            // The reader takes any end tag for the right one.
                            if open != self.name && (open.starts_with("mj") || self.name.starts_with("mj")) {
                                self.crooked.get_or_insert((self.tag_at, std::mem::take(&mut self.name), open));
                            }
                        } else if !is_closed
                            && !VOID.contains(&self.name.as_str())
                            && self.open.len() < limits::MJML_ELEMENTS
                        {
                            self.open.push(std::mem::take(&mut self.name));
                        }
                    }
                    _ => {}
                },
                Mode::Quoted(is_end, quote) => {
                    if byte == quote {
                        if self.at + index - self.value_at > limits::MJML_ATTRIBUTE_BYTES {
                            self.long_attribute.get_or_insert(self.value_at);
                        }
                        self.mode = Mode::Tag(is_end);
                    }
                }
            }
            index += 1;
        }
        self.at += text.len();
    }

    /// How the mark of a statement must look here.
    pub fn form(&self) -> MarkForm {
        match self.mode {
            Mode::Data if !self.open.last().is_some_and(|name| TEXT_ONLY.contains(&name.as_str())) => MarkForm::Comment,
            Mode::Data | Mode::Comment | Mode::Tag(_) | Mode::Quoted(..) => MarkForm::Word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MjmlFault, to_html};

    fn fault(mjml: &str) -> MjmlFault {
        to_html(mjml).unwrap_err()
    }

    #[test]
    fn faults_know_their_place() {
        for (mjml, code, offset) in [
            ("<mjml>\n<mj-body><mj-section></mj-body></mjml>", "mjml_syntax", None),
            ("<mjml><mj-foo></mj-foo></mjml>", "mjml_syntax", Some(6)),
            ("<mjml><mj-body><mj-include path=\"/etc/passwd\" /></mj-body></mjml>", "mjml_include", Some(15)),
            ("<mjml><mj-head><mj-include path=\"https://x.example/a\" /></mj-head></mjml>", "mjml_include", Some(15)),
            ("<p>hello</p>", "mjml_syntax", Some(0)),
            ("", "mjml_syntax", Some(0)),
            ("<mjml><mj-body>", "mjml_syntax", Some(15)),
        ] {
            let found = fault(mjml);
            assert_eq!(found.code, code, "{mjml}: {found:?}");
            if offset.is_some() {
                assert_eq!(found.offset, offset, "{mjml}: {found:?}");
            }
        }
    }

    #[test]
    fn letters_of_all_lengths_come_through() {
        for text in ["😀PV", "é>", "ab😀>x", "日本語 &#x000000e9; &#x00zz &#x0000003c;"] {
            let mjml = format!("<mjml><mj-body><mj-raw title=\"{text}\">{text}</mj-raw></mj-body></mjml>");
            let html = to_html(&mjml).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
            assert!(html.contains(&text.replace("&#x000000e9;", "é")), "{text}: {html}");
        }
        let found = fault("<mjml>\n<!-- äöü😀 --><mj-foo />\n</mjml>");
        assert_eq!(found.offset, Some("<mjml>\n<!-- äöü😀 -->".len()));
    }

    #[test]
    fn nothing_is_loaded_and_nothing_blows_up() {
        let html = to_html(
            "<mjml><mj-body><mj-section><mj-column><mj-text>Hi</mj-text></mj-column></mj-section></mj-body></mjml>",
        )
        .unwrap();
        assert!(!html.contains("fonts.googleapis"), "{html}");
        let deep = |name: &str| format!("<mjml><mj-body>{}</mj-body></mjml>", format!("<{name}>").repeat(2_900));
        assert_eq!(fault(&deep("div")).code, "mjml_syntax");
        assert_eq!(fault(&deep("mj-section")).code, "mjml_syntax");
        let closed =
            format!("<mjml><mj-body><mj-raw>{}{}</mj-raw></mj-body></mjml>", "<i>".repeat(2_900), "</i>".repeat(2_900));
        assert!(to_html(&closed).is_ok());
        assert_eq!(fault(&"<a>".repeat(10_000)).code, "mjml_too_large");
        let hidden = format!("<mjml><mj-body><mj-raw><!--[if mso]>{}</mj-raw></mj-body></mjml>", "<a>".repeat(2_900));
        assert!(to_html(&hidden).is_err());
        let font = "a".repeat(3_900);
        let wide = format!(
            "<mjml><mj-head><mj-attributes><mj-all font-family=\"{font}\" /></mj-attributes></mj-head><mj-body>{}</mj-body></mjml>",
            "<mj-text>a</mj-text>".repeat(2_900)
        );
        assert_eq!(fault(&wide).code, "mjml_too_large");
        let long = format!("<mjml><mj-body><mj-social color=\"{}\" /></mj-body></mjml>", "a".repeat(5_000));
        assert_eq!(fault(&long).code, "mjml_too_large");
    }
}
