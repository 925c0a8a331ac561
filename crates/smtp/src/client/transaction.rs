//! One message over an open connection: MAIL, RCPT, DATA, the message, the dot.
//!
//! The rule that everything here serves: when `Failure::dot_sent` is false the peer cannot have the message.

use std::time::Duration;

use postrider_mail::command::{Command, MailParams, RcptParams};
use postrider_mail::mailbox::Mailbox;
use postrider_mail::reply::Reply;
use postrider_mail::stage::Stage;

use super::wire::WireError;
use super::{Connection, Envelope, Failure, FailureKind, State};

/// How a stuffed message ends (RFC 5321 4.1.1.4).
const END: &[u8] = b"\r\n.\r\n";
/// The part of it that must stay back until the caller has its mark.
const DOT: &[u8] = b".\r\n";

/// How long to look for a peer's last words after a write to it failed.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub(super) async fn begin(connection: &mut Connection, envelope: &Envelope) -> Result<(), Failure> {
    if connection.state != State::Idle {
        return Err(connection.dead(Stage::Mail, FailureKind::Unfit("a message is still open on it".into())));
    }
    let commands = prepare(connection, envelope)?;
    let reused = connection.begun > 0;
    connection.begun = connection.begun.saturating_add(1);
    // SR-31: an end, or the 421 of an idle peer, that came before we said anything is no refusal of this message.
    if reused && connection.wire.peer_stirred().await {
        return Err(connection.dead(Stage::Mail, FailureKind::IdleClosed));
    }
    let outcome = if connection.capabilities.pipelining {
        pipelined(connection, &commands, reused).await
    } else {
        lock_step(connection, &commands, reused).await
    };
    connection.reset_first = outcome.is_err();
    outcome?;
    connection.state = State::Message;
    refuse_leftover(connection).await
}

/// A reply too many: the next one would be taken for the answer to something else, in the end to the dot.
async fn refuse_leftover(connection: &mut Connection) -> Result<(), Failure> {
    if connection.wire.has_leftover() {
        let kind = FailureKind::Protocol("it sent more replies than it got commands".into());
        return Err(last_words(connection, kind).await);
    }
    Ok(())
}

/// The command lines of one envelope, each checked, in one piece: RSET when needed, MAIL, RCPT, DATA.
struct Commands {
    bytes: Vec<u8>,
    reset_end: usize,
    mail_end: usize,
    rcpt_end: usize,
}

/// Everything that can be said no to before a byte leaves.
fn prepare(connection: &Connection, envelope: &Envelope) -> Result<Commands, Failure> {
    let local = |stage, kind| Failure { stage, kind, connection_usable: true, dot_sent: false };
    if let Some(limit) = connection.capabilities.size_limit()
        && envelope.size > limit
    {
        return Err(local(Stage::Mail, FailureKind::TooLarge { limit }));
    }
    let smtputf8 = envelope.smtputf8
        || envelope.forward_path.needs_smtputf8()
        || envelope.reverse_path.as_ref().is_some_and(Mailbox::needs_smtputf8);
    if smtputf8 && !connection.capabilities.smtputf8 {
        return Err(local(Stage::Mail, FailureKind::NeedsSmtpUtf8));
    }
    // RFC 8689 4.2.1: the keyword counts only as said under TLS.
    if envelope.require_tls && !(connection.tls.is_some() && connection.capabilities.require_tls) {
        return Err(local(Stage::Mail, FailureKind::NeedsRequireTls));
    }
    let mail = MailParams {
        size: connection.capabilities.size.map(|_| envelope.size),
        smtputf8,
        require_tls: envelope.require_tls,
        ..MailParams::default()
    };
    let rcpt = RcptParams::default();
    let mut bytes = Vec::with_capacity(256);
    let mut append = |stage, command: Command<'_>| match command.write(&mut bytes) {
        Ok(()) => Ok(bytes.len()),
        Err(error) => Err(local(stage, FailureKind::Unfit(error.to_string()))),
    };
    let reset_end = if connection.reset_first { append(Stage::Mail, Command::Rset)? } else { 0 };
    let reverse_path = envelope.reverse_path.as_ref();
    let mail_end = append(Stage::Mail, Command::Mail { reverse_path, params: &mail })?;
    let rcpt_end = append(Stage::Rcpt, Command::Rcpt { forward_path: &envelope.forward_path, params: &rcpt })?;
    append(Stage::Data, Command::Data)?;
    Ok(Commands { bytes, reset_end, mail_end, rcpt_end })
}

