//! A certificate authority on loopback that speaks ACME (RFC 8555) over HTTPS: directory, nonces, accounts, orders, http-01,
//! certificates. It checks what it is sent: signature, nonce, URL; and it really fetches the token.
//!
//! Knows nothing of ours. What goes wrong is switched on by the test.

mod wire;

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData, SignatureAlgorithm};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use wire::{Answer, Asked};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every second nonce is refused, as if it had been too old.
    BadNonces,
    /// Orders are refused: too many.
    RateLimited,
    /// Accounts are not known any more.
    AccountLost,
    /// The answer to an order is cut off.
    Broken,
}

/// A running authority; it ends when this is dropped.
pub struct Authority {
    port: u16,
    root: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

struct State {
    fault: Fault,
    /// Where http-01 tokens are fetched, whatever the name.
    web: SocketAddr,
    /// The authority's time and the life of what it issues, in seconds.
    now: Option<u64>,
    life: u64,
    nonces: HashSet<String>,
    made: u64,
    refused_last: bool,
    /// Keys of accounts, by URL.
    accounts: HashMap<String, Vec<u8>>,
    orders: Vec<Order>,
    ordered: usize,
}

/// Token, thumbprint of the account, and what the proof came to.
type Proof = (String, String, Option<Result<(), String>>);

#[derive(Default)]
struct Order {
    names: Vec<String>,
    proofs: Vec<Proof>,
    chain: Option<String>,
}

impl Authority {
    /// Starts an authority that fetches tokens from `web`, an address where http is spoken in clear.
    ///
    /// # Panics
    /// When loopback cannot be used.
    pub async fn start(web: SocketAddr) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Authority of the test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2120, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root").pem();
        let issuer = Arc::new(Issuer::new(params, key));
        let state = Arc::new(Mutex::new(State {
            fault: Fault::None,
            web,
            now: None,
            life: 90 * 86_400,
            nonces: HashSet::new(),
            made: 0,
            refused_last: false,
            accounts: HashMap::new(),
            orders: Vec::new(),
            ordered: 0,
        }));
        let acceptor = wire::acceptor(&issuer);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let task = tokio::spawn(serve(listener, acceptor, Arc::clone(&state), issuer, port));
        Authority { port, root, state, task }
    }

    /// The URL of the directory.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/directory", self.port)
    }

    /// The port of the directory.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The root that the authority's own web server and everything that it issues hang on, PEM.
    pub fn root_pem(&self) -> &str {
        &self.root
    }

    /// Lets something go wrong from now on.
    pub fn fail(&self, fault: Fault) {
        lock(&self.state).fault = fault;
    }

    /// Sets the authority's time, in milliseconds UTC; without it the machine's own counts.
    pub fn set_now(&self, ms: i64) {
        lock(&self.state).now = Some(ms.unsigned_abs() / 1_000);
    }

    /// How long certificates live.
    pub fn set_life(&self, life: Duration) {
        lock(&self.state).life = life.as_secs();
    }

    /// Where tokens are fetched from now on.
    pub fn look_at(&self, web: SocketAddr) {
        lock(&self.state).web = web;
    }

    /// How many orders came in, refused ones too.
    pub fn orders(&self) -> usize {
        lock(&self.state).ordered
    }

    /// How many accounts were made.
    pub fn accounts(&self) -> usize {
        lock(&self.state).accounts.len()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

type CaIssuer = Issuer<'static, KeyPair>;

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    state: Arc<Mutex<State>>,
    issuer: Arc<CaIssuer>,
    port: u16,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state, issuer) = (acceptor.clone(), Arc::clone(&state), Arc::clone(&issuer));
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let Some(asked) = wire::read(&mut stream).await else { return };
            let answer = answer(&state, &issuer, port, asked).await;
            let nonce = lock(&state).new_nonce();
            wire::write(&mut stream, answer, &nonce).await;
        });
    }
}

fn problem(status: u16, kind: &str, detail: &str) -> Answer {
    let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status });
    Answer { status, kind: "application/problem+json", location: None, body: body.to_string() }
}

fn good(status: u16, location: Option<String>, body: Value) -> Answer {
    Answer { status, kind: "application/json", location, body: body.to_string() }
}

