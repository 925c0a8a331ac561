//! Looks through HTML for what does harm or does not work in mail, and finishes the document.
//!
//! Must not know templates beyond their marks.

use std::cell::RefCell;

use lol_html::html_content::{ContentType, Element};
use lol_html::{Settings, comments, doc_comments, element, rewrite_str};

use super::marks::Marks;
use super::text::WORDLESS;

/// Something found, with the byte offset in the given HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Fixed word for programs.
    pub code: &'static str,
    /// Whether it refuses the start.
    pub is_error: bool,
    /// What is wrong and what to do.
    pub message: String,
    /// Where.
    pub offset: usize,
}

const FORBIDDEN: [&str; 21] = [
    "script",
    "iframe",
    "object",
    "embed",
    "applet",
    "form",
    "input",
    "button",
    "select",
    "textarea",
    "base",
    "frame",
    "frameset",
    "svg",
    "math",
    "noscript",
    "template",
    "plaintext",
    "xmp",
    "portal",
    "dialog",
];

const ADDRESSES: [&str; 10] =
    ["href", "src", "action", "formaction", "background", "poster", "cite", "data", "longdesc", "lowsrc"];

/// Who wrote the HTML that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// The author.
    ByHand,
    /// The MJML renderer: its menus and accordions hide a check box.
    ByMjml,
}

/// How many links of a rich text have no address.
pub fn links_without_address(html: &str) -> usize {
    let count = RefCell::new(0_usize);
    let settings = Settings::new().with_strict(false).append_element_content_handler(element!("a", |link| {
        if link.get_attribute("href").is_none_or(|href| href.trim().is_empty()) {
            *count.borrow_mut() += 1;
        }
        Ok(())
    }));
    let _ = rewrite_str(html, settings);
    count.into_inner()
}

/// What HTML holds that should not be in mail.
pub fn remarks(html: &str, marks: &Marks, made: Made) -> Vec<Remark> {
    let found = RefCell::new(Vec::new());
    let push = |element: &Element<'_, '_>, code: &'static str, is_error: bool, message: String| {
        found.borrow_mut().push(Remark { code, is_error, message, offset: element.source_location().bytes().start });
    };
    let settings = Settings::new().with_strict(false).append_element_content_handler(element!("*", |element| {
        let name = element.tag_name();
        let is_switch = made == Made::ByMjml
            && name == "input"
            && element.get_attribute("type").is_some_and(|kind| matches!(kind.as_str(), "checkbox" | "radio"));
        if FORBIDDEN.contains(&name.as_str()) && !is_switch {
            push(
                element,
                "forbidden_element",
                true,
                format!("<{name}> does not work in mail and makes filters suspicious: remove it"),
            );
        }
        if name == "link"
            && element.get_attribute("rel").is_some_and(|rel| rel.to_ascii_lowercase().contains("stylesheet"))
        {
            push(
                element,
                "remote_style",
                false,
                "style sheets are not loaded from other places: put the rules into <style>".to_owned(),
            );
        }
        if name == "meta"
            && element.get_attribute("http-equiv").is_some_and(|kind| kind.trim().eq_ignore_ascii_case("refresh"))
        {
            push(element, "forbidden_element", true, "<meta http-equiv=refresh> is not allowed: remove it".to_owned());
        }
        if name == "img" && !element.has_attribute("alt") {
            push(
                element,
                "missing_alt",
                false,
                "this image has no alt text: people who do not see it read nothing; write alt=\"…\"".to_owned(),
            );
        }
        let attributes: Vec<(String, String)> =
            element.attributes().iter().map(|one| (one.name(), one.value())).collect();
        for (attribute, value) in attributes {
            if attribute.starts_with("on") && attribute.len() > 2 {
                push(
                    element,
                    "event_handler",
                    true,
                    format!("`{attribute}` is a script, which mail programs do not run: remove it"),
                );
            }
            if attribute == "style" {
                let compact: String = decode_entities(&value)
                    .chars()
                    .filter(|c| !c.is_whitespace() && !c.is_control() && *c != '\\')
                    .collect::<String>()
                    .to_ascii_lowercase();
                if ["javascript:", "vbscript:", "expression(", "-moz-binding", "behavior:url"]
                    .iter()
                    .any(|bad| compact.contains(bad))
                {
                    push(
                        element,
                        "unsafe_style",
                        true,
                        "this style holds a script, which mail programs do not run: remove it".to_owned(),
                    );
                }
            }
            if !ADDRESSES.contains(&attribute.as_str()) {
                continue;
            }
            match scheme(&value) {
                Some(scheme) if matches!(scheme.as_str(), "http" | "https" | "mailto" | "tel" | "cid" | "sms") => {}
                Some(scheme) if scheme == "data" => {
                    push(
                        element,
                        "data_address",
                        true,
                        "data: addresses are not shown by the large providers: use an image with an address".to_owned(),
                    );
                }
                Some(scheme) => {
                    push(
                        element,
                        "unsafe_address",
                        true,
                        format!(
                            "an address may not begin with `{}:`: use https",
                            scheme.chars().take(20).collect::<String>()
                        ),
                    );
                }
                None if name == "a" && attribute == "href" && (value.trim().is_empty() || value.trim() == "#") => {
                    push(element, "empty_link", false, "this link leads nowhere: write its address".to_owned());
                }
                None if value.trim().starts_with('#') || starts_with_mark(&value, marks) => {}
                None => push(
                    element,
                    "relative_address",
                    false,
                    "this address has no https://: it cannot work in mail".to_owned(),
                ),
            }
        }
        Ok(())
    }));
    // An HTML that even the lenient reader refuses has been refused by the scanner before.
    let _ = rewrite_str(html, settings);
    let mut found = found.into_inner();
    let lower = html.to_ascii_lowercase();
    for (at, _) in lower.match_indices("<style") {
        let sheet = &lower[at..];
        let sheet = &sheet[..sheet.find("</style").unwrap_or(sheet.len())];
        if sheet.contains("@import") {
            found.push(Remark {
                code: "remote_style",
                is_error: false,
                message:
                    "@import loads rules from another place, which most mail programs do not: put them into <style>"
                        .to_owned(),
                offset: at,
            });
        }
    }
    found
}

