//! From an open stream to a connection that is ready for MAIL: greeting, EHLO, STARTTLS, AUTH.

use std::time::Duration;

use postrider_mail::command::Command;
use postrider_mail::reply::Reply;
use postrider_mail::stage::Stage;
use zeroize::Zeroizing;

use super::wire::Wire;
use super::{Capabilities, Connection, Credentials, Failure, FailureKind, OpenParams, State, TlsFailure};
use crate::dial::BoxStream;
use crate::tls::{TlsClient, TlsError, TlsFault, TlsInfo, TlsMode};

pub(super) async fn open(stream: BoxStream, params: &OpenParams, tls: &TlsClient) -> Result<Connection, Failure> {
    let mut agreed: Option<TlsInfo> = None;
    let mut declined = false;
    let stream = match params.tls {
        TlsMode::Implicit | TlsMode::ImplicitAny => {
            let (stream, info) = handshake(stream, params, tls).await?;
            agreed = Some(info);
            stream
        }
        TlsMode::Never
        | TlsMode::Opportunistic
        | TlsMode::RequiredAny
        | TlsMode::RequiredVerified
        | TlsMode::RequiredDane(_) => stream,
    };
    let mut wire = Wire::new(stream);
    let greeting = greeting(&mut wire, params).await?;
    let mut capabilities = hello(&mut wire, params).await?;

    if wants_starttls(&params.tls, &capabilities)? {
        // Opportunistic and refused: the dialogue goes on in clear, as if it had not been offered.
        if starttls(&mut wire, params).await? {
            let clear = wire.into_stream().map_err(|()| {
                tls_failure(TlsFault::Injected, "the peer sent bytes in clear after its reply to STARTTLS")
            })?;
            let (secured, info) = handshake(clear, params, tls).await?;
            agreed = Some(info);
            wire = Wire::new(secured);
            // RFC 3207 4.2: what was said before TLS is forgotten.
            capabilities = hello(&mut wire, params).await?;
        } else {
            declined = true;
        }
    }
    if let Some(credentials) = &params.credentials {
        log_in(&mut wire, params, &capabilities, agreed.is_some(), credentials).await?;
    }
    Ok(Connection {
        wire,
        timeouts: params.timeouts,
        greeting,
        capabilities,
        tls: agreed,
        declined_tls: declined,
        state: State::Idle,
        reset_first: false,
        begun: 0,
        accepted: 0,
    })
}

fn failure(stage: Stage, kind: FailureKind) -> Failure {
    Failure { stage, kind, connection_usable: false, dot_sent: false }
}

async fn greeting(wire: &mut Wire, params: &OpenParams) -> Result<Reply, Failure> {
    let reply =
        wire.read_reply(params.timeouts.greeting).await.map_err(|error| failure(Stage::Greeting, error.into()))?;
    if reply.is_positive() {
        return Ok(reply);
    }
    if reply.is_intermediate() {
        return Err(failure(Stage::Greeting, FailureKind::Protocol(format!("greeting with code {}", reply.code))));
    }
    // RFC 5321 3.1: after 554 the client still says QUIT.
    say_quit(wire, params).await;
    Err(failure(Stage::Greeting, FailureKind::Refused(reply)))
}

/// EHLO, and HELO only when EHLO gets a 5yz (RFC 5321 4.1.1.1): a 4yz is not "I do not know EHLO".
async fn hello(wire: &mut Wire, params: &OpenParams) -> Result<Capabilities, Failure> {
    let reply = ask(wire, Command::Ehlo { name: &params.ehlo_name }, Stage::Ehlo, params.timeouts.ehlo).await?;
    if reply.is_positive() {
        return Ok(Capabilities::from_ehlo(&reply.lines));
    }
    let reply = if reply.is_permanent() {
        ask(wire, Command::Helo { name: &params.ehlo_name }, Stage::Ehlo, params.timeouts.ehlo).await?
    } else {
        reply
    };
    if reply.is_positive() {
        return Ok(Capabilities::default());
    }
    say_quit(wire, params).await;
    Err(failure(Stage::Ehlo, FailureKind::Refused(reply)))
}

fn wants_starttls(mode: &TlsMode, capabilities: &Capabilities) -> Result<bool, Failure> {
    match mode {
        TlsMode::Never | TlsMode::Implicit | TlsMode::ImplicitAny => Ok(false),
        TlsMode::Opportunistic => Ok(capabilities.starttls),
        TlsMode::RequiredAny | TlsMode::RequiredVerified | TlsMode::RequiredDane(_) if capabilities.starttls => {
            Ok(true)
        }
        TlsMode::RequiredAny | TlsMode::RequiredVerified | TlsMode::RequiredDane(_) => {
            Err(tls_failure(TlsFault::NotOffered, "TLS is required and the peer does not offer STARTTLS"))
        }
    }
}

