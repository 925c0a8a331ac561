//! The closed list of places where SQLite and PostgreSQL want different words, as tokens in one statement text.
//!
//! | token | SQLite | PostgreSQL |
//! |---|---|---|
//! | `{jsonb X}` | `jsonb(X)` | `CAST(X AS JSONB)` |
//! | `{json X}` | `json(X)` | `CAST(X AS TEXT)` |
//! | `{rows $1 (id bigint, name text, ok bool)} r` | a subselect over `jsonb_each` | `jsonb_to_recordset` |
//! | `{pack a, b}` | `json_group_array(json_array(a, b))` | the same with `json_agg`, as text |
//! | `{list a, b}` inside `{pack}` | `json_array(a, b)` | `json_build_array(a, b)` |
//! | `{ids $1}` | `(SELECT value FROM json_each($1))` | the same over `jsonb_array_elements_text`, as bigint |
//! | `{texts $1}` | as `ids`, as text | as `ids`, as text |
//! | `{numbered $1}` | as `ids`, with the place `n` of each, from 0 | as `ids`, `WITH ORDINALITY` |
//! | `{hex X}`, `{unhex X}` | `lower(hex(X))`, `unhex(X)` | `encode(X, 'hex')`, `decode(X, 'hex')` |
//! | `{greatest A, B}`, `{least A, B}` | `max(A, B)`, `min(A, B)` | `greatest(A, B)`, `least(A, B)` |
//! | `{for_update}`, `{for_share}`, `{skip_locked}` | nothing | the lock clause |
//! | `{for_update_of T}`, `{for_share_of T}` | nothing | the lock clause for one table |
//! | `{ilike}` | `LIKE` | `ILIKE` |
//!
//! `{pack}` makes one row of many: a row costs a hand-over between threads, which is more than the row itself on hot paths.
//!
//! Types in `{rows}`: bigint, text, bool, real. Bytes travel as hexadecimal text. Everything else has one text.

use std::collections::HashMap;
use std::sync::{OnceLock, RwLock};

/// Which database a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

type Memo = RwLock<HashMap<&'static str, &'static str>>;

impl Dialect {
    /// The text for this database; each statement is expanded once and kept for the life of the process.
    pub(crate) fn text(self, statement: &'static str) -> &'static str {
        if !statement.contains('{') {
            return statement;
        }
        static MEMO: [OnceLock<Memo>; 2] = [OnceLock::new(), OnceLock::new()];
        let memo = MEMO[match self {
            Dialect::Sqlite => 0,
            Dialect::Postgres => 1,
        }]
        .get_or_init(Memo::default);
        let locked = "nothing panics while the memo is locked";
        if let Some(text) = memo.read().expect(locked).get(statement) {
            return text;
        }
        let text: &'static str = self.expand(statement).leak();
        memo.write().expect(locked).insert(statement, text);
        text
    }

    /// Replaces the tokens of the table above. An unknown token is kept, so that preparing it fails loudly.
    pub(crate) fn expand(self, statement: &str) -> String {
        let mut out = String::with_capacity(statement.len() + 64);
        let mut rest = statement;
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            let inner = &rest[open + 1..];
            let Some(close) = closing(inner) else {
                out.push_str(&rest[open..]);
                return out;
            };
            out.push_str(&self.token(&self.expand(&inner[..close])));
            rest = &inner[close + 1..];
        }
        out.push_str(rest);
        out
    }

