//! Reads a submitted message once: refuses what cannot be passed on, finds what is ours, and keeps the places that
//! [`super::rewrite`] needs.
//!
//! Must not know credentials: whether the author may write From so is judged by the caller.

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::block::{self, Block, End, Field};
use super::changes::{self, PartCuts};
use super::name::Spelling;
use super::parts::{self, Parts, SignedPart};
use super::problem::{Problem, Reason};
use super::refusal::Refusal;
use super::rules::ReadRules;
use super::special::{Collector, Special, VALUE_MAX, push_problem};
use super::{address, html_inputs};
use crate::mailbox::Mailbox;
use crate::report::text::{decode_words, one_line};
use crate::tls_required;

/// Most octets of a header.
pub const HEADER_MAX: usize = 256 * 1_024;
/// Longest line without its CRLF (RFC 5322 2.1.1).
pub const LINE_MAX: usize = 998;
/// Most characters of a subject that are kept.
pub const SUBJECT_MAX: usize = 500;
/// Most Received fields (RFC 5321 6.3 asks for at least 100 in general, RF-10 for 50).
const HOPS_MAX: usize = 50;
/// Received fields of our own after which it is a loop.
const OWN_HOPS_MAX: usize = 3;
/// Most octets of an address field that are read.
const ADDRESSES_MAX: usize = 16 * 1_024;

/// Why a field does not leave with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strip {
    /// It is ours, secret, or empty.
    Always,
    /// It is a list field, when we put in our own.
    List,
}

/// Places in the bytes that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Octets of the message that was read.
    pub(super) length: usize,
    pub(super) header: Block,
    pub(super) strip: Vec<(Range<usize>, Strip)>,
    pub(super) parts: Parts,
    pub(super) cuts: Vec<PartCuts>,
    pub(super) has_long_lines: bool,
    pub(super) has_nul: bool,
    pub(super) has_mime_version: bool,
}

/// A submitted message, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// The authors, at least one; their domains must be allowed to the credential.
    pub from: Vec<Mailbox>,
    /// Sender, if there is one that can be read.
    pub sender: Option<Mailbox>,
    /// Subject, decoded, in one line of at most [`SUBJECT_MAX`] characters; empty when there is none.
    pub subject: String,
    /// Message-ID as written, with its angle brackets; `None` when the message has none and gets ours.
    pub message_id: Option<String>,
    /// Whether it has a Date.
    pub has_date: bool,
    /// Received fields.
    pub received: usize,
    /// What special headers and inputs said.
    pub special: Special,
    /// Whether it asks for delivery without TLS rather than none (RFC 8689).
    pub tls_required_no: bool,
    /// Whether something in it is signed or encrypted: that part is never changed.
    pub signed: SignedPart,
    /// Content-Type of the message, `type/subtype` in lowercase.
    pub content_type: String,
    /// Whether it brings a List-Unsubscribe of its own.
    pub has_list_unsubscribe: bool,
    /// Whether it calls itself automatic (RFC 3834): no report of success is wanted by anybody then.
    pub auto_submitted: bool,
    /// Whether any byte is beyond ASCII.
    pub is_8bit: bool,
    /// Whether a byte of the header is: it then needs SMTPUTF8, or [`super::HeaderForm::Encoded`].
    pub is_header_8bit: bool,
    /// Unsubscribe macro links that [`super::rewrite`] can replace.
    pub macro_links: usize,
    /// What was wrong and did not keep the message from being sent, at most 50.
    pub problems: Vec<Problem>,
    pub(super) layout: Layout,
}

/// Fields that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    From,
    Sender,
    Subject,
    MessageId,
    Date,
    Received,
    AutoSubmitted,
    MimeVersion,
    AuthenticationResults,
    /// Once at most (RFC 5322 3.6, RFC 2045), without further meaning here.
    Single,
    /// Must not leave.
    Hidden,
    ListUnsubscribe,
    List,
}

