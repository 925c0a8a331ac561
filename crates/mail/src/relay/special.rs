//! The special headers of a message, typed: what the application asks for beyond the message itself.
//!
//! Where a header comes in several spellings ours wins, then the drop-in one, then the hidden input; a wrong value is not
//! used and noted, and the message is sent. Must not know what the store has under these ids.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::attribute::{self, ATTRIBUTES_MAX, AttributeValue};
use super::name::{Named, SpecialName, Spelling, of_header};
use super::problem::{Problem, Reason};
use super::rules::ReadRules;
use super::value;
use crate::mailbox::DomainName;

/// The delivery type of messages that name none.
pub const DEFAULT_DELIVERY_TYPE: u32 = 1;
/// Longest label in characters.
const LABEL_MAX: usize = 150;
/// Longest description, and longest consent claim, in characters.
const DESCRIPTION_MAX: usize = 255;
/// Most tags, and the longest in characters.
const TAGS_MAX: usize = 20;
const TAG_MAX: usize = 64;
/// Most octets, keys and characters of a text in Metadata.
const METADATA_MAX: usize = 4 * 1_024;
const METADATA_KEYS_MAX: usize = 50;
const METADATA_TEXT_MAX: usize = 500;
/// Most octets of a value that are looked at.
pub(super) const VALUE_MAX: usize = 8 * 1_024;

/// What a delivery type becomes that the message creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewDeliveryType {
    /// `TRANSACTIONAL`: opt-outs do not bind.
    Transactional,
    /// `NEWSLETTER`: suppressions and opt-outs bind.
    Newsletter,
}

/// The stream that the application asks for; whether it may is for its credential to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamWish {
    /// `transactional`.
    Transactional,
    /// `marketing`.
    Marketing,
}

/// Hosts for the URLs of this message; each must be one that the workspace has set up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrackingHosts {
    /// For views.
    pub views: Option<DomainName>,
    /// For links.
    pub links: Option<DomainName>,
    /// For unsubscribing.
    pub unsubscribe: Option<DomainName>,
}

/// Everything that special headers said.
#[derive(Debug, Clone, PartialEq)]
pub struct Special {
    /// The delivery type, 1 to 4294967295; [`DEFAULT_DELIVERY_TYPE`] when none is named.
    pub delivery_type_id: u32,
    /// Its label, at most 150 characters; the first that an id gets stays.
    pub delivery_label: Option<String>,
    /// What the type becomes if it is new.
    pub new_delivery_type: Option<NewDeliveryType>,
    /// The application's number for the message, from 1.
    pub external_id: Option<u64>,
    /// The application's words for the message, at most 255 characters.
    pub external_description: Option<String>,
    /// The application's number for the recipient, from 1.
    pub primary_key: Option<u64>,
    /// Attributes of the recipient by name.
    pub attributes: BTreeMap<String, AttributeValue>,
    /// Whether views are counted; `None` leaves it to the setting.
    pub track_views: Option<bool>,
    /// Whether links are counted; `None` leaves it to the setting.
    pub track_links: Option<bool>,
    /// Hosts of its own.
    pub hosts: TrackingHosts,
    /// Words for statistics, at most 20.
    pub tags: Vec<String>,
    /// Plain values that come back with each event, at most 50.
    pub metadata: Map<String, Value>,
    /// The stream that is asked for.
    pub stream: Option<StreamWish>,
    /// Not before this time, in milliseconds since 1970 UTC.
    pub send_at: Option<i64>,
    /// What the recipient agreed to, in the application's words, at most 255 characters.
    pub consent_claim: Option<String>,
}

impl Default for Special {
    fn default() -> Self {
        Special {
            delivery_type_id: DEFAULT_DELIVERY_TYPE,
            delivery_label: None,
            new_delivery_type: None,
            external_id: None,
            external_description: None,
            primary_key: None,
            attributes: BTreeMap::new(),
            track_views: None,
            track_links: None,
            hosts: TrackingHosts::default(),
            tags: Vec::new(),
            metadata: Map::new(),
            stream: None,
            send_at: None,
            consent_claim: None,
        }
    }
}

/// A value as it was found.
#[derive(Debug, Clone)]
struct Written {
    header: String,
    spelling: Spelling,
    /// `None` when it is longer than [`VALUE_MAX`].
    text: Option<String>,
}

