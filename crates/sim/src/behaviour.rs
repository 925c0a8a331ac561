//! How a simulated host treats one recipient, and the names by which a mailbox asks for it.
//!
//! Pure: no sockets, no clock. The behaviours that must act before a recipient is known are in `place`.

use std::time::Duration;

use crate::hash::hash;

/// How often a behaviour applies to one (reverse-path, forward-path) pair before the message is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Each time.
    Always,
    /// The first so many times.
    First(u32),
}

impl Times {
    /// Whether it applies to the try with this number, which counts from 1.
    pub fn covers(self, nth: u32) -> bool {
        match self {
            Times::Always => true,
            Times::First(count) => nth <= count,
        }
    }
}

/// How a host treats one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes every message.
    Accept,
    /// 451 4.7.1 at the first try; accepts when so much time has passed since.
    Greylist(Duration),
    /// 451 4.3.0 at RCPT.
    Defer(Times),
    /// 451 4.3.0 after the dot.
    DeferDot(Times),
    /// 421 4.3.2 at RCPT, and closes.
    Busy(Times),
    /// 550 5.1.1 at RCPT: no such mailbox.
    Unknown,
    /// 550 5.2.1 at RCPT: the mailbox is disabled.
    Disabled,
    /// 552 5.2.2 at RCPT: the mailbox is full.
    Full,
    /// 550 5.7.1 at RCPT: a block of us.
    BlockRcpt,
    /// 554 5.7.1 in reply to DATA.
    Block354,
    /// 550 5.7.1 after the dot.
    BlockData,
    /// Each reply from RCPT on comes late.
    Slow,
    /// Closes while the message comes in.
    DropData(Times),
    /// Closes after the dot, without a reply and without having kept the message.
    DropDot(Times),
    /// Keeps the message, and closes after the dot without a reply.
    KeepDot(Times),
    /// Does not answer the dot, and has not kept the message.
    HangDot(Times),
    /// Answers RCPT with a reply of several lines, and accepts.
    Multiline,
    /// Answers RCPT with lines of different codes, which breaks RFC 5321 4.2.1.
    MixedCodes,
    /// One of the above, drawn from the seed and the recipient; see [`MIX`].
    Mixed,
}

/// One row of the table that `postrider sim --list` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// The name; `[N]` stands for an optional number.
    pub name: &'static str,
    /// What happens.
    pub what: &'static str,
}

/// Every behaviour that a recipient can ask for, by domain (`anything@NAME.test`) or tag (`anything+NAME@any.test`).
pub const BEHAVIOURS: &[Described] = &[
    Described { name: "accept", what: "accepts; also `ok`" },
    Described { name: "greylist[N]", what: "451 4.7.1 at the first try, accepted from N seconds later (0)" },
    Described { name: "defer[N]", what: "451 4.3.0 at RCPT, N times (always)" },
    Described { name: "defer-dot[N]", what: "451 4.3.0 after the dot, N times (always)" },
    Described { name: "busy[N]", what: "421 4.3.2 at RCPT and closes, N times (always)" },
    Described { name: "unknown", what: "550 5.1.1 at RCPT" },
    Described { name: "disabled", what: "550 5.2.1 at RCPT" },
    Described { name: "full", what: "552 5.2.2 at RCPT" },
    Described { name: "block-rcpt", what: "550 5.7.1 at RCPT" },
    Described { name: "block-354", what: "554 5.7.1 in reply to DATA" },
    Described { name: "block-data", what: "550 5.7.1 after the dot" },
    Described { name: "slow", what: "each reply from RCPT on comes late; as a domain: each reply" },
    Described { name: "drop-data[N]", what: "closes while the message comes in, N times (always)" },
    Described { name: "drop-dot[N]", what: "closes after the dot, message NOT kept, N times (always)" },
    Described { name: "keep-dot[N]", what: "closes after the dot, message kept, N times (always)" },
    Described { name: "hang-dot[N]", what: "never answers the dot, message NOT kept, N times (always)" },
    Described { name: "multiline", what: "accepts with a reply of several lines" },
    Described { name: "mixed-codes", what: "answers RCPT with lines of different codes" },
    Described {
        name: "mixed",
        what: "by the seed: 88 % accept, 4 % greylist, 2 % defer2, 3 % unknown, 1 % each of full, block-data, slow",
    },
];

/// What `mixed` draws from: shares of a hundred.
pub const MIX: &[(u32, Behaviour)] = &[
    (88, Behaviour::Accept),
    (4, Behaviour::Greylist(Duration::ZERO)),
    (2, Behaviour::Defer(Times::First(2))),
    (3, Behaviour::Unknown),
    (1, Behaviour::Full),
    (1, Behaviour::BlockData),
    (1, Behaviour::Slow),
];

