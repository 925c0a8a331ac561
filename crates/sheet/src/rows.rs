//! Splits a stream of bytes into the rows of a delimited file, with every size bounded and a broken row costing
//! itself only.
//!
//! Knows RFC 4180 and how real files stray from it. Knows no column names, no contacts, no character set other than
//! "bytes that should be UTF-8".

use std::io::{self, Read};
use std::ops::Range;

/// Longest row in bytes.
pub const ROW_CAP: usize = 1 << 20;
/// Most cells of a row.
pub const COLUMN_CAP: usize = 2_000;
/// Longest cell in bytes.
pub const CELL_CAP: usize = 64 << 10;
/// How many bytes may be read a second time to save the rows that an open quotation mark swallowed. Past it the
/// swallowed bytes are given up, so that a hostile file costs linear time.
const SECOND_LOOK_BUDGET: u64 = 256 << 20;
/// Bytes asked of the source at a time.
const BLOCK: usize = 128 << 10;

/// What is wrong with the form of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFault {
    /// Longer than [`ROW_CAP`].
    TooLarge,
    /// A quotation mark is opened and not closed in a sensible place.
    Quote,
    /// More cells than [`COLUMN_CAP`].
    TooManyCells,
    /// A cell longer than [`CELL_CAP`].
    CellTooLong,
}

/// One row: its cells without quotation marks, its raw bytes and where it ends.
#[derive(Debug, Default)]
pub struct Row {
    text: Vec<u8>,
    ends: Vec<usize>,
    raw: Range<usize>,
    /// The offset in the stream after this row: a reader that starts there reads the next row.
    pub end: u64,
    /// Set when the row cannot be used; its cells are then not complete.
    pub fault: Option<RowFault>,
}

impl Row {
    /// How many cells the row has; never none.
    #[allow(clippy::len_without_is_empty, reason = "a row that comes out of `Rows` has a cell")]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of cell `i`; empty when there is no such cell.
    pub fn cell(&self, i: usize) -> &[u8] {
        let from = if i == 0 { 0 } else { self.ends.get(i - 1).copied().unwrap_or(self.text.len()) };
        let to = self.ends.get(i).copied().unwrap_or(from);
        &self.text[from.min(to)..to]
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.fault = None;
    }

    /// Ends the cell that is being read.
    fn close_cell(&mut self) {
        if self.ends.len() >= COLUMN_CAP {
            self.fault = self.fault.or(Some(RowFault::TooManyCells));
            self.text.truncate(self.ends.last().copied().unwrap_or(0));
            return;
        }
        let from = self.ends.last().copied().unwrap_or(0);
        if self.text.len() - from > CELL_CAP {
            self.fault = self.fault.or(Some(RowFault::CellTooLong));
        }
        self.ends.push(self.text.len());
    }
}

enum At {
    CellStart,
    Plain,
    Quoted,
    AfterQuote,
}

/// The rows of a source.
pub struct Rows<R> {
    source: R,
    delimiter: u8,
    buffer: Vec<u8>,
    /// Where the next row begins in `buffer`.
    start: usize,
    /// Offset in the stream of `buffer[0]`.
    base: u64,
    ended: bool,
    budget: u64,
}

impl<R: Read> Rows<R> {
    /// Reads from `source`, whose first byte has the offset `base`.
    pub fn new(source: R, delimiter: u8, base: u64) -> Rows<R> {
        Rows { source, delimiter, buffer: Vec::new(), start: 0, base, ended: false, budget: SECOND_LOOK_BUDGET }
    }

    /// The raw bytes of the row that was read last, without its line end.
    pub fn raw(&self, row: &Row) -> &[u8] {
        self.buffer.get(row.raw.clone()).unwrap_or_default()
    }

    /// Reads the next row that is not blank; false at the end.
    ///
    /// # Errors
    /// What the source said.
    pub fn read(&mut self, row: &mut Row) -> io::Result<bool> {
        loop {
            row.clear();
            self.make_room();
            if !self.has(self.start)? {
                return Ok(false);
            }
            let (raw_end, next) = self.scan(row)?;
            row.raw = self.start..raw_end;
            row.end = self.base + next as u64;
            let blank = row.fault.is_none() && row.ends.len() == 1 && row.text.iter().all(u8::is_ascii_whitespace);
            self.start = next;
            if !blank {
                return Ok(true);
            }
        }
    }

    /// Drops what was read already, seldom enough to cost nothing.
    fn make_room(&mut self) {
        if self.start >= BLOCK {
            self.buffer.drain(..self.start);
            self.base += self.start as u64;
            self.start = 0;
        }
    }

