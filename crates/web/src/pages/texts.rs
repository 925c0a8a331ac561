//! The words of the public pages, one table a language. Another language is one more table.
//!
//! Must not know: who reads them.

/// Every sentence of the public pages in one language.
pub struct Texts {
    /// BCP 47 tag.
    pub language: &'static str,
    /// Link to the privacy notice.
    pub privacy: &'static str,
    /// Title of the unsubscribe page.
    pub unsubscribe_title: &'static str,
    /// Question before the mailing's name.
    pub unsubscribe_question: &'static str,
    /// Button: out of this mailing.
    pub unsubscribe_one: &'static str,
    /// Hint above the second button.
    pub unsubscribe_all_hint: &'static str,
    /// Button: out of everything.
    pub unsubscribe_all: &'static str,
    /// The mailing when its name is no longer known.
    pub this_mailing: &'static str,
    /// Title after the act.
    pub done_title: &'static str,
    /// Text after leaving one mailing.
    pub done_one: &'static str,
    /// Text after leaving everything.
    pub done_all: &'static str,
    /// Link to the preference page.
    pub preferences_link: &'static str,
    /// Title of the preference page.
    pub preferences_title: &'static str,
    /// Shown after a change.
    pub preferences_saved: &'static str,
    /// Shown when the workspace has no purposes.
    pub preferences_none: &'static str,
    /// State of a purpose.
    pub state_granted: &'static str,
    /// State of a purpose.
    pub state_not_granted: &'static str,
    /// Button of one purpose.
    pub withdraw_one: &'static str,
    /// Title for a link that is not ours.
    pub bad_link_title: &'static str,
    /// Text for a link that is not ours.
    pub bad_link_text: &'static str,
}

/// English.
pub const ENGLISH: Texts = Texts {
    language: "en",
    privacy: "Privacy notice",
    unsubscribe_title: "Unsubscribe",
    unsubscribe_question: "Do you want to stop receiving",
    unsubscribe_one: "Unsubscribe",
    unsubscribe_all_hint: "Or stop every mailing of this sender:",
    unsubscribe_all: "Unsubscribe from all mailings",
    this_mailing: "this mailing",
    done_title: "You are unsubscribed",
    done_one: "You will not receive this mailing any more. This takes effect at once.",
    done_all: "You will not receive any mailing of this sender any more. This takes effect at once.",
    preferences_link: "See all mailings of this sender",
    preferences_title: "Your mailings",
    preferences_saved: "Your choice is saved.",
    preferences_none: "This sender has no mailings.",
    state_granted: "You receive it.",
    state_not_granted: "You do not receive it.",
    withdraw_one: "Stop",
    bad_link_title: "This link does not work",
    bad_link_text: "The address is not complete, or it was changed on the way. Open the link in the message again.",
};

/// The languages that we have.
const ALL: &[&Texts] = &[&ENGLISH];

/// The table for a BCP 47 tag (`it-IT` finds `it`), English when there is none.
pub fn texts(tag: &str) -> &'static Texts {
    let wanted = tag.split(['-', '_']).next().unwrap_or_default();
    ALL.iter().copied().find(|t| t.language.eq_ignore_ascii_case(wanted)).unwrap_or(&ENGLISH)
}
