//! Plain tables and numbers for people at a terminal.

use std::fmt::Write;

/// Rows under headings, columns as wide as their widest cell, two spaces between.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (cell, width) in cells.zip(&widths) {
            let pad = width - cell.chars().count().min(*width);
            let _ = write!(out, "{cell}{}  ", " ".repeat(pad));
        }
        text.push_str(out.trim_end());
        text.push('\n');
    };
    line(&mut headings.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// A text without control characters, at most `most` characters long: what a remote host said goes to a terminal.
pub fn plain(text: &str, most: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.chars().count() <= most {
        clean
    } else {
        clean.chars().take(most.saturating_sub(1)).chain(['…']).collect()
    }
}

/// A text field of a JSON object, empty when it is not there.
pub fn text(value: &serde_json::Value, field: &str) -> String {
    long_text(value, field, 200)
}

/// The same where a remedy has to be read to its end.
pub fn long_text(value: &serde_json::Value, field: &str, most: usize) -> String {
    match &value[field] {
        serde_json::Value::String(s) => plain(s, most),
        serde_json::Value::Null => String::new(),
        other => plain(&other.to_string(), most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_do_not_reach_the_terminal() {
        let t = table(&["a", "long heading"], &[vec!["wide cell".into(), "x".into()]]);
        assert_eq!(t, "a          long heading\nwide cell  x\n");
        assert_eq!(plain("a\u{1b}[31mb\nc", 80), "a [31mb c");
        assert_eq!(plain("abcdef", 4), "abc…");
    }
}