fn tls_failure(fault: TlsFault, text: impl Into<String>) -> Failure {
    failure(Stage::Tls, FailureKind::Tls(TlsFailure { fault, text: text.into() }))
}

/// `Ok(false)` when the peer declines and the mode allows to go on in clear.
async fn starttls(wire: &mut Wire, params: &OpenParams) -> Result<bool, Failure> {
    let reply = ask(wire, Command::StartTls, Stage::Tls, params.timeouts.ehlo).await?;
    if reply.is_positive() {
        return Ok(true);
    }
    if params.tls == TlsMode::Opportunistic && reply.code != 421 {
        return Ok(false);
    }
    say_quit(wire, params).await;
    Err(failure(Stage::Tls, FailureKind::Refused(reply)))
}

async fn handshake(stream: BoxStream, params: &OpenParams, tls: &TlsClient) -> Result<(BoxStream, TlsInfo), Failure> {
    let within = params.timeouts.tls;
    let result = match &params.tls {
        TlsMode::RequiredVerified | TlsMode::Implicit => tls.handshake_verified(stream, &params.host, within).await,
        TlsMode::RequiredDane(target) => tls.handshake_dane(stream, target, within).await,
        TlsMode::Never | TlsMode::Opportunistic | TlsMode::RequiredAny | TlsMode::ImplicitAny => {
            tls.handshake_any(stream, &params.host, within).await
        }
    };
    result.map_err(|error| match error {
        TlsError::Timeout(_) => failure(Stage::Tls, FailureKind::Timeout),
        TlsError::Roots(_)
        | TlsError::Setup(_)
        | TlsError::NoRoots
        | TlsError::HostName(_)
        | TlsError::Handshake { .. } => tls_failure(error.fault(), error.to_string()),
    })
}

async fn log_in(
    wire: &mut Wire,
    params: &OpenParams,
    capabilities: &Capabilities,
    under_tls: bool,
    credentials: &Credentials,
) -> Result<(), Failure> {
    let unavailable = |text: &str| failure(Stage::Auth, FailureKind::AuthUnavailable(text.to_owned()));
    if !under_tls && !params.address.is_loopback() {
        return Err(unavailable("the connection is in clear; set the route to TLS"));
    }
    let within = params.timeouts.auth;
    let (account, password) = (credentials.account.as_str(), credentials.password.as_str());
    let reply = if capabilities.auth_plain {
        let command = Command::AuthPlain { username: account, password };
        let reply = ask(wire, command, Stage::Auth, within).await?;
        // RFC 4954 4: a 334 here means that the peer did not take the initial response; it is asked for now.
        if reply.code == 334 {
            let secret = Zeroizing::new(format!("\0{account}\0{password}"));
            ask(wire, Command::AuthAnswer { secret: &secret }, Stage::Auth, within).await?
        } else {
            reply
        }
    } else if capabilities.auth_login {
        let mut reply = ask(wire, Command::AuthLogin, Stage::Auth, within).await?;
        for secret in [account, password] {
            if reply.code == 334 {
                reply = ask(wire, Command::AuthAnswer { secret }, Stage::Auth, within).await?;
            }
        }
        reply
    } else {
        return Err(unavailable("the peer offers neither PLAIN nor LOGIN"));
    };
    if reply.is_positive() {
        return Ok(());
    }
    if reply.is_intermediate() {
        return Err(failure(Stage::Auth, FailureKind::Protocol("the peer asks on after the whole login".into())));
    }
    say_quit(wire, params).await;
    Err(failure(Stage::Auth, FailureKind::Refused(reply)))
}

async fn ask(wire: &mut Wire, command: Command<'_>, stage: Stage, within: Duration) -> Result<Reply, Failure> {
    let line = command.line().map_err(|error| failure(stage, FailureKind::Unfit(error.to_string())))?;
    let line = Zeroizing::new(line); // it may be a login
    // A write that fails still leaves a reply to read, if the peer said why it closed.
    let written = wire.write(&line, within).await;
    match (wire.read_reply(within).await, written) {
        (Ok(reply), _) => Ok(reply),
        (Err(error), Ok(())) => Err(failure(stage, error.into())),
        (Err(_), Err(write)) => Err(failure(stage, write.error.into())),
    }
}

/// A courtesy without a wait: the peer has refused us, and we hang up next.
async fn say_quit(wire: &mut Wire, params: &OpenParams) {
    if let Ok(line) = Command::Quit.line() {
        let _ = wire.write(&line, params.timeouts.quit).await;
    }
}