const KNOWN: &[(&str, Known)] = &[
    ("Received", Known::Received),
    ("From", Known::From),
    ("Sender", Known::Sender),
    ("Subject", Known::Subject),
    ("Message-ID", Known::MessageId),
    ("Date", Known::Date),
    ("Auto-Submitted", Known::AutoSubmitted),
    ("MIME-Version", Known::MimeVersion),
    ("Authentication-Results", Known::AuthenticationResults),
    ("To", Known::Single),
    ("Cc", Known::Single),
    ("Reply-To", Known::Single),
    ("In-Reply-To", Known::Single),
    ("References", Known::Single),
    ("Content-Type", Known::Single),
    ("Content-Transfer-Encoding", Known::Single),
    ("Content-Disposition", Known::Single),
    ("Bcc", Known::Hidden),
    ("Resent-Bcc", Known::Hidden),
    ("Return-Path", Known::Hidden),
    ("List-Unsubscribe", Known::ListUnsubscribe),
    ("List-Unsubscribe-Post", Known::List),
    ("List-Id", Known::List),
    ("Feedback-ID", Known::List),
];

/// Reads a message as it was submitted: header, empty line, body, lines ended by CRLF.
///
/// # Errors
/// [`Refusal`], which carries the reply to give.
pub fn read(bytes: &[u8], rules: &ReadRules) -> Result<Incoming, Refusal> {
    let has_long_lines = check_lines(bytes)?;
    let mut problems = Vec::new();
    let start = skip_mbox_line(bytes);
    if start > 0 {
        problems.push(Problem::new("From", Reason::MboxLine));
    }
    let window = start..bytes.len().min(start + HEADER_MAX + 1);
    let header = block::scan(bytes, window.clone());
    if header.end - start > HEADER_MAX || (header.how == End::Bytes && window.end < bytes.len()) {
        return Err(Refusal::HeaderTooLong);
    }
    let header_bytes = &bytes[start..header.end];
    if memchr(0, header_bytes).is_some() {
        return Err(Refusal::Nul);
    }
    if has_long_lines && changes::has_long_line(header_bytes) {
        return Err(Refusal::HeaderLineTooLong);
    }
    if header.how == End::NoField {
        problems.push(Problem::new("header", Reason::NoEmptyLine));
    }
    let mut reading = Reading { problems, ..Reading::new(bytes, rules) };
    for field in &header.fields {
        reading.field(field)?;
    }
    let parts = parts::read(bytes, &header);
    if parts.cut {
        reading.note("parts", Reason::TooManyParts);
    }
    let cuts = reading.cuts(&parts);
    reading.finish(header, parts, cuts, has_long_lines)
}

/// One pass over the lines: no bare CR or LF; says whether a line is too long to be passed on as it is.
fn check_lines(bytes: &[u8]) -> Result<bool, Refusal> {
    let (mut line, mut start, mut has_long) = (1, 0, false);
    while let Some(found) = memchr2(b'\r', b'\n', &bytes[start..]) {
        let at = start + found;
        if bytes[at] == b'\n' || bytes.get(at + 1) != Some(&b'\n') {
            return Err(Refusal::BareLineEnd(line));
        }
        has_long |= found > LINE_MAX;
        start = at + 2;
        line += 1;
    }
    Ok(has_long || bytes.len() - start > LINE_MAX)
}

/// `From ann@example.org Sun Nov 22 …` that some programs leave before the header.
fn skip_mbox_line(bytes: &[u8]) -> usize {
    if !bytes.starts_with(b"From ") {
        return 0;
    }
    let end = memchr(b'\n', bytes).map_or(bytes.len(), |found| found + 1);
    let is_field = bytes[4..end].trim_ascii_start().starts_with(b":");
    if is_field { 0 } else { end }
}

