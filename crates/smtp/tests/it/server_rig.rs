//! What the tests of the server session share: a handler that records, settings from scripts, TLS for both sides.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use postrider_mail::command::{MailParams, Notify, RcptParams, Return};
use postrider_mail::mailbox::Mailbox;
use postrider_smtp::server::{Answer, AuthOffer, Flow, Handler, Offer, Recipient, SessionConfig};
use postrider_testkit::dialogue::ScriptTls;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

/// What a handler was told, and whether the session kept its promises to it.
#[derive(Debug, Default)]
pub struct Record {
    pub opened: u32,
    pub resets: u32,
    /// Envelope and bytes of each message.
    pub kept: Vec<(String, Vec<u8>)>,
    /// Calls that should not have come.
    pub wrong: Vec<String>,
}

/// How a connection is greeted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Greeting {
    #[default]
    Welcome,
    Refuse,
    Full,
}

/// Records; what it answers is told by local parts (`no@`, `later@`, `slow@`, `nodata@`, `nodot@`) and senders
/// (`refused@`, `closed@`).
#[derive(Debug, Default)]
pub struct Recorder {
    pub record: Arc<Mutex<Record>>,
    pub greeting: Greeting,
    open: Option<Open>,
}

#[derive(Debug, Default)]
struct Open {
    envelope: String,
    bytes: Vec<u8>,
    accepted: u32,
    refuse_data: bool,
    refuse_dot: bool,
}

impl Recorder {
    fn wrong(&self, what: &str) {
        self.record.lock().expect("no panic").wrong.push(what.to_owned());
    }
}

fn line(text: &'static str) -> Answer {
    Answer::line(text)
}

impl Handler for Recorder {
    async fn greeting(&mut self, config: &SessionConfig) -> Answer {
        match self.greeting {
            Greeting::Welcome => Answer::line(format!("220 {} ESMTP", config.name)),
            Greeting::Refuse => Answer::line_and_close("554 5.7.1 Your address may not send here"),
            Greeting::Full => Answer::line_and_close("421 4.4.5 Too many connections"),
        }
    }

    async fn login(&mut self, account: &str, password: &str) -> Answer {
        match (account, password) {
            ("relay", "secret") => line("235 2.7.0 Welcome"),
            ("busy", _) => line("454 4.7.0 Temporary authentication failure"),
            _ => line("535 5.7.8 Authentication credentials invalid"),
        }
    }

    async fn mail(&mut self, reverse_path: Option<Mailbox>, params: MailParams) -> Answer {
        if self.open.is_some() {
            self.wrong("MAIL inside a transaction");
        }
        let from = reverse_path.map(|mailbox| mailbox.wire()).unwrap_or_default();
        if from.starts_with("refused@") {
            return line("550 5.7.1 Not from you");
        }
        if from.starts_with("closed@") {
            return Answer::line_and_close("421 4.7.0 Enough of you");
        }
        let mut envelope = format!("from={from}");
        match params.ret {
            None => {}
            Some(Return::Full) => envelope += " ret=FULL",
            Some(Return::Headers) => envelope += " ret=HDRS",
        }
        if let Some(envid) = &params.envid {
            envelope += &format!(" envid={envid}");
        }
        for (set, word) in [(params.smtputf8, " smtputf8"), (params.require_tls, " requiretls")] {
            envelope += if set { word } else { "" };
        }
        self.open = Some(Open { envelope, ..Open::default() });
        self.record.lock().expect("no panic").opened += 1;
        line("250 2.1.0 Ok")
    }

    async fn rcpt(&mut self, recipient: Recipient, params: RcptParams) -> Answer {
        let to = match recipient {
            Recipient::Mailbox(mailbox) => mailbox.wire(),
            Recipient::Postmaster => "postmaster".to_owned(),
        };
        let Some(open) = &mut self.open else {
            self.wrong("RCPT outside of a transaction");
            return line("250 2.1.5 Ok");
        };
        match to.split('@').next() {
            Some("no") => return line("550 5.1.1 No such mailbox"),
            Some("later") => return line("451 4.3.0 Try again later"),
            Some("nodata") => open.refuse_data = true,
            Some("nodot") => open.refuse_dot = true,
            Some(_) | None => {}
        }
        open.accepted += 1;
        open.envelope += &format!(" to={to}");
        match params.notify {
            None => {}
            Some(Notify::Never) => open.envelope += " notify=N",
            Some(Notify::On(on)) => {
                open.envelope += " notify=";
                for (set, word) in [(on.success, "S"), (on.failure, "F"), (on.delay, "D")] {
                    open.envelope += if set { word } else { "" };
                }
            }
        }
        if let Some(orcpt) = params.orcpt {
            open.envelope += &format!(" orcpt={orcpt}");
        }
        let answer = line("250 2.1.5 Ok");
        if to.starts_with("slow@") { answer.after(Duration::from_secs(7)) } else { answer }
    }

    async fn data(&mut self) -> Answer {
        let Some(open) = &self.open else {
            self.wrong("DATA outside of a transaction");
            return line("354 Go on");
        };
        if open.accepted == 0 {
            self.wrong("DATA without a recipient");
        }
        if self.open.as_ref().is_some_and(|open| open.refuse_data) {
            line("452 4.3.1 No room for messages now")
        } else {
            line("354 Go on")
        }
    }

