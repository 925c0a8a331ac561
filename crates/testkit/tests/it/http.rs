//! There is one HTTP client, `crates/fetch`: nothing else in the program opens an outgoing HTTP connection (SEC-36).

use crate::repository::{cargo, files, text};

/// What a client in the sources looks like, whichever library it comes from.
const CLIENTS: &[&str] = &[
    "client::conn::",
    "client::legacy",
    "hyper::client",
    "hyper_util::client",
    "reqwest::",
    "ureq::",
    "isahc::",
    "surf::",
    "minreq::",
    "attohttpc::",
    "curl::",
    "awc::",
];

/// Streams that a request could be written to by hand.
const STREAMS: &[&str] = &["TcpStream::connect", "TcpSocket::new", "lookup_host("];

/// Who may hold which, and why.
#[rustfmt::skip]
const ALLOWED: &[(&str, &[&str], &str)] = &[
    ("crates/fetch/src/", &["hyper::client", "client::conn::", "TcpStream::connect", "lookup_host("], "the guarded client itself"),
    ("crates/app/src/client.rs", &["hyper::client", "client::conn::"], "the command line speaks to the server's own socket file"),
    ("crates/smtp/src/dial.rs", &["TcpSocket::new"], "mail, by its own address policy"),
    ("crates/smtp/src/dnssec.rs", &["TcpStream::connect"], "the resolver that the operator named"),
];

/// Crates that are HTTP clients, or whose purpose is to make requests.
const CRATES: &[&str] = &[
    "reqwest",
    "ureq",
    "isahc",
    "surf",
    "minreq",
    "attohttpc",
    "curl",
    "awc",
    "hyper-rustls",
    "hyper-tls",
    "octocrab",
    "opendal",
    "object_store",
    "rust-s3",
    "aws-sdk-s3",
    "web-push",
    "oauth2",
    "rustify",
];

fn breaches(path: &str, source: &str) -> Vec<String> {
    // Tests have peers of their own; comments and texts name what they like.
    let product = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = product.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let allowed = |word: &str| ALLOWED.iter().any(|(place, words, _)| path.starts_with(place) && words.contains(&word));
    let found = CLIENTS.iter().chain(STREAMS).filter(|word| code.contains(**word) && !allowed(word));
    found.map(|word| format!("{path} holds `{word}`: outgoing HTTP goes through postrider_fetch::Fetcher")).collect()
}

#[test]
fn no_source_has_another_client() {
    let (mut wrong, mut read) = (Vec::new(), 0);
    for path in files() {
        let ours = path.starts_with("crates/") && path.contains("/src/") && path.ends_with(".rs");
        if !ours || path.starts_with("crates/testkit/") || path.starts_with("crates/sim/") {
            continue;
        }
        read += 1;
        wrong.extend(breaches(&path, &text(&path).expect("a source")));
    }
    assert!(read > 100, "only {read} sources read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_dependency_is_a_client() {
    let listing = cargo(&["tree", "--workspace", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let names: Vec<&str> = listing.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 50, "only {} packages found", names.len());
    let wrong: Vec<&&str> = names.iter().filter(|name| CRATES.contains(name)).collect();
    assert!(wrong.is_empty(), "HTTP clients beside crates/fetch: {wrong:?}");
}

#[test]
fn a_breach_is_found() {
    assert_eq!(breaches("crates/web/src/x.rs", "let c = reqwest::Client::new();").len(), 1);
    assert_eq!(breaches("crates/engine/src/x.rs", "TcpStream::connect(a).await").len(), 1);
    assert_eq!(breaches("crates/fetch/src/fetcher.rs", "TcpStream::connect(a).await").len(), 0);
    assert_eq!(breaches("crates/web/src/x.rs", "// reqwest::Client").len(), 0);
    assert_eq!(breaches("crates/web/src/x.rs", "#[cfg(test)] mod tests { TcpStream::connect(a) }").len(), 0);
}
