//! The template engine for pieces with conditions, loops and filters: minijinja from an empty environment.
//!
//! Must not know where pieces stand in a message. Everything that reads or makes text counts its bytes against
//! [`limits::WORK_BYTES`], instructions against [`limits::FUEL`], output against [`limits::PART_BYTES`]: so that
//! the worst template ends within 100 ms and 32 MB (SEC-22).

use std::borrow::Cow;
use std::io;

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use crate::error::{PartName, RenderError};
use crate::escape;
use crate::limits;
use crate::place::Place;
use crate::template::TextOp;

/// Details of our own errors: recognised when a run failed, never shown as they are.
const TOO_MUCH_WORK: &str = "\u{1}work";
const VALUE_TOO_LONG: &str = "\u{1}value";
const UNSAFE_URL: &str = "\u{1}url ";

/// The dynamic templates of one version, compiled.
pub struct Engine {
    env: Environment<'static>,
}

impl Engine {
    /// Compiles the dynamic sources of a version.
    ///
    /// # Errors
    /// What minijinja says; cannot happen for sources that our compiler wrote.
    pub fn new<'a>(sources: impl IntoIterator<Item = (PartName, &'a str)>) -> Result<Engine, String> {
        let mut env = environment();
        for (part, source) in sources {
            env.add_template_owned(part.as_str(), source.to_owned()).map_err(|error| error.to_string())?;
        }
        Ok(Engine { env })
    }

    /// Runs the dynamic template of a part.
    ///
    /// # Errors
    /// [`RenderError`] without any value of the contact.
    pub fn run(&self, part: PartName, context: &Value) -> Result<String, RenderError> {
        let template = self
            .env
            .get_template(part.as_str())
            .map_err(|error| RenderError::Template { part, message: error.kind().to_string() })?;
        let mut writer = Capped { bytes: Vec::new(), is_full: false };
        let result = template.render_captured_to(context.clone(), &mut writer).map(|_| ());
        match result {
            Ok(()) => String::from_utf8(writer.bytes)
                .map_err(|_| RenderError::Template { part, message: "the output is no UTF-8".to_owned() }),
            Err(_) if writer.is_full => Err(RenderError::Budget { part, limit: "1 MiB of output" }),
            Err(error) => Err(render_error(part, &error)),
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

fn render_error(part: PartName, error: &Error) -> RenderError {
    let detail = error.detail().unwrap_or_default();
    if error.kind() == ErrorKind::OutOfFuel {
        return RenderError::Budget { part, limit: "50,000 instructions" };
    }
    if detail == TOO_MUCH_WORK {
        return RenderError::Budget { part, limit: "4 MiB of text handled by filters" };
    }
    if detail == VALUE_TOO_LONG {
        return RenderError::Budget { part, limit: "16 KiB in one value" };
    }
    if let Some(name) = detail.strip_prefix(UNSAFE_URL) {
        return RenderError::UnsafeUrl { part, name: name.to_owned() };
    }
    // minijinja's details can repeat values; its kinds cannot.
    RenderError::Template { part, message: error.kind().to_string() }
}

/// Takes output up to the bound.
struct Capped {
    bytes: Vec<u8>,
    is_full: bool,
}

impl io::Write for Capped {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > limits::PART_BYTES {
            self.is_full = true;
            return Err(io::Error::other("the output is full"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes handled in this run.
struct Work(usize);

fn charge(state: &mut State, bytes: usize) -> Result<(), Error> {
    let work = state.get_or_insert_extension_with(|| Work(0));
    // A constant part, so that a million empty texts are not free.
    work.0 = work.0.saturating_add(bytes).saturating_add(32);
    if work.0 > limits::WORK_BYTES { Err(Error::new(ErrorKind::InvalidOperation, TOO_MUCH_WORK)) } else { Ok(()) }
}

/// Asks before a text is made: for its length, and for the work.
fn allow(state: &mut State, bytes: usize) -> Result<(), Error> {
    if bytes > limits::VALUE_BYTES {
        return Err(Error::new(ErrorKind::InvalidOperation, VALUE_TOO_LONG));
    }
    charge(state, bytes)
}

/// The text of a value: missing ones and lists are empty.
pub fn text_of(value: &Value) -> Cow<'_, str> {
    match value.kind() {
        ValueKind::String => Cow::Borrowed(value.as_str().unwrap_or_default()),
        ValueKind::Number => Cow::Owned(value.to_string()),
        ValueKind::Bool => Cow::Borrowed(if value.is_true() { "true" } else { "false" }),
        // Lists have no text of their own; `join` makes one.
        _ => Cow::Borrowed(""),
    }
}

/// One text step, the same for the fast path and the engine.
pub fn apply(op: &TextOp, text: Cow<'_, str>) -> String {
    match op {
        TextOp::Default(other) => {
            if text.trim().is_empty() {
                other.clone()
            } else {
                text.into_owned()
            }
        }
        TextOp::Upper => text.to_uppercase(),
        TextOp::Lower => text.to_lowercase(),
        TextOp::Title => {
            let mut out = String::with_capacity(text.len());
            let mut starts = true;
            for c in text.chars() {
                if starts {
                    out.extend(c.to_uppercase());
                } else {
                    out.extend(c.to_lowercase());
                }
                starts = c.is_whitespace() || c == '-';
            }
            out
        }
        TextOp::Capitalize => {
            let mut chars = text.chars();
            let mut out = String::with_capacity(text.len());
            if let Some(first) = chars.next() {
                out.extend(first.to_uppercase());
                out.push_str(&chars.as_str().to_lowercase());
            }
            out
        }
        TextOp::Trim => text.trim().to_owned(),
    }
}

/// A number of any value: texts are read, everything else is `other`.
fn number_of(value: &Value, other: f64) -> f64 {
    match value.kind() {
        ValueKind::Number => f64::try_from(value.clone()).unwrap_or(other),
        ValueKind::Bool => f64::from(u8::from(value.is_true())),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default().trim();
            text.parse::<f64>().ok().filter(|number| number.is_finite()).unwrap_or(other)
        }
        _ => other,
    }
}

fn is_blank(value: &Value) -> bool {
    value.is_undefined() || value.is_none() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

fn environment() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_debug(false);
    env.set_fuel(Some(limits::FUEL));
    env.set_recursion_limit(64);
    env.set_formatter(|out, _, value| out.write_str(&text_of(value)).map_err(Error::from));

    for (name, op) in [
        ("upper", TextOp::Upper),
        ("lower", TextOp::Lower),
        ("title", TextOp::Title),
        ("capitalize", TextOp::Capitalize),
        ("trim", TextOp::Trim),
    ] {
        env.add_filter(name, move |state: &mut State, value: &Value| -> Result<String, Error> {
            let text = text_of(value);
            // Changing the case makes a text at most three times longer.
            allow(state, text.len())?;
            charge(state, text.len() * 2)?;
            Ok(apply(&op, text))
        });
    }
    env.add_filter("default", |value: &Value, other: Value| if is_blank(value) { other } else { value.clone() });
    env.add_filter("escape", Value::clone);
    env.add_filter("e", Value::clone);
    env.add_filter("length", length);
    env.add_filter("count", length);
    env.add_filter("first", |state: &mut State, value: &Value| {
        end_of(state, value, |text| text.chars().next(), |items| items.next())
    });
    env.add_filter("last", |state: &mut State, value: &Value| {
        end_of(state, value, |text| text.chars().next_back(), |items| items.last())
    });
    env.add_filter("join", join);
    env.add_filter("round", |value: &Value, digits: Option<i64>| {
        let digits = digits.unwrap_or(0).clamp(0, 12);
        let factor = 10_f64.powi(i32::try_from(digits).unwrap_or(0));
        let rounded = (number_of(value, 0.0) * factor).round() / factor;
        if digits == 0 && rounded.abs() < 9e15 { Value::from(rounded as i64) } else { Value::from(rounded) }
    });
    env.add_filter("int", |value: &Value, other: Option<f64>| {
        let number = number_of(value, other.unwrap_or(0.0)).trunc();
        // Casting stops at the ends of i64.
        Value::from(number as i64)
    });
    env.add_filter("float", |value: &Value, other: Option<f64>| number_of(value, other.unwrap_or(0.0)));
    env.add_filter("abs", |value: &Value| {
        let number = number_of(value, 0.0).abs();
        if number.fract() == 0.0 && number < 9e15 { Value::from(number as i64) } else { Value::from(number) }
    });
    env.add_filter("replace", replace);
    env.add_filter("truncate", truncate);
    env.add_filter("date", date);
    env.add_filter("_join", |state: &mut State, value: &Value, others: Rest<Value>| -> Result<String, Error> {
        let texts: Vec<Cow<'_, str>> = std::iter::once(value).chain(others.iter()).map(text_of).collect();
        allow(state, texts.iter().map(|text| text.len()).sum())?;
        Ok(texts.concat())
    });
    env.add_filter("_in", |state: &mut State, needle: &Value, list: &Value| -> Result<bool, Error> {
        if let Some(text) = list.as_str() {
            charge(state, text.len())?;
            return Ok(text.contains(&*text_of(needle)));
        }
        let Ok(items) = list.try_iter() else { return Ok(false) };
        let needle = text_of(needle);
        for item in items {
            charge(state, needle.len())?;
            if text_of(&item) == needle {
                return Ok(true);
            }
        }
        Ok(false)
    });
    for place in [Place::Html, Place::UrlPart, Place::Plain, Place::PlainUrlPart] {
        env.add_filter(place.filter(), move |state: &mut State, value: &Value| escaped(state, value, place, ""));
    }
    for place in [Place::UrlStart, Place::PlainUrlStart] {
        env.add_filter(place.filter(), move |state: &mut State, value: &Value, name: String| {
            escaped(state, value, place, &name)
        });
    }

    env.add_test("defined", |value: &Value| !value.is_undefined() && !value.is_none());
    env.add_test("undefined", |value: &Value| value.is_undefined() || value.is_none());
    env.add_test("none", |value: &Value| value.is_undefined() || value.is_none());
    env.add_test("string", |value: &Value| value.kind() == ValueKind::String);
    env.add_test("number", |value: &Value| value.kind() == ValueKind::Number);
    env.add_test("odd", |value: &Value| (number_of(value, 0.0) as i64).rem_euclid(2) == 1);
    env.add_test("even", |value: &Value| (number_of(value, 1.0) as i64).rem_euclid(2) == 0);

    env.add_function("range", |state: &mut State, from: f64, to: Option<f64>| -> Result<Vec<i64>, Error> {
        let (from, to) = match to {
            Some(to) => (from as i64, to as i64),
            None => (0, from as i64),
        };
        if to.saturating_sub(from) > limits::RANGE {
            return Err(Error::new(ErrorKind::InvalidOperation, VALUE_TOO_LONG));
        }
        charge(state, usize::try_from(to.saturating_sub(from).max(0)).unwrap_or(0) * 32)?;
        Ok((from..to).collect())
    });
    env
}

fn escaped(state: &mut State, value: &Value, place: Place, name: &str) -> Result<String, Error> {
    let text = text_of(value);
    // Each byte becomes at most six (`&quot;`).
    charge(state, text.len() * 2)?;
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    escape::push(&text, place, &mut out)
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, format!("{UNSAFE_URL}{name}")))?;
    charge(state, out.len())?;
    Ok(out)
}

fn length(state: &mut State, value: &Value) -> Result<usize, Error> {
    match value.as_str() {
        Some(text) => {
            charge(state, text.len())?;
            Ok(text.chars().count())
        }
        None => Ok(value.len().unwrap_or(0)),
    }
}

fn end_of(
    state: &mut State,
    value: &Value,
    letter: impl Fn(&str) -> Option<char>,
    item: impl Fn(&mut minijinja::value::ValueIter) -> Option<Value>,
) -> Result<Value, Error> {
    charge(state, value.len().unwrap_or(0))?;
    if let Some(text) = value.as_str() {
        return Ok(letter(text).map(|c| Value::from(c.to_string())).unwrap_or_default());
    }
    Ok(value.try_iter().ok().and_then(|mut items| item(&mut items)).unwrap_or_default())
}

fn join(state: &mut State, value: &Value, between: Option<String>) -> Result<String, Error> {
    if value.as_str().is_some() {
        charge(state, value.len().unwrap_or(0))?;
        return Ok(text_of(value).into_owned());
    }
    let between = between.unwrap_or_default();
    let mut out = String::new();
    for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
        let text = text_of(&item);
        let lead = if index > 0 { between.as_str() } else { "" };
        charge(state, lead.len() + text.len())?;
        if out.len() + lead.len() + text.len() > limits::VALUE_BYTES {
            return Err(Error::new(ErrorKind::InvalidOperation, VALUE_TOO_LONG));
        }
        out.push_str(lead);
        out.push_str(&text);
    }
    Ok(out)
}

fn replace(state: &mut State, value: &Value, from: Value, to: Value) -> Result<String, Error> {
    let (text, from, to) = (text_of(value), text_of(&from), text_of(&to));
    charge(state, text.len())?;
    if from.is_empty() {
        return Ok(text.into_owned());
    }
    let found = text.matches(&*from).count();
    allow(state, text.len() - found * from.len() + found * to.len())?;
    Ok(text.replace(&*from, &to))
}

fn truncate(state: &mut State, value: &Value, letters: Option<i64>, end: Option<String>) -> Result<String, Error> {
    let text = text_of(value);
    let end = end.as_deref().unwrap_or("…");
    allow(state, text.len() + end.len())?;
    let most = usize::try_from(letters.unwrap_or(255)).unwrap_or(0);
    if text.chars().count() <= most {
        return Ok(text.into_owned());
    }
    let kept = most.saturating_sub(end.chars().count());
    let mut out: String = text.chars().take(kept).collect();
    out.push_str(end);
    Ok(out)
}

/// `2026-03-09` or `2026-03-09T08:05…` in a form of %d %m %Y %y %H %M; other texts stay as they are.
fn date(state: &mut State, value: &Value, form: String) -> Result<String, Error> {
    let text = text_of(value);
    allow(state, text.len() + form.len() * 2)?;
    let Some(parts) = date_parts(text.trim()) else { return Ok(text.into_owned()) };
    let (year, month, day, hour, minute) = parts;
    let mut out = String::with_capacity(form.len() + 8);
    let mut chars = form.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str(day),
            Some('m') => out.push_str(month),
            Some('Y') => out.push_str(year),
            Some('y') => out.push_str(&year[2..]),
            Some('H') => out.push_str(hour),
            Some('M') => out.push_str(minute),
            Some(c) => {
                out.push('%');
                out.push(c);
            }
            None => out.push('%'),
        }
    }
    Ok(out)
}

fn date_parts(text: &str) -> Option<(&str, &str, &str, &str, &str)> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !text.is_ascii() || text.len() < 10 || text.as_bytes()[4] != b'-' || text.as_bytes()[7] != b'-' {
        return None;
    }
    let (year, month, day) = (&text[..4], &text[5..7], &text[8..10]);
    let in_range = (1..=12).contains(&month.parse::<u8>().ok()?) && (1..=31).contains(&day.parse::<u8>().ok()?);
    if !digits(year) || !digits(month) || !digits(day) || !in_range {
        return None;
    }
    let (hour, minute) = match text.get(11..16) {
        Some(time) if time.as_bytes()[2] == b':' && digits(&time[..2]) && digits(&time[3..]) => {
            (&time[..2], &time[3..])
        }
        _ => ("00", "00"),
    };
    Some((year, month, day, hour, minute))
}
