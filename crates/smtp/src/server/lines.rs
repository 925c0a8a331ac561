//! Lines of a message that comes by BDAT (RFC 3030), where no dot marks the end and no byte is stuffed.
//!
//! The standard lets any bytes through; we deliver by DATA, so what DATA cannot carry is refused here, too.

/// Longest text line without its CRLF (RFC 5321 4.5.3.1.6).
const LINE_MAX: usize = 998;

/// Looks at the bytes of a message, cut anywhere.
#[derive(Debug, Default, Clone)]
pub(super) struct LineCheck {
    /// Octets of the line so far, without its CR.
    length: usize,
    after_cr: bool,
}

/// A bare CR or LF, a NUL, or a line that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadLine;

/// How the message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLine {
    /// With CRLF, or there was no byte at all.
    Whole,
    /// Without: DATA would add the CRLF (RFC 5321 4.1.1.4).
    Open,
}

impl LineCheck {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), BadLine> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if self.after_cr {
                if first != b'\n' {
                    return Err(BadLine);
                }
                self.after_cr = false;
                self.length = 0;
                rest = &rest[1..];
                continue;
            }
            let at = memchr::memchr3(b'\r', b'\n', 0, rest);
            self.length += at.unwrap_or(rest.len());
            if self.length > LINE_MAX {
                return Err(BadLine);
            }
            let Some(at) = at else { return Ok(()) };
            if rest[at] != b'\r' {
                return Err(BadLine);
            }
            self.after_cr = true;
            rest = &rest[at + 1..];
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Result<LastLine, BadLine> {
        match (self.after_cr, self.length) {
            (true, _) => Err(BadLine),
            (false, 0) => Ok(LastLine::Whole),
            (false, _) => Ok(LastLine::Open),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(bytes: &[u8], size: usize) -> Result<LastLine, BadLine> {
        let mut check = LineCheck::default();
        for piece in bytes.chunks(size) {
            check.feed(piece)?;
        }
        check.end()
    }

    #[test]
    fn lines_are_judged_alike_wherever_they_are_cut() {
        let longest = [&[b'a'; 998][..], b"\r\n"].concat();
        let too_long = [&[b'a'; 999][..], b"\r\n"].concat();
        let table: [(&[u8], Result<LastLine, BadLine>); 14] = [
            (b"", Ok(LastLine::Whole)),
            (b"a\r\nb\r\n", Ok(LastLine::Whole)),
            (b"\r\n\r\n", Ok(LastLine::Whole)),
            (b"a\r\nb", Ok(LastLine::Open)),
            (b".\r\n.\r\n", Ok(LastLine::Whole)),
            (b"a\nb\r\n", Err(BadLine)),
            (b"a\r\r\n", Err(BadLine)),
            (b"a\rb\r\n", Err(BadLine)),
            (b"a\r\n\n", Err(BadLine)),
            (b"a\r", Err(BadLine)),
            (b"a\0b\r\n", Err(BadLine)),
            (b"a\r\0\n", Err(BadLine)),
            (&longest, Ok(LastLine::Whole)),
            (&too_long, Err(BadLine)),
        ];
        for (bytes, outcome) in table {
            for size in [1, 2, 3, 7, 2_000] {
                assert_eq!(fed(bytes, size), outcome, "{:?} by {size}", String::from_utf8_lossy(bytes));
            }
        }
    }
}
