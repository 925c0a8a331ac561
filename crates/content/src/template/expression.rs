//! One expression: parsed by minijinja, checked against an allow-list, and written again in a guarded form.
//!
//! Must not know where its value will stand. Nothing that is not named here can run: no calls but `range`, no
//! attribute access but `loop.…`, no operator that makes long texts out of short ones. `~` and `in` become filters
//! of ours, which count the bytes they handle.

use minijinja::machinery::{ast, parse_expr};
use minijinja::value::ValueKind;
use serde::{Deserialize, Serialize};

use super::Fault;
use super::operator::{Class, quoted, symbol};
use crate::limits;

/// Names that every template has, besides the contact's attributes.
pub const BUILTINS: [&str; 5] = ["mailbox", "unsubscribe_url", "preferences_url", "hosted_url", "subject"];

/// Names with one value for the whole workspace.
pub const CONSTANTS: [&str; 3] = ["controller_name", "postal_address", "privacy_url"];

/// Filters, with the least and most arguments that each takes.
const FILTERS: [(&str, usize, usize); 20] = [
    ("default", 1, 1),
    ("upper", 0, 0),
    ("lower", 0, 0),
    ("title", 0, 0),
    ("capitalize", 0, 0),
    ("trim", 0, 0),
    ("length", 0, 0),
    ("count", 0, 0),
    ("first", 0, 0),
    ("last", 0, 0),
    ("join", 0, 1),
    ("round", 0, 1),
    ("int", 0, 1),
    ("float", 0, 1),
    ("abs", 0, 0),
    ("replace", 2, 2),
    ("truncate", 0, 2),
    ("date", 1, 1),
    ("escape", 0, 0),
    ("e", 0, 0),
];

/// Tests after `is`.
const TESTS: [&str; 7] = ["defined", "undefined", "none", "string", "number", "odd", "even"];

/// Fields of `loop`.
const LOOP_FIELDS: [&str; 5] = ["index", "index0", "first", "last", "length"];

/// A step that the fast path can do on a text without the template engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextOp {
    /// Another text for a missing or blank one.
    Default(String),
    /// Upper case.
    Upper,
    /// Lower case.
    Lower,
    /// Each word with a capital.
    Title,
    /// First letter capital, the rest lower case.
    Capitalize,
    /// Without blanks at the ends.
    Trim,
}

/// `{{ name }}` with nothing but text steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Simple {
    /// Variable.
    pub name: String,
    /// Steps in order.
    pub ops: Vec<TextOp>,
}

/// A variable that an expression names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VarUse {
    /// Its name.
    pub name: String,
    /// Byte offset in the template.
    pub offset: usize,
    /// A default or a condition covers its absence.
    pub covered: bool,
}

/// An expression that may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The guarded form, for the template engine.
    pub source: String,
    /// The fast form, where there is one.
    pub simple: Option<Simple>,
    /// Variables named.
    pub uses: Vec<VarUse>,
    /// What is certain about the value.
    pub kind: Kind,
}

/// Parses and checks one expression that begins at `offset` of its template.
///
/// # Errors
/// What is wrong, at its place.
pub fn check(text: &str, offset: usize) -> Result<Checked, Fault> {
    let checked = check_list(text, offset)?;
    match checked.kind {
        Kind::List => Err(Fault::new(
            "template_expression",
            offset,
            "a list may only be looped over, searched with `in`, or joined: write |join(', ')",
        )),
        Kind::Number | Kind::Other => Ok(checked),
    }
}

