//! Starts the real binary as a newcomer would and talks to it through its command line and its HTTP port.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub const POSTRIDER: &str = env!("CARGO_BIN_EXE_postrider");

/// A process that is ended by its id when the test ends, whatever happens.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The simulated world as a process of its own, so that it survives what happens to the sender.
pub struct Sim {
    _process: Process,
    /// Its name server.
    pub dns: SocketAddr,
    /// Port of its MX hosts.
    pub smtp_port: u16,
    control: SocketAddr,
}

impl Sim {
    /// Starts `postrider sim` on free ports.
    pub fn start(seed: u64, more: &[&str]) -> Sim {
        let mut child = Command::new(POSTRIDER)
            .args(["sim", "--json", "--dns", "127.0.0.1:0", "--smtp-port", "0", "--control", "127.0.0.1:0"])
            .args(["--trace", "--seed", &seed.to_string()])
            .args(more)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("the binary is built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("sim said `{line}`: {e}"));
        Sim {
            _process: Process(child),
            dns: said["dns"].as_str().expect("dns").parse().expect("address"),
            smtp_port: said["smtp_port"].as_u64().expect("smtp_port") as u16,
            control: said["control"].as_str().expect("control").parse().expect("address"),
        }
    }

    /// Asks the control port; the answer as JSON.
    pub fn ask(&self, words: &str) -> Value {
        let mut stream = TcpStream::connect(self.control).expect("the control port answers");
        stream.write_all(format!("{words}\n").as_bytes()).expect("asked");
        stream.shutdown(std::net::Shutdown::Write).expect("asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{words} was answered `{text}`: {e}"))
    }

    /// One of the counters.
    pub fn stat(&self, name: &str) -> i64 {
        let stats = self.ask("STATS");
        stats[name].as_i64().unwrap_or_else(|| panic!("{name} in {stats}"))
    }

    /// How often a recipient was named in RCPT.
    pub fn tries(&self, mailbox: &str) -> usize {
        let seen = self.ask(&format!("SEEN {mailbox}"));
        seen["seen"].as_array().map_or(0, |s| s.iter().filter(|e| e["stage"] == "rcpt").count())
    }
}

/// One installation: a data folder, a database, and perhaps a running server.
pub struct Site {
    /// Data folder.
    pub data: tempfile::TempDir,
    environment: Vec<(String, String)>,
    server: Option<Process>,
    /// Where HTTP listens.
    pub http: SocketAddr,
    log: PathBuf,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port()
}

impl Site {
    /// An installation whose mail goes to `sim`; `database_url` empty means SQLite.
    pub fn new(sim: &Sim, database_url: &str) -> Site {
        let data = tempfile::tempdir().expect("a folder");
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut environment = vec![
            ("POSTRIDER_HTTP_LISTEN".to_owned(), http.to_string()),
            ("POSTRIDER_DNS_SERVER".to_owned(), sim.dns.to_string()),
            ("POSTRIDER_MX_PORT".to_owned(), sim.smtp_port.to_string()),
            ("POSTRIDER_ALLOW_PRIVATE_MX".to_owned(), "127.0.0.0/8".to_owned()),
            ("POSTRIDER_EHLO_NAME".to_owned(), "sender.test".to_owned()),
            ("POSTRIDER_LOG".to_owned(), "info".to_owned()),
        ];
        if !database_url.is_empty() {
            environment.push(("POSTRIDER_DATABASE_URL".to_owned(), database_url.to_owned()));
        }
        let log = data.path().join("serve.log");
        Site { data, environment, server: None, http, log }
    }