/// RFC 2920: one write, then every reply in order, also after a refusal.
async fn pipelined(connection: &mut Connection, commands: &Commands, reused: bool) -> Result<(), Failure> {
    let timeouts = connection.timeouts;
    let written = connection.wire.write(&commands.bytes, timeouts.mail).await;
    let after_write = if written.is_ok() { None } else { Some(LAST_WORDS) };

    if commands.reset_end > 0 {
        read_reset(connection, after_write.unwrap_or(timeouts.mail)).await?;
    }
    let mail = read(connection, Stage::Mail, after_write.unwrap_or(timeouts.mail)).await;
    let mut first_failure = match mail {
        Ok(reply) => judge(Stage::Mail, reply, Expect::Success).err(),
        Err(failure) => return Err(idle_if_reused(failure, reused)),
    };
    let mut recipient = false;
    for (stage, expect, within) in
        [(Stage::Rcpt, Expect::Success, timeouts.rcpt), (Stage::Data, Expect::GoAhead, timeouts.data)]
    {
        if first_failure.as_ref().is_some_and(|failure| !failure.connection_usable) {
            break; // 421, or a broken dialogue: nothing more will come
        }
        match read(connection, stage, after_write.unwrap_or(within)).await {
            Ok(reply) => {
                let go_ahead = stage == Stage::Data && reply.is_intermediate();
                recipient |= stage == Stage::Rcpt && reply.is_positive();
                let judged = judge(stage, reply, expect);
                if go_ahead && let Some(failure) = &mut first_failure {
                    // With a recipient that was accepted after a refused MAIL, a lone dot might deliver an empty
                    // message; then only closing is safe.
                    failure.connection_usable = !recipient && lone_dot(connection).await;
                }
                merge(&mut first_failure, judged.err());
            }
            Err(failure) => merge(&mut first_failure, Some(failure)),
        }
    }
    settle(connection, first_failure)
}

/// One command, one reply.
async fn lock_step(connection: &mut Connection, commands: &Commands, reused: bool) -> Result<(), Failure> {
    let timeouts = connection.timeouts;
    let Commands { bytes, reset_end, mail_end, rcpt_end } = commands;
    if *reset_end > 0 {
        let _ = connection.wire.write(&bytes[..*reset_end], timeouts.mail).await;
        read_reset(connection, timeouts.mail).await?;
    }
    for (stage, line, expect, within) in [
        (Stage::Mail, &bytes[*reset_end..*mail_end], Expect::Success, timeouts.mail),
        (Stage::Rcpt, &bytes[*mail_end..*rcpt_end], Expect::Success, timeouts.rcpt),
        (Stage::Data, &bytes[*rcpt_end..], Expect::GoAhead, timeouts.data),
    ] {
        let written = connection.wire.write(line, within).await;
        let within = if written.is_ok() { within } else { LAST_WORDS };
        let reply = match read(connection, stage, within).await {
            Ok(reply) => reply,
            Err(failure) if stage == Stage::Mail => return Err(idle_if_reused(failure, reused)),
            Err(failure) => return Err(failure),
        };
        if let Err(failure) = judge(stage, reply, expect) {
            return settle(connection, Some(failure));
        }
        refuse_leftover(connection).await?;
    }
    Ok(())
}

/// The reply that a step needs to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// 2yz; 251 and 252 are as good as 250 (RFC 5321 4.2.1).
    Success,
    /// 3yz: 354.
    GoAhead,
}

/// Decides by the first digit (RFC 5321 4.2.1); 421 closes wherever it comes (3.8).
fn judge(stage: Stage, reply: Reply, expect: Expect) -> Result<Reply, Failure> {
    let fits = match expect {
        Expect::Success => reply.is_positive(),
        Expect::GoAhead => reply.is_intermediate(),
    };
    if fits {
        return Ok(reply);
    }
    let refused = reply.is_transient() || reply.is_permanent();
    let connection_usable = refused && reply.code != 421;
    let kind = if refused {
        FailureKind::Refused(reply)
    } else {
        FailureKind::Protocol(format!("the reply to {} has the code {}", stage.as_str(), reply.code))
    };
    Err(Failure { stage, kind, connection_usable, dot_sent: false })
}

/// The first failure names the reason; a later one can only take the connection away.
fn merge(first: &mut Option<Failure>, next: Option<Failure>) {
    match (first.as_mut(), next) {
        (Some(first), Some(next)) => first.connection_usable &= next.connection_usable,
        (None, next) => *first = next,
        (Some(_), None) => {}
    }
}

fn settle(connection: &mut Connection, failure: Option<Failure>) -> Result<(), Failure> {
    match failure {
        None => Ok(()),
        Some(failure) => {
            if !failure.connection_usable {
                connection.state = State::Dead;
            }
            Err(failure)
        }
    }
}

async fn read(connection: &mut Connection, stage: Stage, within: Duration) -> Result<Reply, Failure> {
    match connection.wire.read_reply(within).await {
        Ok(reply) => Ok(reply),
        Err(error) => Err(connection.dead(stage, error.into())),
    }
}