/// The same for the list of a loop.
///
/// # Errors
/// What is wrong, at its place.
pub fn check_list(text: &str, offset: usize) -> Result<Checked, Fault> {
    let trimmed = text.trim();
    let offset = offset + (text.len() - text.trim_start().len());
    if trimmed.is_empty() {
        return Err(Fault::new("template_syntax", offset, "this tag is empty: put a variable in"));
    }
    if trimmed.len() > limits::EXPRESSION_BYTES {
        return Err(Fault::new(
            "template_too_long",
            offset,
            format!("this expression is longer than {} bytes: divide it", limits::EXPRESSION_BYTES),
        ));
    }
    let tree = parse_expr(trimmed).map_err(|error| {
        let at = error.range().map_or(0, |range| range.start.min(trimmed.len()));
        let detail = error.detail().unwrap_or("this is no expression");
        Fault::new("template_syntax", offset + at, format!("{detail}: correct the expression"))
    })?;
    let mut writer = Writer { base: offset, uses: Vec::new() };
    let (source, kind) = writer.expression(&tree, 0)?;
    Ok(Checked { source, simple: simple(&tree), uses: writer.uses, kind })
}

/// Checks that `name` may be made by `set` or `for`.
///
/// # Errors
/// It is none of ours to give.
pub fn check_target(name: &str, offset: usize) -> Result<(), Fault> {
    let fine = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let word =
        ["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "loop", "range", "self", "super"];
    if !fine || word.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(Fault::new(
            "template_name",
            offset,
            format!("`{}` cannot be set: use a name of letters, digits and _", cut(name)),
        ));
    }
    if BUILTINS.contains(&name) || CONSTANTS.contains(&name) {
        return Err(Fault::new(
            "template_name",
            offset,
            format!("`{name}` is built in and cannot be set: use another name"),
        ));
    }
    Ok(())
}

/// At most 40 characters of something the author wrote.
pub fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn simple(tree: &ast::Expr<'_>) -> Option<Simple> {
    match tree {
        ast::Expr::Var(var) => Some(Simple { name: var.id.to_owned(), ops: Vec::new() }),
        ast::Expr::Filter(filter) => {
            let mut found = simple(filter.expr.as_ref()?)?;
            let op = match (filter.name, filter.args.as_slice()) {
                ("default", [ast::CallArg::Pos(ast::Expr::Const(constant))]) => {
                    TextOp::Default(constant.value.as_str()?.to_owned())
                }
                ("upper", []) => TextOp::Upper,
                ("lower", []) => TextOp::Lower,
                ("title", []) => TextOp::Title,
                ("capitalize", []) => TextOp::Capitalize,
                ("trim", []) => TextOp::Trim,
                // Values are escaped by their place, always and once.
                ("escape" | "e", []) => return Some(found),
                _ => return None,
            };
            found.ops.push(op);
            Some(found)
        }
        _ => None,
    }
}

struct Writer {
    base: usize,
    uses: Vec<VarUse>,
}

/// What is certain about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number: calculations may use it.
    Number,
    /// A list: only loops, `in` and the list filters may use it, so that lists never hold lists and never grow.
    List,
    /// Anything else.
    Other,
}

type Written = Result<(String, Kind), Fault>;

impl Writer {
    fn at(&self, tree: &ast::Expr<'_>) -> usize {
        self.base + tree.span().start_offset as usize
    }

    fn refuse(&self, tree: &ast::Expr<'_>, message: impl Into<String>) -> Fault {
        Fault::new("template_expression", self.at(tree), message)
    }

    /// An expression that is no list.
    fn scalar(&mut self, tree: &ast::Expr<'_>, depth: usize) -> Written {
        match self.expression(tree, depth)? {
            (_, Kind::List) => {
                Err(self
                    .refuse(tree, "a list may only be looped over, searched with `in`, or joined: write |join(', ')"))
            }
            written => Ok(written),
        }
    }

