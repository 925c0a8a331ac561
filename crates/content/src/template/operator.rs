//! Operators of the template language, by what they need and give. Must not know how they are checked.

use minijinja::machinery::ast;

/// Operators that share a meaning and a place in the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Calculations.
    Number,
    /// `and`.
    And,
    /// `or`.
    Or,
    /// `~`.
    Concat,
    /// `==` and its kin.
    Compare,
    /// `in`.
    In,
}

impl Class {
    /// The class of an operator.
    pub fn of(op: ast::BinOpKind) -> Class {
        match op {
            ast::BinOpKind::Add
            | ast::BinOpKind::Sub
            | ast::BinOpKind::Mul
            | ast::BinOpKind::Div
            | ast::BinOpKind::FloorDiv
            | ast::BinOpKind::Rem
            | ast::BinOpKind::Pow => Class::Number,
            ast::BinOpKind::ScAnd => Class::And,
            ast::BinOpKind::ScOr => Class::Or,
            ast::BinOpKind::Concat => Class::Concat,
            ast::BinOpKind::In => Class::In,
            ast::BinOpKind::Eq
            | ast::BinOpKind::Ne
            | ast::BinOpKind::Lt
            | ast::BinOpKind::Lte
            | ast::BinOpKind::Gt
            | ast::BinOpKind::Gte => Class::Compare,
        }
    }

    /// Whether operands may be written in one row. Sums may not: `*` and `+` bind differently.
    pub fn is_chain(self) -> bool {
        match self {
            Class::And | Class::Or | Class::Concat => true,
            Class::Number | Class::Compare | Class::In => false,
        }
    }
}

/// The operator as it is written.
pub fn symbol(op: ast::BinOpKind) -> &'static str {
    match op {
        ast::BinOpKind::Eq => " == ",
        ast::BinOpKind::Ne => " != ",
        ast::BinOpKind::Lt => " < ",
        ast::BinOpKind::Lte => " <= ",
        ast::BinOpKind::Gt => " > ",
        ast::BinOpKind::Gte => " >= ",
        ast::BinOpKind::ScAnd => " and ",
        ast::BinOpKind::ScOr => " or ",
        ast::BinOpKind::Add => " + ",
        ast::BinOpKind::Sub => " - ",
        ast::BinOpKind::Mul => " * ",
        ast::BinOpKind::Div => " / ",
        ast::BinOpKind::FloorDiv => " // ",
        ast::BinOpKind::Rem => " % ",
        ast::BinOpKind::Pow => " ** ",
        ast::BinOpKind::Concat => " ~ ",
        ast::BinOpKind::In => " in ",
    }
}

/// A text as a literal of the template language.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
