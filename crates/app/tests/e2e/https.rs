//! HTTPS of the real binary: with a certificate from an authority on loopback, and with own files that change while it runs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_testkit::acme::Authority;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{Sim, Site, free_port, tail};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection to a name, verified against these roots.
fn connect(port: u16, name: &str, roots_pem: &str) -> Option<Tls> {
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
        roots.add(der.expect("PEM")).expect("a root");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a client"), stream);
    tls.conn.complete_io(&mut tls.sock).ok()?;
    Some(tls)
}

/// Asks for `/healthz` on a connection that stays open.
fn healthz(tls: &mut Tls) -> String {
    tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
    let mut seen = Vec::new();
    while !seen.ends_with(b"ok\n") {
        let mut room = [0; 1024];
        let count = tls.read(&mut room).expect("an answer");
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&room[..count]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

fn until<T>(what: &str, site: &Site, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(40);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain: {what}\n{}", tail(&site.log_text()));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_certificate_from_an_authority_is_shown_and_survives_a_restart() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let sim = Sim::start(1, &[]);
    let mut site = Site::new(&sim, "");
    let authority = runtime.block_on(Authority::start(site.http));
    let port = free_port();
    let path = |name: &str| site.data.path().join(name).display().to_string();
    std::fs::write(path("roots.pem"), authority.root_pem()).expect("written");
    let settings = format!(
        "[https]\nlisten = \"127.0.0.1:{port}\"\nredirect = true\n[fetch]\nallow_private = [\"127.0.0.0/8\"]\n\
         [certificate]\nacme_directory = \"{}\"\nacme_names = [\"mail.story.test\"]\nacme_terms_agreed = true\n\
         acme_ca_file = \"{}\"\n",
        authority.directory(),
        path("roots.pem")
    );
    let file = path("postrider.toml");
    std::fs::write(&file, settings).expect("written");
    site.serve_with(&["serve", "--config", &file]);
    let mut tls = until("a certificate", &site, || connect(port, "mail.story.test", authority.root_pem()));
    assert!(healthz(&mut tls).starts_with("HTTP/1.1 200"));
    assert_eq!((authority.orders(), authority.accounts()), (1, 1));

    // In clear: people are sent on, what carries something is refused, machines are answered.
    let (status, _) = site.http_request("GET", "/u/x", &[], "").expect("an answer");
    assert_eq!(status, 308);
    assert_eq!(site.http_request("POST", "/api/v1/session", &[], "{}").expect("an answer").0, 403);
    assert_eq!(site.http_request("GET", "/healthz", &[], "").expect("an answer").0, 200);
    let unknown = site.http_request("GET", "/.well-known/acme-challenge/nobody", &[], "").expect("an answer");
    assert_eq!(unknown.0, 404);
    let (_, doctor, _) = site.try_run(&["doctor", "--config", &file]);
    assert!(doctor.contains("certificate mail.story.test") && doctor.contains("valid until"), "{doctor}");
    site.kill();

    site.serve_with(&["serve", "--config", &file]);
    until("the same certificate", &site, || connect(port, "mail.story.test", authority.root_pem()));
    assert_eq!((authority.orders(), authority.accounts()), (1, 1), "nothing was asked of the authority");
    site.kill();
}

fn pair(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn own_files_are_read_again_at_sighup_without_losing_a_connection() {
    let sim = Sim::start(1, &[]);
    let mut site = Site::new(&sim, "");
    let port = free_port();
    let path = |name: &str| site.data.path().join(name).display().to_string();
    let (chain_file, key_file, file) = (path("chain.pem"), path("key.pem"), path("postrider.toml"));
    let write = |(chain, key): &(String, String)| {
        std::fs::write(&chain_file, chain).expect("written");
        std::fs::write(&key_file, key).expect("written");
    };
    let settings = format!(
        "[https]\nlisten = \"127.0.0.1:{port}\"\n[certificate]\nchain_file = \"{chain_file}\"\nkey_file = \"{key_file}\"\n"
    );
    std::fs::write(&file, settings).expect("written");
    // A start with a bad pair is refused in words.
    write(&(pair("one.test").0, pair("one.test").1));
    let (exit, _, said) = site.try_run(&["serve", "--config", &file]);
    assert_ne!(exit, Some(0));
    assert!(said.contains("does not belong to the first certificate"), "{said}");

    let one = pair("one.test");
    write(&one);
    site.serve_with(&["serve", "--config", &file]);
    let mut held = until("the first certificate", &site, || connect(port, "one.test", &one.0));
    healthz(&mut held);
    let two = pair("two.test");
    write(&two);
    site.hang_up();
    let mut next = until("the second certificate", &site, || connect(port, "two.test", &two.0));
    healthz(&mut next);
    healthz(&mut held);
    // Rubbish changes nothing.
    std::fs::write(&chain_file, "rubbish").expect("written");
    site.hang_up();
    until("it was refused", &site, || site.log_text().contains("certificate.refused").then_some(()));
    assert!(connect(port, "two.test", &two.0).is_some());
    let clear = SocketAddr::from((Ipv4Addr::LOCALHOST, site.http.port()));
    assert!(TcpStream::connect(clear).is_ok());
    site.kill();
}
