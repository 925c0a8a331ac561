//! Six documents to start from. Ours, in English, without pictures from elsewhere.
//!
//! Must not know templates that people saved.

/// A document to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starter {
    /// Fixed word for programs.
    pub id: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// What it is good for.
    pub description: &'static str,
    /// A subject to begin with (a template).
    pub subject: &'static str,
    /// The block document, as JSON.
    pub document: &'static str,
}

/// All of them, in the order in which they are offered.
pub const fn starters() -> &'static [Starter] {
    &[
        Starter {
            id: "newsletter",
            name: "Newsletter",
            description: "One story, two short notes, a reader's voice: the letter that goes out every month.",
            subject: "The monthly letter: what happened",
            document: include_str!("../../starters/newsletter.json"),
        },
        Starter {
            id: "announcement",
            name: "Announcement",
            description: "One piece of news, three reasons why it is good, one button.",
            subject: "Something new for you",
            document: include_str!("../../starters/announcement.json"),
        },
        Starter {
            id: "event",
            name: "Event invitation",
            description: "When, where, what it costs, the programme, and a way to say yes.",
            subject: "You are invited: an evening about one good question",
            document: include_str!("../../starters/event.json"),
        },
        Starter {
            id: "offer",
            name: "Product offer",
            description: "Three products with their prices, one button, and a line for readers.",
            subject: "A good week for tea",
            document: include_str!("../../starters/offer.json"),
        },
        Starter {
            id: "notice",
            name: "Receipt or service notice",
            description: "What was ordered, what it cost, what happens next. Sober, for every day.",
            subject: "Your order and its receipt",
            document: include_str!("../../starters/notice.json"),
        },
        Starter {
            id: "welcome",
            name: "Welcome",
            description: "The first message to somebody new: what to expect, and three small steps.",
            subject: "Welcome, good to have you here",
            document: include_str!("../../starters/welcome.json"),
        },
    ]
}