impl Behaviour {
    /// The behaviour with this name, such as `defer2`.
    pub fn parse(name: &str) -> Option<Self> {
        let (word, number) = split_number(name);
        let times = || number.map_or(Times::Always, Times::First);
        // A behaviour without a count takes no number: `full2` is no name.
        let plain = |behaviour| if number.is_none() { Some(behaviour) } else { None };
        match word {
            "accept" | "ok" => plain(Behaviour::Accept),
            "greylist" => Some(Behaviour::Greylist(Duration::from_secs(u64::from(number.unwrap_or(0))))),
            "defer" => Some(Behaviour::Defer(times())),
            "defer-dot" => Some(Behaviour::DeferDot(times())),
            "busy" => Some(Behaviour::Busy(times())),
            "unknown" => plain(Behaviour::Unknown),
            "disabled" => plain(Behaviour::Disabled),
            "full" => plain(Behaviour::Full),
            "block-rcpt" => plain(Behaviour::BlockRcpt),
            "block-data" => plain(Behaviour::BlockData),
            "block-" if number == Some(354) => Some(Behaviour::Block354),
            "slow" => plain(Behaviour::Slow),
            "drop-data" => Some(Behaviour::DropData(times())),
            "drop-dot" => Some(Behaviour::DropDot(times())),
            "keep-dot" => Some(Behaviour::KeepDot(times())),
            "hang-dot" => Some(Behaviour::HangDot(times())),
            "multiline" => plain(Behaviour::Multiline),
            "mixed-codes" => plain(Behaviour::MixedCodes),
            "mixed" => plain(Behaviour::Mixed),
            _ => None,
        }
    }

    /// Draws one when this is [`Behaviour::Mixed`]; the same seed and recipient give the same one.
    pub fn drawn(self, seed: u64, recipient: &str) -> Self {
        if self != Behaviour::Mixed {
            return self;
        }
        let mut lot = u32::try_from(hash(seed, &[recipient]) % 100).expect("a remainder of 100 fits");
        for (share, behaviour) in MIX {
            if lot < *share {
                return *behaviour;
            }
            lot -= share;
        }
        Behaviour::Accept
    }
}

/// Splits `defer2` into `defer` and 2; a number of more than six digits is none.
pub(crate) fn split_number(name: &str) -> (&str, Option<u32>) {
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[word.len()..];
    if digits.is_empty() || digits.len() > 6 {
        return (name, None);
    }
    (word, digits.parse().ok())
}

/// The behaviour that a local part asks for by its last tag: `ann+defer2`.
pub fn tag(local: &str) -> Option<Behaviour> {
    let (_, tag) = local.rsplit_once('+')?;
    Behaviour::parse(&tag.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_reads() {
        for row in BEHAVIOURS {
            let bare = row.name.trim_end_matches("[N]");
            assert!(Behaviour::parse(bare).is_some(), "{bare}");
            assert_eq!(Behaviour::parse(&format!("{bare}7")).is_some(), row.name.ends_with("[N]"), "{bare}7");
        }
        assert_eq!(Behaviour::parse("defer2"), Some(Behaviour::Defer(Times::First(2))));
        assert_eq!(Behaviour::parse("defer"), Some(Behaviour::Defer(Times::Always)));
        assert_eq!(Behaviour::parse("greylist3"), Some(Behaviour::Greylist(Duration::from_secs(3))));
        for no_name in ["", "2", "defer-2", "defer99999999", "mail1", "block-"] {
            assert_eq!(Behaviour::parse(no_name), None, "{no_name}");
        }
    }

    #[test]
    fn the_last_tag_counts_in_any_case() {
        assert_eq!(tag("ann+news+Unknown"), Some(Behaviour::Unknown));
        assert_eq!(tag("ann+unknown+news"), None);
        assert_eq!(tag("unknown"), None);
    }

    #[test]
    fn the_mix_is_whole_and_the_same_each_time() {
        assert_eq!(MIX.iter().map(|(share, _)| share).sum::<u32>(), 100);
        let draw = |seed, n: u32| Behaviour::Mixed.drawn(seed, &format!("r{n}@mixed.test"));
        let accepted = (0..10_000).filter(|n| draw(1, *n) == Behaviour::Accept).count();
        assert!((8_600..9_000).contains(&accepted), "{accepted} of 10,000");
        assert!((0..100).all(|n| draw(1, n) == draw(1, n)));
        assert!((0..100).any(|n| draw(1, n) != draw(2, n)), "another seed, another draw");
    }
}
