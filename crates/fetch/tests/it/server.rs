//! A server that answers every connection with given bytes, and a resolver that says what the test wants.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postrider_fetch::{FetchPolicy, Fetcher, Resolve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the server does after it has read the request's head.
#[derive(Clone)]
pub enum Answer {
    /// Sends the bytes and closes.
    Bytes(Vec<u8>),
    /// Sends the bytes, then more of them for ever, one each time that passes.
    Trickle(Vec<u8>, Duration),
    /// Sends the head, then zero bytes as fast as it can.
    Flood(Vec<u8>),
    /// Says nothing.
    Silence,
}

pub struct Server {
    pub port: u16,
    /// What came in, one entry a connection.
    pub requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let mut request = Vec::new();
                while !complete(&request) {
                    let mut piece = [0; 4096];
                    match stream.read(&mut piece).await {
                        Ok(0) | Err(_) => break,
                        Ok(count) => request.extend_from_slice(&piece[..count]),
                    }
                }
                log.lock().expect("no panic").push(String::from_utf8_lossy(&request).into_owned());
                let _ = reply(&mut stream, answer.clone()).await;
            }
        });
        Self { port, requests, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn count(&self) -> usize {
        self.requests.lock().expect("no panic").len()
    }

    /// A policy that may reach this server, and nothing else that is not public.
    pub fn policy(&self) -> FetchPolicy {
        let allow = vec!["127.0.0.1/32".parse().expect("a range")];
        FetchPolicy { allow, ports: vec![self.port], max_bytes: 10_000, timeout: Duration::from_secs(10) }
    }

    pub fn fetcher(&self) -> Fetcher {
        Fetcher::new(self.policy())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

async fn reply(stream: &mut tokio::net::TcpStream, answer: Answer) -> io::Result<()> {
    match answer {
        Answer::Bytes(bytes) => stream.write_all(&bytes).await,
        Answer::Trickle(bytes, pause) => {
            stream.write_all(&bytes).await?;
            loop {
                tokio::time::sleep(pause).await;
                stream.write_all(b"x").await?;
            }
        }
        Answer::Flood(head) => {
            stream.write_all(&head).await?;
            loop {
                stream.write_all(&[b'0'; 4096]).await?;
            }
        }
        Answer::Silence => stream.read_u8().await.map(drop),
    }
}

/// Gives its answers one after the other, the last one for ever, and counts the questions.
pub struct ScriptedResolver {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl ScriptedResolver {
    pub fn new(answers: &[&[&str]]) -> Arc<Self> {
        let read = |text: &&str| text.parse().expect("an address of the test");
        let answers = answers.iter().map(|answer| answer.iter().map(read).collect()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for ScriptedResolver {
    fn resolve<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let answer = self.answers[turn].clone();
        Box::pin(async move { Ok(answer) })
    }
}
