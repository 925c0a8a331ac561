//! Edge cases of the walks through SPF and DMARC, on a zone in memory.

use std::collections::HashMap;

use postrider_mail::mailbox::DomainName;
use postrider_smtp::{BoxFuture, MxAnswer, MxHost, ResolveError, Resolver};

use super::*;

/// TXT records and addresses by name; names that begin with `mute` are not answered.
#[derive(Default)]
struct Lab {
    txt: HashMap<String, Vec<String>>,
    addresses: HashMap<String, IpAddr>,
}

impl Lab {
    fn with(records: &[(&str, &str)]) -> Lab {
        let mut lab = Lab::default();
        for (name, text) in records {
            lab.txt.entry((*name).to_owned()).or_default().push((*text).to_owned());
        }
        lab.addresses.insert("host.example".into(), IpAddr::from([192, 0, 2, 7]));
        lab
    }

    fn get<T: Clone>(map: &HashMap<String, T>, name: &str) -> Result<T, ResolveError> {
        if name.starts_with("mute") {
            return Err(ResolveError::Temporary("SERVFAIL".into()));
        }
        map.get(name).cloned().ok_or(ResolveError::NotFound)
    }
}

impl Resolver for Lab {
    fn mx<'a>(&'a self, domain: &'a DomainName) -> BoxFuture<'a, Result<MxAnswer, ResolveError>> {
        let found = Lab::get(&self.addresses, domain.as_str());
        let name = domain.as_str().to_owned();
        Box::pin(async move { found.map(|_| MxAnswer::Hosts(vec![MxHost { preference: 0, name }])) })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        let found = Lab::get(&self.addresses, host).map(|address| vec![address]);
        Box::pin(async move { found })
    }

    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        let found = Lab::get(&self.txt, name);
        Box::pin(async move { found })
    }
}

async fn spf_codes(records: &[(&str, &str)], ours: &[IpAddr]) -> Vec<FindingCode> {
    let lab = Lab::with(records);
    let mut findings = spf::of_return_path(&Look::new(&lab), "rp.example", ours).await;
    once(&mut findings);
    findings.iter().map(|finding| finding.code).collect()
}

#[tokio::test]
async fn spf_is_counted_through_includes_and_redirects() {
    use FindingCode as C;
    let a = |n: usize| vec!["a:host.example"; n].join(" ");
    let seven = format!("v=spf1 {} ~all", a(7));
    let eight = format!("v=spf1 {} ~all", a(8));
    let six = format!("v=spf1 {} -all", a(6));
    let five = format!("v=spf1 {} -all", a(5));
    assert_eq!(spf_codes(&[("rp.example", &seven)], &[]).await, []);
    assert_eq!(spf_codes(&[("rp.example", &eight)], &[]).await, [C::SpfManyLookups]);
    for (by, inner, want) in [
        ("v=spf1 a:host.example a:host.example include:x.example -all", &six, C::SpfManyLookups),
        (
            "v=spf1 a:host.example a:host.example a:host.example a:host.example redirect=x.example",
            &five,
            C::SpfManyLookups,
        ),
        (
            "v=spf1 a:host.example a:host.example a:host.example a:host.example redirect=x.example",
            &six,
            C::SpfTooManyLookups,
        ),
    ] {
        assert_eq!(spf_codes(&[("rp.example", by), ("x.example", inner)], &[]).await, [want], "{by}");
    }
    // A record that includes itself is too many, and the walk ends.
    let own = [("rp.example", "v=spf1 include:rp.example -all")];
    assert_eq!(spf_codes(&own, &[]).await, [C::SpfTooManyLookups]);
    // `redirect` beside `all` is never followed.
    assert_eq!(spf_codes(&[("rp.example", "v=spf1 -all redirect=gone.example")], &[]).await, []);
}

#[tokio::test]
async fn spf_faults_are_told_apart() {
    use FindingCode as C;
    for (text, want) in [
        ("v=spf1 -all", &[][..]),
        ("v=spf1 +all", &[C::SpfPlusAll]),
        ("v=spf1 all", &[C::SpfPlusAll]),
        ("v=spf1 ?all", &[C::SpfOpenEnd]),
        ("v=spf1 a:host.example", &[C::SpfOpenEnd]),
        ("v=spf1 a:x1.example a:x2.example -all", &[]),
        ("v=spf1 a:x1.example a:x2.example mx:x3.example -all", &[C::SpfVoidLookups]),
        ("v=spf1 include:gone.example -all", &[C::SpfBrokenInclude]),
        ("v=spf1 inclde:gone.example -all", &[C::SpfSyntax]),
        ("v=spf1 include:mute.example -all", &[C::DnsSilent]),
        ("v=spf1 include:%{d}.example -all", &[]),
    ] {
        assert_eq!(spf_codes(&[("rp.example", text)], &[]).await, want, "{text}");
    }
    assert_eq!(spf_codes(&[("rp.example", "unrelated")], &[]).await, [C::SpfMissing]);
    assert_eq!(spf_codes(&[("rp.example", "v=spf1 -all"), ("rp.example", "v=spf1 ~all")], &[]).await, [C::SpfTwice]);
}