/// Special headers and inputs on their way to a [`Special`].
#[derive(Debug, Default)]
pub(super) struct Collector {
    ones: BTreeMap<SpecialName, Written>,
    attributes: BTreeMap<String, Written>,
    tags: Vec<Written>,
    problems: Vec<Problem>,
}

impl Collector {
    /// Takes one header if it is one of ours; says whether it was. `text` is the decoded value, `None` when too long.
    pub(super) fn header(&mut self, header: &str, rules: &ReadRules, text: impl FnOnce() -> Option<String>) -> bool {
        let Some((spelling, named)) = of_header(header, &rules.mapped) else { return false };
        match named {
            Named::One(name) => self.take(name, header, spelling, text(), rules),
            Named::Attribute(field) => self.attribute(field, header, spelling, text(), rules),
            Named::Unknown => self.problem(header, Reason::Unknown),
            Named::Silent => {}
        }
        true
    }

    pub(super) fn take(
        &mut self,
        name: SpecialName,
        header: &str,
        spelling: Spelling,
        text: Option<String>,
        rules: &ReadRules,
    ) {
        if rules.disabled.contains(&name) {
            return self.problem(header, Reason::Disabled);
        }
        let written = Written { header: header.to_owned(), spelling, text };
        if name == SpecialName::Tag {
            if self.tags.len() < TAGS_MAX {
                self.tags.push(written);
            } else {
                self.problem(header, Reason::TooMany);
            }
            return;
        }
        match self.ones.get(&name).map(|first| first.spelling.cmp(&spelling)) {
            Some(std::cmp::Ordering::Equal) => self.problem(header, Reason::Repeated),
            Some(std::cmp::Ordering::Less) => {}
            Some(std::cmp::Ordering::Greater) | None => drop(self.ones.insert(name, written)),
        }
    }

    pub(super) fn attribute(
        &mut self,
        field: &str,
        header: &str,
        spelling: Spelling,
        text: Option<String>,
        rules: &ReadRules,
    ) {
        if rules.disabled.contains(&SpecialName::Recipient) {
            return self.problem(header, Reason::Disabled);
        }
        let Some(field) = attribute::attribute_field(field) else {
            return self.problem(header, Reason::FieldName);
        };
        let written = Written { header: header.to_owned(), spelling, text };
        match self.attributes.get(&field).map(|first| first.spelling.cmp(&spelling)) {
            Some(std::cmp::Ordering::Equal) => self.problem(header, Reason::Repeated),
            Some(std::cmp::Ordering::Less) => {}
            None if self.attributes.len() >= ATTRIBUTES_MAX => self.problem(header, Reason::TooMany),
            Some(std::cmp::Ordering::Greater) | None => drop(self.attributes.insert(field, written)),
        }
    }

    fn problem(&mut self, header: &str, reason: Reason) {
        push_problem(&mut self.problems, Problem::new(header, reason));
    }

    /// Reads what was found, and tells what was wrong with it.
    pub(super) fn finish(self, rules: &ReadRules) -> (Special, Vec<Problem>) {
        let Collector { ones, attributes, tags, mut problems } = self;
        let mut special = Special::default();
        // The order of the names: a domain for all comes before those for one purpose.
        for (name, written) in &ones {
            if let Err(reason) = checked(written).and_then(|text| set(&mut special, *name, text)) {
                push_problem(&mut problems, Problem::new(&written.header, reason));
            }
        }
        for (field, written) in attributes {
            match checked(&written).and_then(|text| attribute::read(&field, text, &rules.attribute_kinds)) {
                Ok(value) => drop(special.attributes.insert(field, value)),
                Err(reason) => push_problem(&mut problems, Problem::new(&written.header, reason)),
            }
        }
        for written in &tags {
            match checked(written).and_then(|text| value::words(text, TAG_MAX)) {
                Ok(tag) if special.tags.contains(&tag) => {}
                Ok(tag) => special.tags.push(tag),
                Err(reason) => push_problem(&mut problems, Problem::new(&written.header, reason)),
            }
        }
        (special, problems)
    }
}

/// Most problems that one message may note.
const PROBLEMS_MAX: usize = 50;