    fn expression(&mut self, tree: &ast::Expr<'_>, depth: usize) -> Written {
        if depth > limits::EXPRESSION_DEPTH {
            return Err(self.refuse(tree, "this expression is nested too deeply: divide it with {% set … %}"));
        }
        let depth = depth + 1;
        match tree {
            ast::Expr::Var(var) => {
                self.uses.push(VarUse { name: var.id.to_owned(), offset: self.at(tree), covered: false });
                Ok((var.id.to_owned(), Kind::Other))
            }
            ast::Expr::Const(constant) => self.constant(tree, &constant.value),
            ast::Expr::UnaryOp(unary) => {
                let (inner, kind) = self.scalar(&unary.expr, depth)?;
                match unary.op {
                    ast::UnaryOpKind::Not => Ok((format!("(not {inner})"), Kind::Other)),
                    ast::UnaryOpKind::Neg if kind == Kind::Number => Ok((format!("(-{inner})"), Kind::Number)),
                    ast::UnaryOpKind::Neg => Err(self.not_a_number(&unary.expr)),
                }
            }
            ast::Expr::BinOp(binary) => self.binary(tree, binary, depth),
            ast::Expr::Compare(compare) => self.compare(tree, compare, depth),
            ast::Expr::IfExpr(choice) => {
                let before = self.uses.len();
                let (test, _) = self.scalar(&choice.test_expr, depth)?;
                self.cover(before);
                let tested: Vec<String> = self.uses[before..].iter().map(|used| used.name.clone()).collect();
                let before = self.uses.len();
                let (yes, yes_kind) = self.expression(&choice.true_expr, depth)?;
                for used in &mut self.uses[before..] {
                    used.covered |= tested.contains(&used.name);
                }
                let (no, no_kind) = match &choice.false_expr {
                    Some(tree) => self.expression(tree, depth)?,
                    None => ("''".to_owned(), Kind::Other),
                };
                let kind = match (yes_kind, no_kind) {
                    (Kind::List, _) | (_, Kind::List) => Kind::List,
                    (Kind::Number, Kind::Number) => Kind::Number,
                    (Kind::Number | Kind::Other, Kind::Number | Kind::Other) => Kind::Other,
                };
                Ok((format!("({yes} if {test} else {no})"), kind))
            }
            ast::Expr::Filter(filter) => self.filter(tree, filter, depth),
            ast::Expr::Test(test) => {
                if !TESTS.contains(&test.name) || !test.args.is_empty() {
                    return Err(self.refuse(tree, format!("the test `is {}` is not available: use one of {}", cut(test.name), TESTS.join(", "))));
                }
                let before = self.uses.len();
                let (inner, _) = self.scalar(&test.expr, depth)?;
                self.cover(before);
                Ok((format!("({inner} is {})", test.name), Kind::Other))
            }
            ast::Expr::GetAttr(attribute) => match &attribute.expr {
                ast::Expr::Var(var) if var.id == "loop" && LOOP_FIELDS.contains(&attribute.name) => {
                    self.uses.push(VarUse { name: "loop".to_owned(), offset: self.at(tree), covered: true });
                    let kind = if matches!(attribute.name, "index" | "index0" | "length") { Kind::Number } else { Kind::Other };
                    Ok((format!("loop.{}", attribute.name), kind))
                }
                _ => Err(self.refuse(
                    tree,
                    format!("`.{}` is not available: values have no parts (only loop.index, index0, first, last and length)", cut(attribute.name)),
                )),
            },
            ast::Expr::Call(call) => self.call(tree, call, depth),
            ast::Expr::List(list) => {
                let items = list.items.iter().map(|item| self.scalar(item, depth).map(|(source, _)| source)).collect::<Result<Vec<_>, _>>()?;
                Ok((format!("[{}]", items.join(", ")), Kind::List))
            }
            ast::Expr::Slice(_) | ast::Expr::GetItem(_) => Err(self.refuse(tree, "`[…]` after a value is not available: use first, last or truncate")),
            ast::Expr::Tuple(_) | ast::Expr::Map(_) => Err(self.refuse(tree, "tuples and maps are not available: use a list […]")),
        }
    }

