//! What a document may hold: numbers within their limits, colours that are colours, addresses that lead to the web,
//! ids that are unique. What passes cannot write styles, scripts or MJML of its own.
//!
//! Must not know templates beyond "a tag begins here", nor how blocks look.

use std::collections::BTreeSet;

use postrider_domain::campaign::Finding;

use super::document::{Block, Document, Frame, Test, Theme};
use super::label::Label;
use crate::limits;

/// Everything that is wrong; all findings are errors.
pub fn check(document: &Document) -> Vec<Finding> {
    let mut check = Check { findings: Vec::new(), ids: BTreeSet::new(), count: 0, footers: 0 };
    check.theme(&document.theme);
    if document.blocks.is_empty() {
        check.findings.push(Finding::error("no_body", "body", "there are no blocks: add one"));
    }
    check.list(&document.blocks, "", 1, Inside { depth: 1, column: false, group: false });
    if check.count > limits::BLOCKS {
        let message = format!("there are {} blocks, at most {} fit: remove some", check.count, limits::BLOCKS);
        check.findings.push(Finding::error("blocks_too_many", "body", message));
    }
    check.findings
}

/// Where blocks stand.
#[derive(Debug, Clone, Copy)]
struct Inside {
    depth: usize,
    column: bool,
    group: bool,
}

struct Check {
    findings: Vec<Finding>,
    ids: BTreeSet<String>,
    count: usize,
    footers: usize,
}

/// A colour: `#rgb` or `#rrggbb`.
pub fn is_color(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.len(), 4 | 7) && bytes[0] == b'#' && bytes[1..].iter().all(u8::is_ascii_hexdigit)
}

/// An address that may stand in a link: of the web, of mail, of a telephone, or a variable that brings one.
pub fn is_address(text: &str) -> bool {
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    let known = ["https://", "http://", "mailto:", "tel:"].into_iter().any(begins);
    let plain: String = outside_tags(text).collect();
    // After a variable that is empty for somebody, the rest must not be an address of another kind.
    let head = plain.split(['/', '?', '#']).next().unwrap_or_default();
    (known || (text.starts_with("{{") && !head.contains(':')))
        && !text.contains("{%")
        && !text.contains("{#")
        // Nothing that ends a quote or a word; controls were looked for before.
        && plain.chars().all(|c| !matches!(c, '"' | '\'' | '<' | '>' | '\\' | '`') && !c.is_whitespace())
}

/// The characters that do not stand in `{{ … }}`.
fn outside_tags(text: &str) -> impl Iterator<Item = char> + '_ {
    let mut inside = false;
    let mut chars = text.char_indices();
    std::iter::from_fn(move || {
        loop {
            let (at, c) = chars.next()?;
            if !inside && text[at..].starts_with("{{") {
                inside = true;
            } else if inside && text[at..].starts_with("}}") {
                inside = false;
                chars.next();
            } else if !inside {
                return Some(c);
            }
        }
    })
}

impl Check {
    fn theme(&mut self, theme: &Theme) {
        let mut wrong = |message: String| self.findings.push(Finding::error("blocks_theme", "body", message));
        for (name, color) in [
            ("background", &theme.background),
            ("surface", &theme.surface),
            ("text", &theme.text),
            ("muted", &theme.muted),
            ("accent", &theme.accent),
            ("on_accent", &theme.on_accent),
        ] {
            if !is_color(color) {
                wrong(format!("the theme's {name} is no colour: write it like #1d4ed8"));
            }
        }
        for (name, value, least, most) in
            [("width", theme.width, 320, 800), ("font_size", theme.font_size, 12, 24), ("radius", theme.radius, 0, 40)]
        {
            if !(least..=most).contains(&value) {
                wrong(format!("the theme's {name} is {value}: choose {least} to {most} pixels"));
            }
        }
    }

    fn list(&mut self, blocks: &[Block], path: &str, first: usize, inside: Inside) {
        for (block, number) in blocks.iter().zip(first..) {
            let path = format!("{path}{number}");
            let label = Label::of(&path, block);
            self.count += 1;
            if self.count > limits::BLOCKS {
                // The count goes on, the findings do not.
                self.inner(block, &path, inside);
                continue;
            }
            if inside.depth > limits::BLOCKS_DEPTH {
                let message =
                    format!("blocks are nested deeper than {}: take it out of its group", limits::BLOCKS_DEPTH);
                self.findings.push(label.error("blocks_too_deep", &message));
                continue;
            }
            self.id(block.id(), &label);
            if let Some(frame) = block.frame() {
                self.frame(frame, &label);
            }
            self.one(block, &label, inside);
            self.inner(block, &path, inside);
        }
    }