    fn token(self, token: &str) -> String {
        let (word, rest) = token.split_once(' ').unwrap_or((token, ""));
        let rest = rest.trim();
        match (self, word) {
            (Dialect::Sqlite, "jsonb") => format!("jsonb({rest})"),
            (Dialect::Postgres, "jsonb") => format!("CAST({rest} AS JSONB)"),
            (Dialect::Sqlite, "json") => format!("json({rest})"),
            (Dialect::Postgres, "json") => format!("CAST({rest} AS TEXT)"),
            (_, "rows") => self.rows(rest),
            (Dialect::Sqlite, "list") => format!("json_array({rest})"),
            (Dialect::Postgres, "list") => format!("json_build_array({rest})"),
            (Dialect::Sqlite, "pack") => format!("json_group_array(json_array({rest}))"),
            (Dialect::Postgres, "pack") => format!("CAST(coalesce(json_agg(json_build_array({rest})), '[]') AS TEXT)"),
            (Dialect::Sqlite, "ids" | "texts") => format!("(SELECT value FROM json_each({rest}))"),
            (Dialect::Postgres, "ids") => {
                format!("(SELECT CAST(value AS BIGINT) AS value FROM jsonb_array_elements_text(CAST({rest} AS JSONB)))")
            }
            (Dialect::Postgres, "texts") => {
                format!("(SELECT value FROM jsonb_array_elements_text(CAST({rest} AS JSONB)))")
            }
            (Dialect::Sqlite, "numbered") => format!("(SELECT key AS n, value FROM json_each({rest}))"),
            (Dialect::Postgres, "numbered") => format!(
                "(SELECT CAST(e.value AS BIGINT) AS value, e.n - 1 AS n \
                 FROM jsonb_array_elements_text(CAST({rest} AS JSONB)) WITH ORDINALITY AS e(value, n))"
            ),
            (Dialect::Sqlite, "hex") => format!("lower(hex({rest}))"),
            (Dialect::Postgres, "hex") => format!("encode({rest}, 'hex')"),
            (Dialect::Sqlite, "unhex") => format!("unhex({rest})"),
            (Dialect::Postgres, "unhex") => format!("decode({rest}, 'hex')"),
            (Dialect::Sqlite, "greatest") => format!("max({rest})"),
            (Dialect::Sqlite, "least") => format!("min({rest})"),
            (Dialect::Postgres, "greatest" | "least") => format!("{word}({rest})"),
            (Dialect::Sqlite, "for_update" | "for_share" | "skip_locked" | "for_update_of" | "for_share_of") => {
                String::new()
            }
            (Dialect::Postgres, "for_update") => "FOR UPDATE".into(),
            (Dialect::Postgres, "for_share") => "FOR SHARE".into(),
            (Dialect::Postgres, "skip_locked") => "SKIP LOCKED".into(),
            (Dialect::Postgres, "for_update_of") => format!("FOR UPDATE OF {rest}"),
            (Dialect::Postgres, "for_share_of") => format!("FOR SHARE OF {rest}"),
            (Dialect::Sqlite, "ilike") => "LIKE".into(),
            (Dialect::Postgres, "ilike") => "ILIKE".into(),
            _ => format!("{{{token}}}"),
        }
    }

    /// `$1 (id bigint, name text)`: a table made of a JSON array of objects. The alias follows the token.
    fn rows(self, rest: &str) -> String {
        let Some((parameter, columns)) = rest.split_once('(') else {
            return format!("{{rows {rest}}}");
        };
        let columns = columns.trim_end().trim_end_matches(')');
        let columns: Vec<(&str, &str)> = columns.split(',').filter_map(|c| c.trim().split_once(' ')).collect();
        match self {
            Dialect::Sqlite => {
                let list: Vec<String> =
                    columns.iter().map(|(name, _)| format!("value->>'$.{name}' AS {name}")).collect();
                // jsonb_each (3.51) hands out objects in binary form; json_each would write each as text to be parsed again.
                format!("(SELECT {} FROM jsonb_each({}))", list.join(", "), parameter.trim())
            }
            Dialect::Postgres => {
                let list: Vec<String> = columns
                    .iter()
                    .map(|(name, kind)| {
                        format!("{name} {}", if kind.trim() == "real" { "double precision" } else { kind })
                    })
                    .collect();
                // A subselect, so that the alias stands in the same place on both.
                format!(
                    "(SELECT * FROM jsonb_to_recordset(CAST({} AS JSONB)) AS t({}))",
                    parameter.trim(),
                    list.join(", ")
                )
            }
        }
    }
}

/// Where the brace that opened before `inner` closes.
fn closing(inner: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_become_the_words_of_each_database() {
        let statement = "SELECT {json a} FROM {rows $1 (id bigint, x real)} r WHERE b = {jsonb $2} {for_update_of q}";
        assert_eq!(
            Dialect::Sqlite.expand(statement),
            "SELECT json(a) FROM (SELECT value->>'$.id' AS id, value->>'$.x' AS x FROM jsonb_each($1)) r WHERE b = jsonb($2) "
        );
        assert_eq!(
            Dialect::Postgres.expand(statement),
            "SELECT CAST(a AS TEXT) FROM (SELECT * FROM jsonb_to_recordset(CAST($1 AS JSONB)) AS t(id bigint, x double precision)) r \
             WHERE b = CAST($2 AS JSONB) FOR UPDATE OF q"
        );
    }

    #[test]
    fn an_unknown_token_stays_so_that_preparing_it_fails() {
        assert_eq!(Dialect::Sqlite.expand("SELECT {nowish}"), "SELECT {nowish}");
        assert_eq!(Dialect::Sqlite.expand("SELECT {open"), "SELECT {open");
    }
}
