//! A message for one occasion: no template, the same headers and MIME as every other message of ours.
//!
//! Must not know who is allowed to send it.

use postrider_mail::qp;

use crate::error::{PartName, SingleError};
use crate::escape;
use crate::html::marks::Marks;
use crate::html::scanner::{self, Item};
use crate::html::{inspect, text};
use crate::input::SingleMessage;
use crate::limits;
use crate::message::{self, Body, FixedHeaders};

/// The whole unsigned message: CRLF, 7-bit, lines of at most 76 columns in the body. Same inputs, same bytes.
///
/// # Errors
/// [`SingleError`], which says what to correct.
pub fn compose_single(single: &SingleMessage<'_>) -> Result<Vec<u8>, SingleError> {
    if single.to.is_empty() {
        return Err(SingleError::NoRecipient);
    }
    if single.from.needs_smtputf8() || single.reply_to.is_some_and(|mailbox| mailbox.needs_smtputf8()) {
        return Err(SingleError::FromNotAscii);
    }
    for (name, part) in [(PartName::Text, single.text), (PartName::Html, single.html)] {
        if part.is_some_and(|part| part.len() > limits::PART_BYTES) {
            return Err(SingleError::TooLong(name));
        }
    }
    let derived = match (single.text, single.html) {
        (Some(_), _) => None,
        (None, Some(html)) => Some(derive(html)?),
        (None, None) => return Err(SingleError::NoBody),
    };
    let plain = single.text.or(derived.as_deref()).unwrap_or_default();
    let mut out = Vec::with_capacity(2048 + plain.len() * 2 + single.html.map_or(0, |html| html.len() * 5 / 4));
    let headers = FixedHeaders::new(single.from_name, single.from, single.reply_to)?;
    headers.write_single(single, &mut out)?;
    let body = if single.html.is_some() { Body::Alternative } else { Body::Text };
    let boundary = message::start_body(body, single.number, &mut out);
    push_part(plain, &mut out);
    if let Some(html) = single.html {
        message::start_html(&boundary, &mut out);
        push_part(html, &mut out);
        message::end_body(&boundary, &mut out);
    }
    Ok(out)
}

fn push_part(text: &str, out: &mut Vec<u8>) {
    // `\r` alone is a line end for quoted-printable too; other control characters become blanks.
    let text = escape::scrub(&text.replace("\r\n", "\n").replace('\r', "\n"));
    if qp::encode_segment(text.as_bytes(), 0, out) > 0 {
        out.extend_from_slice(b"\r\n");
    }
}

/// The text of HTML that people wrote without one.
fn derive(html: &str) -> Result<String, SingleError> {
    match scanner::walk(&[Item::Raw(html, None)], &[]) {
        Ok(found) if found.elements <= limits::HTML_ELEMENTS => {}
        Ok(_) => return Err(SingleError::HtmlTooLarge),
        Err(fault) if fault.code == "html_unclosed" => {}
        Err(_) => return Err(SingleError::HtmlTooLarge),
    }
    let marks = Marks::new(&[html]);
    let line = inspect::linearise(html, &marks).map_err(|_| SingleError::HtmlTooLarge)?;
    text::derive(&line, &str::to_owned).map_err(|_| SingleError::HtmlTooLarge)
}
