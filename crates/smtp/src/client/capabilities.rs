//! What the peer said that it can do (RFC 5321 4.1.1.1).

/// The service extensions of a peer's EHLO reply. All absent after HELO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 1870; `Some(0)` and a bare `SIZE` both mean: no fixed limit.
    pub size: Option<u64>,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 2034.
    pub enhanced_status: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 8689; counts only under TLS.
    pub require_tls: bool,
    /// RFC 4954 with the mechanism PLAIN.
    pub auth_plain: bool,
    /// RFC 4954 with the mechanism LOGIN.
    pub auth_login: bool,
    /// All keyword lines as they came, at most 64, for the peer's record.
    pub lines: Vec<String>,
}

impl Capabilities {
    /// Reads the lines of an EHLO reply, of which the first is the peer's own name.
    pub fn from_ehlo(lines: &[String]) -> Self {
        let mut capabilities = Self::default();
        for line in lines.iter().skip(1).take(64) {
            capabilities.read(line);
            capabilities.lines.push(line.clone());
        }
        capabilities
    }

    fn read(&mut self, line: &str) {
        // "AUTH=PLAIN" is an old misreading of the draft that some servers still send beside the right form.
        let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
        let Some(keyword) = words.next() else { return };
        match keyword.to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "STARTTLS" => self.starttls = true,
            "SIZE" => self.size = Some(words.next().and_then(|digits| digits.parse().ok()).unwrap_or(0)),
            "SMTPUTF8" => self.smtputf8 = true,
            "8BITMIME" => self.eight_bit_mime = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status = true,
            "DSN" => self.dsn = true,
            "REQUIRETLS" => self.require_tls = true,
            "AUTH" => {
                for mechanism in words {
                    self.auth_plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                    self.auth_login |= mechanism.eq_ignore_ascii_case("LOGIN");
                }
            }
            _ => {}
        }
    }

    /// The largest message that the peer takes, when it names a limit.
    pub fn size_limit(&self) -> Option<u64> {
        self.size.filter(|limit| *limit > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Capabilities {
        Capabilities::from_ehlo(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_line_is_a_name_and_case_does_not_matter() {
        let capabilities = read(&["PIPELINING", "pipelining", "Size 1000", "auth LOGIN plain", "starttls"]);
        assert!(capabilities.pipelining && capabilities.starttls);
        assert!(capabilities.auth_plain && capabilities.auth_login);
        assert_eq!(capabilities.size_limit(), Some(1000));
        assert!(!read(&["PIPELINING"]).pipelining);
    }

    #[test]
    fn odd_lines_are_no_harm() {
        let capabilities = read(&["mx", "", "SIZE", "AUTH=PLAIN", "XYZ \u{fffd}", "SIZEABLE 5"]);
        assert_eq!(capabilities.size, Some(0));
        assert_eq!(capabilities.size_limit(), None);
        assert!(capabilities.auth_plain);
        assert_eq!(read(&["mx", "SIZE 99999999999999999999999"]).size_limit(), None);
    }
}
