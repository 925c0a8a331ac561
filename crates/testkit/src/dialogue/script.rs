//! Reads a dialogue script. It opens no connection and judges no reply.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A dialogue script that was read; see the module for its form.
#[derive(Debug, Clone)]
pub struct Dialogue {
    pub(super) name: String,
    title: Option<String>,
    settings: Vec<(String, String)>,
    pub(super) steps: Vec<Step>,
}

/// Why a text is no script.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read.
    #[error("could not read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line has no meaning.
    #[error("{script}, line {line}: {what}")]
    Line {
        /// Name of the script.
        script: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) kind: StepKind,
}

#[derive(Debug, Clone)]
pub(super) enum StepKind {
    Say(Vec<u8>),
    Hear(Pattern),
    HearUntil(Pattern),
    Wait(Duration),
    Tls,
    Close,
    Gone,
}

impl Dialogue {
    /// Reads a script from text; `name` appears in messages.
    ///
    /// # Errors
    /// Names the first line that has no meaning; a script without steps is one, too.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScriptError> {
        let wrong = |line, what| ScriptError::Line { script: name.to_owned(), line, what };
        let mut steps = Vec::new();
        let (mut title, mut settings) = (None, Vec::new());
        for (index, text) in text.lines().enumerate() {
            let line = index + 1;
            if let Some(comment) = text.strip_prefix('#') {
                title.get_or_insert_with(|| comment.trim().to_owned());
                continue;
            }
            if text.trim().is_empty() {
                continue;
            }
            if let Some(setting) = text.strip_prefix("set ") {
                if !steps.is_empty() {
                    return Err(wrong(line, "settings stand before the first step".to_owned()));
                }
                let (name, value) = setting.split_once(' ').unwrap_or((setting, ""));
                settings.push((name.to_owned(), value.to_owned()));
                continue;
            }
            steps.push(Step { line, kind: step(text).map_err(|what| wrong(line, what))? });
        }
        if steps.is_empty() {
            return Err(wrong(1, "a script needs at least one step".to_owned()));
        }
        Ok(Self { name: name.to_owned(), title, settings, steps })
    }

    /// Reads a script file.
    ///
    /// # Errors
    /// When the file cannot be read or a line has no meaning.
    pub fn read(path: &Path) -> Result<Self, ScriptError> {
        let text = std::fs::read_to_string(path).map_err(|error| ScriptError::Read { path: path.to_owned(), error })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// All scripts (`*.txt`) of a folder, by name. A folder without scripts is an error: a test over it could
    /// not fail.
    ///
    /// # Errors
    /// When the folder or one of its scripts cannot be read, or there is none.
    pub fn read_folder(folder: &Path) -> Result<Vec<Self>, ScriptError> {
        let unreadable = |error| ScriptError::Read { path: folder.to_owned(), error };
        let entries = std::fs::read_dir(folder).map_err(unreadable)?;
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
            .collect();
        if paths.is_empty() {
            return Err(unreadable(std::io::Error::other("there is no .txt file in it")));
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Its first comment line: what it shows.
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Its `set NAME VALUE` lines, in order; what they mean is the test's.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn step(line: &str) -> Result<StepKind, String> {
    // One blank after the mark belongs to the mark; all others are said and heard.
    let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
    let kind = match mark {
        ">" => StepKind::Say([rest.as_bytes(), b"\r\n"].concat()),
        ">>" => StepKind::Say(unescape(rest)?),
        "<" => StepKind::Hear(Pattern(rest.to_owned())),
        "<.." => StepKind::HearUntil(Pattern(rest.to_owned())),
        "wait" => StepKind::Wait(duration(rest.trim())?),
        "tls" => StepKind::Tls,
        "close" => StepKind::Close,
        "gone" => StepKind::Gone,
        _ => return Err(format!("{mark:?} is no step; write one of > >> < <.. wait tls close gone")),
    };
    Ok(kind)
}

/// The bytes behind `\r \n \t \\ \xHH`.
///
/// # Errors
/// For another sign behind a backslash.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        (rest, _) = match (first, tail) {
            (b'\\', [b'r', tail @ ..]) => (tail, bytes.push(b'\r')),
            (b'\\', [b'n', tail @ ..]) => (tail, bytes.push(b'\n')),
            (b'\\', [b't', tail @ ..]) => (tail, bytes.push(b'\t')),
            (b'\\', [b'\\', tail @ ..]) => (tail, bytes.push(b'\\')),
            (b'\\', [b'x', high, low, tail @ ..]) => (tail, bytes.push(hex(*high)? << 4 | hex(*low)?)),
            (b'\\', _) => return Err("after a backslash comes r, n, t, a backslash or xHH".to_owned()),
            (byte, tail) => (tail, bytes.push(*byte)),
        };
    }
    Ok(bytes)
}

fn hex(digit: u8) -> Result<u8, String> {
    let value = char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    value.ok_or_else(|| format!("{:?} is no hexadecimal digit", char::from(digit)))
}

fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no time; write for example 200ms, 5s or 2m"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("{unit:?} is no unit of time; write ms, s or m")),
    }
}

/// A line in which `*` stands for any text.
#[derive(Debug, Clone)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn fits(&self, line: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = line.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            // The earliest place leaves the most room for what follows.
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let table = [
            ("250 ok", "250 ok", true),
            ("250 ok", "250 ok ", false),
            ("250 *", "250 ", true),
            ("250 *", "250-x", false),
            ("*", "", true),
            ("2*5*0", "2005500", true),
            ("2*5*0", "20", false),
            ("a*a", "a", false),
            ("*b*c", "abc", true),
            ("*c*b", "abc", false),
        ];
        for (pattern, line, fits) in table {
            assert_eq!(Pattern(pattern.to_owned()).fits(line), fits, "{pattern:?} {line:?}");
        }
    }

    #[test]
    fn wrong_scripts_say_where() {
        let table = [
            ("", "line 1: a script needs"),
            ("# only a comment\n", "line 1: a script needs"),
            ("< 220 *\nsay hi\n", "line 2: \"say\" is no step"),
            (">> a\\q\n", "line 1: after a backslash"),
            (">> \\x4g\n", "line 1: 'g' is no hexadecimal"),
            ("gone\nset size 1\n", "line 2: settings stand before"),
            ("wait five\n", "line 1: \"five\" is no time"),
            ("wait 5h\n", "line 1: \"h\" is no unit"),
        ];
        for (text, message) in table {
            let error = Dialogue::parse("s.txt", text).expect_err(text).to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_script_has_a_title_and_settings() {
        let script =
            Dialogue::parse("s.txt", "# What it shows\nset size 10\nset open\n# more\ngone\n").expect("a script");
        assert_eq!(script.title(), Some("What it shows"));
        let settings = [("size".to_owned(), "10".to_owned()), ("open".to_owned(), String::new())];
        assert_eq!(script.settings(), settings);
    }

    #[test]
    fn a_folder_without_scripts_is_an_error() {
        let folder = crate::folder::TempFolder::new("scripts");
        assert!(Dialogue::read_folder(folder.path()).is_err());
        std::fs::write(folder.join("b.txt"), "gone\n").expect("a file");
        std::fs::write(folder.join("a.txt"), "close\n").expect("a file");
        std::fs::write(folder.join("c.md"), "not a script\n").expect("a file");
        let names: Vec<String> = Dialogue::read_folder(folder.path())
            .expect("scripts")
            .iter()
            .map(|script| script.name().rsplit('/').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(names, ["a.txt", "b.txt"]);
    }
}