/// On a reused connection, an end before any reply to this transaction is the peer's silent way to say "enough".
fn idle_if_reused(mut failure: Failure, reused: bool) -> Failure {
    if reused && failure.kind == FailureKind::Closed {
        failure.kind = FailureKind::IdleClosed;
    }
    failure
}

/// RSET clears what the last transaction left; a peer that refuses it, or is gone, costs this message nothing.
async fn read_reset(connection: &mut Connection, within: Duration) -> Result<(), Failure> {
    match connection.wire.read_reply(within).await {
        Ok(reply) if reply.is_positive() => Ok(()),
        Ok(_) | Err(WireError::Closed | WireError::Timeout | WireError::Protocol(_)) => {
            Err(connection.dead(Stage::Mail, FailureKind::IdleClosed))
        }
    }
}

/// RFC 2920 3.1: DATA got 354 although MAIL or RCPT failed. The only way on is an empty message; without a
/// recipient it goes nowhere, whatever the peer replies. Says whether the connection lives on.
async fn lone_dot(connection: &mut Connection) -> bool {
    let within = connection.timeouts.data;
    if connection.wire.write(DOT, within).await.is_err() {
        return false;
    }
    match connection.wire.read_reply(within).await {
        Ok(reply) => !reply.is_intermediate() && reply.code != 421,
        Err(WireError::Closed | WireError::Timeout | WireError::Protocol(_)) => false,
    }
}

pub(super) async fn finish(connection: &mut Connection, stuffed: &[u8]) -> Result<Reply, Failure> {
    expect_state(connection, State::Message)?;
    check_end(connection, stuffed)?;
    send_last(connection, stuffed).await
}

pub(super) async fn send_body_without_dot(connection: &mut Connection, stuffed: &[u8]) -> Result<(), Failure> {
    expect_state(connection, State::Message)?;
    check_end(connection, stuffed)?;
    let body = &stuffed[..stuffed.len() - DOT.len()];
    connection.state = State::Body;
    let block = connection.timeouts.block;
    match connection.wire.write(body, block).await {
        Ok(()) => Ok(()),
        Err(write) => Err(last_words(connection, write.error.into()).await),
    }
}

pub(super) async fn dot(connection: &mut Connection) -> Result<Reply, Failure> {
    expect_state(connection, State::Body)?;
    send_last(connection, DOT).await
}

fn expect_state(connection: &mut Connection, wanted: State) -> Result<(), Failure> {
    if connection.state == wanted {
        return Ok(());
    }
    Err(connection.dead(Stage::Dot, FailureKind::Unfit("the steps of the transaction were called out of order".into())))
}

/// The last line of defence against a message that was not stuffed: it must end as a message ends.
fn check_end(connection: &mut Connection, stuffed: &[u8]) -> Result<(), Failure> {
    if stuffed.ends_with(END) || stuffed == DOT {
        return Ok(());
    }
    Err(connection.dead(Stage::Dot, FailureKind::Unfit("the message does not end with CRLF, dot, CRLF".into())))
}

/// Writes the end of the message, dot included, and reads the reply to it.
async fn send_last(connection: &mut Connection, bytes: &[u8]) -> Result<Reply, Failure> {
    let timeouts = connection.timeouts;
    // A peer that closed or spoke while the caller waited for its mark will not take the message: no dot, no doubt.
    if connection.wire.peer_stirred().await {
        return Err(last_words(connection, FailureKind::Closed).await);
    }
    if let Err(write) = connection.wire.write(bytes, timeouts.block).await
        && !write.complete
    {
        // Not the whole end marker was handed over, so that the peer cannot have taken the message.
        return Err(last_words(connection, write.error.into()).await);
    }
    // From here on only a reply tells what became of the message.
    match connection.wire.read_reply(timeouts.dot).await {
        Ok(reply) => match judge(Stage::Dot, reply, Expect::Success) {
            Ok(reply) => {
                connection.state = State::Idle;
                connection.accepted = connection.accepted.saturating_add(1);
                Ok(reply)
            }
            Err(mut failure) => {
                failure.dot_sent = true;
                connection.state = if failure.connection_usable { State::Idle } else { State::Dead };
                Err(failure)
            }
        },
        Err(error) => {
            let mut failure = connection.dead(Stage::Dot, error.into());
            failure.dot_sent = true;
            Err(failure)
        }
    }
}

/// A write within the message failed before the dot. If the peer said why (552, 421), that is the failure.
async fn last_words(connection: &mut Connection, kind: FailureKind) -> Failure {
    let kind = match connection.wire.read_reply(LAST_WORDS).await {
        Ok(reply) if reply.is_transient() || reply.is_permanent() => FailureKind::Refused(reply),
        Ok(_) | Err(_) => kind,
    };
    connection.dead(Stage::Data, kind)
}
