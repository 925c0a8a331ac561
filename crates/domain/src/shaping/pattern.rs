//! Texts of replies, matched in time linear in the text.
//!
//! A pattern is a text in lowercase; `*` stands for anything. It may lie anywhere in the reply. There is nothing else, so
//! that a hostile reply costs no more than a friendly one.

/// Bytes of a reply that are looked at.
const LOOKED_AT: usize = 1024;

/// Parts of a text that must appear in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<String>);

impl Pattern {
    /// Reads a pattern; `None` when it could match everything, or nothing because of an uppercase letter, or when it
    /// holds a backslash: nothing is escaped here, and a backslash is the trace of another language of patterns.
    pub fn parse(text: &str) -> Option<Pattern> {
        let parts: Vec<String> = text.split('*').map(str::to_owned).collect();
        let sound = !text.bytes().any(|b| b.is_ascii_uppercase() || b == b'\\' || b.is_ascii_control())
            && text.trim().len() == text.len()
            && parts.iter().all(|p| !p.trim().is_empty());
        sound.then_some(Pattern(parts))
    }

    /// Whether the parts lie in `text` in their order. `text` is what [`Pattern::prepare`] made.
    pub fn is_in(&self, text: &str) -> bool {
        let mut rest = text;
        for part in &self.0 {
            // The first place is the best one: it leaves most for the parts behind it.
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }

    /// A reply's text as patterns see it: its first KiB, in lowercase.
    pub fn prepare(text: &str) -> String {
        let mut end = text.len().min(LOOKED_AT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).unwrap().is_in(&Pattern::prepare(text))
    }

    #[test]
    fn parts_are_found_in_their_order() {
        assert!(matches("unusual rate of * mail", "an Unusual Rate of unsolicited MAIL"));
        assert!(!matches("unusual rate of * mail", "mail at an unusual rate of"));
        assert!(matches("a*a", "xaxa") && !matches("a*a", "xax"));
    }

    #[test]
    fn patterns_that_cannot_mean_anything_are_refused() {
        for bad in ["", "*", "a*", "*a", "a**b", "Rate", "a\\.b", " a", "a\n"] {
            assert_eq!(Pattern::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_the_first_kib_is_looked_at_and_long_hostile_texts_are_cheap() {
        assert!(!matches("rate", &format!("{}rate", "é".repeat(512))));
        assert!(matches("rate", &format!("{}rate", "é".repeat(510))));
        let hostile = "ab".repeat(10_000_000);
        let begun = std::time::Instant::now();
        assert!(!matches("abababababababac*abababababac", &hostile));
        assert!(begun.elapsed().as_millis() < 100);
    }
}
