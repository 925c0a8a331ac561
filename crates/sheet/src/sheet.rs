//! What a file is, found from its first bytes: how it is written, its columns, and where its rows begin.

use std::io::{self, Read, Seek, SeekFrom};

use postrider_domain::import::Mapping;

use crate::columns::Columns;
use crate::rows::{Row, Rows};
use crate::text::{Charset, SAMPLE, Utf8Reader, delimiter};

/// A file of contacts, looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// Its character set.
    pub charset: Charset,
    /// What stands between two cells.
    pub delimiter: u8,
    /// The cells of its first row.
    pub first: Vec<String>,
    /// What its columns mean; or what the person should change, in words.
    pub columns: Result<Columns, String>,
    /// The offset, in the UTF-8 form of the file, behind its first row.
    first_row_end: u64,
    /// The first rows as UTF-8.
    head: Vec<u8>,
}

impl Sheet {
    /// Looks at the first bytes of a file, at most [`SAMPLE`] of them.
    ///
    /// # Errors
    /// What the person should change, in words: nothing can be read from the file as it is.
    pub fn look(sample: &[u8], mapping: &Mapping) -> Result<Sheet, String> {
        let sample = &sample[..sample.len().min(SAMPLE)];
        let charset = Charset::of(sample, &mapping.charset)?;
        let rest = &sample[charset.mark.min(sample.len())..];
        let mut head = Vec::new();
        if charset.is_utf8() {
            head.extend_from_slice(rest);
        } else {
            // A slice of memory gives no error of reading.
            let _ = Utf8Reader::new(rest, charset.encoding).take(SAMPLE as u64).read_to_end(&mut head);
        }
        let delimiter = match mapping.delimiter.as_str() {
            "" => delimiter(&head),
            "tab" | "\\t" | "\t" => b'\t',
            one if one.len() == 1 => one.as_bytes()[0],
            other => {
                let other: String = other.chars().take(10).collect();
                return Err(format!("`{other}` is no delimiter: write one character, or tab"));
            }
        };
        let mut rows = Rows::new(head.as_slice(), delimiter, 0);
        let mut row = Row::default();
        let unreadable = |_| "the first row cannot be read".to_owned();
        if !rows.read(&mut row).map_err(unreadable)? {
            return Err("the file is empty".to_owned());
        }
        if row.fault.is_some() {
            return Err("the first row cannot be read: write one line of headings".to_owned());
        }
        let (first, first_row_end) = (texts(&row), row.end);
        let second = if rows.read(&mut row).map_err(unreadable)? { texts(&row) } else { Vec::new() };
        let columns = Columns::read(&first, &second, mapping);
        Ok(Sheet { charset, delimiter, first, columns, first_row_end, head })
    }

    /// Whether the first row holds headings; when the columns are not known, a first row without a mailbox does.
    pub fn has_heading(&self) -> bool {
        match &self.columns {
            Ok(columns) => columns.has_heading,
            Err(_) => !Columns::looks_like_contacts(&self.first),
        }
    }

    /// Where the first contact begins, in the UTF-8 form of the file.
    pub fn begin(&self) -> u64 {
        if self.has_heading() { self.first_row_end } else { 0 }
    }

    /// The first rows behind the heading, at most `most`, each cell cut to `longest` characters.
    pub fn sample_rows(&self, most: usize, longest: usize) -> Vec<Vec<String>> {
        let begin = usize::try_from(self.begin()).unwrap_or(usize::MAX).min(self.head.len());
        let mut rows = Rows::new(&self.head[begin..], self.delimiter, 0);
        let (mut row, mut found) = (Row::default(), Vec::new());
        while found.len() < most && rows.read(&mut row).unwrap_or(false) {
            found.push(texts(&row).into_iter().map(|cell| cell.chars().take(longest).collect()).collect());
        }
        found
    }

    /// The delimiter as people write it.
    pub fn delimiter_text(&self) -> String {
        if self.delimiter == b'\t' { "tab".to_owned() } else { char::from(self.delimiter).to_string() }
    }

    /// The file as UTF-8 from an offset on; offsets count the bytes of the UTF-8 form, its mark left out.
    ///
    /// # Errors
    /// What the file said.
    pub fn source<F: Read + Seek + 'static>(&self, mut file: F, offset: u64) -> io::Result<Box<dyn Read>> {
        file.seek(SeekFrom::Start(self.charset.mark as u64))?;
        if self.charset.is_utf8() {
            file.seek(SeekFrom::Current(i64::try_from(offset).unwrap_or(i64::MAX)))?;
            return Ok(Box::new(file));
        }
        // In another set there is no way to the offset but through what lies before it.
        let mut decoded = Utf8Reader::new(file, self.charset.encoding);
        io::copy(&mut decoded.by_ref().take(offset), &mut io::sink())?;
        Ok(Box::new(decoded))
    }
}

fn texts(row: &Row) -> Vec<String> {
    (0..row.len()).map(|i| String::from_utf8_lossy(row.cell(i)).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_understood_from_its_first_bytes() {
        let text = "Nome;Posta elettronica;Città\nAnna;anna@example.org;Forlì\nBruno;bruno@example.org;Cantù\n";
        let (latin, _, _) = encoding_rs::WINDOWS_1252.encode(text);
        for bytes in [text.as_bytes(), &latin] {
            let sheet = Sheet::look(bytes, &Mapping::default()).unwrap();
            assert_eq!(sheet.delimiter_text(), ";");
            assert!(sheet.has_heading());
            assert_eq!(sheet.columns.as_ref().unwrap().describe()[1], "mailbox");
            assert_eq!(sheet.sample_rows(1, 3), [["Ann", "ann", "For"]]);
            let mut read = String::new();
            let file = io::Cursor::new(bytes.to_vec());
            sheet.source(file, sheet.begin()).unwrap().read_to_string(&mut read).unwrap();
            assert!(read.starts_with("Anna;"), "{read}");
        }
    }

    #[test]
    fn a_file_without_mailboxes_still_shows_its_rows() {
        let sheet = Sheet::look(b"a,b\n1,2\n3,4\n", &Mapping::default()).unwrap();
        assert!(sheet.columns.is_err() && sheet.has_heading());
        assert_eq!(sheet.sample_rows(20, 10), [["1", "2"], ["3", "4"]]);
        assert!(Sheet::look(b"", &Mapping::default()).unwrap_err().contains("empty"));
        let wrong = Mapping { delimiter: "comma".into(), ..Mapping::default() };
        assert!(Sheet::look(b"a,b", &wrong).unwrap_err().contains("delimiter"));
    }
}
