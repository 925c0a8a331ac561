//! Rich text: the subset of HTML that a text block may hold. Everything else is dropped, template tags pass as marks.
//!
//! Must not know where the text will stand.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};

use super::check::{is_address, is_color};

/// What may stand in a rich text.
static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut cleaner = Builder::empty();
    let colored = HashSet::from(["style"]);
    cleaner
        .tags(HashSet::from([
            "p",
            "br",
            "strong",
            "b",
            "em",
            "i",
            "u",
            "s",
            "sub",
            "sup",
            "a",
            "ul",
            "ol",
            "li",
            "span",
            "h2",
            "h3",
            "h4",
            "blockquote",
            "code",
        ]))
        .clean_content_tags(HashSet::from([
            "script", "style", "title", "noscript", "template", "iframe", "object", "svg", "math",
        ]))
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href", "title"])),
            ("span", colored.clone()),
            ("p", colored.clone()),
            ("li", colored.clone()),
            ("h2", colored.clone()),
            ("h3", colored.clone()),
            ("h4", colored),
        ]))
        .url_schemes(HashSet::from(["https", "http", "mailto", "tel"]))
        // An address that begins with a mark looks relative; the filter below decides.
        .url_relative(UrlRelative::PassThrough)
        .link_rel(None)
        .strip_comments(true)
        .attribute_filter(attribute);
    cleaner
});

/// Keeps an attribute, changes it, or drops it.
fn attribute<'v>(element: &str, name: &str, value: &'v str) -> Option<Cow<'v, str>> {
    match name {
        "style" => {
            let kept = style(element, value);
            (!kept.is_empty()).then_some(Cow::Owned(kept))
        }
        // Other relative addresses lead nowhere in mail. What a mark is was decided before: see `clean`.
        "href" => {
            let value = value.trim();
            (is_address(value) || value.starts_with(MARK)).then_some(Cow::Borrowed(value))
        }
        _ => Some(Cow::Borrowed(value)),
    }
}

/// First letters of every mark that rich texts are cleaned with. Addresses of words alone lead nowhere, so that
/// nothing is won by writing them.
pub const MARK: &str = "qx";

/// The declarations that are allowed, in a fixed spelling.
fn style(element: &str, value: &str) -> String {
    let mut kept = String::new();
    for declaration in value.split(';') {
        let Some((name, value)) = declaration.split_once(':') else { continue };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_ascii_lowercase());
        let value = rgb(&value).unwrap_or(value);
        let fine = match name.as_str() {
            "color" | "background-color" => is_color(&value),
            "text-align" => matches!(value.as_str(), "left" | "center" | "right"),
            "font-weight" => element == "span" && value == "bold",
            "font-style" => element == "span" && value == "italic",
            "text-decoration" => element == "span" && matches!(value.as_str(), "underline" | "line-through"),
            _ => false,
        };
        if fine {
            if !kept.is_empty() {
                kept.push(';');
            }
            kept.push_str(&name);
            kept.push(':');
            kept.push_str(&value);
        }
    }
    kept
}

/// `rgb(1, 2, 3)`, as browsers write colours that were set by script, as `#rrggbb`.
fn rgb(value: &str) -> Option<String> {
    let inner = value.strip_prefix("rgb(")?.strip_suffix(')')?;
    let parts: Vec<u8> = inner.split(',').map(|part| part.trim().parse().ok()).collect::<Option<_>>()?;
    match parts.as_slice() {
        [red, green, blue] => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
        _ => None,
    }
}

/// The text with everything dropped that is not in the subset: well-formed HTML.
pub fn clean(marked: &str) -> String {
    CLEANER.clean(marked).to_string()
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn only_the_subset_is_left() {
        for (from, to) in [
            ("<p>a<br>b</p>", "<p>a<br>b</p>"),
            ("<p onclick=\"x()\" class=c id=i>a</p>", "<p>a</p>"),
            ("a<script>alert(1)</script>b", "ab"),
            ("<img src=x onerror=alert(1)>a", "a"),
            ("<a href=\"javascript:alert(1)\">a</a>", "<a>a</a>"),
            ("<a href=\"JaVa\tScript:alert(1)\">a</a>", "<a>a</a>"),
            ("<a href=\"/relative\">a</a>", "<a>a</a>"),
            (
                "<a href=\"https://example.org/?a=1&amp;b=2\">a</a>",
                "<a href=\"https://example.org/?a=1&amp;b=2\">a</a>",
            ),
            ("<a href=\"qx0p1z\">a</a>", "<a href=\"qx0p1z\">a</a>"),
            ("<p style=\"color:red;text-align:center\">a</p>", "<p style=\"text-align:center\">a</p>"),
            ("<span style=\"color: rgb(1, 2, 255)\">a</span>", "<span style=\"color:#0102ff\">a</span>"),
            ("<span style=\"color:expression(alert(1))\">a</span>", "<span>a</span>"),
            ("<span style=\"background-color:url(https://x.example)\">a</span>", "<span>a</span>"),
            ("<p>a<!-- b --></p>", "<p>a</p>"),
            ("<p>open", "<p>open</p>"),
            ("<table><tr><td>a</td></tr></table>", "a"),
            ("<style>p{}</style><p>a</p>", "<p>a</p>"),
            ("a < b & c", "a &lt; b &amp; c"),
        ] {
            assert_eq!(clean(from), to, "{from}");
        }
    }
}
