//! Licence expressions (SPDX): whether a list of accepted licences satisfies one.

/// Whether the expression can be met with the accepted licences alone. `/` is read as OR, as old manifests write it.
pub fn satisfied(expression: &str, accepted: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { tokens: &tokens, accepted };
    let met = reader.any();
    met && reader.tokens.is_empty()
}

struct Reader<'a> {
    tokens: &'a [&'a str],
    accepted: &'a [&'a str],
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take_if(&mut self, word: &str) -> bool {
        let found = self.tokens.first() == Some(&word);
        if found {
            self.take();
        }
        found
    }

    fn any(&mut self) -> bool {
        let mut met = self.all();
        while self.take_if("OR") {
            met |= self.all();
        }
        met
    }

    fn all(&mut self) -> bool {
        let mut met = self.one();
        while self.take_if("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.take_if("(") {
            let met = self.any();
            return self.take_if(")") && met;
        }
        let Some(licence) = self.take() else { return false };
        // An exception only adds rights.
        if self.take_if("WITH") {
            self.take();
        }
        self.accepted.contains(&licence)
    }
}

#[test]
fn expressions() {
    let accepted = ["MIT", "Apache-2.0", "ISC"];
    let table = [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("Unlicense/MIT", true),
        ("(MIT OR GPL-2.0) AND ISC", true),
        ("(GPL-2.0 OR LGPL-2.1) AND ISC", false),
        ("GPL-2.0 OR MIT AND ISC", true),
        ("MIT AND (GPL-2.0 OR LGPL-2.1)", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
        ("", false),
        ("(MIT", false),
        ("MIT MIT", false),
    ];
    for (expression, met) in table {
        assert_eq!(satisfied(expression, &accepted), met, "{expression:?}");
    }
}
