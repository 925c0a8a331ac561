//! Takes a URL apart and refuses every form that different programs read differently.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::Uri;

use crate::error::FetchError;

/// Where a URL points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// Path and query, at least `/`.
    pub(crate) path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, FetchError> {
        let uri: Uri =
            url.parse().map_err(|_| FetchError::Url("it is malformed or not ASCII; write the host as xn--"))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) | None => return Err(FetchError::Url("it must start with https:// or http://")),
        };
        let authority = uri.authority().ok_or(FetchError::Url("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(FetchError::Url("it must not hold a name or password"));
        }
        let standard = match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("" | ":") => standard,
            Some(_) => authority.port_u16().ok_or(FetchError::Url("its port is no number from 0 to 65535"))?,
            None => return Err(FetchError::Url("it has no host")),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme, host: host(authority.host())?, port, path })
    }

    /// Where a redirect leads from here: a full URL, `//host/path` or `/path`. Never from `https` to `http`.
    pub(crate) fn hop(&self, location: &str) -> Result<Self, FetchError> {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let location = location.split('#').next().unwrap_or_default();
        let next = if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))?
        } else if location.starts_with('/') {
            let full = Self::parse(&format!("{scheme}://redirect.invalid{location}"))?;
            Self { path: full.path, ..self.clone() }
        } else {
            Self::parse(location)?
        };
        if self.scheme == Scheme::Https && next.scheme == Scheme::Http {
            return Err(FetchError::Url("it redirects from https to http"));
        }
        Ok(next)
    }

    /// The value of the Host header (RFC 9110 7.2): the port only where it is not the scheme's own.
    pub(crate) fn host_header(&self) -> String {
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(IpAddr::V4(address)) => address.to_string(),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        };
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https, 443) => host,
            (Scheme::Http | Scheme::Https, port) => format!("{host}:{port}"),
        }
    }
}

fn host(text: &str) -> Result<Host, FetchError> {
    if let Some(inside) = text.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
        let address = address.ok_or(FetchError::Url("its host is no IPv6 address, though it stands in brackets"))?;
        return Ok(Host::Address(IpAddr::V6(address)));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    // 2130706433, 0x7f.1, 127.1 and 0177.0.0.1 are addresses for some programs and names for others.
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    if hexadecimal || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(FetchError::Url("its host is a number; write an IPv4 address as four decimal numbers"));
    }
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() > 253 || !name.split('.').all(label_fits) {
        return Err(FetchError::Url("its host is no domain name"));
    }
    Ok(Host::Name(name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_urls() {
        let table = [
            ("https://Example.COM", Scheme::Https, Host::Name("example.com".to_owned()), 443, "/", "example.com"),
            (
                "http://a.example:8080/x?y=1#z",
                Scheme::Http,
                Host::Name("a.example".to_owned()),
                8080,
                "/x?y=1",
                "a.example:8080",
            ),
            ("https://a.example.", Scheme::Https, Host::Name("a.example".to_owned()), 443, "/", "a.example"),
            ("https://a.example:443?q", Scheme::Https, Host::Name("a.example".to_owned()), 443, "/?q", "a.example"),
            ("http://127.0.0.1/", Scheme::Http, Host::Address([127, 0, 0, 1].into()), 80, "/", "127.0.0.1"),
            (
                "http://[::ffff:127.0.0.1]:81/",
                Scheme::Http,
                Host::Address("::ffff:127.0.0.1".parse().expect("v6")),
                81,
                "/",
                "[::ffff:127.0.0.1]:81",
            ),
        ];
        for (url, scheme, host, port, path, header) in table {
            let target = Target::parse(url).expect(url);
            assert_eq!(target, Target { scheme, host, port, path: path.to_owned() }, "{url}");
            assert_eq!(target.host_header(), header, "{url}");
        }
    }

    #[test]
    fn a_hop_goes_where_it_says_and_never_down() {
        let here = Target::parse("https://a.example:8443/x").expect("a URL");
        for (location, host, port, path) in [
            ("https://b.example/y", "b.example", 443, "/y"),
            ("//b.example/y#z", "b.example", 443, "/y"),
            ("/y?q", "a.example", 8443, "/y?q"),
        ] {
            let next = here.hop(location).expect(location);
            assert_eq!((next.host, next.port, &*next.path), (Host::Name(host.to_owned()), port, path), "{location}");
        }
        for location in ["http://a.example/", "", "y", "ftp://b.example/", "https://u@b.example/", "https://127.1/"] {
            assert!(here.hop(location).is_err(), "{location:?}");
        }
    }

    #[test]
    fn urls_that_programs_read_differently_are_refused() {
        for url in [
            "",
            "example.com",
            "/path",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "https://",
            "https:///path",
            "https://user@example.com/",
            "https://user:secret@example.com/",
            "https://example.com@127.0.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://1.2.3.4.5/",
            "http://example.0x10/",
            "http://[::1/",
            "http://[::1%25lo]/",
            "http://[127.0.0.1]/",
            "http://%31%32%37.0.0.1/",
            "http://a..example/",
            "http://.example/",
            "http://exa mple/",
            "http://ex\u{e4}mple.com/",
            "http://\u{2460}\u{2461}\u{2466}.0.0.1/",
            "http://example.com:99999/",
            "http://example.com:-1/",
            "http://example.com\r\nX: y/",
            "http://example.com/\r\nX: y",
        ] {
            assert!(Target::parse(url).is_err(), "{url:?}: {:?}", Target::parse(url));
        }
    }
}