    fn constant(&self, tree: &ast::Expr<'_>, value: &minijinja::Value) -> Written {
        match value.kind() {
            ValueKind::String => Ok((quoted(value.as_str().unwrap_or_default()), Kind::Other)),
            ValueKind::Number => Ok((value.to_string(), Kind::Number)),
            ValueKind::Bool => Ok((if value.is_true() { "true" } else { "false" }.to_owned(), Kind::Other)),
            ValueKind::None => Ok(("none".to_owned(), Kind::Other)),
            ValueKind::Undefined
            | ValueKind::Bytes
            | ValueKind::Seq
            | ValueKind::Map
            | ValueKind::Iterable
            | ValueKind::Plain
            | ValueKind::Invalid
            | _ => Err(self.refuse(tree, "this constant is not available: use a text or a number")),
        }
    }

    fn not_a_number(&self, tree: &ast::Expr<'_>) -> Fault {
        self.refuse(tree, "calculations need numbers: write |int or |float after the variable (and ~ to join texts)")
    }

    /// `a ~ b ~ c` hangs to the left in the tree; walk its spine, so that long rows do not count as deep.
    fn binary(&mut self, tree: &ast::Expr<'_>, top: &ast::BinOp<'_>, depth: usize) -> Written {
        let class = Class::of(top.op);
        let mut operands = vec![(Some(top.op), &top.right)];
        let mut left = &top.left;
        while let ast::Expr::BinOp(inner) = left
            && Class::of(inner.op) == class
            && class.is_chain()
        {
            operands.push((Some(inner.op), &inner.right));
            left = &inner.left;
        }
        operands.push((None, left));
        operands.reverse();
        let before = self.uses.len();
        let mut written = Vec::with_capacity(operands.len());
        for (op, operand) in operands {
            // Only the right side of `in` may be a list.
            let may_be_list = class == Class::In && op.is_some();
            let (source, kind) =
                if may_be_list { self.expression(operand, depth)? } else { self.scalar(operand, depth)? };
            if class == Class::Number && kind != Kind::Number {
                return Err(self.not_a_number(operand));
            }
            written.push((op, source));
        }
        match class {
            Class::Number | Class::And | Class::Or => {
                let mut out = String::from("(");
                for (op, source) in written {
                    if let Some(op) = op {
                        out.push_str(symbol(op));
                    }
                    out.push_str(&source);
                }
                out.push(')');
                Ok((out, if class == Class::Number { Kind::Number } else { Kind::Other }))
            }
            Class::Compare => {
                self.cover(before);
                let [(_, left), (_, right)] = written.as_slice() else {
                    return Err(self.refuse(tree, "comparisons compare two values: add brackets"));
                };
                Ok((format!("({left}{}{right})", symbol(top.op)), Kind::Other))
            }
            Class::Concat => {
                let mut sources = written.into_iter().map(|(_, source)| source);
                let first = sources.next().unwrap_or_default();
                Ok((format!("({first}|_join({}))", sources.collect::<Vec<_>>().join(", ")), Kind::Other))
            }
            Class::In => {
                let [(_, left), (_, right)] = written.as_slice() else {
                    return Err(self.refuse(tree, "`in` compares two values: add brackets"));
                };
                self.cover(before);
                Ok((format!("({left}|_in({right}))"), Kind::Other))
            }
        }
    }

    fn compare(&mut self, tree: &ast::Expr<'_>, compare: &ast::Compare<'_>, depth: usize) -> Written {
        let [only] = compare.ops.as_slice() else {
            return Err(self.refuse(tree, "chained comparisons are not available: join two with `and`"));
        };
        let before = self.uses.len();
        let (left, _) = self.scalar(&compare.expr, depth)?;
        let (right, _) = match only.op {
            ast::CompareOpKind::In | ast::CompareOpKind::NotIn => self.expression(&only.expr, depth)?,
            ast::CompareOpKind::Eq
            | ast::CompareOpKind::Ne
            | ast::CompareOpKind::Lt
            | ast::CompareOpKind::Lte
            | ast::CompareOpKind::Gt
            | ast::CompareOpKind::Gte => self.scalar(&only.expr, depth)?,
        };
        self.cover(before);
        let source = match only.op {
            ast::CompareOpKind::Eq => format!("({left} == {right})"),
            ast::CompareOpKind::Ne => format!("({left} != {right})"),
            ast::CompareOpKind::Lt => format!("({left} < {right})"),
            ast::CompareOpKind::Lte => format!("({left} <= {right})"),
            ast::CompareOpKind::Gt => format!("({left} > {right})"),
            ast::CompareOpKind::Gte => format!("({left} >= {right})"),
            ast::CompareOpKind::In => format!("({left}|_in({right}))"),
            ast::CompareOpKind::NotIn => format!("(not ({left}|_in({right})))"),
        };
        Ok((source, Kind::Other))
    }

