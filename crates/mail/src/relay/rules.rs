//! What is set for a credential about the messages that it hands in: names that are mapped, headers that are switched off,
//! types of attributes, hidden inputs. Must not know where the settings are kept.

use std::collections::BTreeMap;

use super::attribute::AttributeKind;
use super::name::SpecialName;
use crate::mailbox::DomainName;

/// The ids of hidden inputs that stand for headers; `None` switches one off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HtmlInputs {
    /// `clabDeliveryId`.
    pub delivery_id: Option<String>,
    /// `clabDeliveryLabel`.
    pub delivery_label: Option<String>,
    /// `clabExternalId`.
    pub external_id: Option<String>,
    /// `clabExternalDesc`.
    pub external_description: Option<String>,
    /// `clabPrimaryKey`.
    pub primary_key: Option<String>,
    /// Whether `clabRecipient` counts; this id cannot be renamed.
    pub takes_recipient: bool,
}

impl Default for HtmlInputs {
    fn default() -> Self {
        HtmlInputs {
            delivery_id: Some("clabDeliveryId".to_owned()),
            delivery_label: Some("clabDeliveryLabel".to_owned()),
            external_id: Some("clabExternalId".to_owned()),
            external_description: Some("clabExternalDesc".to_owned()),
            primary_key: Some("clabPrimaryKey".to_owned()),
            takes_recipient: true,
        }
    }
}

/// What is set for a credential about the messages that it hands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRules {
    /// The names that this installation writes after `by` in Received.
    pub own_hosts: Vec<DomainName>,
    /// Further header names that mean a special one, such as those for tracking that a former provider gave.
    pub mapped: Vec<(String, SpecialName)>,
    /// Special headers that are switched off; [`SpecialName::Recipient`] stands for all attributes.
    pub disabled: Vec<SpecialName>,
    /// What attributes have to be, by name.
    pub attribute_kinds: BTreeMap<String, AttributeKind>,
    /// Hidden inputs that stand for headers; `None`, the default, leaves HTML alone.
    pub html_inputs: Option<HtmlInputs>,
    /// Whether unsubscribe macro links are looked for.
    pub finds_macro_links: bool,
}

impl Default for ReadRules {
    fn default() -> Self {
        ReadRules {
            own_hosts: Vec::new(),
            mapped: Vec::new(),
            disabled: Vec::new(),
            attribute_kinds: BTreeMap::new(),
            html_inputs: None,
            finds_macro_links: true,
        }
    }
}
