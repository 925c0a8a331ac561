//! The conformance suite: each script of tests/dialogs/submission against the real session, and the page that lists
//! them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postrider_smtp::server::{serve, serve_implicit_tls};
use postrider_testkit::dialogue::{Dialogue, Transcript};

use crate::server_rig::{Recorder, settings, tls};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn scripts() -> Vec<Dialogue> {
    Dialogue::read_folder(&repository().join("tests/dialogs/submission")).expect("scripts")
}

/// File name without its ending: `bdat-zero-last`.
fn short(script: &Dialogue) -> &str {
    let name = script.name().rsplit('/').next().unwrap_or_default();
    name.strip_suffix(".txt").unwrap_or(name)
}

async fn play(script: &Dialogue) -> Result<Transcript, String> {
    let (config, setting) = settings(script.settings())?;
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut handler = Recorder::default();
    handler.greeting = setting.greeting;
    let record = handler.record.clone();
    let implicit_tls = setting.implicit_tls;
    let session = tokio::spawn(async move {
        if implicit_tls {
            serve_implicit_tls(Box::new(theirs), &config, &mut handler).await
        } else {
            serve(Box::new(theirs), &config, &mut handler).await
        }
    });
    let drain = setting.drain.map(|(after, sender)| {
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = sender.send(true);
            sender.closed().await;
        })
    });
    let played = script.play_with_tls(ours, &tls().1).await;
    // The client is gone: the session has nothing left to wait for but its last words.
    let ended = tokio::time::timeout(Duration::from_secs(600), session).await;
    if let Some(drain) = drain {
        drain.abort();
    }
    let transcript = played.map_err(|failure| failure.to_string())?;
    match ended {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(format!("the session panicked: {error}")),
        Err(_) => return Err("the session did not end".to_owned()),
    }
    let record = record.lock().expect("no panic");
    if !record.wrong.is_empty() || record.opened != record.resets {
        return Err(format!("the handler was called wrongly: {record:?}"));
    }
    if record.kept.len() != setting.kept {
        return Err(format!("{} messages were kept, not {}", record.kept.len(), setting.kept));
    }
    if let Some(envelope) = setting.envelope
        && record.kept.last().is_none_or(|(kept, _)| *kept != envelope)
    {
        return Err(format!("expected the envelope {envelope:?}, kept {:?}", record.kept));
    }
    if let Some(body) = setting.body
        && record.kept.last().is_none_or(|(_, kept)| *kept != body)
    {
        return Err(format!("expected the message {:?}, kept {:?}", String::from_utf8_lossy(&body), record.kept));
    }
    well_formed(&transcript)?;
    Ok(transcript)
}

/// RFC 2034: each reply but the greeting, those to EHLO and HELO, 334 and 354 has an enhanced code of its class.
fn well_formed(transcript: &Transcript) -> Result<(), String> {
    for line in transcript.lines.iter().filter_map(|line| line.strip_prefix("< ")) {
        let code = line.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
        let (Some(code), Some(b' ' | b'-')) = (code, line.as_bytes().get(3)) else {
            return Err(format!("{line:?} is no reply"));
        };
        if !line.is_ascii() || line.len() > 510 {
            return Err(format!("{line:?} is longer than 512 octets or not ASCII"));
        }
        let text = &line[4..];
        let bare = matches!(code, "334" | "354") || line.starts_with("250-") || code == "220" && text.contains("ESMTP");
        let keyword = ["SIZE ", "LIMITS ", "ENHANCEDSTATUSCODES"].iter().any(|keyword| text.starts_with(keyword));
        let of_hello = code == "250" && (text == "mx.test" || keyword);
        if !bare && !of_hello && !text.starts_with(&format!("{}.", &code[..1])) {
            return Err(format!("{line:?} has no enhanced code"));
        }
    }
    Ok(())
}

#[test]
fn every_script_goes_as_written() {
    let scripts = scripts();
    let mut wrong = Vec::new();
    for script in &scripts {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        if let Err(what) = runtime.expect("a runtime").block_on(play(script)) {
            wrong.push(format!("{}: {what}", short(script)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} scripts:\n{}", wrong.len(), scripts.len(), wrong.join("\n"));
    assert!(scripts.len() >= 150, "{} scripts", scripts.len());
}

/// A script that expects the wrong thing must fail, or the suite shows nothing.
#[tokio::test(start_paused = true)]
async fn a_wrong_script_is_noticed() {
    for (text, what) in [
        ("< 220 *\n> NOOP\n< 500 *\n", "expected \"500 *\""),
        ("set kept 1\n< 220 *\n> QUIT\n< 221 *\ngone\n", "0 messages were kept, not 1"),
        ("set colour red\n< 220 *\n", "is no setting"),
        ("< 220 *\ngone\n", "said nothing"),
    ] {
        let script = Dialogue::parse("wrong.txt", text).expect("a script");
        let found = play(&script).await.expect_err("it is wrong");
        assert!(found.contains(what), "{found}");
    }
}

const SUBJECTS: [(&str, &str); 20] = [
    ("greeting", "The greeting"),
    ("ehlo", "EHLO"),
    ("helo", "HELO"),
    ("order", "Order of commands"),
    ("verb", "Other verbs"),
    ("line", "Lines"),
    ("mail", "MAIL"),
    ("size", "SIZE"),
    ("rcpt", "RCPT"),
    ("data", "DATA"),
    ("smuggling", "Ends of a message that are none"),
    ("bdat", "BDAT"),
    ("dsn", "DSN"),
    ("utf8", "SMTPUTF8"),
    ("requiretls", "REQUIRETLS"),
    ("starttls", "STARTTLS"),
    ("auth", "AUTH"),
    ("limit", "Limits"),
    ("time", "Time"),
    ("drain", "A listener that drains"),
];

#[test]
fn the_page_lists_every_script() {
    let scripts = scripts();
    let mut by_subject: BTreeMap<&str, Vec<&Dialogue>> = BTreeMap::new();
    for script in &scripts {
        by_subject.entry(short(script).split('-').next().unwrap_or_default()).or_default().push(script);
    }
    let mut table = format!("{} dialogues.\n", scripts.len());
    for (subject, heading) in SUBJECTS {
        let rows = by_subject.remove(subject).unwrap_or_default();
        assert!(!rows.is_empty(), "no script about {subject}");
        let _ = write!(table, "\n### {heading}\n\n| script | shows |\n|---|---|\n");
        for script in rows {
            let title = script.title().filter(|title| !title.is_empty());
            let title = title.unwrap_or_else(|| panic!("{} has no title", script.name()));
            let _ = writeln!(table, "| {} | {} |", short(script), title.replace('|', "\\|"));
        }
    }
    assert!(by_subject.is_empty(), "subjects without a heading: {:?}", by_subject.keys());
    compare("docs/smtp.md", "dialogues", &table);
}

/// Compares a part of a page with what the test has made; with UPDATE_TABLES=1 writes it there.
fn compare(page: &str, part: &str, made: &str) {
    let path = repository().join(page);
    let text = std::fs::read_to_string(&path).expect("the page");
    let (begin, end) = (format!("<!-- {part}: made by a test -->\n"), format!("<!-- {part}: end -->"));
    let from = text.find(&begin).expect("the mark before the table") + begin.len();
    let to = from + text[from..].find(&end).expect("the mark after the table");
    if std::env::var_os("UPDATE_TABLES").is_some() {
        std::fs::write(&path, [&text[..from], made, &text[to..]].concat()).expect("written");
        return;
    }
    assert_eq!(&text[from..to], made, "{page} is not up to date: run the test once with UPDATE_TABLES=1");
}