    fn filter(&mut self, tree: &ast::Expr<'_>, filter: &ast::Filter<'_>, depth: usize) -> Written {
        let Some((name, least, most)) = FILTERS.iter().find(|(name, _, _)| *name == filter.name) else {
            let names: Vec<&str> = FILTERS.iter().map(|(name, _, _)| *name).collect();
            return Err(Fault::new(
                "unknown_filter",
                self.at(tree),
                format!("the filter `{}` is not available: use one of {}", cut(filter.name), names.join(", ")),
            ));
        };
        if filter.args.len() < *least || filter.args.len() > *most {
            return Err(self.refuse(tree, format!("the filter `{name}` takes {least} to {most} arguments: correct it")));
        }
        let Some(inner) = &filter.expr else {
            return Err(self.refuse(tree, format!("the filter `{name}` has no value before it: add one")));
        };
        let before = self.uses.len();
        let takes_list = matches!(*name, "join" | "first" | "last" | "length" | "count");
        let (value, value_kind) = if takes_list { self.expression(inner, depth)? } else { self.scalar(inner, depth)? };
        if *name == "default" {
            self.cover(before);
        }
        let arguments =
            filter.args.iter().map(|argument| self.argument(tree, argument, depth)).collect::<Result<Vec<_>, _>>()?;
        let source = match arguments.as_slice() {
            [] => format!("({value}|{name})"),
            arguments => format!(
                "({value}|{name}({}))",
                arguments.iter().map(|(source, _)| source.as_str()).collect::<Vec<_>>().join(", ")
            ),
        };
        let kind = match *name {
            "length" | "count" | "int" | "float" | "round" | "abs" => Kind::Number,
            "default" if value_kind == Kind::Number && arguments.iter().all(|(_, kind)| *kind == Kind::Number) => {
                Kind::Number
            }
            _ => Kind::Other,
        };
        Ok((source, kind))
    }

    fn argument(&mut self, tree: &ast::Expr<'_>, argument: &ast::CallArg<'_>, depth: usize) -> Written {
        match argument {
            ast::CallArg::Pos(inner) => self.scalar(inner, depth),
            ast::CallArg::Kwarg(..) | ast::CallArg::PosSplat(_) | ast::CallArg::KwargSplat(_) => {
                Err(self.refuse(tree, "named and unpacked arguments are not available: write the values in order"))
            }
        }
    }

    fn call(&mut self, tree: &ast::Expr<'_>, call: &ast::Call<'_>, depth: usize) -> Written {
        match &call.expr {
            ast::Expr::Var(var) if var.id == "range" && (1..=2).contains(&call.args.len()) => {
                let mut arguments = Vec::new();
                for argument in &call.args {
                    let (source, kind) = self.argument(tree, argument, depth)?;
                    if kind != Kind::Number {
                        return Err(self.refuse(tree, "range() needs numbers: write |int after the variable"));
                    }
                    arguments.push(source);
                }
                Ok((format!("range({})", arguments.join(", ")), Kind::List))
            }
            ast::Expr::Var(var) => {
                Err(self.refuse(tree, format!("the function `{}` is not available: only range(…) is", cut(var.id))))
            }
            _ => Err(self.refuse(tree, "methods are not available: use a filter, e.g. name|upper")),
        }
    }

    fn cover(&mut self, from: usize) {
        for used in &mut self.uses[from..] {
            used.covered = true;
        }
    }
}
