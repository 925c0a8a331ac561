//! Every bound of this crate in one place: what a template, a value and a rendered part may cost (SEC-22).
//!
//! Must not know what is bounded; the numbers are chosen so that any template ends within 100 ms and 32 MB.

/// Longest body or text template, in bytes.
pub const TEMPLATE_BYTES: usize = 512 * 1024;
/// Longest subject, preheader or From name, in bytes.
pub const LINE_BYTES: usize = 2_000;
/// Most `{{ … }}` and `{% … %}` tags of one template.
pub const TAGS: usize = 4_000;
/// Longest expression inside one tag, in bytes.
pub const EXPRESSION_BYTES: usize = 2_000;
/// Deepest nesting of one expression.
pub const EXPRESSION_DEPTH: usize = 24;
/// Deepest nesting of `if` and `for`.
pub const BLOCK_DEPTH: usize = 12;
/// Most branches of one `if`.
pub const BRANCHES: usize = 40;
/// Instructions that one part may use when it is rendered.
pub const FUEL: u64 = 50_000;
/// Bytes that one rendered part may have.
pub const PART_BYTES: usize = 1024 * 1024;
/// Bytes that one value may have while a template runs.
pub const VALUE_BYTES: usize = 16 * 1024;
/// Bytes that all filters of one part may read and make together.
pub const WORK_BYTES: usize = 4 * 1024 * 1024;
/// Most numbers of one `range()`.
pub const RANGE: i64 = 1_000;
/// Longest subject after its variables are in, in bytes.
pub const SUBJECT_BYTES: usize = 2_000;
/// Deepest nesting of HTML elements.
pub const HTML_DEPTH: usize = 100;
/// Most elements of an HTML body.
pub const HTML_ELEMENTS: usize = 10_000;
/// Most elements that may be left open or closed in the wrong order.
pub const HTML_MISNESTED: usize = 16;
/// Most selectors × elements of a style sheet that is inlined.
pub const STYLE_WORK: usize = 2_000_000;
/// HTML size at which Gmail cuts a message off, in bytes.
pub const CLIPPED_BYTES: usize = 102_400;
