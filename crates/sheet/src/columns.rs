//! What the columns of a file mean, and the contact that one row makes, or why it makes none.
//!
//! Knows the rules of contacts and mailboxes. Knows no DNS and no database.

use crate::rows::{CELL_CAP, COLUMN_CAP, Row, RowFault};
use postrider_domain::contact::{AddressMark, Attributes, attribute_name, check_attributes, has_control};
use postrider_domain::import::{Mapping, RefusedReason};
use postrider_mail::mailbox::{Mailbox, is_disposable, is_role_account, typo_hint};

/// Headings under which people keep mailboxes, as attribute names.
const MAILBOX_HEADINGS: &[&str] = &[
    "email",
    "e_mail",
    "mail",
    "mailbox",
    "email_address",
    "e_mail_address",
    "mail_address",
    "emailaddress",
    "address",
    "indirizzo_email",
    "indirizzo_e_mail",
    "posta_elettronica",
    "correo",
    "correo_electronico",
    "courriel",
    "adresse_email",
    "adresse_e_mail",
    "e_mail_adresse",
    "email_adresse",
    "adres_email",
    "adres_e_mail",
    "recipient",
];

/// Headings under which people keep the language of a person, as attribute names.
const LANGUAGE_HEADINGS: &[&str] = &[
    "language",
    "lang",
    "language_code",
    "locale",
    "preferred_language",
    "lingua",
    "lingua_preferita",
    "jezyk",
    "kod_jezyka",
    "sprache",
    "langue",
    "idioma",
    "lengua",
    "taal",
];

/// Headings under which people keep the time zone of a person, as attribute names.
const ZONE_HEADINGS: &[&str] = &[
    "zone",
    "time_zone",
    "timezone",
    "tz",
    "iana_zone",
    "iana_time_zone",
    "fuso",
    "fuso_orario",
    "strefa",
    "strefa_czasowa",
    "zeitzone",
    "fuseau_horaire",
    "zona_horaria",
    "huso_horario",
    "tijdzone",
];

/// What one column is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Use {
    Mailbox,
    Zone,
    Language,
    Attribute(String),
    Nothing,
}

postrider_domain::words! {
    /// Why a column is used as it is.
    pub enum Confidence {
        /// The mapping says so.
        Named = "named",
        /// Its heading is a usual one for this.
        Heading = "heading",
        /// Its first row looks like this.
        Content = "content",
        /// Nothing is known of it: it becomes an attribute of its heading's name.
        OwnName = "own_name",
    }
}

/// A column for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// `mailbox`, `zone`, `language`, `attribute` or `ignored`.
    pub role: &'static str,
    /// The name of the attribute.
    pub attribute: Option<String>,
    /// Why.
    pub confidence: Confidence,
}

/// The columns of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    uses: Vec<Use>,
    why: Vec<Confidence>,
    /// What each column would be called as an attribute: for values that do not fit what was guessed.
    own: Vec<String>,
    mailbox: usize,
    /// The first row holds headings, not a contact.
    pub has_heading: bool,
}

/// A row that may become a contact once its domain was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// Attributes, by name.
    pub attributes: Attributes,
    /// IANA zone.
    pub zone: Option<String>,
    /// Language tag.
    pub language: Option<String>,
    /// Marks that inform.
    pub marks: Vec<AddressMark>,
    /// The provider that was probably meant.
    pub hint: Option<String>,
}

/// A row that makes no contact: the reason, and the detail that helps to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The closed reason.
    pub reason: RefusedReason,
    /// What exactly.
    pub detail: String,
}

fn refuse(reason: RefusedReason, detail: impl Into<String>) -> Refusal {
    Refusal { reason, detail: detail.into() }
}

impl Columns {
    /// Whether a first row is a contact already, so that the file has no headings.
    pub fn looks_like_contacts(first: &[String]) -> bool {
        first.iter().any(|cell| Mailbox::parse(cell.trim()).is_ok())
    }

