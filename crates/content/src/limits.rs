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
/// Most blocks of a document, nested ones included.
pub const BLOCKS: usize = 200;
/// Deepest nesting of blocks.
pub const BLOCKS_DEPTH: usize = 4;
/// Longest single field of words or address in a block, in bytes.
pub const BLOCK_WORDS_BYTES: usize = 2_000;
/// Longest rich text of a block, in bytes.
pub const BLOCK_TEXT_BYTES: usize = 64 * 1024;
/// Longest HTML of an html block, in bytes.
pub const BLOCK_HTML_BYTES: usize = 128 * 1024;
/// Most links of a social block.
pub const BLOCK_LINKS: usize = 12;
/// Most products of a block.
pub const BLOCK_PRODUCTS: usize = 50;
/// Most elements of an MJML body: each becomes a table or two.
pub const MJML_ELEMENTS: usize = 3_000;
/// Longest attribute of an MJML element, in bytes: some are repeated in every element below.
pub const MJML_ATTRIBUTE_BYTES: usize = 4_000;
/// Most bytes of `mj-attributes` × elements.
pub const MJML_ATTRIBUTE_WORK: usize = 4 * 1024 * 1024;
/// Longest HTML that MJML may become, in bytes.
pub const MJML_HTML_BYTES: usize = PART_BYTES;
