//! Markdown (CommonMark with tables and strike-through) to HTML. Must not know templates: their tags are marks.

use pulldown_cmark::{Options, Parser, html};

/// The HTML of a Markdown text.
pub fn to_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3 / 2);
    html::push_html(&mut out, Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH));
    out
}

/// The style that a Markdown body gets: it has no author who could write one.
pub const STYLE: &str = "body{margin:0;padding:24px;font-family:Arial,Helvetica,sans-serif;font-size:16px;line-height:1.5;color:#222222}\
a{color:#1a4fb4}img{max-width:100%}table{border-collapse:collapse}th,td{padding:4px 12px 4px 0;text-align:left}";