    /// Sets one more variable of the environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A command of the binary with this installation's settings.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(POSTRIDER);
        command.arg("--data").arg(self.data.path()).args(words).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        command
    }

    /// Starts the server and waits until it is ready.
    pub fn serve(&mut self) {
        self.serve_with(&["serve"]);
    }

    /// Starts the server with these words and waits until it is ready.
    pub fn serve_with(&mut self, words: &[&str]) {
        assert!(self.server.is_none(), "already running");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).expect("a log");
        let child = self
            .command(words)
            .stdout(log.try_clone().expect("cloned"))
            .stderr(log)
            .spawn()
            .expect("the binary is built");
        self.server = Some(Process(child));
        let until = Instant::now() + Duration::from_secs(60);
        while self.http_request("GET", "/healthz", &[], "").is_none() {
            let gone = self.server.as_mut().and_then(|s| s.0.try_wait().ok().flatten());
            assert!(gone.is_none() && Instant::now() < until, "the server did not start:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The most memory that the running server has used, in bytes.
    pub fn peak_rss_bytes(&self) -> u64 {
        let server = self.server.as_ref().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.0.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// The environment that the running server sees.
    pub fn environment_of_server(&self) -> Vec<String> {
        let server = self.server.as_ref().expect("it runs");
        let all = std::fs::read_to_string(format!("/proc/{}/environ", server.0.id())).expect("Linux");
        all.split('\0').map(str::to_owned).collect()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("running");
        server.0.kill().expect("killed");
        server.0.wait().expect("reaped");
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut server = self.server.take().expect("running");
        let pid = server.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        server.0.wait().expect("reaped").code()
    }

    /// SIGHUP: settings that can be read again are.
    pub fn hang_up(&self) {
        let pid = self.server.as_ref().expect("running").0.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().expect("kill runs").success());
    }

    /// Everything that the server printed.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a command that must succeed; the last line of its output as JSON.
    pub fn run(&self, words: &[&str]) -> Value {
        let (code, out, err) = self.try_run(words);
        assert_eq!(code, Some(0), "{words:?} failed:\n{out}\n{err}\n--- log\n{}", tail(&self.log_text()));
        let last = out.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("null");
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{words:?} printed `{last}`: {e}"))
    }

    /// Runs a command: exit code, standard output, standard error.
    pub fn try_run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let done = self.command(words).arg("--json").output().expect("the binary is built");
        let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
        (done.status.code(), text(done.stdout), text(done.stderr))
    }

    /// A plain HTTP request; status and body, or nothing when nobody answers.
    pub fn http_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.http, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let status = text.get(9..12)?.parse().ok()?;
        let body = text.split_once("\r\n\r\n").map(|(_, b)| b.to_owned()).unwrap_or_default();
        Some((status, body))
    }

    /// Workspace, domain, route, list and purpose as every story needs them.
    pub fn furnish(&self) {
        self.run(&[
            "workspace",
            "create",
            "--name",
            "Story",
            "--controller",
            "Story Ltd",
            "--address",
            "1 Road, 20100 Milano",
            "--public-url",
            &format!("http://{}", self.http),
            "--privacy-url",
            "https://story.test/privacy",
            "--zone",
            "Europe/Rome",
        ]);
        self.run(&["domain", "add", "story.test"]);
        self.run(&["route", "add", "direct", "--kind", "mx", "--default", "--connections", "8"]);
        self.run(&["list", "create", "Everyone"]);
        self.run(&["purpose", "create", "News", "--wording", "I want the news"]);
    }

    /// A default route with a limit of messages per second; 0 leaves the one without.
    pub fn brake(&self, per_second: u32) {
        if per_second > 0 {
            self.run(&[
                "route",
                "add",
                "braked",
                "--kind",
                "mx",
                "--default",
                "--connections",
                "8",
                "--per-second",
                &per_second.to_string(),
            ]);
        }
    }

    /// Imports lines of CSV with full consent.
    pub fn import(&self, csv: &str) -> Value {
        let file = self.data.path().join("contacts.csv");
        std::fs::write(&file, csv).expect("written");
        self.run(&[
            "import",
            file.to_str().expect("utf-8"),
            "--list",
            "Everyone",
            "--source",
            "story",
            "--basis",
            "consent",
            "--given-at",
            "2026-01-01",
            "--purpose",
            "News",
        ])
    }

    /// A campaign draft to everyone; its id.
    pub fn draft(&self, name: &str, policy: &str) -> String {
        let body = self.data.path().join("body.html");
        let html = "<html><body><h1>Hello {{ first_name|default('you') }}</h1><p>News of the week.</p></body></html>";
        std::fs::write(&body, html).expect("written");
        let made = self.run(&[
            "campaign",
            "create",
            "--name",
            name,
            "--from",
            "news@story.test",
            "--from-name",
            "Story",
            "--subject",
            "News, {{ first_name|default('you') }}",
            "--body",
            body.to_str().expect("utf-8"),
            "--list",
            "Everyone",
            "--purpose",
            "News",
            "--policy",
            policy,
        ]);
        made["id"].as_str().expect("an id").to_owned()
    }

    /// The report, without rows.
    pub fn report(&self, campaign: &str) -> Value {
        self.run(&["campaign", "report", campaign, "--rows", "0"])
    }

    /// Waits until the campaign has ended; the report.
    pub fn wait_done(&self, campaign: &str, seconds: u64) -> Value {
        let until = Instant::now() + Duration::from_secs(seconds);
        loop {
            let report = self.report(campaign);
            if matches!(report["state"].as_str(), Some("done" | "stopped")) {
                return report;
            }
            assert!(Instant::now() < until, "not done after {seconds} s: {report}\n{}", tail(&self.log_text()));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// A CSV of contacts at accepting domains.
pub fn people(count: usize) -> String {
    let mut csv = String::from("email,first_name\n");
    for n in 0..count {
        csv.push_str(&format!("person{n}@mail{}.test,Name {n}\n", 1 + n % 20));
    }
    csv
}
