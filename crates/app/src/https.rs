//! The HTTPS listener: TLS with the certificate of the moment, and the same router as in clear behind it. HTTP/1.1 only.

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use postrider_smtp::CertificateSource;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, and how long a connection may be silent between two.
const HEAD: Duration = Duration::from_secs(60);
/// Connections at once; further ones wait in the system's queue.
const CONNECTIONS: usize = 4_096;

/// Takes the address; the one that was bound, and the future that serves it.
pub async fn listen(
    address: SocketAddr,
    source: &CertificateSource,
    router: Router,
) -> anyhow::Result<(SocketAddr, impl Future<Output = ()> + use<>)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("could not listen on {address}: set https.listen (POSTRIDER_HTTPS_LISTEN) to a free address")
    })?;
    let bound = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(source.server_config(&["http/1.1"]));
    Ok((bound, serve(listener, acceptor, router)))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most often no more file descriptors: a moment later there are some again.
                tracing::warn!(event = "https.not_accepted", %error);
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            converse(stream, peer, acceptor, router).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, router: Router) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        // Scanners and clients that do not like the certificate: their business.
        return tracing::debug!(event = "https.no_handshake", %peer);
    };
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(event = "https.broken", %peer, %error);
    }
}