    fn chunk(&mut self, bytes: &[u8]) -> Flow {
        match &mut self.open {
            Some(open) => open.bytes.extend_from_slice(bytes),
            None => self.wrong("bytes outside of a transaction"),
        }
        Flow::Continue
    }

    async fn message(&mut self, size: u64) -> Answer {
        let Some(open) = &mut self.open else {
            self.wrong("a message outside of a transaction");
            return line("250 2.0.0 Kept");
        };
        if open.refuse_dot {
            return line("451 4.3.0 Cannot keep it now");
        }
        let kept = (std::mem::take(&mut open.envelope), std::mem::take(&mut open.bytes));
        let mut record = self.record.lock().expect("no panic");
        if kept.1.len() as u64 != size {
            record.wrong.push(format!("{size} bytes were said, {} came", kept.1.len()));
        }
        let text = &kept.1;
        let bare = text.iter().enumerate().any(|(at, byte)| match byte {
            b'\n' => at == 0 || text[at - 1] != b'\r',
            b'\r' => text.get(at + 1) != Some(&b'\n'),
            byte => *byte == 0,
        });
        if bare || !(text.is_empty() || text.ends_with(b"\r\n")) {
            record.wrong.push("a message with a NUL or a bare CR or LF".to_owned());
        }
        record.kept.push(kept);
        line("250 2.0.0 Kept")
    }

    fn reset(&mut self) {
        if self.open.take().is_none() {
            self.wrong("a reset without a transaction");
        }
        self.record.lock().expect("no panic").resets += 1;
    }
}

/// Certificates are made once; keys take their time.
pub fn tls() -> &'static (Arc<ServerConfig>, ScriptTls) {
    static MADE: OnceLock<(Arc<ServerConfig>, ScriptTls)> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["mx.test".to_owned()]).expect("a certificate");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a configuration");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("mx.test").expect("a name");
        (Arc::new(server), ScriptTls { connector: TlsConnector::from(Arc::new(client)), name })
    })
}

/// A submission listener for which an address alone is enough, so that most scripts need no login.
pub fn listener() -> SessionConfig {
    let mut config = SessionConfig::new("mx.test");
    config.offer = Offer { auth: AuthOffer::OptionalUnderTls, ..Offer::submission() };
    config.tls = Some(Arc::clone(&tls().0));
    config
}

/// What a script sets.
#[derive(Default)]
pub struct Setting {
    pub greeting: Greeting,
    pub implicit_tls: bool,
    /// When the drain begins, and who says so.
    pub drain: Option<(Duration, watch::Sender<bool>)>,
    pub kept: usize,
    pub envelope: Option<String>,
    pub body: Option<Vec<u8>>,
}

/// Reads the `set` lines of a script.
pub fn settings(lines: &[(String, String)]) -> Result<(SessionConfig, Setting), String> {
    let (mut config, mut setting) = (listener(), Setting::default());
    for (name, value) in lines {
        let (offer, limits) = (&mut config.offer, &mut config.limits);
        let switch = || match value.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(format!("{name} is yes or no, not {value:?}")),
        };
        let number = || value.parse::<u32>().map_err(|_| format!("{name} takes a number, not {value:?}"));
        let seconds = || match value.strip_suffix('s').and_then(|value| value.parse().ok()) {
            Some(seconds) => Ok(Duration::from_secs(seconds)),
            None => Err(format!("{name} takes seconds such as 30s, not {value:?}")),
        };
        match name.as_str() {
            "esmtp" => offer.esmtp = switch()?,
            "pipelining" => offer.pipelining = switch()?,
            "8bitmime" => offer.eight_bit_mime = switch()?,
            "smtputf8" => offer.smtputf8 = switch()?,
            "chunking" => offer.chunking = switch()?,
            "dsn" => offer.dsn = switch()?,
            "require_tls" => offer.require_tls = switch()?,
            "limits" => offer.limits = switch()?,
            "starttls" => offer.starttls = switch()?,
            "size" if value == "none" => offer.size = None,
            "size" => offer.size = Some(number()?.into()),
            "auth" => {
                offer.auth = match value.as_str() {
                    "never" => AuthOffer::Never,
                    "optional" => AuthOffer::OptionalUnderTls,
                    "required" => AuthOffer::RequiredUnderTls,
                    "clear" => AuthOffer::RequiredEvenInClear,
                    _ => return Err(format!("auth is never, optional, required or clear, not {value:?}")),
                }
            }
            "errors" => limits.errors = number()?,
            "commands" => limits.commands = number()?,
            "recipients" => limits.recipients = number()?,
            "messages" => limits.messages = Some(number()?),
            "session" => limits.session = Some(seconds()?),
            "grace" => limits.grace = seconds()?,
            "tls" if value == "implicit" => setting.implicit_tls = true,
            "tls" if value == "none" => config.tls = None,
            "drain" => {
                let (sender, receiver) = watch::channel(value == "now");
                let after = if value == "now" { Duration::ZERO } else { seconds()? };
                config.drain = Some(receiver);
                setting.drain = Some((after, sender));
            }
            "greeting" if value == "refuse" => setting.greeting = Greeting::Refuse,
            "greeting" if value == "full" => setting.greeting = Greeting::Full,
            "kept" => setting.kept = number()? as usize,
            "envelope" => setting.envelope = Some(value.clone()),
            "body" => setting.body = Some(postrider_testkit::dialogue::unescape(value)?),
            _ => return Err(format!("{name} {value:?} is no setting")),
        }
    }
    Ok((config, setting))
}