async fn answer(state: &Mutex<State>, issuer: &CaIssuer, port: u16, asked: Asked) -> Answer {
    let base = format!("https://127.0.0.1:{port}");
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/directory") => {
            return good(
                200,
                None,
                json!({
                    "newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"),
                    "newOrder": format!("{base}/order"), "revokeCert": format!("{base}/revoke"),
                    "keyChange": format!("{base}/key-change"),
                }),
            );
        }
        ("HEAD" | "GET", "/nonce") => return good(200, None, json!({})),
        ("POST", _) => {}
        _ => return problem(405, "malformed", "no such thing"),
    }
    let (account, payload) = match lock(state).verify(&format!("{base}{}", asked.path), &asked.body, port) {
        Ok(verified) => verified,
        Err(refused) => return refused,
    };
    let parts: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
    let number = |at: usize| parts.get(at).and_then(|text| text.parse::<usize>().ok()).unwrap_or(usize::MAX);
    match parts[0] {
        "account" => good(201, Some(account), json!({ "status": "valid" })),
        "order" if parts.len() == 1 => lock(state).order(&account, &payload, &base),
        "order" if parts.get(2) == Some(&"finalize") => lock(state).finalize(number(1), &payload, issuer, &base),
        "order" => lock(state).tell(number(1), &base, 200),
        "authz" => lock(state).authorization(number(1), number(2), &base),
        "challenge" => {
            let proof = lock(state).proof(number(1), number(2));
            let Some((name, token, thumb, web)) = proof else { return problem(404, "malformed", "no such challenge") };
            let found = wire::fetch_token(web, &name, &token).await;
            let wanted = format!("{token}.{thumb}");
            let came = match found {
                Ok(text) if text.trim_end() == wanted => Ok(()),
                Ok(text) => Err(format!("{name} answers {:?}", text.chars().take(60).collect::<String>())),
                Err(why) => Err(format!("{name}: {why}")),
            };
            let mut state = lock(state);
            state.orders[number(1)].proofs[number(2)].2 = Some(came);
            good(200, None, state.challenge(number(1), number(2), &base, true))
        }
        "certificate" => match lock(state).orders.get(number(1)).and_then(|order| order.chain.clone()) {
            Some(chain) => {
                Answer { status: 200, kind: "application/pem-certificate-chain", location: None, body: chain }
            }
            None => problem(404, "malformed", "no certificate yet"),
        },
        _ => problem(404, "malformed", "no such thing"),
    }
}

impl State {
    fn new_nonce(&mut self) -> String {
        self.made += 1;
        let nonce = format!("nonce{}", self.made);
        self.nonces.insert(nonce.clone());
        nonce
    }