    /// Reads the first row as headings (or sees that it has none) and applies the mapping; `second` helps to guess.
    ///
    /// # Errors
    /// What the person should change, in words.
    pub fn read(first: &[String], second: &[String], mapping: &Mapping) -> Result<Columns, String> {
        if first.is_empty() {
            return Err("the file is empty".to_owned());
        }
        let has_heading = !Columns::looks_like_contacts(first);
        let names: Vec<String> = first
            .iter()
            .enumerate()
            .map(|(i, cell)| if has_heading { cell.trim().to_owned() } else { format!("column_{}", i + 1) })
            .collect();
        let find = |wanted: &str| position(&names, wanted);
        let (mailbox, mailbox_why) = if mapping.mailbox.trim().is_empty() {
            guess_mailbox(&names, first, second, has_heading)
                .ok_or("no column with mailboxes was found: name it in the mapping, by its heading or its number")?
        } else {
            (find(&mapping.mailbox).ok_or_else(|| no_column("mailbox", &mapping.mailbox))?, Confidence::Named)
        };
        let optional = |what: &str, wanted: &str| match wanted.trim() {
            "" => Ok(None),
            wanted => find(wanted).map(Some).ok_or_else(|| no_column(what, wanted)),
        };
        // What the mapping gives a use of its own is not guessed to be something else.
        let used = |i: usize| {
            let named = |heading: &String| find(heading) == Some(i);
            i == mailbox || mapping.attributes.keys().any(named) || mapping.ignore.iter().any(named)
        };
        let sample = |i: usize| if has_heading { second.get(i).map_or("", |cell| cell.trim()) } else { "" };
        let guess = |headings: &[&str], fits: fn(&str) -> bool| {
            let by = |h: &&str| names.iter().position(|name| attribute_name(name) == **h);
            // A first row that says something else: "Language: Italian" would make every row be refused.
            headings.iter().find_map(by).filter(|i| !used(*i) && (sample(*i).is_empty() || fits(sample(*i))))
        };
        let named_zone = optional("zone", &mapping.zone)?;
        let named_language = optional("language", &mapping.language)?;
        let zone = named_zone.or_else(|| guess(ZONE_HEADINGS, is_zone)).or_else(|| {
            (0..names.len())
                .find(|i| !used(*i) && Some(*i) != named_language && sample(*i).contains('/') && is_zone(sample(*i)))
        });
        let language = named_language.or_else(|| guess(LANGUAGE_HEADINGS, is_tag)).filter(|i| Some(*i) != zone);
        let zone_why = |i: usize| match () {
            () if named_zone.is_some() => Confidence::Named,
            () if ZONE_HEADINGS.contains(&attribute_name(&names[i]).as_str()) => Confidence::Heading,
            () => Confidence::Content,
        };
        let mut uses = Vec::with_capacity(names.len());
        let mut why = Vec::with_capacity(names.len());
        let mut taken = std::collections::BTreeSet::new();
        for (i, name) in names.iter().enumerate() {
            let named = mapping.attributes.iter().find(|(heading, _)| position(&names, heading) == Some(i));
            why.push(match named {
                _ if i == mailbox => mailbox_why,
                None if Some(i) == zone => zone_why(i),
                None if Some(i) == language && named_language.is_none() => Confidence::Heading,
                None if Some(i) == language => Confidence::Named,
                None if mapping.ignore.iter().any(|heading| position(&names, heading) == Some(i)) => Confidence::Named,
                None => Confidence::OwnName,
                Some(_) => Confidence::Named,
            });
            uses.push(if i == mailbox {
                Use::Mailbox
            } else if Some(i) == zone {
                Use::Zone
            } else if Some(i) == language {
                Use::Language
            } else if mapping.ignore.iter().any(|heading| position(&names, heading) == Some(i)) {
                Use::Nothing
            } else {
                let wanted = named.map_or_else(|| attribute_name(name), |(_, attribute)| attribute_name(attribute));
                Use::Attribute(free_name(wanted, i, &mut taken))
            });
        }
        for heading in mapping.attributes.keys().chain(&mapping.ignore) {
            find(heading).ok_or_else(|| no_column("named", heading))?;
        }
        let own = names.iter().enumerate().map(|(i, name)| match attribute_name(name) {
            name if name.is_empty() => format!("column_{}", i + 1),
            name => name,
        });
        Ok(Columns { own: own.collect(), uses, why, mailbox, has_heading })
    }

    /// Each column for people, with the reason.
    pub fn explain(&self) -> Vec<Column> {
        self.uses
            .iter()
            .zip(&self.why)
            .map(|(used, why)| {
                let (role, attribute) = match used {
                    Use::Mailbox => ("mailbox", None),
                    Use::Zone => ("zone", None),
                    Use::Language => ("language", None),
                    Use::Attribute(name) => ("attribute", Some(name.clone())),
                    Use::Nothing => ("ignored", None),
                };
                Column { role, attribute, confidence: *why }
            })
            .collect()
    }

