//! Tags as values: which statement, which expression; blocks that must close; names that must be known.
//!
//! Must not know what stands between the tags.

use std::collections::BTreeSet;

use super::Fault;
use super::expression::{BUILTINS, CONSTANTS, Checked, VarUse, check, check_list, check_target, cut};
use super::scan::{Piece, scan};
use crate::limits;

/// What a tag does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagKind {
    /// `{{ … }}`.
    Emit(Checked),
    /// `{% if … %}`.
    If(Checked),
    /// `{% elif … %}`.
    Elif(Checked),
    /// `{% else %}`.
    Else,
    /// `{% endif %}`.
    EndIf,
    /// `{% for name in … %}`.
    For(String, Checked),
    /// `{% endfor %}`.
    EndFor,
    /// `{% set name = … %}`.
    Set(String, Checked),
}

/// A tag of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What it does.
    pub kind: TagKind,
    /// Byte offset in its source.
    pub offset: usize,
    /// The tag as it was written, for link tables and messages.
    pub written: String,
}

impl Tag {
    /// Gives the tag and all that it names another place: for tags whose source nobody sees.
    pub fn relocate(&mut self, offset: usize) {
        self.offset = offset;
        match &mut self.kind {
            TagKind::Emit(expression)
            | TagKind::If(expression)
            | TagKind::Elif(expression)
            | TagKind::For(_, expression)
            | TagKind::Set(_, expression) => {
                for used in &mut expression.uses {
                    used.offset = offset;
                }
            }
            TagKind::Else | TagKind::EndIf | TagKind::EndFor => {}
        }
    }

    /// Whether the tag puts a value out.
    pub fn is_emit(&self) -> bool {
        matches!(self.kind, TagKind::Emit(_))
    }

    /// The variables that the tag names.
    pub fn uses(&self) -> &[VarUse] {
        match &self.kind {
            TagKind::Emit(expression)
            | TagKind::If(expression)
            | TagKind::Elif(expression)
            | TagKind::For(_, expression)
            | TagKind::Set(_, expression) => &expression.uses,
            TagKind::Else | TagKind::EndIf | TagKind::EndFor => &[],
        }
    }

    /// The statement in a fixed spelling, or the expression of an emit.
    pub fn source(&self) -> String {
        match &self.kind {
            TagKind::Emit(expression) => expression.source.clone(),
            TagKind::If(expression) => format!("{{% if {} %}}", expression.source),
            TagKind::Elif(expression) => format!("{{% elif {} %}}", expression.source),
            TagKind::Else => "{% else %}".to_owned(),
            TagKind::EndIf => "{% endif %}".to_owned(),
            TagKind::For(name, expression) => format!("{{% for {name} in {} %}}", expression.source),
            TagKind::EndFor => "{% endfor %}".to_owned(),
            TagKind::Set(name, expression) => format!("{{% set {name} = {} %}}", expression.source),
        }
    }
}

/// Raw text with its offset, or a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Text and its byte offset.
    Raw(&'a str, usize),
    /// A tag.
    Tag(Tag),
}

/// Cuts a template into raw text and checked tags.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(source: &str) -> Result<Vec<Parsed<'_>>, Fault> {
    let mut parsed = Vec::new();
    for piece in scan(source)? {
        parsed.push(match piece {
            Piece::Raw { text, offset } => Parsed::Raw(text, offset),
            Piece::Emit { inner, inner_offset, offset } => Parsed::Tag(Tag {
                kind: TagKind::Emit(check(inner, inner_offset)?),
                offset,
                written: format!("{{{{ {} }}}}", inner.trim()),
            }),
            Piece::Statement { inner, inner_offset, offset } => Parsed::Tag(Tag {
                kind: statement(inner, inner_offset, offset)?,
                offset,
                written: format!("{{% {} %}}", inner.trim()),
            }),
        });
    }
    Ok(parsed)
}

fn statement(inner: &str, inner_offset: usize, offset: usize) -> Result<TagKind, Fault> {
    let lead = inner.len() - inner.trim_start().len();
    let text = inner.trim();
    let word_end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(word_end);
    let rest_offset = inner_offset + lead + word_end;
    let bare = |kind: TagKind| {
        if rest.trim().is_empty() {
            Ok(kind)
        } else {
            Err(Fault::new("template_syntax", rest_offset, format!("`{word}` stands alone: remove what follows it")))
        }
    };
    match word {
        "if" => Ok(TagKind::If(check(rest, rest_offset)?)),
        "elif" => Ok(TagKind::Elif(check(rest, rest_offset)?)),
        "else" => bare(TagKind::Else),
        "endif" => bare(TagKind::EndIf),
        "endfor" => bare(TagKind::EndFor),
        "for" => {
            let (name, list) = rest
                .split_once(" in ")
                .ok_or_else(|| Fault::new("template_syntax", offset, "write {% for name in list %}"))?;
            check_target(name.trim(), rest_offset)?;
            Ok(TagKind::For(name.trim().to_owned(), check_list(list, rest_offset + name.len() + 4)?))
        }
        "set" => {
            let (name, value) = rest
                .split_once('=')
                .ok_or_else(|| Fault::new("template_syntax", offset, "write {% set name = value %}"))?;
            check_target(name.trim(), rest_offset)?;
            Ok(TagKind::Set(name.trim().to_owned(), check(value, rest_offset + name.len() + 1)?))
        }
        _ => Err(Fault::new(
            "template_statement",
            offset,
            format!("`{{% {} %}}` is not available: use if, elif, else, for and set", cut(word)),
        )),
    }
}