fn starts_with_mark(value: &str, marks: &Marks) -> bool {
    matches!(marks.split(value.trim()).first(), Some(super::marks::Marked::Tag(_)))
}

/// The scheme of an address as browsers see it: blanks and control characters inside do not count.
fn scheme(value: &str) -> Option<String> {
    let decoded = decode_entities(value);
    let compact: String = decoded.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let (head, _) = compact.split_once(':')?;
    let is_scheme = head.starts_with(|c: char| c.is_ascii_alphabetic())
        && head.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then(|| head.to_ascii_lowercase())
}

/// Numeric references and the few named ones that could hide a scheme.
fn decode_entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest
            .char_indices()
            .skip(1)
            .take(12)
            .find(|(_, c)| !c.is_ascii_alphanumeric() && *c != '#')
            .map_or(rest.len().min(12), |(at, _)| at);
        let end = if rest.is_char_boundary(end) { end } else { 1 };
        let name = &rest[1..end];
        let decoded = match name.strip_prefix('#') {
            Some(number) => {
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => number.parse().ok(),
                };
                code.and_then(char::from_u32)
            }
            None => match name.to_ascii_lowercase().as_str() {
                "colon" => Some(':'),
                "tab" => Some('\t'),
                "newline" => Some('\n'),
                "amp" => Some('&'),
                _ => None,
            },
        };
        match decoded {
            Some(c) => {
                out.push(c);
                rest = &rest[end..];
                rest = rest.strip_prefix(';').unwrap_or(rest);
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// What is added to an inlined document.
#[derive(Debug, Clone, Default)]
pub struct Additions {
    /// First thing in the body.
    pub preheader: String,
    /// Last thing in the body.
    pub footer: String,
}

/// A finished document.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The HTML.
    pub html: String,
    /// Addresses of its links, in order, with marks.
    pub links: Vec<String>,
}

/// Adds preheader and footer, makes the charset ours, drops what mail programs never load, and lists the links.
///
/// # Errors
/// What lol_html says.
pub fn finish(html: &str, additions: &Additions, marks: &Marks) -> Result<Finished, String> {
    let settings = Settings::new()
        .with_strict(false)
        .append_element_content_handler(element!("body", |body| {
            if !additions.preheader.is_empty() {
                body.prepend(&additions.preheader, ContentType::Html);
            }
            if !additions.footer.is_empty() {
                body.append(&additions.footer, ContentType::Html);
            }
            Ok(())
        }))
        .append_element_content_handler(element!("meta[charset]", |meta| {
            meta.set_attribute("charset", "utf-8")?;
            Ok(())
        }))
        .append_element_content_handler(element!("meta[http-equiv]", |meta| {
            if meta.get_attribute("http-equiv").is_some_and(|kind| kind.trim().eq_ignore_ascii_case("content-type")) {
                meta.set_attribute("content", "text/html; charset=utf-8")?;
            }
            Ok(())
        }))
        .append_element_content_handler(element!("link", |link| {
            link.remove();
            Ok(())
        }))
        // Comments are notes of the author, or conditions for Outlook, which stay.
        .append_document_content_handler(doc_comments!(|comment| {
            let text = comment.text();
            let is_condition = text.trim_start().starts_with("[if")
                || text.trim_end().ends_with("endif]")
                || text.contains("<![endif]");
            if !is_condition && marks.in_comment(&text).is_none() {
                comment.remove();
            }
            Ok(())
        }));
    let html = rewrite_str(html, settings).map_err(|error| error.to_string())?.replace("<style></style>", "");
    // What was added is not read in the same pass.
    let links = RefCell::new(Vec::new());
    let settings =
        Settings::new().with_strict(false).append_element_content_handler(element!("a[href], area[href]", |link| {
            if let Some(href) = link.get_attribute("href").filter(|href| !href.trim().is_empty()) {
                links.borrow_mut().push(decode_entities(&href));
            }
            Ok(())
        }));
    rewrite_str(&html, settings).map_err(|error| error.to_string())?;
    Ok(Finished { html, links: links.into_inner() })
}

/// Whether an element is hidden from readers by its style or attributes.
///
/// `font-size:0` alone says nothing: layouts use it on wrappers to close gaps.
pub fn is_hidden(name: &str, style: Option<&str>, hidden: bool) -> bool {
    let compact: String =
        style.unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    let zero = |property: &str| {
        compact.match_indices(property).any(|(at, _)| {
            let value = compact[at + property.len()..].split([';', '!']).next().unwrap_or_default();
            let number: String = value.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            number.parse::<f64>().is_ok_and(|number| number == 0.0)
        })
    };
    hidden
        || compact.contains("display:none")
        || compact.contains("visibility:hidden")
        || zero("opacity:")
        || (matches!(name, "span" | "p" | "font" | "a") && zero("font-size:"))
}

/// How many elements of an inlined document are hidden.
pub fn hidden_elements(html: &str) -> usize {
    let count = RefCell::new(0_usize);
    let settings =
        Settings::new().with_strict(false).append_element_content_handler(element!("[style], [hidden]", |element| {
            if is_hidden(
                &element.tag_name(),
                element.get_attribute("style").as_deref(),
                element.has_attribute("hidden"),
            ) {
                *count.borrow_mut() += 1;
            }
            Ok(())
        }));
    let _ = rewrite_str(html, settings);
    count.into_inner()
}

/// The document as a row of blocks that a text converter keeps in order: no tables, marks as words, hidden parts gone.
///
/// # Errors
/// What lol_html says.
pub fn linearise(html: &str, marks: &Marks) -> Result<String, String> {
    let settings = Settings::new()
        .with_strict(false)
        .append_element_content_handler(element!("head, script, style, title", |element| {
            element.remove();
            Ok(())
        }))
        .append_element_content_handler(element!("[style], [hidden]", |element| {
            if is_hidden(
                &element.tag_name(),
                element.get_attribute("style").as_deref(),
                element.has_attribute("hidden"),
            ) {
                element.remove();
            }
            Ok(())
        }))
        .append_element_content_handler(element!("table, thead, tbody, tfoot, tr, td, th, caption", |element| {
            element.set_tag_name("div")?;
            Ok(())
        }))
        .append_element_content_handler(element!("a img", |image| {
            if image.get_attribute("alt").is_none_or(|alt| alt.trim().is_empty()) {
                image.replace(&WORDLESS.to_string(), ContentType::Text);
            }
            Ok(())
        }))
        .append_element_content_handler(element!("hr", |element| {
            element.replace("<p>----</p>", ContentType::Html);
            Ok(())
        }))
        .append_element_content_handler(comments!("body", |comment| {
            let text = comment.text();
            match marks.in_comment(&text) {
                Some(word) => comment.replace(word, ContentType::Text),
                None => comment.remove(),
            }
            Ok(())
        }));
    rewrite_str(html, settings).map_err(|error| error.to_string())
}
