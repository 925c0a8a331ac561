//! A compiled version: what the store keeps and the engine renders from.
//!
//! Must not know recipients.

use postrider_domain::stream::Stream;
use postrider_mail::Mailbox;
use serde::{Deserialize, Serialize};

use crate::error::CompiledError;
use crate::input::Sender;
use crate::part::Part;

/// Number of this renderer: it changes whenever the same inputs give other bytes (golden files in tests/golden).
pub const RENDERER: u16 = 1;

/// A link of the HTML part, in order of appearance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Number, from 1.
    pub number: u32,
    /// Address as it was written, with its template tags.
    pub address: String,
}

/// A version: immutable, stored as bytes, rendered through [`crate::Prepared`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    pub(crate) stored: Stored,
    pub(crate) from: Mailbox,
    pub(crate) reply_to: Option<Mailbox>,
}

/// The stored form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    pub renderer: u16,
    pub stream: Stream,
    pub from_name: String,
    pub from: String,
    pub reply_to: Option<String>,
    pub controller_name: String,
    pub postal_address: String,
    pub privacy_url: String,
    pub subject: Part,
    pub text: Part,
    pub html: Option<Part>,
    pub links: Vec<Link>,
    pub variables: Vec<String>,
}

#[derive(Deserialize)]
struct Number {
    renderer: u16,
}

impl Compiled {
    /// The bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.stored).expect("a version is plain data with text keys")
    }

    /// A version from its stored bytes.
    ///
    /// # Errors
    /// [`CompiledError::Renderer`] when another renderer made them, [`CompiledError::Corrupt`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Compiled, CompiledError> {
        let corrupt = |error: String| CompiledError::Corrupt(error);
        let number: Number = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        if number.renderer != RENDERER {
            return Err(CompiledError::Renderer { found: number.renderer, ours: RENDERER });
        }
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        Compiled::new(stored).map_err(|error| corrupt(error.to_string()))
    }

    pub(crate) fn new(stored: Stored) -> Result<Compiled, postrider_mail::MailboxError> {
        let from = Mailbox::parse(&stored.from)?;
        let reply_to = stored.reply_to.as_deref().map(Mailbox::parse).transpose()?;
        Ok(Compiled { stored, from, reply_to })
    }

    /// Number of the renderer that made it.
    pub const fn renderer(&self) -> u16 {
        self.stored.renderer
    }

    /// The stream that it was compiled for.
    pub const fn stream(&self) -> Stream {
        self.stored.stream
    }

    /// From mailbox.
    // The header is called From; clippy takes the name for a conversion.
    #[allow(clippy::wrong_self_convention)]
    pub const fn from_mailbox(&self) -> &Mailbox {
        &self.from
    }

    /// Names of the contact attributes that it needs, sorted: only these are stored with a delivery.
    pub fn variables(&self) -> &[String] {
        &self.stored.variables
    }

    /// The links of its HTML part.
    pub fn links(&self) -> &[Link] {
        &self.stored.links
    }

    pub(crate) fn sender(&self) -> Sender {
        Sender {
            controller_name: self.stored.controller_name.clone(),
            postal_address: self.stored.postal_address.clone(),
            privacy_url: self.stored.privacy_url.clone(),
        }
    }
}
