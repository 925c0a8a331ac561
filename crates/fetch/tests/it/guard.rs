//! Nothing that is not public is reached, whichever way it is named.

use postrider_fetch::{FetchError, FetchPolicy, FetchRequest, Fetcher};

use crate::server::{Answer, ScriptedResolver, Server};

fn hello() -> Answer {
    Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Kind: test\r\n\r\nhello".to_vec())
}

#[tokio::test]
async fn an_allowed_server_is_reached() {
    let server = Server::start(hello()).await;
    let answer = server.fetcher().fetch(FetchRequest::get(server.url("/a?b=c"))).await.expect("an answer");
    assert_eq!((answer.status, &answer.body[..], answer.header("x-kind")), (200, &b"hello"[..], Some("test")));
    let request = server.requests.lock().expect("no panic")[0].clone();
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{request}");
    assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
}

#[tokio::test]
async fn a_post_carries_its_body_and_headers() {
    let server = Server::start(hello()).await;
    let request = FetchRequest::post(server.url("/hook"), "application/json", "{\"a\":1}").header("X-Sign", "t=1");
    server.fetcher().fetch(request).await.expect("an answer");
    let request = server.requests.lock().expect("no panic")[0].clone();
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("content-type: application/json\r\n"), "{request}");
    assert!(request.contains("x-sign: t=1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
}

#[tokio::test]
async fn addresses_inside_are_refused_without_a_connection() {
    let server = Server::start(hello()).await;
    // All ports are open here, so that only the address can be the reason.
    let policy = FetchPolicy { ports: vec![server.port], ..FetchPolicy::default() };
    let fetcher = Fetcher::new(policy);
    for host in [
        "127.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[fe80::1]",
    ] {
        let url = format!("http://{host}:{}/", server.port);
        let error = fetcher.fetch(FetchRequest::get(url)).await.expect_err(host);
        assert!(matches!(error, FetchError::Address { .. }), "{host}: {error}");
    }
    for host in ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "017700000001"] {
        let url = format!("http://{host}:{}/", server.port);
        let error = fetcher.fetch(FetchRequest::get(url)).await.expect_err(host);
        assert!(matches!(error, FetchError::Url(_)), "{host}: {error}");
    }
    // The system's own resolver leads here, too.
    let error =
        fetcher.fetch(FetchRequest::get(format!("http://localhost:{}/", server.port))).await.expect_err("local");
    assert!(matches!(error, FetchError::Address { .. }), "{error}");
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused() {
    let server = Server::start(hello()).await;
    let policy = FetchPolicy { ports: vec![server.port], ..FetchPolicy::default() };
    for answer in [&["127.0.0.1"][..], &["8.8.8.8", "127.0.0.1"], &["::ffff:127.0.0.1"], &["2606:4700::1", "::1"]] {
        let fetcher = Fetcher::new(policy.clone()).with_resolver(ScriptedResolver::new(&[answer]));
        let url = format!("http://inside.example:{}/", server.port);
        let error = fetcher.fetch(FetchRequest::get(url)).await.expect_err("refused");
        assert!(matches!(error, FetchError::Address { .. }), "{answer:?}: {error}");
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_that_answer_is_used() {
    let server = Server::start(hello()).await;
    // A rebinding server: harmless when checked, something else when asked again.
    let resolver = ScriptedResolver::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let fetcher = server.fetcher().with_resolver(resolver.clone());
    let url = format!("http://rebind.example:{}/", server.port);
    let answer = fetcher.fetch(FetchRequest::get(url.clone())).await.expect("an answer");
    assert_eq!(answer.address.to_string(), "127.0.0.1");
    assert_eq!(resolver.asked(), 1);
    assert!(server.requests.lock().expect("no panic")[0].contains("host: rebind.example:"));
    let error = fetcher.fetch(FetchRequest::get(url)).await.expect_err("the second answer is not allowed");
    assert!(matches!(error, FetchError::Address { .. }), "{error}");
}

#[tokio::test]
async fn a_name_without_address_is_an_error() {
    let server = Server::start(hello()).await;
    let fetcher = server.fetcher().with_resolver(ScriptedResolver::new(&[&[]]));
    let error = fetcher.fetch(FetchRequest::get(format!("http://a.example:{}/", server.port))).await.expect_err("none");
    assert!(matches!(error, FetchError::Lookup { .. }), "{error}");
}

#[tokio::test]
async fn ports_outside_the_list_are_refused() {
    let server = Server::start(hello()).await;
    let policy = FetchPolicy { ports: vec![80, 443], ..server.policy() };
    let error = Fetcher::new(policy).fetch(FetchRequest::get(server.url("/"))).await.expect_err("port");
    assert!(matches!(error, FetchError::Port { .. }), "{error}");
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let inside = Server::start(hello()).await;
    for status in [301, 302, 303, 307, 308] {
        let head =
            format!("HTTP/1.1 {status} Away\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", inside.url("/secret"));
        let server = Server::start(Answer::Bytes(head.into_bytes())).await;
        let policy = FetchPolicy { ports: vec![server.port, inside.port], ..server.policy() };
        let error = Fetcher::new(policy).fetch(FetchRequest::get(server.url("/"))).await.expect_err("redirect");
        assert!(
            matches!(&error, FetchError::Redirect { status: s, location } if *s == status && location.contains("/secret")),
            "{error}"
        );
    }
    assert_eq!(inside.count(), 0);
}

/// A server that redirects everything to one place.
async fn redirecting(location: &str) -> Server {
    let head = format!("HTTP/1.1 302 Away\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    Server::start(Answer::Bytes(head.into_bytes())).await
}

#[tokio::test]
async fn redirects_that_are_asked_for_are_checked_hop_by_hop() {
    let end = Server::start(hello()).await;
    let start = redirecting(&end.url("/end")).await;
    let policy = FetchPolicy { ports: vec![start.port, end.port], ..start.policy() };
    let fetcher = Fetcher::new(policy.clone());
    let request = FetchRequest::get(start.url("/")).header("X-Secret", "1").follow_redirects(1);
    let answer = fetcher.fetch(request).await.expect("followed");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
    let seen = end.requests.lock().expect("no panic")[0].clone();
    assert!(seen.starts_with("GET /end ") && !seen.contains("secret"), "{seen}");

    // Each hop leads somewhere else that must not be reached.
    let guarded = Server::start(hello()).await;
    for inside in [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::ffff:169.254.169.254]/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "http://[::1]/".to_owned(),
        "http://2130706433/".to_owned(),
        "http://0x7f.1/".to_owned(),
        "http://0177.0.0.1/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("http://127.0.0.1:{}/", guarded.port), // a port that nobody allowed
        "http://localhost@127.0.0.1/".to_owned(),
    ] {
        let start = redirecting(&inside).await;
        let policy = FetchPolicy { ports: vec![start.port, 80, 443], ..start.policy() };
        let request = FetchRequest::get(start.url("/")).follow_redirects(5);
        let error = Fetcher::new(policy).fetch(request).await.expect_err(&inside);
        let refused = matches!(error, FetchError::Address { .. } | FetchError::Url(_) | FetchError::Port { .. });
        assert!(refused, "{inside}: {error}");
    }
    assert_eq!(guarded.count(), 0);
}

#[tokio::test]
async fn endless_redirects_end() {
    let server = redirecting("/again").await;
    let request = FetchRequest::get(server.url("/")).follow_redirects(3);
    let error = server.fetcher().fetch(request).await.expect_err("endless");
    assert!(matches!(error, FetchError::Redirect { status: 302, .. }), "{error}");
    assert_eq!(server.count(), 4, "the first request and three hops");
    // What carries a body is never sent twice.
    let post = FetchRequest::post(server.url("/"), "text/plain", "x").follow_redirects(3);
    assert!(matches!(server.fetcher().fetch(post).await, Err(FetchError::Redirect { .. })));
    assert_eq!(server.count(), 5);
}

/// A name that is public when it is asked for first and private afterwards, over two fetches and over a hop.
#[tokio::test]
async fn a_name_that_moves_inside_is_never_followed_there() {
    let guarded = Server::start(hello()).await;
    let policy = FetchPolicy { ports: vec![guarded.port], ..FetchPolicy::default() };
    // 203.0.113.0/24 is for documentation and reaches nobody; it stands for a public address here.
    let allow = vec!["203.0.113.0/24".parse().expect("a range")];
    let policy = FetchPolicy { allow, timeout: std::time::Duration::from_millis(300), ..policy };
    let resolver = ScriptedResolver::new(&[&["203.0.113.1"], &["127.0.0.1"], &["::ffff:127.0.0.1"], &["10.0.0.1"]]);
    let fetcher = Fetcher::new(policy).with_resolver(resolver.clone());
    for turn in 0..4 {
        let url = format!("http://moving.example:{}/", guarded.port);
        let error = fetcher.fetch(FetchRequest::get(url)).await.expect_err("never");
        let first = matches!(error, FetchError::Timeout(_) | FetchError::Connect { .. });
        assert!(if turn == 0 { first } else { matches!(error, FetchError::Address { .. }) }, "{turn}: {error}");
    }
    assert_eq!((resolver.asked(), guarded.count()), (4, 0));
}

#[tokio::test]
async fn other_statuses_are_answers() {
    for status in [204_u16, 300, 304, 404, 410, 429, 500, 503] {
        let server =
            Server::start(Answer::Bytes(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").into())).await;
        let answer = server.fetcher().fetch(FetchRequest::get(server.url("/"))).await.expect("an answer");
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn headers_cannot_break_out() {
    let server = Server::start(hello()).await;
    for (name, value) in [
        ("X-A", "b\r\nX-Injected: 1"),
        ("X-A", "b\nX-Injected: 1"),
        ("X-A", "b\0"),
        ("X-A: b\r\nX-Injected", "1"),
        ("", "x"),
        ("Host", "other.example"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
        ("Connection", "keep-alive"),
    ] {
        let request = FetchRequest::get(server.url("/")).header(name, value);
        let error = server.fetcher().fetch(request).await.expect_err(name);
        assert!(matches!(error, FetchError::Header(_)), "{name:?}: {error}");
    }
    assert!(server.requests.lock().expect("no panic").iter().all(|request| !request.contains("Injected")));
}