    fn inner(&mut self, block: &Block, path: &str, inside: Inside) {
        let depth = inside.depth + 1;
        if depth > limits::BLOCKS_DEPTH + 1 {
            return;
        }
        match block {
            Block::Columns(columns) => {
                for (column, number) in columns.columns.iter().zip(1..) {
                    self.list(
                        &column.blocks,
                        &format!("{path}.{number}."),
                        1,
                        Inside { depth, column: true, ..inside },
                    );
                }
            }
            Block::Conditional(group) => {
                let inside = Inside { depth, group: true, ..inside };
                self.list(&group.blocks, &format!("{path}."), 1, inside);
                self.list(&group.otherwise, &format!("{path}."), group.blocks.len() + 1, inside);
            }
            Block::Heading(_)
            | Block::Text(_)
            | Block::Image(_)
            | Block::Button(_)
            | Block::Divider(_)
            | Block::Spacer(_)
            | Block::Social(_)
            | Block::Quote(_)
            | Block::Products(_)
            | Block::Video(_)
            | Block::Html(_)
            | Block::Footer(_) => {}
        }
    }

    fn id(&mut self, id: &str, label: &Label) {
        let fine = (1..=40).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !fine {
            self.wrong(label, "its id is not usable: take 1 to 40 letters, digits, - and _");
        } else if !self.ids.insert(id.to_owned()) {
            self.wrong(label, "its id is used twice: give it another");
        }
    }

    fn frame(&mut self, frame: &Frame, label: &Label) {
        self.color("background", &frame.background, label);
        for (name, space) in [
            ("padding_top", frame.padding_top),
            ("padding_bottom", frame.padding_bottom),
            ("padding_side", frame.padding_side),
        ] {
            self.range(name, space.unwrap_or(0), 0, 100, label);
        }
    }

