//! What a workspace wants of its alarms: whether they pause campaigns, and to whom, by which route, they are mailed.

use postrider_mail::mailbox::Mailbox;
use serde::{Deserialize, Serialize};

use super::AlarmSeverity;
use crate::id::RouteId;

/// Most recipients of a mail about alarms.
const MOST_RECIPIENTS: usize = 20;

/// Why settings are refused; reads after "could not save the settings of alarms:".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A mailbox that is none.
    #[error("`{0}` is no mailbox: write it as somebody@example.org")]
    Mailbox(String),
    /// Too many.
    #[error("there are more than {MOST_RECIPIENTS} recipients: name fewer, or a list's mailbox")]
    TooMany,
    /// Recipients and nobody who writes.
    #[error("`from` is missing: name the mailbox that writes, of a sending domain of the workspace")]
    NoSender,
}

/// Settings of a workspace; the default mails nobody and pauses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmSettings {
    /// Who is written to; nobody until somebody is named.
    pub to: Vec<String>,
    /// The mailbox that writes; its domain is a sending domain of the workspace.
    pub from: String,
    /// The route that carries these mails; none: the workspace's default one.
    pub route: Option<RouteId>,
    /// Which severities are mailed.
    pub severities: Vec<AlarmSeverity>,
    /// Whether alarms of the installation as a whole (disk, database, …) are mailed, too.
    pub installation: bool,
    /// Whether too many bounces pause the campaign.
    pub pause_on_bounces: bool,
    /// Whether too many complaints pause the campaign.
    pub pause_on_complaints: bool,
}

impl Default for AlarmSettings {
    fn default() -> AlarmSettings {
        AlarmSettings {
            to: Vec::new(),
            from: String::new(),
            route: None,
            severities: AlarmSeverity::ALL.to_vec(),
            installation: true,
            pause_on_bounces: true,
            pause_on_complaints: true,
        }
    }
}

impl AlarmSettings {
    /// Whether anybody is written to.
    pub fn mails(&self) -> bool {
        !self.to.is_empty() && !self.severities.is_empty()
    }

    /// Looks at what can be seen without asking anybody.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.to.len() > MOST_RECIPIENTS {
            return Err(SettingsError::TooMany);
        }
        let sender = Some(&self.from).filter(|from| !from.is_empty());
        for text in self.to.iter().chain(sender) {
            Mailbox::parse(text).map_err(|_| SettingsError::Mailbox(text.chars().take(100).collect()))?;
        }
        if self.mails() && sender.is_none() {
            return Err(SettingsError::NoSender);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_written_to_until_somebody_is_named_and_mailboxes_are_read() {
        let plain = AlarmSettings::default();
        assert!(!plain.mails() && plain.pause_on_bounces && plain.check().is_ok());
        let to =
            |to: &str, from: &str| AlarmSettings { to: vec![to.into()], from: from.into(), ..plain.clone() }.check();
        assert_eq!(to("a@example.org", "b@example.org"), Ok(()));
        assert_eq!(to("a@example.org", ""), Err(SettingsError::NoSender));
        assert!(matches!(to("a@example.org\r\nBcc: x@y", "b@example.org"), Err(SettingsError::Mailbox(_))));
        let many = AlarmSettings { to: vec!["a@example.org".into(); 21], ..plain };
        assert_eq!(many.check(), Err(SettingsError::TooMany));
    }
}
