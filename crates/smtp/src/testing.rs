//! Scripted peers for tests: one side of an SMTP dialogue read from a text, over a pipe in memory.
//!
//! ```text
//! S: 220 mx.test ESMTP        the script writes this line
//! C: EHLO us.test             the other side must write exactly this line
//! C~ MAIL FROM:<a@b.test>     ... a line that starts like this
//! C* message                  ... lines up to and with the single dot
//! raw 16 03 01                the script writes these bytes (hexadecimal)
//! wait 250                    nothing happens for so many milliseconds
//! hang                        the script does nothing more, and does not close
//! close                       the script closes the stream
//! ```
//!
//! `S:` lines that follow each other go out in one write, as a server's batch of replies does. When a script ends
//! without `close` or `hang`, the other side must close without another byte. `#` starts a comment line.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use crate::dial::BoxStream;

/// The running script. Ask it with [`Peer::finish`], or nobody notices that the dialogue went wrong.
#[derive(Debug)]
pub struct Peer {
    running: JoinHandle<Result<Vec<String>, String>>,
}

impl Peer {
    /// Waits for the end of the script: all lines that the other side wrote, or how it strayed from the script.
    pub async fn finish(self) -> Result<Vec<String>, String> {
        match self.running.await {
            Ok(result) => result,
            Err(error) => Err(format!("the script broke off: {error}")),
        }
    }
}

/// Starts a script; the stream is the other end.
pub fn scripted(script: &str) -> (BoxStream, Peer) {
    scripted_with_capacity(script, 64 * 1024)
}

/// As [`scripted`], over a pipe that holds this many bytes: a small one makes a writer wait for its reader.
pub fn scripted_with_capacity(script: &str, capacity: usize) -> (BoxStream, Peer) {
    let (ours, theirs) = tokio::io::duplex(capacity);
    let steps = parse(script);
    let running = tokio::spawn(async move { run(steps?, theirs).await });
    (Box::new(ours), Peer { running })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Say(Vec<u8>),
    Line(String),
    Prefix(String),
    Message,
    Wait(Duration),
    Hang,
    Close,
}

fn parse(script: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for line in script.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let step = if let Some(text) = line.strip_prefix("S:") {
            let text = text.strip_prefix(' ').unwrap_or(text);
            Step::Say([text.as_bytes(), b"\r\n"].concat())
        } else if let Some(text) = line.strip_prefix("C:") {
            Step::Line(text.strip_prefix(' ').unwrap_or(text).to_owned())
        } else if let Some(text) = line.strip_prefix("C~") {
            Step::Prefix(text.trim_start().to_owned())
        } else if line.starts_with("C*") {
            Step::Message
        } else if let Some(hex) = line.strip_prefix("raw ") {
            let bytes: Result<Vec<u8>, _> = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16)).collect();
            Step::Say(bytes.map_err(|error| format!("the script holds bad hexadecimal in {line:?}: {error}"))?)
        } else if let Some(millis) = line.strip_prefix("wait ") {
            let millis = millis.trim().parse().map_err(|error| format!("the script holds a bad wait: {error}"))?;
            Step::Wait(Duration::from_millis(millis))
        } else if line.trim_end() == "hang" {
            Step::Hang
        } else if line.trim_end() == "close" {
            Step::Close
        } else {
            return Err(format!("the script holds a line that means nothing: {line:?}"));
        };
        match (steps.last_mut(), step) {
            (Some(Step::Say(batch)), Step::Say(more)) => batch.extend_from_slice(&more),
            (_, step) => steps.push(step),
        }
    }
    Ok(steps)
}

struct Lines {
    stream: DuplexStream,
    buffer: Vec<u8>,
    seen: Vec<String>,
}

impl Lines {
    /// The next line with CRLF as its end, and only CRLF.
    async fn next(&mut self) -> Result<String, String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                self.seen.push(line.clone());
                return Ok(line);
            }
            let mut room = [0; 4096];
            match self.stream.read(&mut room).await {
                Ok(count) if count > 0 => self.buffer.extend_from_slice(&room[..count]),
                Ok(_) | Err(_) => return Err("the other side closed the stream".to_owned()),
            }
        }
    }
}

async fn run(steps: Vec<Step>, stream: DuplexStream) -> Result<Vec<String>, String> {
    let mut lines = Lines { stream, buffer: Vec::new(), seen: Vec::new() };
    for step in steps {
        match step {
            // The other side may be gone, as a client that gives up is; what it wrote before is what counts.
            Step::Say(bytes) => drop(lines.stream.write_all(&bytes).await),
            Step::Line(wanted) => {
                let line = lines.next().await.map_err(|error| format!("{error}; {wanted:?} was expected"))?;
                if line != wanted {
                    return Err(format!("{line:?} came where {wanted:?} was expected"));
                }
            }
            Step::Prefix(wanted) => {
                let line = lines.next().await.map_err(|error| format!("{error}; {wanted:?} was expected"))?;
                if !line.starts_with(&wanted) {
                    return Err(format!("{line:?} came where {wanted:?} was expected"));
                }
            }
            Step::Message => {
                while lines.next().await.map_err(|error| format!("{error}; a dot was expected"))? != "." {}
            }
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Hang => {
                // Reads nothing and keeps the stream: the other side waits.
                std::future::pending::<()>().await;
            }
            Step::Close => {
                if !lines.buffer.is_empty() {
                    lines.seen.push(String::from_utf8_lossy(&lines.buffer).into_owned());
                }
                return Ok(lines.seen);
            }
        }
    }
    match lines.next().await {
        Ok(line) => Err(format!("{line:?} came after the end of the script")),
        Err(_) if lines.buffer.is_empty() => Ok(lines.seen),
        Err(_) => Err(format!("{:?} came after the end of the script", String::from_utf8_lossy(&lines.buffer))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dialogue_that_fits_passes_and_one_that_strays_is_told() {
        let script = "
            # a greeting and one command
            S: 220-two
            S: 220 lines
            C: NOOP
            raw 32 35 30 0d 0a
        ";
        let (mut stream, peer) = scripted(script);
        let mut room = [0; 64];
        let count = stream.read(&mut room).await.expect("read");
        assert_eq!(&room[..count], b"220-two\r\n220 lines\r\n", "one batch");
        stream.write_all(b"NOOP\r\n").await.expect("write");
        let count = stream.read(&mut room).await.expect("read");
        assert_eq!(&room[..count], b"250\r\n");
        drop(stream);
        assert_eq!(peer.finish().await, Ok(vec!["NOOP".to_owned()]));

        let (mut stream, peer) = scripted("C: NOOP");
        stream.write_all(b"RSET\r\n").await.expect("write");
        assert!(peer.finish().await.is_err());

        let (mut stream, peer) = scripted("C: NOOP");
        stream.write_all(b"NOOP\r\nmore").await.expect("write");
        drop(stream);
        assert!(peer.finish().await.is_err());

        let (_stream, peer) = scripted("nonsense");
        assert!(peer.finish().await.is_err());
    }
}