    fn one(&mut self, block: &Block, label: &Label, inside: Inside) {
        match block {
            Block::Heading(one) => {
                self.range("level", u16::from(one.level), 1, 3, label);
                self.color("color", &one.color, label);
                self.words("text", &one.text, label);
            }
            Block::Text(one) => {
                self.color("color", &one.color, label);
                self.range("size", one.size.unwrap_or(16), 10, 40, label);
                self.long("html", &one.html, limits::BLOCK_TEXT_BYTES, label);
            }
            Block::Image(one) => {
                self.address("src", &one.src, label);
                self.address("href", &one.href, label);
                self.words("alt", &one.alt, label);
                self.range("width", one.width.unwrap_or(16), 16, 800, label);
            }
            Block::Button(one) => {
                self.words("label", &one.label, label);
                self.address("href", &one.href, label);
                self.color("color", &one.color, label);
                self.color("text_color", &one.text_color, label);
            }
            Block::Divider(one) => {
                self.color("color", &one.color, label);
                self.range("thickness", one.thickness, 1, 12, label);
                self.range("width", one.width, 10, 100, label);
            }
            Block::Spacer(one) => self.range("height", one.height, 4, 200, label),
            Block::Columns(one) => {
                if inside.column {
                    self.wrong(label, "columns stand in columns: take it out");
                }
                if !(2..=3).contains(&one.columns.len()) {
                    self.wrong(label, "it needs two or three columns: add or remove one");
                }
                let widths: Vec<u16> = one.columns.iter().filter_map(|column| column.width).collect();
                let all = widths.len() == one.columns.len();
                if !widths.is_empty() && (!all || widths.iter().map(|width| u32::from(*width)).sum::<u32>() != 100) {
                    self.wrong(
                        label,
                        "the widths of the columns do not make 100 percent: change them or leave them all out",
                    );
                }
                for width in widths {
                    self.range("width", width, 10, 90, label);
                }
            }
            Block::Social(one) => {
                self.count_of("links", one.links.len(), limits::BLOCK_LINKS, label);
                self.color("color", &one.color, label);
                for link in &one.links {
                    self.address("href", &link.href, label);
                    self.words("label", &link.label, label);
                }
            }
            Block::Quote(one) => {
                self.words("text", &one.text, label);
                self.words("author", &one.author, label);
                self.color("color", &one.color, label);
            }
            Block::Products(one) => {
                self.count_of("items", one.items.len(), limits::BLOCK_PRODUCTS, label);
                self.words("link_label", &one.link_label, label);
                if let Some(total) = &one.total {
                    self.words("label", &total.label, label);
                    self.words("value", &total.value, label);
                }
                for item in &one.items {
                    for (name, words) in [
                        ("name", &item.name),
                        ("description", &item.description),
                        ("price", &item.price),
                        ("quantity", &item.quantity),
                        ("alt", &item.alt),
                    ] {
                        self.words(name, words, label);
                    }
                    self.address("image", &item.image, label);
                    self.address("href", &item.href, label);
                }
            }
            Block::Video(one) => {
                self.address("href", &one.href, label);
                self.address("image", &one.image, label);
                self.words("alt", &one.alt, label);
                self.words("caption", &one.caption, label);
            }
            Block::Html(one) => self.long("html", &one.html, limits::BLOCK_HTML_BYTES, label),
            Block::Conditional(one) => {
                let name = &one.when.variable;
                let fine = (1..=64).contains(&name.len())
                    && name.starts_with(|c: char| c.is_ascii_alphabetic())
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                if !fine {
                    self.wrong(label, "its variable is no name: choose one of the contacts' attributes");
                }
                match one.when.test {
                    Test::Set | Test::NotSet if !one.when.value.is_empty() => {
                        self.wrong(
                            label,
                            "a value is only compared by `equal` and `not_equal`: remove it or change `is`",
                        );
                    }
                    Test::Equal | Test::NotEqual if one.when.value.trim().is_empty() => {
                        self.wrong(label, "there is no value to compare with: write one, or ask `set` or `not_set`");
                    }
                    Test::Set | Test::NotSet => {}
                    Test::Equal | Test::NotEqual => self.long("value", &one.when.value, 200, label),
                }
            }
            Block::Footer(one) => {
                self.footers += 1;
                if inside.column || inside.group {
                    self.wrong(label, "a footer stands at the top level only: take it out of its group");
                } else if self.footers > 1 {
                    self.wrong(label, "there is another footer already: remove one");
                }
                self.long("html", &one.html, limits::BLOCK_TEXT_BYTES, label);
                for (name, words) in [
                    ("unsubscribe_label", &one.unsubscribe_label),
                    ("preferences_label", &one.preferences_label),
                    ("privacy_label", &one.privacy_label),
                ] {
                    self.words(name, words, label);
                }
            }
        }
    }

    fn wrong(&mut self, label: &Label, message: &str) {
        self.findings.push(label.error("block_not_valid", message));
    }

    fn range(&mut self, name: &str, value: u16, least: u16, most: u16, label: &Label) {
        if !(least..=most).contains(&value) {
            self.wrong(label, &format!("`{name}` is {value}: choose {least} to {most}"));
        }
    }

    fn count_of(&mut self, name: &str, count: usize, most: usize, label: &Label) {
        if count == 0 || count > most {
            self.wrong(label, &format!("`{name}` has {count} entries: 1 to {most} fit"));
        }
    }

    fn color(&mut self, name: &str, color: &str, label: &Label) {
        if !color.is_empty() && !is_color(color) {
            self.findings.push(label.error("block_color", &format!("`{name}` is no colour: write it like #1d4ed8")));
        }
    }

    fn words(&mut self, name: &str, words: &str, label: &Label) {
        self.long(name, words, limits::BLOCK_WORDS_BYTES, label);
    }

    fn long(&mut self, name: &str, text: &str, most: usize, label: &Label) {
        if text.len() > most {
            self.findings.push(
                label.error("too_long", &format!("`{name}` has {} bytes, at most {most} fit: shorten it", text.len())),
            );
        }
        let hidden = text.chars().any(|c| {
            !matches!(c, '\n' | '\r' | '\t') && postrider_mail::header::has_control(c.encode_utf8(&mut [0; 4]))
        });
        if hidden {
            let message = format!("`{name}` holds an invisible character that cannot be sent: remove it");
            self.findings.push(label.error("control_character", &message));
        }
    }

    fn address(&mut self, name: &str, address: &str, label: &Label) {
        self.words(name, address, label);
        if !address.is_empty() && !is_address(address) {
            let message = format!(
                "`{name}` is no address: begin with https://, http://, mailto:, tel: or a variable, and leave out blanks and quotes"
            );
            self.findings.push(label.error("block_address", &message));
        }
    }
}
