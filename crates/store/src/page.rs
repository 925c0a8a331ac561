//! Pages of long listings: a limit and an opaque cursor that names the last row shown (keyset, never an offset).
//!
//! Must not know any table; the modules that list say what their cursor holds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Result, StoreError};

/// Most rows that one page may hold.
pub const MAX_LIMIT: u32 = 500;
/// Rows of a page when nobody says otherwise.
pub const DEFAULT_LIMIT: u32 = 50;

/// Which page is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows wanted, 1 to [`MAX_LIMIT`]; other values are brought into that range.
    pub limit: u32,
    /// The cursor that the page before ended with; `None` for the first page.
    pub cursor: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        PageRequest { limit: DEFAULT_LIMIT, cursor: None }
    }
}

impl PageRequest {
    /// The first page with up to `limit` rows.
    pub fn first(limit: u32) -> PageRequest {
        PageRequest { limit, cursor: None }
    }

    /// The page after `cursor`, with the same limit.
    #[must_use]
    pub fn after(&self, cursor: Option<String>) -> PageRequest {
        PageRequest { limit: self.limit, cursor }
    }

    /// The limit in range.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit.clamp(1, MAX_LIMIT))
    }

    /// What the cursor holds; `None` for the first page. `tag` names the listing, so that a cursor of another
    /// listing is refused instead of read as nonsense.
    pub(crate) fn position<T: DeserializeOwned>(&self, tag: &str) -> Result<Option<T>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            // A forged NUL would be an error of PostgreSQL instead of an answer.
            if bytes.windows(6).any(|six| six == b"\\u0000") {
                return None;
            }
            let (given, position): (String, T) = serde_json::from_slice(&bytes).ok()?;
            (given == tag).then_some(position)
        };
        read().map(Some).ok_or_else(|| StoreError::Refused {
            message: "read the page: the cursor is not one of this listing; start again without a cursor".into(),
        })
    }
}

/// Rows and, when there are more, the cursor of the next page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` when this was the last one.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of rows that were read with one row more than asked; `position` says where the last one stands.
    pub(crate) fn cut<P: Serialize>(mut items: Vec<T>, limit: i64, tag: &str, position: impl Fn(&T) -> P) -> Page<T> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|item| cursor(tag, &position(item))) } else { None };
        Page { items, next }
    }

    /// The cursor behind a row that is not shown.
    pub(crate) fn after<P: Serialize>(tag: &str, position: &P) -> String {
        cursor(tag, position)
    }

    /// The same page with other rows.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}

/// The text of a cursor.
fn cursor<P: Serialize>(tag: &str, position: &P) -> String {
    let bytes = serde_json::to_vec(&(tag, position)).expect("numbers and texts always become JSON");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The smallest text greater than every text that begins with `prefix`; `None` when there is none.
pub(crate) fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let mut next = u32::from(last) + 1;
        if next == 0xD800 {
            next = 0xE000;
        }
        if let Some(next) = char::from_u32(next) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_back_to_its_own_listing_only() {
        let page = Page::cut(vec![1i64, 2, 3], 2, "a", |n| *n);
        assert_eq!(page.items, [1, 2]);
        let request = PageRequest::first(2).after(page.next);
        assert_eq!(request.position::<i64>("a").unwrap(), Some(2));
        assert!(matches!(request.position::<i64>("b"), Err(StoreError::Refused { .. })));
        for bad in ["", "%%%", "AAAA", "bnVsbA"] {
            let request = PageRequest { limit: 2, cursor: Some(bad.into()) };
            assert!(request.position::<i64>("a").is_err(), "{bad}");
        }
        assert_eq!(Page::cut(vec![1i64, 2], 2, "a", |n| *n).next, None);
    }

    #[test]
    fn the_limit_is_brought_into_range() {
        assert_eq!(PageRequest::first(0).rows(), 1);
        assert_eq!(PageRequest::first(9_999_999).rows(), 500);
    }

    #[test]
    fn the_text_after_a_prefix_is_greater_than_all_that_begin_with_it() {
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(after_prefix("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{D7FF}").as_deref(), Some("\u{E000}"));
        assert_eq!(after_prefix("\u{10FFFF}"), None);
        assert_eq!(after_prefix(""), None);
    }
}