/// The message while it is read.
struct Reading<'a> {
    bytes: &'a [u8],
    rules: &'a ReadRules,
    from: Option<Vec<Mailbox>>,
    sender: Option<Mailbox>,
    subject: Option<String>,
    message_id: Option<String>,
    received: usize,
    own_hops: usize,
    auto_submitted: bool,
    has_list_unsubscribe: bool,
    has_mime_version: bool,
    seen: Vec<&'static str>,
    strip: Vec<(Range<usize>, Strip)>,
    collector: Collector,
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    fn new(bytes: &'a [u8], rules: &'a ReadRules) -> Reading<'a> {
        Reading {
            bytes,
            rules,
            from: None,
            sender: None,
            subject: None,
            message_id: None,
            received: 0,
            own_hops: 0,
            auto_submitted: false,
            has_list_unsubscribe: false,
            has_mime_version: false,
            seen: Vec::with_capacity(16),
            strip: Vec::new(),
            collector: Collector::default(),
            problems: Vec::new(),
        }
    }

    fn note(&mut self, header: &str, reason: Reason) {
        push_problem(&mut self.problems, Problem::new(header, reason));
    }

    fn field(&mut self, field: &Field) -> Result<(), Refusal> {
        let bytes = self.bytes;
        let name = field.name(bytes);
        let known =
            KNOWN.iter().find(|(known, _)| known.len() == name.len() && name.eq_ignore_ascii_case(known.as_bytes()));
        let Some(&(canonical, known)) = known else {
            self.special(field, name);
            return Ok(());
        };
        let single = !matches!(known, Known::Received | Known::AuthenticationResults | Known::Hidden | Known::From);
        if single && self.seen.contains(&canonical) {
            self.note(canonical, Reason::Repeated);
            if matches!(known, Known::List | Known::ListUnsubscribe) {
                self.strip.push((field.whole(), Strip::List));
            }
            return Ok(());
        }
        if known != Known::Received {
            self.seen.push(canonical);
        }
        match known {
            Known::From => {
                if self.from.is_some() {
                    return Err(Refusal::SeveralFrom);
                }
                let text = field.text(bytes, ADDRESSES_MAX);
                self.from = Some(address::mailboxes(&text).map_err(Refusal::BadFrom)?);
            }
            Known::Sender => {
                let found = address::mailboxes(&field.text(bytes, ADDRESSES_MAX)).ok();
                self.sender = found.filter(|found| found.len() == 1).and_then(|mut found| found.pop());
                if self.sender.is_none() {
                    self.note(canonical, Reason::NotAMailbox);
                }
            }
            Known::Subject => {
                let line = one_line(&decode_words(&field.text(bytes, VALUE_MAX)));
                self.subject = Some(line.chars().take(SUBJECT_MAX).collect());
            }
            Known::MessageId => {
                self.message_id = self.singleton(field, canonical);
                if self.message_id.is_none() {
                    self.seen.retain(|seen| *seen != canonical);
                }
            }
            Known::Date => {
                if self.singleton(field, canonical).is_none() {
                    self.seen.retain(|seen| *seen != canonical);
                }
            }
            Known::Received => {
                self.received += 1;
                if self.received > HOPS_MAX {
                    return Err(Refusal::TooManyHops(self.received));
                }
                if !self.rules.own_hosts.is_empty() && self.is_own_hop(&field.text(bytes, 2_048)) {
                    self.own_hops += 1;
                    if self.own_hops >= OWN_HOPS_MAX {
                        return Err(Refusal::Loop(self.own_hops));
                    }
                }
            }
            Known::AutoSubmitted => {
                let text = field.text(bytes, 64);
                let word = text.split([' ', ';', '(']).next().unwrap_or_default();
                self.auto_submitted = !word.eq_ignore_ascii_case("no");
            }
            Known::MimeVersion => self.has_mime_version = true,
            // RFC 8601 5: what claims to be our own verdict must not pass.
            Known::AuthenticationResults => {
                let text = field.text(bytes, 512);
                let id = text.split([';', ' ']).next().unwrap_or_default();
                if self.is_own_host(id) {
                    self.strip.push((field.whole(), Strip::Always));
                }
            }
            Known::Single => {}
            Known::Hidden => self.strip.push((field.whole(), Strip::Always)),
            Known::ListUnsubscribe => {
                self.has_list_unsubscribe = true;
                self.strip.push((field.whole(), Strip::List));
            }
            Known::List => self.strip.push((field.whole(), Strip::List)),
        }
        Ok(())
    }

    /// The value; an empty field is cut out, so that ours can take its place.
    fn singleton(&mut self, field: &Field, canonical: &'static str) -> Option<String> {
        let text = field.text(self.bytes, LINE_MAX);
        if text.is_empty() {
            self.note(canonical, Reason::Empty);
            self.strip.push((field.whole(), Strip::Always));
            return None;
        }
        Some(text)
    }

    fn special(&mut self, field: &Field, name: &[u8]) {
        // All of our names begin so, unless the rules map others.
        let may_be = matches!(name, [b'x' | b'X', b'-', ..]) || !self.rules.mapped.is_empty();
        let Some(name) = may_be.then(|| std::str::from_utf8(name).ok()).flatten() else { return };
        let text = || field.text_within(self.bytes, VALUE_MAX).map(|text| decode_words(&text));
        if self.collector.header(name, self.rules, text) || super::name::is_ours(name.as_bytes()) {
            self.strip.push((field.whole(), Strip::Always));
        }
    }

    fn is_own_hop(&self, received: &str) -> bool {
        host_after_by(received).is_some_and(|host| self.is_own_host(host))
    }

    fn is_own_host(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        self.rules.own_hosts.iter().any(|own| own.as_str().eq_ignore_ascii_case(host))
    }

    /// Inputs and macro links in the text parts; what inputs say is collected.
    fn cuts(&mut self, parts: &Parts) -> Vec<PartCuts> {
        let bytes = self.bytes;
        let mut found = Vec::new();
        for (at, part) in parts.list.iter().enumerate() {
            let inputs = self.rules.html_inputs.as_ref().filter(|_| part.kind == "text/html");
            let Some(looked) = changes::look(bytes, part, inputs, self.rules.finds_macro_links) else { continue };
            for input in looked.inputs {
                match input.meaning {
                    html_inputs::Meaning::One(name) => {
                        self.collector.take(name, &input.id, Spelling::Html, Some(input.value), self.rules);
                    }
                    html_inputs::Meaning::Attribute(field) => {
                        self.collector.attribute(&field, &input.id, Spelling::Html, Some(input.value), self.rules);
                    }
                }
            }
            if !part.sealed && !looked.cuts.is_empty() {
                found.push(PartCuts { part: at, cuts: looked.cuts });
            }
        }
        found
    }

    fn finish(
        mut self,
        header: Block,
        parts: Parts,
        cuts: Vec<PartCuts>,
        has_long_lines: bool,
    ) -> Result<Incoming, Refusal> {
        let from = self.from.take().ok_or(Refusal::NoFrom)?;
        if from.len() > 1 && !self.seen.contains(&"Sender") {
            self.note("Sender", Reason::NoSender);
        }
        let bytes = self.bytes;
        let (special, wrong) = std::mem::take(&mut self.collector).finish(self.rules);
        wrong.into_iter().for_each(|problem| push_problem(&mut self.problems, problem));
        let header_bytes = &bytes[header.start..header.end];
        let is_8bit = !bytes.is_ascii();
        Ok(Incoming {
            from,
            sender: self.sender,
            subject: self.subject.unwrap_or_default(),
            message_id: self.message_id,
            has_date: self.seen.contains(&"Date"),
            received: self.received,
            special,
            tls_required_no: tls_required::asks_no_tls(header_bytes),
            signed: parts.signed,
            content_type: parts.list.first().map(|part| part.kind.clone()).unwrap_or_default(),
            has_list_unsubscribe: self.has_list_unsubscribe,
            auto_submitted: self.auto_submitted,
            is_8bit,
            is_header_8bit: is_8bit && !header_bytes.is_ascii(),
            macro_links: cuts.iter().map(PartCuts::links).sum(),
            problems: self.problems,
            layout: Layout {
                length: bytes.len(),
                header,
                strip: self.strip,
                parts,
                cuts,
                has_long_lines,
                has_nul: memchr(0, bytes).is_some(),
                has_mime_version: self.has_mime_version,
            },
        })
    }
}

/// The word after `by`, outside of comments (RFC 5321 4.4).
fn host_after_by(received: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let mut word_start = None;
    let mut after_by = false;
    for (at, byte) in received.bytes().chain([b' ']).enumerate() {
        let ends_word = matches!(byte, b' ' | b'(' | b')' | b';');
        if depth == 0 && !ends_word {
            word_start.get_or_insert(at);
        } else if let Some(from) = word_start.take() {
            let word = &received[from..at];
            if after_by {
                return Some(word);
            }
            after_by = word.eq_ignore_ascii_case("by");
        }
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
