//! Finds the place of each template tag by walking the HTML around it as a browser's tokenizer would.
//!
//! Must not know templates beyond "a tag stands here". Both arms of a condition must end in the same state, and
//! elements opened in an arm must close in it: otherwise no one could say what follows.

mod state;

use state::{Mode, State, Url, closes_itself};

use crate::place::Place;
use crate::template::{Fault, Tag, TagKind};

/// Raw HTML, or a tag by its number.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// Text, and its byte offset in the author's source where that is known.
    Raw(&'a str, Option<usize>),
    /// A template tag.
    Tag(usize),
}

/// How a mark must look to survive at a tag's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkForm {
    /// An HTML comment: between elements, also where text may not stand (tables).
    Comment,
    /// A bare word: inside of attributes and titles.
    Word,
}

/// Where a tag stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Number of the tag.
    pub tag: usize,
    /// Its place; of no meaning for statements.
    pub place: Place,
    /// How its mark must look.
    pub form: MarkForm,
    /// Inside of an attribute: serialisers may put attributes into another order.
    pub in_value: bool,
}

/// What the walk found.
#[derive(Debug, Default)]
pub struct Found {
    /// Each tag in order of appearance.
    pub places: Vec<Placed>,
    /// Elements left open or closed in the wrong order, with their offsets where known.
    pub misnested: Vec<(String, Option<usize>)>,
    /// Elements begun.
    pub elements: usize,
}

/// Walks the items.
///
/// # Errors
/// A tag where no value may stand, arms that end differently, or HTML beyond the limits.
pub fn walk(items: &[Item<'_>], tags: &[Tag]) -> Result<Found, Fault> {
    let mut found = Found::default();
    let mut state = State::default();
    let mut blocks: Vec<Block> = Vec::new();
    let mut offset = 0;
    for item in items {
        match item {
            Item::Raw(text, at) => {
                state.feed(text, *at, &mut found)?;
            }
            Item::Tag(index) => {
                let tag = &tags[*index];
                offset = tag.offset;
                if let TagKind::Emit(_) = tag.kind {
                    let place = state.place(tag)?;
                    found.places.push(Placed { tag: *index, place, form: MarkForm::Word, in_value: state.in_value() });
                    state.after_value();
                } else {
                    let form = state.statement_form(tag)?;
                    found.places.push(Placed { tag: *index, place: Place::Html, form, in_value: state.in_value() });
                    branch(&mut blocks, &mut state, tag)?;
                }
            }
        }
    }
    if !matches!(state.mode, Mode::Data) {
        return Err(Fault::new("html_unclosed", offset, "the HTML ends inside of a tag, comment or script: close it"));
    }
    for (name, at) in state.open.iter().filter(|(name, _)| !closes_itself(name)) {
        found.misnested.push((name.clone(), *at));
    }
    Ok(found)
}

struct Block {
    is_for: bool,
    has_else: bool,
    entry: State,
    end: Option<State>,
}

fn branch(blocks: &mut Vec<Block>, state: &mut State, tag: &Tag) -> Result<(), Fault> {
    match &tag.kind {
        TagKind::Emit(_) | TagKind::Set(..) => {}
        TagKind::If(_) | TagKind::For(..) => {
            let is_for = matches!(tag.kind, TagKind::For(..));
            blocks.push(Block { is_for, has_else: false, entry: state.clone(), end: None });
        }
        TagKind::Elif(_) | TagKind::Else => {
            if let Some(block) = blocks.last_mut() {
                block.join(state, tag)?;
                block.has_else |= matches!(tag.kind, TagKind::Else);
                *state = block.entry.clone();
            }
        }
        TagKind::EndIf | TagKind::EndFor => {
            if let Some(mut block) = blocks.pop() {
                block.join(state, tag)?;
                if !block.has_else || block.is_for {
                    let mut entry = block.entry.clone();
                    std::mem::swap(&mut entry, state);
                    block.join(state, tag)?;
                }
                if let Some(end) = block.end {
                    *state = end;
                }
            }
        }
    }
    Ok(())
}

impl Block {
    /// Takes the end of one arm; it must be the end of the others too.
    fn join(&mut self, state: &State, tag: &Tag) -> Result<(), Fault> {
        let mut ended = state.clone();
        ended.close_optional(self.entry.open.len());
        match &mut self.end {
            None => self.end = Some(ended),
            Some(end) if end.same_but_url(&ended) => {
                if end.url != ended.url {
                    end.url = Url::Either;
                }
            }
            Some(_) => {
                return Err(Fault::new(
                    "html_branches",
                    tag.offset,
                    "the branches of this block end at different places of the HTML: open and close elements and quotes within the same branch",
                ));
            }
        }
        Ok(())
    }
}