    /// Whether there is a byte at `at`, asking the source when needed.
    fn has(&mut self, at: usize) -> io::Result<bool> {
        while at >= self.buffer.len() && !self.ended {
            let old = self.buffer.len();
            self.buffer.resize(old + BLOCK, 0);
            let got = loop {
                match self.source.read(&mut self.buffer[old..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            match got {
                Ok(n) => {
                    self.buffer.truncate(old + n);
                    self.ended = n == 0;
                }
                Err(error) => {
                    self.buffer.truncate(old);
                    return Err(error);
                }
            }
        }
        Ok(at < self.buffer.len())
    }

    /// Reads one row from `start`. Gives the end of its bytes and the begin of the next row.
    fn scan(&mut self, row: &mut Row) -> io::Result<(usize, usize)> {
        let mut at = self.start;
        let mut state = At::CellStart;
        let mut quote_from = at;
        loop {
            if at - self.start > ROW_CAP {
                return self.give_up(row, at, RowFault::TooLarge, matches!(state, At::Quoted));
            }
            if !self.has(at)? {
                return match state {
                    At::Quoted => self.give_up(row, at, RowFault::Quote, true),
                    At::CellStart | At::Plain | At::AfterQuote => {
                        row.close_cell();
                        Ok((at, at))
                    }
                };
            }
            let rest = &self.buffer[at..];
            match state {
                At::CellStart if rest[0] == b'"' => {
                    quote_from = at;
                    at += 1;
                    state = At::Quoted;
                }
                At::CellStart | At::Plain => match memchr::memchr3(self.delimiter, b'\n', b'\r', rest) {
                    None => {
                        row.text.extend_from_slice(rest);
                        at = self.buffer.len();
                        state = At::Plain;
                    }
                    Some(n) => {
                        row.text.extend_from_slice(&rest[..n]);
                        row.close_cell();
                        at += n;
                        if rest[n] != self.delimiter {
                            return Ok((at, self.after_line_end(at)?));
                        }
                        at += 1;
                        state = At::CellStart;
                    }
                },
                At::Quoted => match memchr::memchr(b'"', rest) {
                    None => {
                        row.text.extend_from_slice(rest);
                        at = self.buffer.len();
                    }
                    Some(n) => {
                        row.text.extend_from_slice(&rest[..n]);
                        at += n + 1;
                        state = At::AfterQuote;
                    }
                },
                At::AfterQuote => match rest[0] {
                    b'"' => {
                        row.text.push(b'"');
                        at += 1;
                        state = At::Quoted;
                    }
                    b if b == self.delimiter => {
                        row.close_cell();
                        at += 1;
                        state = At::CellStart;
                    }
                    b'\n' | b'\r' => {
                        row.close_cell();
                        return Ok((at, self.after_line_end(at)?));
                    }
                    // `"a" b,` on one line is read as it looks; over several lines it is a quotation mark that some
                    // row forgot to close, meeting the first one of a later row.
                    _ if memchr::memchr2(b'\n', b'\r', &self.buffer[quote_from..at]).is_none() => state = At::Plain,
                    _ => return self.give_up(row, at, RowFault::Quote, true),
                },
            }
        }
    }

    /// The offset behind the line end at `at`: LF, CR LF or a lone CR.
    fn after_line_end(&mut self, at: usize) -> io::Result<usize> {
        if self.buffer[at] == b'\r' && self.has(at + 1)? && self.buffer[at + 1] == b'\n' {
            return Ok(at + 2);
        }
        Ok(at + 1)
    }

    /// Leaves a broken row. When a quotation mark swallowed the rows behind it, only its own line is lost and the
    /// rest is read again, as long as the budget lasts; else reading goes on at the next line end.
    fn give_up(&mut self, row: &mut Row, at: usize, fault: RowFault, in_quotes: bool) -> io::Result<(usize, usize)> {
        row.text.clear();
        row.ends.clear();
        row.close_cell();
        row.fault = Some(fault);
        let read = (at - self.start) as u64;
        if in_quotes
            && self.budget >= read
            && let Some(n) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.start..at])
        {
            self.budget -= read;
            let line_end = self.start + n;
            return Ok((line_end, self.after_line_end(line_end)?));
        }
        let mut at = at;
        loop {
            if !self.has(at)? {
                return Ok((at.min(self.start + ROW_CAP), at));
            }
            if let Some(n) = memchr::memchr2(b'\n', b'\r', &self.buffer[at..]) {
                let line_end = at + n;
                return Ok((line_end.min(self.start + ROW_CAP), self.after_line_end(line_end)?));
            }
            // Nothing of this stretch is needed: forget it, so that a line without end costs no memory.
            let keep = self.start + ROW_CAP;
            if self.buffer.len() > keep {
                self.base += (self.buffer.len() - keep) as u64;
                self.buffer.truncate(keep);
            }
            at = self.buffer.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Read1 = (Vec<String>, Option<RowFault>, u64);

    fn all(text: &[u8], delimiter: u8) -> Vec<Read1> {
        let mut rows = Rows::new(text, delimiter, 0);
        let (mut row, mut found) = (Row::default(), Vec::new());
        while rows.read(&mut row).unwrap() {
            let cells = (0..row.len()).map(|i| String::from_utf8_lossy(row.cell(i)).into_owned()).collect();
            found.push((cells, row.fault, row.end));
        }
        found
    }

    fn cells(text: &str) -> Vec<Vec<String>> {
        all(text.as_bytes(), b',').into_iter().map(|r| r.0).collect()
    }

    #[test]
    fn the_ordinary_forms_are_read() {
        for text in ["a,b\nc,d\n", "a,b\r\nc,d", "a,b\rc,d\r", "\n\na,b\n \nc,d\n\n", "\"a\",b\n\"c\",\"d\""] {
            assert_eq!(cells(text), [["a", "b"], ["c", "d"]], "{text:?}");
        }
        assert_eq!(cells("\"a \"\"x\"\"\nb\",c,\n"), [["a \"x\"\nb", "c", ""]]);
        assert_eq!(cells("\"a\" b,c\n"), [["a b", "c"]]);
        assert_eq!(cells("a\"b,c\"d\n"), [["a\"b", "c\"d"]]);
    }

    #[test]
    fn a_quotation_mark_that_nobody_closes_costs_its_own_line() {
        let found = all(b"h,i\n1,\"open\n2,b\n3,\"c\"\n4,d\n", b',');
        let good: Vec<&str> = found.iter().filter(|r| r.1.is_none()).map(|r| r.0[0].as_str()).collect();
        assert_eq!(good, ["h", "2", "3", "4"]);
        assert_eq!(found.iter().filter(|r| r.1 == Some(RowFault::Quote)).count(), 1);
        let found = all(b"h,i\n1,\"open\n2,b\n", b',');
        assert_eq!(found.iter().map(|r| r.1).collect::<Vec<_>>(), [None, Some(RowFault::Quote), None]);
    }

    #[test]
    fn sizes_are_bounded_and_the_next_row_is_read() {
        let long_cell = "x".repeat(CELL_CAP + 1);
        let many = ",".repeat(COLUMN_CAP + 5);
        let endless = "y".repeat(3 * ROW_CAP);
        let text = format!("{long_cell},b\n{many}\n{endless}\nlast,row\n");
        let found = all(text.as_bytes(), b',');
        let faults: Vec<_> = found.iter().map(|r| r.1).collect();
        assert_eq!(faults, [Some(RowFault::CellTooLong), Some(RowFault::TooManyCells), Some(RowFault::TooLarge), None]);
        assert_eq!(found[3].0, ["last", "row"]);
        assert_eq!(found[3].2, text.len() as u64, "offsets count the bytes that were given up");
    }

    #[test]
    fn many_open_quotation_marks_cost_linear_time() {
        let text = "a,\"b\n".repeat(400_000);
        let started = std::time::Instant::now();
        let found = all(text.as_bytes(), b',');
        assert!(found.len() > 1);
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }

    proptest! {
        #[test]
        fn what_a_writer_writes_is_read_back_from_any_row_on(
            rows in proptest::collection::vec(proptest::collection::vec("[ -~\\n\\r\"é,;]{0,12}", 2..5), 1..12),
            pick in any::<prop::sample::Index>(),
        ) {
            let mut text = String::new();
            for row in &rows {
                let line: Vec<String> = row.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
                text.push_str(&line.join(","));
                text.push_str("\r\n");
            }
            let found = all(text.as_bytes(), b',');
            prop_assert_eq!(found.iter().map(|r| r.0.clone()).collect::<Vec<_>>(), rows.clone());
            let from = pick.index(found.len());
            let offset = found[from].2;
            let mut rest = Rows::new(&text.as_bytes()[offset as usize..], b',', offset);
            let mut row = Row::default();
            for later in &found[from + 1..] {
                prop_assert!(rest.read(&mut row).unwrap());
                prop_assert_eq!(row.end, later.2);
            }
            prop_assert!(!rest.read(&mut row).unwrap());
        }

        #[test]
        fn no_bytes_make_it_fail_or_lose_the_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let found = all(&bytes, b',');
            if let Some(last) = found.last() {
                prop_assert!(last.2 <= bytes.len() as u64);
            }
            prop_assert!(found.windows(2).all(|w| w[0].2 < w[1].2));
        }
    }
}
