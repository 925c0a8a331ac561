//! The names of the special headers, in both spellings. Must not know values.

/// Before each of our own special headers.
pub(super) const OURS: &str = "x-postrider-";
/// Before each of those that are understood for drop-in migration.
pub(super) const DROP_IN: &str = "x-clab-smartrelay-";
/// Before all that is removed for drop-in migration.
pub(super) const DROP_IN_ALL: &str = "x-clab-";

/// Where a special value was written, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spelling {
    /// `X-Postrider-*`.
    Ours,
    /// `X-Clab-SmartRelay-*`, or a name that the rules map.
    DropIn,
    /// A hidden input of the HTML part.
    Html,
}

/// Each special header that takes one value; `Recipient-<Field>` stands apart, since its names are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialName {
    /// The delivery type that the message belongs to.
    DeliveryType,
    /// Its label.
    DeliveryLabel,
    /// What a new delivery type becomes.
    NewDeliveryType,
    /// The application's number for the message.
    ExternalId,
    /// The application's words for it.
    ExternalDescription,
    /// The application's number for the recipient.
    PrimaryKey,
    /// An attribute of the recipient; stands for all of them where the rules switch headers off.
    Recipient,
    /// Views and links together.
    Track,
    /// Views.
    TrackViews,
    /// Links.
    TrackLinks,
    /// One domain for all tracking.
    TrackingDomain,
    /// The host for views.
    TrackingDomainView,
    /// The host for links.
    TrackingDomainLink,
    /// The host for unsubscribing.
    UnsubscribeDomain,
    /// A word for statistics; may be repeated.
    Tag,
    /// Values that come back with each event.
    Metadata,
    /// Transactional or marketing.
    Stream,
    /// Not before this time.
    SendAt,
    /// What the recipient agreed to.
    ConsentClaim,
}

impl SpecialName {
    /// Every name.
    pub const ALL: [SpecialName; 19] = [
        SpecialName::DeliveryType,
        SpecialName::DeliveryLabel,
        SpecialName::NewDeliveryType,
        SpecialName::ExternalId,
        SpecialName::ExternalDescription,
        SpecialName::PrimaryKey,
        SpecialName::Recipient,
        SpecialName::Track,
        SpecialName::TrackViews,
        SpecialName::TrackLinks,
        SpecialName::TrackingDomain,
        SpecialName::TrackingDomainView,
        SpecialName::TrackingDomainLink,
        SpecialName::UnsubscribeDomain,
        SpecialName::Tag,
        SpecialName::Metadata,
        SpecialName::Stream,
        SpecialName::SendAt,
        SpecialName::ConsentClaim,
    ];

    /// What follows `X-Postrider-`; settings use it, too.
    pub const fn as_str(self) -> &'static str {
        match self {
            SpecialName::DeliveryType => "Delivery-Type",
            SpecialName::DeliveryLabel => "Delivery-Label",
            SpecialName::NewDeliveryType => "New-Delivery-Type",
            SpecialName::ExternalId => "External-Id",
            SpecialName::ExternalDescription => "External-Description",
            SpecialName::PrimaryKey => "Primary-Key",
            SpecialName::Recipient => "Recipient-",
            SpecialName::Track => "Track",
            SpecialName::TrackViews => "Track-Views",
            SpecialName::TrackLinks => "Track-Links",
            SpecialName::TrackingDomain => "Tracking-Domain",
            SpecialName::TrackingDomainView => "Tracking-Domain-View",
            SpecialName::TrackingDomainLink => "Tracking-Domain-Link",
            SpecialName::UnsubscribeDomain => "Unsubscribe-Domain",
            SpecialName::Tag => "Tag",
            SpecialName::Metadata => "Metadata",
            SpecialName::Stream => "Stream",
            SpecialName::SendAt => "Send-At",
            SpecialName::ConsentClaim => "Consent-Claim",
        }
    }

    /// What follows `X-Clab-SmartRelay-`, for those that have such a name. Those for tracking were never published: the
    /// rules map them.
    pub const fn drop_in(self) -> Option<&'static str> {
        match self {
            SpecialName::DeliveryType => Some("DeliveryId"),
            SpecialName::DeliveryLabel => Some("DeliveryLabel"),
            SpecialName::NewDeliveryType => Some("NewDeliveryType"),
            SpecialName::ExternalId => Some("ExternalId"),
            SpecialName::ExternalDescription => Some("ExternalDesc"),
            SpecialName::PrimaryKey => Some("PrimaryKey"),
            SpecialName::Recipient => Some("Recipient-"),
            SpecialName::TrackingDomain => Some("TrackingDomain"),
            SpecialName::TrackingDomainView => Some("TrackingDomainView"),
            SpecialName::TrackingDomainLink => Some("TrackingDomainLink"),
            SpecialName::UnsubscribeDomain => Some("UnsubscribeDomain"),
            SpecialName::Track
            | SpecialName::TrackViews
            | SpecialName::TrackLinks
            | SpecialName::Tag
            | SpecialName::Metadata
            | SpecialName::Stream
            | SpecialName::SendAt
            | SpecialName::ConsentClaim => None,
        }
    }

    /// The name with this word, whatever its case.
    pub fn parse(word: &str) -> Option<SpecialName> {
        SpecialName::ALL.into_iter().find(|name| name.as_str().eq_ignore_ascii_case(word))
    }
}

