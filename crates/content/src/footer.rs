//! The footer of marketing messages: who sends, from where, and how to get no more (LAW-40, SR-19).
//!
//! Must not know how a part is encoded. Only what the author left out is added.

use crate::input::Sender;
use crate::part::Flat;
use crate::place::Place;
use crate::template::{Tag, TagKind};

/// What the visible text of a part lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Controller's name.
    pub controller: bool,
    /// Postal address.
    pub postal_address: bool,
    /// Unsubscribe link.
    pub unsubscribe: bool,
    /// Preference link.
    pub preferences: bool,
}

impl Missing {
    /// Whether nothing is missing.
    pub const fn is_nothing(self) -> bool {
        !(self.controller || self.postal_address || self.unsubscribe || self.preferences)
    }
}

/// What counts as a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// The address of an `<a>`.
    Clickable,
    /// The address as text.
    Visible,
}

/// Looks through the visible text. What stands inside of a condition or loop does not count: it may not be there.
pub fn missing(flat: &[Flat], tags: &[Tag], sender: &Sender, links: Links) -> Missing {
    let mut depth = 0_usize;
    let mut names: Vec<(&str, Place)> = Vec::new();
    let mut text = String::new();
    for item in flat {
        match item {
            Flat::Raw(raw) if depth == 0 => text.push_str(raw),
            Flat::Raw(_) => {}
            Flat::Tag(index, place) => match &tags[*index].kind {
                TagKind::Emit(expression) => {
                    if let Some(simple) =
                        expression.simple.as_ref().filter(|simple| depth == 0 && simple.ops.is_empty())
                    {
                        names.push((&simple.name, *place));
                    }
                }
                TagKind::If(_) | TagKind::For(..) => depth += 1,
                TagKind::EndIf | TagKind::EndFor => depth = depth.saturating_sub(1),
                TagKind::Elif(_) | TagKind::Else | TagKind::Set(..) => {}
            },
        }
    }
    let text = fold(&text);
    let says = |wanted: &str| {
        let wanted = fold(wanted);
        !wanted.is_empty() && text.contains(&wanted)
    };
    let names_it = |wanted: &str| names.iter().any(|(name, _)| *name == wanted);
    let links_it = |wanted: &str| {
        names.iter().any(|(name, place)| {
            *name == wanted
                && match links {
                    Links::Clickable => *place == Place::PlainUrlStart,
                    Links::Visible => true,
                }
        })
    };
    Missing {
        controller: !names_it("controller_name") && !says(&sender.controller_name),
        postal_address: !names_it("postal_address")
            && (sender.postal_address.trim().is_empty()
                || !sender.postal_address.lines().filter(|line| !line.trim().is_empty()).all(says)),
        unsubscribe: !links_it("unsubscribe_url"),
        preferences: !links_it("preferences_url"),
    }
}

fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The footer of a text part, as a template.
pub fn text(missing: Missing, sender: &Sender) -> String {
    let mut out = String::from("\n--\n");
    if missing.controller {
        out.push_str("{{ controller_name }}\n");
    }
    if missing.postal_address {
        out.push_str("{{ postal_address }}\n");
    }
    if missing.unsubscribe {
        out.push_str("Unsubscribe: {{ unsubscribe_url }}\n");
    }
    if missing.preferences {
        out.push_str("Preferences: {{ preferences_url }}\n");
    }
    if !sender.privacy_url.trim().is_empty() && (missing.unsubscribe || missing.preferences) {
        out.push_str("Privacy: {{ privacy_url }}\n");
    }
    out
}

/// The footer of an HTML part, as a template.
pub fn html(missing: Missing, sender: &Sender) -> String {
    let mut lines = Vec::new();
    if missing.controller {
        lines.push("{{ controller_name }}".to_owned());
    }
    if missing.postal_address {
        lines.push("{{ postal_address }}".to_owned());
    }
    let link = |name: &str, label: &str| {
        format!("<a href=\"{{{{ {name} }}}}\" style=\"color:#555555;text-decoration:underline\">{label}</a>")
    };
    let mut links = Vec::new();
    if missing.unsubscribe {
        links.push(link("unsubscribe_url", "Unsubscribe"));
    }
    if missing.preferences {
        links.push(link("preferences_url", "Preferences"));
    }
    if !sender.privacy_url.trim().is_empty() && !links.is_empty() {
        links.push(link("privacy_url", "Privacy"));
    }
    if !links.is_empty() {
        lines.push(links.join(" &#183; "));
    }
    format!(
        "\n<div style=\"clear:both;margin:24px auto 0;padding:16px;max-width:600px;font-family:Arial,Helvetica,sans-serif;font-size:12px;line-height:1.5;color:#555555;text-align:center\">{}</div>\n",
        lines.join("<br>")
    )
}

/// The preheader: shown in the list of messages, hidden in the message. The blanks keep the body's first words out.
pub fn preheader(template: &str) -> String {
    format!(
        "<div style=\"display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;opacity:0;overflow:hidden;mso-hide:all\">{template}{}</div>",
        "&#847;&zwnj;&nbsp;".repeat(20)
    )
}
