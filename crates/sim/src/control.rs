//! The control port: one line in, one line of JSON out, so that a test or a script can ask a world in another
//! process.
//!
//! ```text
//! STATS                       the counters
//! DUPLICATES                  the first 1,000 (Message-ID, recipient) pairs that came more than once
//! HAS <message-id>            what is known of one message
//! COUNT <mailbox>             how many copies a recipient has
//! SEEN <mailbox>              each RCPT and dot that named a recipient, when the world traces
//! LAST [n]                    the last n (1) messages, when the world keeps bodies in memory
//! BEHAVE <domain> <label>     lets a domain behave like a label
//! TXT <name> <value>          publishes a TXT record
//! RECORD <name> <type> <v>    publishes a record; a name with such records has only those
//! WITHDRAW <name>             takes them all away
//! RESET                       forgets everything
//! LIST                        the tables of behaviours
//! ```

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::keep::Kept;
use crate::record::{Receipt, hex};
use crate::shared::{Seen, Shared};
use crate::zone::Data;

/// The longest command line.
const LINE_MAX: u64 = 8 * 1024;

pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut sessions = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while sessions.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        sessions.spawn(async move {
            let _ = session(stream, &shared).await;
        });
    }
}

async fn session(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut reader).take(LINE_MAX).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut reply = answer(line.trim(), shared).to_string();
        reply.push('\n');
        writer.write_all(reply.as_bytes()).await?;
    }
}

fn answer(line: &str, shared: &Shared) -> Value {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match (verb.to_ascii_uppercase().as_str(), rest.trim()) {
        ("STATS", "") => json!(shared.stats()),
        ("DUPLICATES", "") => {
            let (count, different) = shared.record.duplicate_counts();
            json!({ "count": count, "different_bytes": different, "pairs": shared.record.duplicates(1_000) })
        }
        ("HAS", id) if !id.is_empty() => {
            let receipts = shared.record.by_message_id(id);
            json!({ "receipts": receipts.iter().map(receipt).collect::<Vec<_>>() })
        }
        ("COUNT", mailbox) if !mailbox.is_empty() => {
            json!({ "copies": shared.record.recipients().get(mailbox).copied().unwrap_or(0) })
        }
        ("SEEN", mailbox) if !mailbox.is_empty() => {
            json!({ "seen": shared.seen(mailbox).iter().map(seen).collect::<Vec<_>>() })
        }
        ("LAST", count) => match if count.is_empty() { Ok(1) } else { count.parse::<usize>() } {
            Ok(count) => {
                let kept = shared.shelf.last();
                let last = &kept[kept.len().saturating_sub(count)..];
                json!({ "messages": last.iter().map(message).collect::<Vec<_>>() })
            }
            Err(_) => json!({ "error": "write: LAST number" }),
        },
        ("BEHAVE", rest) => match rest.split_once(' ') {
            Some((domain, label)) => {
                let mut zone = shared.zone.write().unwrap_or_else(PoisonError::into_inner);
                if zone.behave(domain, label.trim()) {
                    json!({ "ok": true })
                } else {
                    json!({ "error": "there is no such label; ask LIST" })
                }
            }
            None => json!({ "error": "write: BEHAVE domain label" }),
        },
        ("TXT", rest) => match rest.split_once(' ') {
            Some((name, value)) => {
                shared.zone.write().unwrap_or_else(PoisonError::into_inner).publish_txt(name, value);
                json!({ "ok": true })
            }
            None => json!({ "error": "write: TXT name value" }),
        },
        ("RECORD", rest) => {
            let mut words = rest.splitn(3, ' ');
            let (name, kind, value) =
                (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
            match Data::parse(kind, value) {
                Some(data) => {
                    shared.zone.write().unwrap_or_else(PoisonError::into_inner).publish(name, data);
                    json!({ "ok": true })
                }
                None => json!({ "error": "write: RECORD name A|AAAA|MX|TXT|CNAME|SOA|PTR|CAA value" }),
            }
        }
        ("WITHDRAW", name) => {
            shared.zone.write().unwrap_or_else(PoisonError::into_inner).withdraw(name);
            json!({ "ok": true })
        }
        ("RESET", "") => {
            shared.reset();
            json!({ "ok": true })
        }
        ("LIST", "") => json!({ "table": crate::list() }),
        _ => {
            json!({ "error": "unknown command; use STATS, DUPLICATES, HAS, COUNT, SEEN, LAST, BEHAVE, TXT, RESET or LIST" })
        }
    }
}

fn seen(seen: &Seen) -> Value {
    json!({
        "at": seen.at_ms,
        "stage": seen.stage.as_str(),
        "from": seen.reverse_path,
        "recipient": seen.recipient,
        "reply": seen.reply,
    })
}

fn message(kept: &Kept) -> Value {
    json!({
        "from": kept.reverse_path,
        "recipients": kept.recipients,
        "text": String::from_utf8_lossy(&kept.bytes),
    })
}

fn receipt(receipt: &Receipt) -> Value {
    json!({
        "recipient": receipt.recipient,
        "sha256": hex(&receipt.sha256),
        "count": receipt.count,
        "identical": receipt.identical,
    })
}
