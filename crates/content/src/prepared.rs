//! A version made ready: templates compiled and fixed headers written once, then one message after the other.
//!
//! Must not know where versions and recipients come from. `Send + Sync`: one value serves all tasks.

use postrider_domain::stream::Stream;
use postrider_mail::qp;

use crate::compiled::Compiled;
use crate::engine::Engine;
use crate::error::{CompiledError, PartName, RenderError};
use crate::input::{MessageFacts, RecipientView, Rendered, Sender};
use crate::limits;
use crate::message::{self, Body, FixedHeaders};
use crate::part::{Encoding, View};

/// A version ready to render.
#[derive(Debug)]
pub struct Prepared {
    compiled: Compiled,
    sender: Sender,
    engine: Engine,
    headers: FixedHeaders,
    size: usize,
}

impl Prepared {
    /// Compiles the dynamic templates and writes the headers that are the same for everybody.
    ///
    /// # Errors
    /// [`CompiledError::Corrupt`] when the version's templates or headers cannot be read.
    pub fn new(compiled: Compiled) -> Result<Prepared, CompiledError> {
        let stored = &compiled.stored;
        let parts = [
            (PartName::Subject, Some(&stored.subject)),
            (PartName::Text, Some(&stored.text)),
            (PartName::Html, stored.html.as_ref()),
        ];
        let engine = Engine::new(parts.iter().filter_map(|(name, part)| Some((*name, part.as_ref()?.dynamic()?))))
            .map_err(CompiledError::Corrupt)?;
        let headers = FixedHeaders::new(&stored.from_name, &compiled.from, compiled.reply_to.as_ref())
            .map_err(|error| CompiledError::Corrupt(error.to_string()))?;
        let size = 2048 + parts.iter().filter_map(|(_, part)| part.as_ref()).map(|part| part.size()).sum::<usize>();
        Ok(Prepared { sender: compiled.sender(), engine, headers, size, compiled })
    }

    /// The version that it was made from.
    pub const fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Appends the whole unsigned message: headers and body, CRLF, 7-bit. Same inputs, same bytes.
    ///
    /// # Errors
    /// [`RenderError`]; `out` is then as it was.
    pub fn render(
        &self,
        recipient: &RecipientView<'_>,
        facts: &MessageFacts<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        let start = out.len();
        let result = self.write(recipient, facts, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn write(
        &self,
        recipient: &RecipientView<'_>,
        facts: &MessageFacts<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        out.reserve(self.size);
        let subject = self.subject(recipient)?;
        let list = match self.compiled.stored.stream {
            Stream::Transactional => None,
            Stream::Marketing => Some(facts.list.as_ref().ok_or(RenderError::NoList)?),
        };
        let body = if self.compiled.stored.html.is_some() { Body::Alternative } else { Body::Text };
        self.headers.write(recipient.mailbox, &subject, facts, list, out)?;
        let view = View { recipient, subject: &subject, sender: &self.sender };
        let stored = &self.compiled.stored;
        let boundary = message::start_body(body, facts.delivery.get(), out);
        stored.text.render(PartName::Text, &view, &self.engine, Encoding::QuotedPrintable, out)?;
        if let Some(html) = &stored.html {
            message::start_html(&boundary, out);
            html.render(PartName::Html, &view, &self.engine, Encoding::QuotedPrintable, out)?;
            message::end_body(&boundary, out);
        }
        Ok(())
    }

    /// What the recipient would see: for previews and hosted copies.
    ///
    /// # Errors
    /// [`RenderError`].
    pub fn preview(&self, recipient: &RecipientView<'_>) -> Result<Rendered, RenderError> {
        let subject = self.subject(recipient)?;
        let view = View { recipient, subject: &subject, sender: &self.sender };
        let stored = &self.compiled.stored;
        let part = |name: PartName, part: &crate::part::Part| {
            let mut encoded = Vec::new();
            part.render(name, &view, &self.engine, Encoding::QuotedPrintable, &mut encoded)?;
            let bytes = qp::decode(&encoded).expect("we wrote quoted-printable");
            let text = String::from_utf8(bytes).expect("the parts are UTF-8 and cut between characters");
            Ok::<String, RenderError>(text.replace("\r\n", "\n"))
        };
        Ok(Rendered {
            text: part(PartName::Text, &stored.text)?,
            html: stored.html.as_ref().map(|html| part(PartName::Html, html)).transpose()?,
            subject,
        })
    }

    fn subject(&self, recipient: &RecipientView<'_>) -> Result<String, RenderError> {
        let view = View { recipient, subject: "", sender: &self.sender };
        let mut bytes = Vec::new();
        self.compiled.stored.subject.render(PartName::Subject, &view, &self.engine, Encoding::None, &mut bytes)?;
        if bytes.len() > limits::SUBJECT_BYTES {
            return Err(RenderError::Budget { part: PartName::Subject, limit: "2,000 bytes" });
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| RenderError::Template { part: PartName::Subject, message: "it is no UTF-8".to_owned() })?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}