#[tokio::test]
async fn our_address_is_looked_for_in_all_terms() {
    let ours = [IpAddr::from([192, 0, 2, 7])];
    for (text, names_us) in [
        ("v=spf1 a:host.example -all", true),
        ("v=spf1 mx:host.example -all", true),
        ("v=spf1 ip4:192.0.2.0/29 -all", true),
        ("v=spf1 ip4:192.0.2.8/29 -all", false),
        ("v=spf1 -ip4:192.0.2.7 -all", false),
        ("v=spf1 include:x.example -all", true),
        ("v=spf1 ?include:x.example -all", false),
        ("v=spf1 redirect=x.example", true),
        ("v=spf1 ip6:2001:db8::/32 -all", false),
        ("v=spf1 exists:%{i}.example -all", true), // not known is no fault
    ] {
        let records = [("rp.example", text), ("x.example", "v=spf1 ip4:192.0.2.7 -all")];
        let codes = spf_codes(&records, &ours).await;
        assert_eq!(!codes.contains(&FindingCode::SpfOmitsUs), names_us, "{text}: {codes:?}");
    }
}

async fn dmarc_codes(records: &[(&str, &str)], from: &str, path: &str) -> Vec<FindingCode> {
    let lab = Lab::with(records);
    let (from, path) = (DomainName::parse(from).unwrap(), DomainName::parse(path).unwrap());
    policy::check(&Look::new(&lab), &from, &path).await.iter().map(|finding| finding.code).collect()
}

#[tokio::test]
async fn dmarc_is_found_by_walking_up_the_tree() {
    use FindingCode as C;
    let good = "v=DMARC1; p=none; rua=mailto:d@example.org";
    let at = |name| [(name, good)];
    assert_eq!(dmarc_codes(&at("_dmarc.shop.example"), "shop.example", "b.shop.example").await, []);
    assert_eq!(dmarc_codes(&at("_dmarc.shop.example"), "news.shop.example", "b.shop.example").await, []);
    assert_eq!(dmarc_codes(&[], "shop.example", "b.shop.example").await, [C::DmarcMissing]);
    assert_eq!(
        dmarc_codes(&at("_dmarc.shop.example"), "shop.example", "b.other.example").await,
        [C::ReturnPathUnaligned]
    );
    // A public suffix with a policy is no organisation, and `psd=n` ends the walk.
    let suffix =
        [("_dmarc.co.example", "v=DMARC1; p=none; psd=y; rua=mailto:d@x.example"), ("_dmarc.a.co.example", good)];
    assert_eq!(dmarc_codes(&suffix, "a.co.example", "b.a.co.example").await, []);
    assert_eq!(dmarc_codes(&suffix, "a.co.example", "c.co.example").await, [C::ReturnPathUnaligned]);
    let own =
        [("_dmarc.d.shop.example", "v=DMARC1; p=none; psd=n; rua=mailto:d@x.example"), ("_dmarc.shop.example", good)];
    assert_eq!(dmarc_codes(&own, "d.shop.example", "b.d.shop.example").await, []);
    assert_eq!(dmarc_codes(&own, "d.shop.example", "b.shop.example").await, [C::ReturnPathUnaligned]);
}

#[tokio::test]
async fn dmarc_faults_are_told_apart() {
    use FindingCode as C;
    for (text, want) in [
        ("v=DMARC1; p=reject; rua=mailto:d@x.example", &[][..]),
        ("v=DMARC1; p=reject; rua=mailto:d@x.example; aspf=s", &[C::ReturnPathUnaligned]),
        ("v=DMARC1; p=none", &[C::DmarcNoReports]),
        ("v=DMARC1; rua=mailto:d@x.example", &[C::DmarcNoPolicy]),
        ("v=DMARC1; p=none; pct=10; rua=mailto:d@x.example", &[C::DmarcRemovedTags]),
        ("v=DMARC1; p=rejct; rua=mailto:d@x.example", &[C::DmarcSyntax]),
        ("something else", &[C::DmarcMissing]),
    ] {
        let found = dmarc_codes(&[("_dmarc.shop.example", text)], "shop.example", "b.shop.example").await;
        assert_eq!(found, want, "{text}");
    }
    let two = [("_dmarc.shop.example", "v=DMARC1; p=none"), ("_dmarc.shop.example", "v=DMARC1; p=reject")];
    assert_eq!(dmarc_codes(&two, "shop.example", "b.shop.example").await, [C::DmarcTwice]);
}