/// What a header name of ours means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// A header that takes one value.
    One(SpecialName),
    /// An attribute, with the field as written.
    Attribute(&'a str),
    /// It begins like one of ours, but there is none of that name.
    Unknown,
    /// Removed without a word: headers that systems of the drop-in kind add by themselves.
    Silent,
}

/// Reads a header name; `None` when it is not one of ours.
pub(super) fn of_header<'a>(name: &'a str, mapped: &[(String, SpecialName)]) -> Option<(Spelling, Named<'a>)> {
    if let Some((_, special)) = mapped.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)) {
        return Some((Spelling::DropIn, Named::One(*special)));
    }
    if let Some(rest) = after(name, OURS) {
        return Some((Spelling::Ours, named(rest, |special| Some(special.as_str()))));
    }
    if let Some(rest) = after(name, DROP_IN) {
        return Some((Spelling::DropIn, named(rest, SpecialName::drop_in)));
    }
    after(name, DROP_IN_ALL).map(|_| (Spelling::DropIn, Named::Silent))
}

/// Whether every copy that leaves must lack this header, whatever the rules map.
pub(super) fn is_ours(name: &[u8]) -> bool {
    let starts =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()));
    starts(OURS) || starts(DROP_IN_ALL)
}

fn named(rest: &str, spelled: impl Fn(SpecialName) -> Option<&'static str>) -> Named<'_> {
    if let Some(field) = spelled(SpecialName::Recipient).and_then(|prefix| after(rest, prefix)) {
        return Named::Attribute(field);
    }
    let is = |special: &SpecialName| spelled(*special).is_some_and(|word| word.eq_ignore_ascii_case(rest));
    match SpecialName::ALL.into_iter().find(is) {
        Some(SpecialName::Recipient) | None => Named::Unknown,
        Some(special) => Named::One(special),
    }
}

/// What follows `prefix`, whatever its case.
fn after<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_both_spellings() {
        for special in SpecialName::ALL {
            if special == SpecialName::Recipient {
                continue;
            }
            let ours = format!("x-POSTRIDER-{}", special.as_str());
            assert_eq!(of_header(&ours, &[]), Some((Spelling::Ours, Named::One(special))), "{ours}");
            if let Some(word) = special.drop_in() {
                let theirs = format!("X-Clab-SmartRelay-{word}");
                assert_eq!(of_header(&theirs, &[]), Some((Spelling::DropIn, Named::One(special))), "{theirs}");
            }
            assert_eq!(SpecialName::parse(&special.as_str().to_lowercase()), Some(special));
        }
        let attribute = of_header("X-Clab-SmartRelay-Recipient-RequestType", &[]);
        assert_eq!(attribute, Some((Spelling::DropIn, Named::Attribute("RequestType"))));
        assert_eq!(of_header("X-Clab-Family", &[]), Some((Spelling::DropIn, Named::Silent)));
        assert_eq!(of_header("X-Postrider-Nonsense", &[]), Some((Spelling::Ours, Named::Unknown)));
        assert_eq!(of_header("X-Clab-SmartRelay-Tag", &[]), Some((Spelling::DropIn, Named::Unknown)));
        assert_eq!(of_header("X-Clabber", &[]), None);
        let mapped = [("X-My-Views".to_owned(), SpecialName::TrackViews)];
        assert_eq!(of_header("x-my-views", &mapped), Some((Spelling::DropIn, Named::One(SpecialName::TrackViews))));
        assert!(is_ours(b"x-clab-anything") && is_ours(b"X-POSTRIDER-") && !is_ours(b"X-Post") && !is_ours(b"X-Clab"));
    }
}
