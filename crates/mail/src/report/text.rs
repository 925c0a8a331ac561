//! Small steps on the text of a report: one line of many, HTML without its tags, words of RFC 2047.
//!
//! Must not know what the text says.

use super::mime;

/// All white space becomes single blanks, control characters go.
pub(crate) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// At most `max` octets, cut between characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The text of HTML: tags become line ends, a few entities their characters. Good enough to find words in.
pub(super) fn of_html(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // `<ann@example.org>` is no tag.
        let end = rest.find('>').map_or(rest.len(), |end| end + 1);
        if rest[..end].contains('@') && !rest[..end].contains([' ', '"']) {
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let lower = cut(rest, 8).to_ascii_lowercase();
        let name = lower.trim_start_matches('<').trim_start_matches('/');
        let skip = ["style", "script"].into_iter().find(|tag| name.starts_with(tag) && !lower.starts_with("</"));
        rest = &rest[end..];
        if let Some(tag) = skip {
            let close = if tag == "style" { "</style" } else { "</script" };
            let at = find_ignore_case(rest, close).unwrap_or(rest.len());
            rest = &rest[at..];
            continue;
        }
        let block = ["p", "div", "br", "tr", "td", "li", "h1", "h2", "h3", "table", "ul", "hr", "body", "head"];
        let word: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
        out.push(if block.contains(&word.as_str()) { '\n' } else { ' ' });
    }
    out.push_str(rest);
    out.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", " ")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// Where `wanted` (lowercase ASCII) stands in `text`, whatever its case.
pub(crate) fn find_ignore_case(text: &str, wanted: &str) -> Option<usize> {
    let (text, wanted) = (text.as_bytes(), wanted.as_bytes());
    let first = *wanted.first()?;
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), text)
        .find(|at| text[*at..].get(..wanted.len()).is_some_and(|piece| piece.eq_ignore_ascii_case(wanted)))
}

/// Encoded words (RFC 2047) read; anything wrong stays as it is.
pub(crate) fn decode_words(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    let mut after_word = false;
    while let Some(at) = rest.find("=?") {
        let gap = &rest[..at];
        if let Some((text, end)) = word(&rest[at..]) {
            if !(after_word && gap.trim().is_empty()) {
                out.push_str(gap);
            }
            out.push_str(&text);
            rest = &rest[at + end..];
            after_word = true;
        } else {
            out.push_str(&rest[..at + 2]);
            rest = &rest[at + 2..];
            after_word = false;
        }
    }
    out.push_str(rest);
    out
}

/// One encoded word at the beginning, and its length.
fn word(text: &str) -> Option<(String, usize)> {
    let mut pieces = cut(text, 512).strip_prefix("=?")?.splitn(4, '?');
    let (charset, kind, body) = (pieces.next()?, pieces.next()?, pieces.next()?);
    if !pieces.next()?.starts_with('=') {
        return None;
    }
    let bytes = match kind {
        "B" | "b" => mime::unbase64(body.as_bytes()),
        "Q" | "q" => mime::unquote(body.replace('_', " ").as_bytes()),
        _ => return None,
    };
    let end = 2 + charset.len() + 1 + kind.len() + 1 + body.len() + 2;
    Some((mime::decode(&bytes, Some(charset)), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_tags() {
        assert_eq!(decode_words("=?utf-8?Q?Failed=3A_?= =?UTF-8?B?b25l?= two =?x"), "Failed: one two =?x");
        assert_eq!(one_line(" a\r\n\t b\u{1} c "), "a b c");
        let html = "<style>x{}</style><p>To <b>you</b><br>ann &lt;ann@example.org&gt; <ann@example.org></p>";
        assert_eq!(one_line(&of_html(html)), "To you ann <ann@example.org> <ann@example.org>");
        assert_eq!(find_ignore_case("a </STYLE", "</style"), Some(2));
    }
}