    /// The use of each column, for the record of the import.
    pub fn describe(&self) -> Vec<String> {
        self.uses
            .iter()
            .map(|u| match u {
                Use::Mailbox => "mailbox".to_owned(),
                Use::Zone => "zone".to_owned(),
                Use::Language => "language".to_owned(),
                Use::Attribute(name) => format!("attribute {name}"),
                Use::Nothing => "ignored".to_owned(),
            })
            .collect()
    }

    /// The contact that a row makes.
    ///
    /// # Errors
    /// Why it makes none.
    pub fn candidate(&self, row: &Row) -> Result<Candidate, Refusal> {
        match row.fault {
            None => {}
            Some(RowFault::TooLarge) => return Err(refuse(RefusedReason::RowTooLarge, "")),
            Some(RowFault::Quote) => {
                return Err(refuse(RefusedReason::BadCell, "a quotation mark is opened and not closed in this row"));
            }
            Some(RowFault::TooManyCells) => {
                return Err(refuse(RefusedReason::CellCount, format!("more than {COLUMN_CAP} cells")));
            }
            Some(RowFault::CellTooLong) => {
                return Err(refuse(RefusedReason::BadCell, format!("a cell is longer than {CELL_CAP} bytes")));
            }
        }
        // Spreadsheets add empty cells at the end of a row; they mean nothing. Missing ones may be a broken row.
        let filled = (0..row.len()).rev().find(|i| !row.cell(*i).is_empty()).map_or(0, |i| i + 1);
        if filled > self.uses.len() || row.len() < self.uses.len() {
            let detail = format!("{} cells, the heading has {}", row.len(), self.uses.len());
            return Err(refuse(RefusedReason::CellCount, detail));
        }
        let cell = |i: usize| {
            std::str::from_utf8(row.cell(i))
                .ok()
                .filter(|text| !text.contains('\u{FFFD}'))
                .map(str::trim)
                .ok_or_else(|| refuse(RefusedReason::BadEncoding, format!("column {}", i + 1)))
        };
        let text = cell(self.mailbox)?;
        if text.is_empty() {
            return Err(refuse(RefusedReason::NoMailbox, ""));
        }
        let mailbox = Mailbox::parse(text).map_err(|error| refuse(RefusedReason::BadMailbox, error.to_string()))?;
        let mut made = Candidate {
            marks: marks(&mailbox),
            hint: typo_hint(mailbox.domain()).map(str::to_owned),
            mailbox,
            attributes: Attributes::new(),
            zone: None,
            language: None,
        };
        for (i, used) in self.uses.iter().enumerate() {
            let text = match used {
                Use::Mailbox | Use::Nothing => continue,
                Use::Zone | Use::Language | Use::Attribute(_) => cell(i)?,
            };
            if text.is_empty() {
                continue;
            }
            match used {
                Use::Mailbox | Use::Nothing => {}
                Use::Zone => match postrider_domain::schedule::zone(text) {
                    Ok(_) => made.zone = Some(text.to_owned()),
                    Err(e) if self.why[i] == Confidence::Named => {
                        return Err(refuse(RefusedReason::BadCell, e.to_string()));
                    }
                    // Nobody said that it is one: nothing is lost and nothing refused.
                    Err(_) => {
                        made.attributes.insert(self.own[i].clone(), one_line(text).into());
                    }
                },
                Use::Language if self.why[i] == Confidence::Named || is_tag(text) => {
                    made.language = Some(language(text)?);
                }
                Use::Language => {
                    made.attributes.insert(self.own[i].clone(), one_line(text).into());
                }
                Use::Attribute(name) => {
                    made.attributes.insert(name.clone(), one_line(text).into());
                }
            }
        }
        check_attributes(&made.attributes).map_err(|e| refuse(RefusedReason::BadCell, e.to_string()))?;
        Ok(made)
    }
}

fn no_column(what: &str, wanted: &str) -> String {
    let wanted: String = wanted.chars().take(64).collect();
    format!("the {what} column `{wanted}` is not in the file: name a heading of the first row or a number from 1")
}

