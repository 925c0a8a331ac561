//! The relay's message: what an application submitted is read once, and the message that leaves is made of it.
//!
//! [`read`] judges the header and finds what is ours in it ([`Special`]); [`rewrite`] cuts that out and puts our own fields
//! in front; [`per_recipient`] makes the fields of one recipient; [`report_out`] writes our reports to the submitter. Pure,
//! for hostile input, in linear time. Must not know sessions, credentials, SQL or the clock: who may send what is decided by
//! the caller, with what is found here.

mod address;
mod attribute;
mod block;
mod changes;
mod eight_bit_header;
mod html_inputs;
mod list;
mod macro_link;
mod name;
mod parts;
mod problem;
mod read;
mod received;
mod refusal;
pub mod report_out;
mod rewrite;
mod rules;
mod seven_bit;
mod special;
mod value;

pub use attribute::{ATTRIBUTES_MAX, AttributeKind, AttributeValue, attribute_field};
pub use list::{ListError, ListFacts, PerRecipient, per_recipient};
pub use macro_link::{MacroLink, fill_placeholder};
pub use name::{SpecialName, Spelling};
pub use parts::SignedPart;
pub use problem::{Problem, Reason};
pub use read::{HEADER_MAX, Incoming, LINE_MAX, SUBJECT_MAX, read};
pub use received::{ReceivedFacts, With, received};
pub use refusal::Refusal;
pub use rewrite::{Additions, BodyForm, HeaderForm, OwnListFields, Rewritten, rewrite};
pub use rules::{HtmlInputs, ReadRules};
pub use seven_bit::{NeedsEightBit, downgrade_to_seven_bit};
pub use special::{DEFAULT_DELIVERY_TYPE, NewDeliveryType, Special, StreamWish, TrackingHosts};
