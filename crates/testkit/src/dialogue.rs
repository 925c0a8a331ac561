//! SMTP dialogues as text files (tests/dialogs/*.txt): what one side says, line by line, and what it must hear.
//!
//! A script plays a client against our server or a server against our client; it does not know which, and it
//! knows no SMTP: a line is a line. Steps, one a line:
//!
//! ```text
//! # a comment; the first one is the script's title
//! set size 1000            a setting, before the first step: its meaning is the test's
//! > EHLO there            sends the line and CRLF
//! >> a\r\nb\x00           sends the bytes as written, no line end added; escapes \r \n \t \\ \xHH
//! < 250 *                 the next line must be this; `*` stands for any text
//! <.. 250 *               skips lines until one fits (the end of a multi-line reply)
//! wait 5s                 lets that time pass (ms, s, m), on the test's clock when that is paused
//! tls                     a TLS handshake as client, when the test brings one
//! close                   ends our sending direction
//! gone                    the other side must close without another line
//! ```

mod script;

use std::fmt;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub use script::{Dialogue, ScriptError, unescape};
use script::{Pattern, Step, StepKind};

/// How long the other side may take for one line.
const LINE_WAIT: Duration = Duration::from_secs(20);
/// The longest line that a script reads; a hostile endless line ends the test instead of the memory.
const LINE_LIMIT: usize = 1 << 20;

/// Where and why the other side did not say what the script expects.
#[derive(Debug, thiserror::Error)]
#[error("{script}, line {line}: {what}\n{transcript}")]
pub struct DialogueFailure {
    /// Name of the script.
    pub script: String,
    /// Line in the script, from 1.
    pub line: usize,
    /// What was expected and what came.
    pub what: String,
    /// Everything that was said until then.
    pub transcript: Transcript,
}

/// What both sides said, in order; lines without their ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// One entry a line, `>` (said by the script) or `<` (heard) before it.
    pub lines: Vec<String>,
}

impl fmt::Display for Transcript {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(out, "    {line}"))
    }
}

/// A TLS client for scripts that say `tls`.
#[derive(Clone)]
pub struct ScriptTls {
    /// Makes the handshake.
    pub connector: TlsConnector,
    /// The name that the other side must show.
    pub name: ServerName<'static>,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Dialogue {
    /// Plays the script over the stream; it must not say `tls`.
    ///
    /// # Errors
    /// At the first step that does not go as written.
    pub async fn play(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Transcript, DialogueFailure> {
        self.run(Box::new(stream), None).await
    }

    /// Plays a script that may say `tls`.
    ///
    /// # Errors
    /// At the first step that does not go as written.
    pub async fn play_with_tls(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        tls: &ScriptTls,
    ) -> Result<Transcript, DialogueFailure> {
        self.run(Box::new(stream), Some(tls)).await
    }

    async fn run(&self, stream: Box<dyn Duplex>, tls: Option<&ScriptTls>) -> Result<Transcript, DialogueFailure> {
        let mut player = Player { stream: Some(BufReader::new(stream)), tls, transcript: Transcript::default() };
        for step in &self.steps {
            if let Err(what) = player.take(&step.kind).await {
                return Err(self.failure(step, what, player.transcript));
            }
        }
        Ok(player.transcript)
    }

    fn failure(&self, step: &Step, what: String, transcript: Transcript) -> DialogueFailure {
        DialogueFailure { script: self.name.clone(), line: step.line, what, transcript }
    }
}

struct Player<'a> {
    /// `None` after a handshake that failed.
    stream: Option<BufReader<Box<dyn Duplex>>>,
    tls: Option<&'a ScriptTls>,
    transcript: Transcript,
}