/// A language as an import takes it, and short enough to be no name of one.
fn is_tag(text: &str) -> bool {
    text.split('-').next().is_some_and(|main| (2..=3).contains(&main.len())) && language(text).is_ok()
}

fn is_zone(text: &str) -> bool {
    postrider_domain::schedule::zone(text).is_ok()
}

/// A column by its heading, without regard to case, or by its number from 1.
fn position(names: &[String], wanted: &str) -> Option<usize> {
    let wanted = wanted.trim();
    names
        .iter()
        .position(|n| n == wanted)
        .or_else(|| names.iter().position(|n| n.to_lowercase() == wanted.to_lowercase()))
        .or_else(|| wanted.parse::<usize>().ok().filter(|n| (1..=names.len()).contains(n)).map(|n| n - 1))
}

fn guess_mailbox(
    names: &[String],
    first: &[String],
    second: &[String],
    has_heading: bool,
) -> Option<(usize, Confidence)> {
    let sample = if has_heading { second } else { first };
    let named = || MAILBOX_HEADINGS.iter().find_map(|h| names.iter().position(|n| attribute_name(n) == *h));
    let by_content = || sample.iter().position(|cell| Mailbox::parse(cell.trim()).is_ok());
    let named = named().map(|i| (i, Confidence::Heading));
    named.or_else(|| by_content().map(|i| (i, Confidence::Content)))
}

/// An attribute name that no other column has.
fn free_name(wanted: String, column: usize, taken: &mut std::collections::BTreeSet<String>) -> String {
    let base = if wanted.is_empty() { format!("column_{}", column + 1) } else { wanted };
    let mut name = base.clone();
    let mut n = 2;
    while !taken.insert(name.clone()) {
        name = format!("{}_{n}", base.chars().take(58).collect::<String>());
        n += 1;
    }
    name
}