pub(super) fn push_problem(problems: &mut Vec<Problem>, problem: Problem) {
    if problems.len() < PROBLEMS_MAX {
        problems.push(problem);
    }
}

fn checked(written: &Written) -> Result<&str, Reason> {
    match written.text.as_deref().map(str::trim) {
        None => Err(Reason::TooLong),
        Some("") => Err(Reason::Empty),
        Some(text) => Ok(text),
    }
}

fn set(special: &mut Special, name: SpecialName, text: &str) -> Result<(), Reason> {
    match name {
        SpecialName::DeliveryType => {
            special.delivery_type_id = u32::try_from(value::positive(text)?).map_err(|_| Reason::OutOfRange)?;
        }
        SpecialName::DeliveryLabel => {
            let label = value::label(text, LABEL_MAX)?;
            // Delivery-Type comes before it in the order of names.
            if special.delivery_type_id == DEFAULT_DELIVERY_TYPE {
                return Err(Reason::NeedsDeliveryType);
            }
            special.delivery_label = Some(label);
        }
        SpecialName::NewDeliveryType => {
            special.new_delivery_type = Some(match text.to_ascii_uppercase().as_str() {
                "TRANSACTIONAL" => NewDeliveryType::Transactional,
                "NEWSLETTER" => NewDeliveryType::Newsletter,
                _ => return Err(Reason::UnknownWord),
            });
        }
        SpecialName::ExternalId => special.external_id = Some(value::positive(text)?),
        SpecialName::ExternalDescription => {
            special.external_description = Some(value::words(text, DESCRIPTION_MAX)?);
        }
        SpecialName::PrimaryKey => special.primary_key = Some(value::positive(text)?),
        SpecialName::Track => {
            let (views, links) = match text.to_ascii_lowercase().as_str() {
                "both" => (true, true),
                "views" => (true, false),
                "links" => (false, true),
                "none" => (false, false),
                _ => return Err(Reason::UnknownWord),
            };
            (special.track_views, special.track_links) = (Some(views), Some(links));
        }
        SpecialName::TrackViews => special.track_views = Some(value::switch(text)?),
        SpecialName::TrackLinks => special.track_links = Some(value::switch(text)?),
        SpecialName::TrackingDomain => {
            let domain = value::domain(text)?;
            let below = |label: &str| value::domain(&format!("{label}.{domain}"));
            let (tracking, unsubscribe) = (below("t")?, below("cs")?);
            special.hosts =
                TrackingHosts { views: Some(tracking.clone()), links: Some(tracking), unsubscribe: Some(unsubscribe) };
        }
        SpecialName::TrackingDomainView => special.hosts.views = Some(value::host(text)?),
        SpecialName::TrackingDomainLink => special.hosts.links = Some(value::host(text)?),
        SpecialName::UnsubscribeDomain => special.hosts.unsubscribe = Some(value::host(text)?),
        SpecialName::Metadata => special.metadata = metadata(text)?,
        SpecialName::Stream => {
            special.stream = Some(match text.to_ascii_lowercase().as_str() {
                "transactional" => StreamWish::Transactional,
                "marketing" => StreamWish::Marketing,
                _ => return Err(Reason::UnknownWord),
            });
        }
        SpecialName::SendAt => special.send_at = Some(value::rfc3339(text).ok_or(Reason::NotADate)?),
        SpecialName::ConsentClaim => special.consent_claim = Some(value::words(text, DESCRIPTION_MAX)?),
        // Both are collected apart.
        SpecialName::Tag | SpecialName::Recipient => {}
    }
    Ok(())
}

fn metadata(text: &str) -> Result<Map<String, Value>, Reason> {
    if text.len() > METADATA_MAX {
        return Err(Reason::TooLong);
    }
    let map: Map<String, Value> = serde_json::from_str(text).map_err(|_| Reason::NotAnObject)?;
    if map.len() > METADATA_KEYS_MAX {
        return Err(Reason::TooMany);
    }
    for (key, value) in &map {
        if key.is_empty() || key.chars().count() > TAG_MAX {
            return Err(Reason::TooLong);
        }
        match value {
            Value::String(text) if text.chars().count() > METADATA_TEXT_MAX => return Err(Reason::TooLong),
            Value::Object(_) | Value::Array(_) => return Err(Reason::NotAnObject),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }
    Ok(map)
}
