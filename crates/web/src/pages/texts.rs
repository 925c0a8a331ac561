//! The words of the public pages, one table a language. Another language is one more table.
//!
//! Must not know: who reads them.

use axum::http::{HeaderMap, header};

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

/// Italian.
pub const ITALIAN: Texts = Texts {
    language: "it",
    privacy: "Informativa sulla privacy",
    unsubscribe_title: "Disiscrizione",
    unsubscribe_question: "Vuoi smettere di ricevere",
    unsubscribe_one: "Disiscriviti",
    unsubscribe_all_hint: "Oppure interrompi tutti gli invii di questo mittente:",
    unsubscribe_all: "Disiscriviti da tutti gli invii",
    this_mailing: "questo invio",
    done_title: "Disiscrizione avvenuta",
    done_one: "Non riceverai più questo invio. Vale da subito.",
    done_all: "Non riceverai più alcun invio di questo mittente. Vale da subito.",
    preferences_link: "Vedi tutti gli invii di questo mittente",
    preferences_title: "I tuoi invii",
    preferences_saved: "La tua scelta è salvata.",
    preferences_none: "Questo mittente non ha invii.",
    state_granted: "Lo ricevi.",
    state_not_granted: "Non lo ricevi.",
    withdraw_one: "Interrompi",
    bad_link_title: "Questo link non funziona",
    bad_link_text: "L'indirizzo è incompleto o è stato modificato lungo la strada. Apri di nuovo il link nel messaggio.",
};

/// Polish.
pub const POLISH: Texts = Texts {
    language: "pl",
    privacy: "Informacja o prywatności",
    unsubscribe_title: "Wypisanie się",
    unsubscribe_question: "Czy chcesz przestać otrzymywać",
    unsubscribe_one: "Wypisz mnie",
    unsubscribe_all_hint: "Możesz też zatrzymać wszystkie wiadomości tego nadawcy:",
    unsubscribe_all: "Wypisz mnie ze wszystkiego",
    this_mailing: "te wiadomości",
    done_title: "Wypisano",
    done_one: "Nie będziesz już otrzymywać tych wiadomości. Zmiana działa od razu.",
    done_all: "Nie będziesz już otrzymywać żadnych wiadomości tego nadawcy. Zmiana działa od razu.",
    preferences_link: "Zobacz wszystkie wiadomości tego nadawcy",
    preferences_title: "Twoje subskrypcje",
    preferences_saved: "Twój wybór jest zapisany.",
    preferences_none: "Ten nadawca nie ma subskrypcji.",
    state_granted: "Otrzymujesz.",
    state_not_granted: "Nie otrzymujesz.",
    withdraw_one: "Zatrzymaj",
    bad_link_title: "Ten odnośnik nie działa",
    bad_link_text: "Adres jest niepełny albo został po drodze zmieniony. Otwórz odnośnik w wiadomości jeszcze raz.",
};

/// The languages that we have.
const ALL: &[&Texts] = &[&ENGLISH, &ITALIAN, &POLISH];

/// The table of the first BCP 47 tag of which we have the language (`it-IT` finds `it`), English when there is none.
pub fn texts<'a>(tags: impl IntoIterator<Item = &'a str>) -> &'static Texts {
    tags.into_iter()
        .filter_map(|tag| {
            let wanted = tag.split(['-', '_']).next().unwrap_or_default();
            ALL.iter().copied().find(|t| t.language.eq_ignore_ascii_case(wanted))
        })
        .next()
        .unwrap_or(&ENGLISH)
}

/// The tags of an `Accept-Language` header in the order in which they stand (RFC 9110 12.5.4); browsers sort them.
pub fn accepted(headers: &HeaderMap) -> Vec<&str> {
    let value = headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(',').take(20).filter_map(|item| item.split(';').next()).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_language_that_we_have_is_taken() {
        for (tags, language) in [
            (vec!["it-IT"], "it"),
            (vec!["", "de", "pl-PL", "it"], "pl"),
            (vec!["PL_pl"], "pl"),
            (vec!["de", "fr"], "en"),
            (vec![], "en"),
        ] {
            assert_eq!(texts(tags.iter().copied()).language, language, "{tags:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, "de;q=0.9, pl-PL;q=0.8,en".parse().unwrap());
        assert_eq!(accepted(&headers), ["de", "pl-PL", "en"]);
    }
}