    /// Who signed a request, and what it says (RFC 8555 6.2).
    fn verify(&mut self, url: &str, body: &str, port: u16) -> Result<(String, Value), Answer> {
        let malformed = |why: &str| problem(400, "malformed", why);
        let jws: Value = serde_json::from_str(body).map_err(|_| malformed("no JSON"))?;
        let text = |name: &str| jws[name].as_str().unwrap_or_default().to_owned();
        let decode = |text: &str| BASE64.decode(text).unwrap_or_default();
        let head: Value = serde_json::from_slice(&decode(&text("protected"))).map_err(|_| malformed("no header"))?;
        if head["alg"] != "ES256" || head["url"] != url {
            return Err(malformed("another algorithm or URL"));
        }
        let known = self.nonces.remove(head["nonce"].as_str().unwrap_or_default());
        self.refused_last = self.fault == Fault::BadNonces && !self.refused_last;
        if !known || self.refused_last {
            return Err(problem(400, "badNonce", "the nonce is not known"));
        }
        let (account, key) = match head["kid"].as_str() {
            Some(kid) => {
                if self.fault == Fault::AccountLost && url.ends_with("/order") {
                    self.accounts.remove(kid);
                    self.fault = Fault::None;
                }
                let key = self.accounts.get(kid).cloned();
                (kid.to_owned(), key.ok_or_else(|| problem(400, "accountDoesNotExist", "nobody has this account"))?)
            }
            None => {
                let part = |name: &str| decode(head["jwk"][name].as_str().unwrap_or_default());
                (format!("https://127.0.0.1:{port}/account/{}", self.made), [vec![4], part("x"), part("y")].concat())
            }
        };
        let signed = format!("{}.{}", text("protected"), text("payload"));
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key)
            .verify(signed.as_bytes(), &decode(&text("signature")))
            .map_err(|_| problem(401, "unauthorized", "the signature is wrong"))?;
        if head["kid"].is_null() {
            self.accounts.insert(account.clone(), key);
        }
        let payload = decode(&text("payload"));
        Ok((account, serde_json::from_slice(&payload).unwrap_or(Value::Null)))
    }

    fn thumb(&self, account: &str) -> String {
        let key = &self.accounts[account];
        let (x, y) = key[1..].split_at(32);
        // RFC 7638 3: the members in this order, without spaces.
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, BASE64.encode(x), BASE64.encode(y));
        BASE64.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, jwk.as_bytes()))
    }

    fn order(&mut self, account: &str, payload: &Value, base: &str) -> Answer {
        self.ordered += 1;
        match self.fault {
            Fault::RateLimited => return problem(429, "rateLimited", "too many certificates for these names"),
            Fault::Broken => return good(201, None, json!({ "status": "pending" })),
            Fault::None | Fault::BadNonces | Fault::AccountLost => {}
        }
        let names: Vec<String> = payload["identifiers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["value"].as_str().map(str::to_owned))
            .collect();
        let thumb = self.thumb(account);
        let proofs = (0..names.len()).map(|at| (format!("token-{}-{at}", self.made), thumb.clone(), None)).collect();
        self.orders.push(Order { names, proofs, chain: None });
        self.tell(self.orders.len() - 1, base, 201)
    }

    fn tell(&self, at: usize, base: &str, status: u16) -> Answer {
        let Some(order) = self.orders.get(at) else { return problem(404, "malformed", "no such order") };
        let refused = order.proofs.iter().any(|(_, _, came)| matches!(came, Some(Err(_))));
        let proved = order.proofs.iter().all(|(_, _, came)| matches!(came, Some(Ok(()))));
        let word = match (&order.chain, refused, proved) {
            (Some(_), _, _) => "valid",
            (None, true, _) => "invalid",
            (None, false, true) => "ready",
            (None, false, false) => "pending",
        };
        let proofs: Vec<String> = (0..order.names.len()).map(|n| format!("{base}/authz/{at}/{n}")).collect();
        let names: Vec<Value> = order.names.iter().map(|name| json!({ "type": "dns", "value": name })).collect();
        let mut body = json!({
            "status": word, "identifiers": names, "authorizations": proofs, "finalize": format!("{base}/order/{at}/finalize"),
        });
        if order.chain.is_some() {
            body["certificate"] = format!("{base}/certificate/{at}").into();
        }
        good(status, Some(format!("{base}/order/{at}")), body)
    }

    fn challenge(&self, order: usize, at: usize, base: &str, processing: bool) -> Value {
        let (token, _, came) = &self.orders[order].proofs[at];
        let mut body = json!({ "type": "http-01", "url": format!("{base}/challenge/{order}/{at}"), "token": token });
        match came {
            _ if processing => body["status"] = "processing".into(),
            None => body["status"] = "pending".into(),
            Some(Ok(())) => body["status"] = "valid".into(),
            Some(Err(why)) => {
                body["status"] = "invalid".into();
                body["error"] =
                    json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": why, "status": 403 });
            }
        }
        body
    }

    fn authorization(&self, order: usize, at: usize, base: &str) -> Answer {
        let Some(name) = self.orders.get(order).and_then(|order| order.names.get(at)) else {
            return problem(404, "malformed", "no such authorization");
        };
        let challenge = self.challenge(order, at, base, false);
        let word = match challenge["status"].as_str() {
            Some("valid") => "valid",
            Some("invalid") => "invalid",
            _ => "pending",
        };
        let who = json!({ "type": "dns", "value": name });
        good(200, None, json!({ "status": word, "identifier": who, "challenges": [challenge] }))
    }

    fn proof(&self, order: usize, at: usize) -> Option<(String, String, String, SocketAddr)> {
        let order = self.orders.get(order)?;
        let (token, thumb, _) = order.proofs.get(at)?;
        Some((order.names[at].clone(), token.clone(), thumb.clone(), self.web))
    }

    fn finalize(&mut self, at: usize, payload: &Value, issuer: &CaIssuer, base: &str) -> Answer {
        let csr = BASE64.decode(payload["csr"].as_str().unwrap_or_default()).unwrap_or_default();
        let Some(key) = wire::key_of_request(&csr) else { return problem(400, "badCSR", "it cannot be read") };
        let now =
            self.now.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
        let Some(order) = self.orders.get_mut(at) else { return problem(404, "malformed", "no such order") };
        let mut params = CertificateParams::new(order.names.clone()).expect("names");
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_secs(now.saturating_sub(3_600));
        params.not_after = epoch + Duration::from_secs(now + self.life);
        let made = params.signed_by(&RequestedKey(key), issuer).expect("a certificate");
        order.chain = Some(made.pem());
        self.tell(at, base, 200)
    }
}

/// The public key of a request, a point on P-256.
struct RequestedKey(Vec<u8>);

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
