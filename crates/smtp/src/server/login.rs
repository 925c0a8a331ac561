//! AUTH PLAIN and LOGIN as a server (RFC 4954, RFC 4616): from the first line to account and password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_mail::request::{RequestError, parse_auth_answer, split_plain};
use zeroize::Zeroizing;

/// A login that is under way.
pub(super) enum Login {
    /// PLAIN without an initial response: the response is awaited.
    Plain,
    /// LOGIN: the account's name is awaited.
    Account,
    /// LOGIN: the password is awaited.
    Password(String),
}

/// What the next step of a login is.
pub(super) enum Step {
    /// Ask on with this line.
    Ask(String),
    /// Both words are here.
    Complete(String, Zeroizing<String>),
    /// Refuse with this line.
    Refuse(&'static str),
    /// Refuse with this error's reply.
    Malformed(RequestError),
}

const BAD: &str = "501 5.5.2 Cannot decode the response";
const ANOTHER: &str = "535 5.7.8 An account cannot act for another one; leave the authorization identity empty";

/// The first line. `Err` names a mechanism that is not offered.
pub(super) fn start(mechanism: &str, initial: Option<Vec<u8>>) -> (Step, Option<Login>) {
    match (mechanism, initial) {
        ("PLAIN", Some(response)) => (plain(&Zeroizing::new(response)), None),
        ("PLAIN", None) => (Step::Ask("334 ".to_owned()), Some(Login::Plain)),
        ("LOGIN", None) => (prompt("Username:"), Some(Login::Account)),
        ("LOGIN", Some(account)) => account_given(&account),
        _ => (Step::Refuse("504 5.5.4 Mechanism not offered; use PLAIN or LOGIN"), None),
    }
}

/// One more line of the dialogue.
pub(super) fn go_on(login: Login, line: &[u8]) -> (Step, Option<Login>) {
    let response = match parse_auth_answer(line) {
        Ok(response) => Zeroizing::new(response),
        Err(error) => return (Step::Malformed(error), None),
    };
    match login {
        Login::Plain => (plain(&response), None),
        Login::Account => account_given(&response),
        Login::Password(account) => match std::str::from_utf8(&response) {
            Ok(password) => (Step::Complete(account, Zeroizing::new(password.to_owned())), None),
            Err(_) => (Step::Refuse(BAD), None),
        },
    }
}

fn plain(response: &[u8]) -> Step {
    match split_plain(response) {
        // RFC 4616 section 2: whom the account wants to act for. Nobody may but for itself.
        Some((identity, account, _)) if !identity.is_empty() && identity != account => Step::Refuse(ANOTHER),
        Some((_, account, password)) => Step::Complete(account.to_owned(), Zeroizing::new(password.to_owned())),
        None => Step::Refuse(BAD),
    }
}

fn account_given(account: &[u8]) -> (Step, Option<Login>) {
    match std::str::from_utf8(account) {
        Ok(account) => (prompt("Password:"), Some(Login::Password(account.to_owned()))),
        Err(_) => (Step::Refuse(BAD), None),
    }
}

fn prompt(text: &str) -> Step {
    Step::Ask(format!("334 {}", STANDARD.encode(text)))
}