impl Player<'_> {
    fn stream(&mut self) -> &mut BufReader<Box<dyn Duplex>> {
        self.stream.as_mut().expect("a failed handshake ends the script")
    }

    async fn handshake(&mut self) -> Result<(), String> {
        let Some(tls) = self.tls else { return Err("the test brings no TLS client".to_owned()) };
        let stream = self.stream.take().expect("a failed handshake ends the script");
        if !stream.buffer().is_empty() {
            return Err(format!("{} bytes came before the handshake", stream.buffer().len()));
        }
        match timeout(LINE_WAIT, tls.connector.connect(tls.name.clone(), stream.into_inner())).await {
            Ok(Ok(stream)) => {
                self.stream = Some(BufReader::new(Box::new(stream)));
                self.transcript.lines.push("= TLS".to_owned());
                Ok(())
            }
            Ok(Err(error)) => Err(format!("no TLS came about: {error}")),
            Err(_) => Err(format!("no TLS came about within {LINE_WAIT:?}")),
        }
    }

    async fn take(&mut self, step: &StepKind) -> Result<(), String> {
        match step {
            StepKind::Say(bytes) => self.say(bytes).await,
            StepKind::Hear(pattern) => {
                let line = self.line().await?;
                if pattern.fits(&line) { Ok(()) } else { Err(format!("expected {pattern}, heard {line:?}")) }
            }
            StepKind::HearUntil(pattern) => self.skip_until(pattern).await,
            StepKind::Wait(time) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
            StepKind::Tls => self.handshake().await,
            StepKind::Close => self.stream().shutdown().await.map_err(|error| format!("could not close: {error}")),
            StepKind::Gone => match self.raw_line().await? {
                None => Ok(()),
                Some(line) => Err(format!("expected the end of the connection, heard {line:?}")),
            },
        }
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.transcript.lines.push(format!("> {}", String::from_utf8_lossy(bytes).trim_end_matches("\r\n")));
        let stream = self.stream();
        let send = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        match timeout(LINE_WAIT, send).await {
            Ok(sent) => sent.map_err(|error| format!("could not send: {error}")),
            Err(_) => Err(format!("the other side took nothing for {LINE_WAIT:?}")),
        }
    }

    async fn skip_until(&mut self, pattern: &Pattern) -> Result<(), String> {
        let mut skipped = 0;
        loop {
            match self.raw_line().await? {
                Some(line) if pattern.fits(&line) => return Ok(()),
                Some(_) => skipped += 1,
                None => return Err(format!("expected {pattern}, but the connection ended after {skipped} lines")),
            }
        }
    }

    async fn line(&mut self) -> Result<String, String> {
        self.raw_line().await?.ok_or_else(|| "the connection ended".to_owned())
    }

    /// `None` at the end of the connection, however it ends.
    async fn raw_line(&mut self) -> Result<Option<String>, String> {
        let mut line = Vec::new();
        loop {
            let piece = match timeout(LINE_WAIT, self.stream().fill_buf()).await {
                Err(_) => return Err(format!("the other side said nothing for {LINE_WAIT:?}")),
                Ok(Err(_)) => return Ok(None),
                Ok(Ok(piece)) => piece,
            };
            if piece.is_empty() {
                return Ok(if line.is_empty() { None } else { Some(self.heard(&line)) });
            }
            let (used, ended) = match piece.iter().position(|&byte| byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (piece.len(), false),
            };
            line.extend_from_slice(&piece[..used]);
            self.stream().consume(used);
            if ended {
                return Ok(Some(self.heard(&line)));
            }
            if line.len() > LINE_LIMIT {
                return Err(format!("the other side sent a line of more than {LINE_LIMIT} bytes"));
            }
        }
    }

    /// A bare LF is kept visible: RFC 5321 2.3.8 wants CRLF.
    fn heard(&mut self, line: &[u8]) -> String {
        let text = match line.strip_suffix(b"\r\n") {
            Some(text) => String::from_utf8_lossy(text).into_owned(),
            None => String::from_utf8_lossy(line).replace('\n', "\\n"),
        };
        self.transcript.lines.push(format!("< {text}"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    /// The other side: greets, answers each line with a 250 of two lines, ends at QUIT.
    async fn peer(stream: DuplexStream) {
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 hello\r\n").await.expect("greeting");
        let mut line = String::new();
        while stream.read_line(&mut line).await.expect("a line") > 0 {
            if line == "QUIT\r\n" {
                stream.write_all(b"221 bye\r\n").await.expect("bye");
                return;
            }
            stream.write_all(format!("250-{}\r\n250 ok\r\n", line.trim_end()).as_bytes()).await.expect("reply");
            line.clear();
        }
    }

    async fn play(script: &str) -> Result<Transcript, DialogueFailure> {
        let dialogue = Dialogue::parse("test", script).expect("a script");
        let (ours, theirs) = duplex(1024);
        let (played, ()) = tokio::join!(dialogue.play(ours), peer(theirs));
        played
    }

    #[tokio::test]
    async fn a_script_that_fits_passes() {
        let transcript = play("# greeting\n< 220 *\n> EHLO me\n< 250-EHLO *\n< 250 ok\n>> NO\\x4fP\\r\\n\n<.. 250 *\n> QUIT\n< 221 bye\ngone\n")
            .await
            .expect("fits");
        assert_eq!(transcript.lines.last().map(String::as_str), Some("< 221 bye"));
        assert!(transcript.lines.contains(&"< 250-NOOP".to_owned()), "{transcript}");
    }

    #[tokio::test]
    async fn the_first_wrong_line_is_named() {
        let failure = play("< 220 *\n> X\n< 550 *\n").await.expect_err("does not fit");
        assert_eq!(failure.line, 3);
        assert!(failure.to_string().contains("expected \"550 *\", heard \"250-X\""), "{failure}");
    }

    #[tokio::test]
    async fn a_missing_end_is_noticed() {
        let failure = play("< 220 *\n> X\n< 250-*\ngone\n").await.expect_err("does not end");
        assert_eq!(failure.line, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_script() {
        let dialogue = Dialogue::parse("test", "wait 5m\n< 220 *\n").expect("a script");
        let (ours, mut theirs) = duplex(64);
        let failure = dialogue.play(ours).await.expect_err("nobody speaks");
        assert!(failure.what.contains("said nothing"), "{failure}");
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.expect("our end is closed");
        assert!(rest.is_empty());
    }
}