/// Line breaks and tabs within a cell become one space: an attribute is one line of text (SEC-20).
fn one_line(text: &str) -> String {
    if !text.contains(['\r', '\n', '\t']) {
        return text.to_owned();
    }
    text.split(['\r', '\n', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// RFC 5646 in its outer form.
fn language(text: &str) -> Result<String, Refusal> {
    let good = text.len() <= 35
        && !has_control(text)
        && text.split('-').all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if good {
        Ok(text.to_owned())
    } else {
        let text: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
        Err(refuse(RefusedReason::BadCell, format!("`{text}` is no language: write it like it or pt-BR")))
    }
}

fn marks(mailbox: &Mailbox) -> Vec<AddressMark> {
    let mut marks = Vec::new();
    if is_role_account(mailbox.local()) {
        marks.push(AddressMark::Role);
    }
    if is_disposable(mailbox.domain()) {
        marks.push(AddressMark::Disposable);
    }
    if typo_hint(mailbox.domain()).is_some() {
        marks.push(AddressMark::Typo);
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Rows;

    fn texts(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|c| (*c).to_owned()).collect()
    }

    fn row(text: &[u8]) -> Row {
        let mut row = Row::default();
        assert!(Rows::new(text, b',', 0).read(&mut row).unwrap());
        row
    }

    fn columns(heading: &[&str], mapping: &Mapping) -> Columns {
        Columns::read(&texts(heading), &[], mapping).unwrap()
    }

    #[test]
    fn the_mailbox_column_is_guessed_by_heading_then_by_content() {
        let read = |first: &[&str], second: &[&str]| Columns::read(&texts(first), &texts(second), &Mapping::default());
        assert_eq!(read(&["Name", "E-Mail"], &[]).unwrap().mailbox, 1);
        assert_eq!(read(&["Nome", "Contatto"], &["Anna", "anna@example.org"]).unwrap().mailbox, 1);
        let bare = read(&["anna@example.org", "Anna"], &[]).unwrap();
        assert!(!bare.has_heading);
        assert_eq!(bare.describe(), ["mailbox", "attribute column_2"]);
        assert!(read(&["a", "b"], &["1", "2"]).unwrap_err().contains("mapping"));
    }

    #[test]
    fn language_and_zone_are_guessed_unless_the_mapping_says_something() {
        let read = |first: &[&str], second: &[&str], mapping: &Mapping| {
            let columns = Columns::read(&texts(first), &texts(second), mapping).unwrap();
            columns.explain().iter().map(|c| format!("{} {}", c.role, c.confidence)).collect::<Vec<_>>()
        };
        let plain = Mapping::default();
        assert_eq!(
            read(&["mail", "Lingua", "Fuso orario"], &["a@example.org", "it", "Europe/Rome"], &plain),
            ["mailbox heading", "language heading", "zone heading"]
        );
        assert_eq!(
            read(&["mail", "Język", "where"], &["a@example.org", "pl-PL", "Europe/Warsaw"], &plain),
            ["mailbox heading", "language heading", "zone content"]
        );
        // What does not look like it stays what it is.
        assert_eq!(
            read(&["mail", "language", "zone"], &["a@example.org", "Italian", "North"], &plain),
            ["mailbox heading", "attribute own_name", "attribute own_name"]
        );
        let named = Mapping {
            attributes: [("language".to_owned(), "speaks".to_owned())].into(),
            ignore: vec!["zone".into()],
            ..Mapping::default()
        };
        assert_eq!(
            read(&["mail", "language", "zone"], &["a@example.org", "it", "Europe/Rome"], &named),
            ["mailbox heading", "attribute named", "ignored named"]
        );
        // A later row that does not fit what was guessed is not refused; one that does not fit what was named is.
        let first = texts(&["mail", "language", "tz"]);
        let guessed = Columns::read(&first, &texts(&["a@example.org", "it", "Europe/Rome"]), &plain).unwrap();
        let made = guessed.candidate(&row(b"b@example.org,Italian,Rome\n")).unwrap();
        assert_eq!((&made.language, &made.zone), (&None, &None));
        assert_eq!(
            (made.attributes["language"].as_str(), made.attributes["tz"].as_str()),
            (Some("Italian"), Some("Rome"))
        );
        let made = guessed.candidate(&row(b"b@example.org,it,Europe/Rome\n")).unwrap();
        assert_eq!((made.language.as_deref(), made.zone.as_deref()), (Some("it"), Some("Europe/Rome")));
        let strict = Mapping { zone: "tz".into(), ..Mapping::default() };
        let strict = Columns::read(&first, &[], &strict).unwrap();
        assert!(strict.candidate(&row(b"b@example.org,it,Rome\n")).is_err());
    }

    #[test]
    fn a_mapping_names_columns_by_heading_or_number() {
        let mapping = Mapping {
            mailbox: "2".into(),
            zone: "TZ".into(),
            attributes: [("Vorname".to_owned(), "first_name".to_owned())].into(),
            ignore: vec!["secret".into()],
            ..Mapping::default()
        };
        let columns = columns(&["vorname", "post", "tz", "Secret", "Note", "note"], &mapping);
        assert_eq!(
            columns.describe(),
            ["attribute first_name", "mailbox", "zone", "ignored", "attribute note", "attribute note_2"]
        );
        let wrong = Mapping { ignore: vec!["nothing".into()], ..mapping };
        assert!(Columns::read(&texts(&["post", "x", "tz"]), &[], &wrong).is_err());
    }

    #[test]
    fn rows_become_contacts_or_reasons() {
        let columns = columns(&["email", "name", "note"], &Mapping::default());
        let good = columns.candidate(&row(b" Info@Example.org ,Anna,\"two\nlines\"\n")).unwrap();
        assert_eq!(good.mailbox.wire(), "Info@example.org");
        assert_eq!(good.marks, [AddressMark::Role]);
        assert_eq!(good.attributes["note"], serde_json::json!("two lines"));
        for (text, reason) in [
            (&b",Anna,x\n"[..], RefusedReason::NoMailbox),
            (b"not a mailbox,Anna,x\n", RefusedReason::BadMailbox),
            (b"a@example.org,Anna,x,y\n", RefusedReason::CellCount),
            (b"a@example.org,An\x00na,x\n", RefusedReason::BadCell),
            (b"a@example.org,An\xFFna,x\n", RefusedReason::BadEncoding),
            (b"\"a@example.org\r\nBcc: x\",Anna,x\n", RefusedReason::BadMailbox),
            (b"a@example.org\n", RefusedReason::CellCount),
        ] {
            let got = columns.candidate(&row(text)).map(|c| c.mailbox.wire());
            assert_eq!(got.map_err(|r| r.reason), Err(reason), "{:?}", String::from_utf8_lossy(text));
        }
        assert!(columns.candidate(&row(b"a@example.org,,,,\n")).is_ok(), "empty cells at the end mean nothing");
    }
}