/// Checks that blocks open and close in order, and how deep and wide they are.
///
/// # Errors
/// The first block that does not.
pub fn check_structure<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> Result<(), Fault> {
    struct Open {
        is_if: bool,
        has_else: bool,
        branches: usize,
        offset: usize,
    }
    let mut open: Vec<Open> = Vec::new();
    let wrong = |tag: &Tag, what: &str| Fault::new("template_block", tag.offset, format!("{what}: correct the blocks"));
    for tag in tags {
        match &tag.kind {
            TagKind::Emit(_) | TagKind::Set(..) => {}
            TagKind::If(_) | TagKind::For(..) => {
                if open.len() >= limits::BLOCK_DEPTH {
                    return Err(wrong(tag, &format!("blocks are nested deeper than {}", limits::BLOCK_DEPTH)));
                }
                open.push(Open {
                    is_if: matches!(tag.kind, TagKind::If(_)),
                    has_else: false,
                    branches: 1,
                    offset: tag.offset,
                });
            }
            TagKind::Elif(_) => match open.last_mut() {
                Some(block) if block.is_if && !block.has_else => {
                    block.branches += 1;
                    if block.branches > limits::BRANCHES {
                        return Err(wrong(tag, &format!("an `if` has more than {} branches", limits::BRANCHES)));
                    }
                }
                _ => return Err(wrong(tag, "this `elif` has no `if` before it")),
            },
            TagKind::Else => match open.last_mut() {
                Some(block) if !block.has_else => block.has_else = true,
                _ => return Err(wrong(tag, "this `else` has no `if` or `for` before it")),
            },
            TagKind::EndIf => {
                if !open.pop().is_some_and(|block| block.is_if) {
                    return Err(wrong(tag, "this `endif` closes no `if`"));
                }
            }
            TagKind::EndFor => {
                if open.pop().is_none_or(|block| block.is_if) {
                    return Err(wrong(tag, "this `endfor` closes no `for`"));
                }
            }
        }
    }
    match open.last() {
        Some(block) => {
            let end = if block.is_if { "{% endif %}" } else { "{% endfor %}" };
            Err(Fault::new("template_block", block.offset, format!("this block has no end: add {end}")))
        }
        None => Ok(()),
    }
}

/// What a template's names come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Attributes of the contact that are used.
    pub attributes: BTreeSet<String>,
    /// Attributes used at least once without default or condition, with the first place.
    pub uncovered: Vec<(String, usize)>,
    /// Names that nothing gives a value to, with their places.
    pub unknown: Vec<Fault>,
}

/// Looks up every name: built-ins, attributes, and what `set` and `for` made before.
pub fn check_names<'a>(tags: impl IntoIterator<Item = &'a Tag>, is_attribute: impl Fn(&str) -> bool) -> Names {
    let mut names = Names::default();
    // One frame for each open block: names made in it, and names that its condition asked for.
    let mut frames: Vec<(BTreeSet<String>, BTreeSet<String>)> = vec![Default::default()];
    for tag in tags {
        let (expression, is_condition) = match &tag.kind {
            TagKind::Emit(expression) | TagKind::Set(_, expression) | TagKind::For(_, expression) => {
                (Some(expression), false)
            }
            TagKind::If(expression) | TagKind::Elif(expression) => (Some(expression), true),
            TagKind::Else | TagKind::EndIf | TagKind::EndFor => (None, false),
        };
        for used in expression.into_iter().flat_map(|expression| &expression.uses) {
            let name = used.name.as_str();
            let local = frames.iter().any(|(made, _)| made.contains(name));
            if local || BUILTINS.contains(&name) || CONSTANTS.contains(&name) {
                continue;
            }
            if !is_attribute(name) {
                names.unknown.push(unknown(name, used.offset));
                continue;
            }
            let covered = used.covered || is_condition || frames.iter().any(|(_, asked)| asked.contains(name));
            if !covered && !names.uncovered.iter().any(|(known, _)| known == name) {
                names.uncovered.push((name.to_owned(), used.offset));
            }
            names.attributes.insert(name.to_owned());
        }
        match &tag.kind {
            TagKind::Emit(_) | TagKind::Else => {}
            TagKind::If(expression) => {
                frames.push((BTreeSet::new(), expression.uses.iter().map(|used| used.name.clone()).collect()));
            }
            TagKind::Elif(expression) => {
                if let Some((_, asked)) = frames.last_mut() {
                    asked.extend(expression.uses.iter().map(|used| used.name.clone()));
                }
            }
            TagKind::For(name, _) => frames.push((BTreeSet::from([name.clone(), "loop".to_owned()]), BTreeSet::new())),
            TagKind::Set(name, _) => {
                if let Some((made, _)) = frames.last_mut() {
                    made.insert(name.clone());
                }
            }
            TagKind::EndIf => {
                // Jinja keeps what `set` made inside an `if`.
                if frames.len() > 1
                    && let Some((made, _)) = frames.pop()
                    && let Some((outer, _)) = frames.last_mut()
                {
                    outer.extend(made);
                }
            }
            TagKind::EndFor => {
                if frames.len() > 1 {
                    frames.pop();
                }
            }
        }
    }
    names
}

fn unknown(name: &str, offset: usize) -> Fault {
    Fault::new(
        "unknown_variable",
        offset,
        format!(
            "`{}` is neither an attribute of the contacts nor built in: correct its name or import the attribute",
            cut(name)
        ),
    )
}
