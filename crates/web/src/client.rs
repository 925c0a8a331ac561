//! Facts about the peer of a request: its address (behind trusted proxies too), its agent, and whether a browser was
//! sent here by another site.
//!
//! Must not know: accounts, keys, sessions.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, Method, header};

use crate::problem::Problem;

/// Where a request comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// The address of the peer, or what a trusted proxy says of it; `None` for unix sockets and in-process calls.
    pub ip: Option<IpAddr>,
    /// `User-Agent`, cut to 300 characters.
    pub agent: String,
    /// Whether the request came through a proxy (trusted or not).
    pub proxied: bool,
}

impl Client {
    /// Reads the facts. `trusted` are the proxies whose `X-Forwarded-For` counts; everybody else's is ignored.
    pub fn of(headers: &HeaderMap, extensions: &Extensions, trusted: &[IpAddr]) -> Client {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let forwarded: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .map(str::trim)
            .collect();
        let proxied =
            !forwarded.is_empty() || headers.contains_key(header::FORWARDED) || headers.contains_key("x-real-ip");
        let mut ip = peer;
        // From the nearest hop outwards: each trusted proxy vouches for the address before it.
        for hop in forwarded.iter().rev() {
            match ip {
                Some(known) if trusted.contains(&known) => match hop.parse::<IpAddr>() {
                    Ok(before) => ip = Some(before.to_canonical()),
                    Err(_) => break,
                },
                Some(_) | None => break,
            }
        }
        let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Client { ip, agent: agent.chars().filter(|c| !c.is_control()).take(300).collect(), proxied }
    }

    /// Whether the peer sits on this machine and no proxy stands between.
    pub fn is_local(&self) -> bool {
        !self.proxied && self.ip.is_some_and(|ip| ip.is_loopback())
    }

    /// The address as text.
    pub fn ip_text(&self) -> String {
        self.ip.map(|ip| ip.to_string()).unwrap_or_default()
    }
}

/// Whether a method may change something.
pub fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// How sure we must be that our own pages sent a request that carries a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// One of the browser's headers must say so: the cookie alone is no proof.
    Proven,
    /// Only a header that says otherwise refuses: there is no cookie yet (log-in).
    NotForeign,
}

/// Refuses requests that another site made a browser send (SEC-35).
///
/// # Errors
/// 403 when the request comes from another site, or when nothing proves that it does not.
pub fn check_origin(headers: &HeaderMap, need: Origin) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let refuse = || {
        Err(Problem::forbidden(
            "this request was not sent by Postrider's own pages: programs use an API key instead of a session",
        ))
    };
    if let Some(site) = text("sec-fetch-site") {
        return if matches!(site, "same-origin" | "none") { Ok(()) } else { refuse() };
    }
    match (text("origin"), text("host")) {
        (Some(origin), Some(host)) => {
            let authority = origin.split_once("://").map_or("", |(_, rest)| rest);
            if !host.is_empty() && authority.eq_ignore_ascii_case(host) { Ok(()) } else { refuse() }
        }
        (Some(_), None) => refuse(),
        (None, _) => match need {
            Origin::Proven => refuse(),
            Origin::NotForeign => Ok(()),
        },
    }
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .find_map(|pair| pair.trim().split_once('=').filter(|(n, _)| *n == name).map(|(_, v)| v))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (axum::http::HeaderName::from_static(n), v.parse().unwrap())).collect()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo("10.0.0.2:99".parse::<SocketAddr>().unwrap()));
        let h = headers(&[("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.0.0.9")]);
        let ip = |trusted: &[&str]| {
            let trusted: Vec<IpAddr> = trusted.iter().map(|t| t.parse().unwrap()).collect();
            Client::of(&h, &extensions, &trusted).ip_text()
        };
        assert_eq!(ip(&[]), "10.0.0.2");
        assert_eq!(ip(&["10.0.0.2"]), "10.0.0.9");
        assert_eq!(ip(&["10.0.0.2", "10.0.0.9"]), "2.2.2.2");
        assert!(!Client::of(&h, &Extensions::new(), &[]).is_local(), "behind a proxy nobody is local");
        assert!(!Client::of(&headers(&[]), &Extensions::new(), &[]).is_local(), "an unknown peer is not local");
        extensions.insert(ConnectInfo("127.0.0.1:99".parse::<SocketAddr>().unwrap()));
        assert!(Client::of(&headers(&[]), &extensions, &[]).is_local());
    }

    #[test]
    fn another_site_cannot_use_a_session() {
        for (pairs, proven, not_foreign) in [
            (&[("sec-fetch-site", "same-origin")][..], true, true),
            (&[("sec-fetch-site", "none")], true, true),
            (&[("sec-fetch-site", "same-site")], false, false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://a"), ("host", "a")], false, false),
            (&[("origin", "https://a.example"), ("host", "a.example")], true, true),
            (&[("origin", "https://evil.example"), ("host", "a.example")], false, false),
            (&[("origin", "null"), ("host", "a.example")], false, false),
            (&[("origin", "https://a.example")], false, false),
            (&[("host", "a.example")], false, true),
            (&[], false, true),
        ] {
            let h = headers(pairs);
            assert_eq!(check_origin(&h, Origin::Proven).is_ok(), proven, "{pairs:?}");
            assert_eq!(check_origin(&h, Origin::NotForeign).is_ok(), not_foreign, "{pairs:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let h = headers(&[("cookie", "a=1; __Host-postrider=xyz; b=2")]);
        assert_eq!(cookie(&h, "__Host-postrider"), Some("xyz"));
        assert_eq!(cookie(&h, "postrider"), None);
    }
}
