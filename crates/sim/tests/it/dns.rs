//! Every kind of DNS answer, through the real resolver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postrider_sim::{OtherDomains, WorldConfig};
use postrider_smtp::{
    AddressFamily, AddressPolicy, DnsConfig, DnsResolver, MxAnswer, NameServer, ResolveError, Resolver,
};

use crate::rig::{Rig, domain};

async fn hosts(rig: &Rig, name: &str) -> Vec<(u16, String)> {
    match rig.resolver.mx(&domain(name)).await {
        Ok(MxAnswer::Hosts(hosts)) => hosts.into_iter().map(|host| (host.preference, host.name)).collect(),
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn mx_answers_of_every_kind() {
    let rig = Rig::new().await;
    assert_eq!(hosts(&rig, "mail3.test").await, [(10, "mx1.mail3.test".to_owned())]);
    assert_eq!(hosts(&rig, "tenant1.shared.test").await, [(10, "mx1.shared.test".to_owned())]);
    assert_eq!(hosts(&rig, "multi.test").await, [(10, "mx1.multi.test".to_owned()), (20, "mx2.multi.test".to_owned())]);
    assert_eq!(hosts(&rig, "implicit.test").await, [(0, "implicit.test".to_owned())], "RFC 5321 5.1");
    assert_eq!(hosts(&rig, "cname.test").await, [(10, "mx1.mail1.test".to_owned())]);
    assert_eq!(hosts(&rig, "large.test").await.len(), 32, "over TCP, and capped");
    assert_eq!(rig.resolver.mx(&domain("nullmx.test")).await, Ok(MxAnswer::NullMx));
    for absent in ["nxdomain.test", "nodata.test", "no-such-rule.test", "gmail.com", "loop.test"] {
        assert_eq!(rig.resolver.mx(&domain(absent)).await, Err(ResolveError::NotFound), "{absent}");
    }
    for silent in ["servfail.test", "dns-never.test", "dns-refused.test"] {
        let answer = rig.resolver.mx(&domain(silent)).await;
        assert!(matches!(answer, Err(ResolveError::Temporary(_))), "{silent}: {answer:?}");
    }
}

#[tokio::test]
async fn addresses_of_every_kind() {
    let rig = Rig::new().await;
    let ask = |host: &'static str| rig.resolver.addresses(host);
    assert_eq!(ask("mx1.mail3.test").await, Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]));
    assert_eq!(ask("MX1.Mail3.Test.").await, Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]));
    assert_eq!(ask("mx1.v6.test").await, Ok(vec![IpAddr::V6(Ipv6Addr::LOCALHOST)]));
    assert_eq!(ask("mx1.mxcname.test").await, Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]));
    assert_eq!(ask("mx1.block-connect.test").await, Ok(vec!["127.0.0.2".parse().expect("literal")]));
    assert_eq!(ask("mx1.noaddress.test").await, Err(ResolveError::NotFound));
    assert!(matches!(ask("mx1.servfail.test").await, Err(ResolveError::Temporary(_))));
    let private = ask("mx1.private.test").await.expect("an address");
    assert!(AddressPolicy::default().check(private[0]).is_err());
}

#[tokio::test]
async fn one_family_only() {
    let rig = Rig::new().await;
    let only = |family| {
        let name_server = NameServer::At(rig.world.dns_addr());
        DnsResolver::new(&DnsConfig { name_server, family, ..DnsConfig::default() }).expect("a resolver")
    };
    assert_eq!(only(AddressFamily::V4Only).addresses("mx1.v6.test").await, Err(ResolveError::NotFound));
    assert!(only(AddressFamily::V6Only).addresses("mx1.v6.test").await.is_ok());
}

#[tokio::test]
async fn txt_is_what_was_published() {
    let rig = Rig::new().await;
    let long = "k".repeat(700); // more than one string of 255 bytes
    rig.world.publish_txt("sel._domainkey.sender.test", &long);
    assert_eq!(rig.resolver.txt("sel._domainkey.sender.test").await, Ok(vec![long]));
    assert_eq!(rig.resolver.txt("mail1.test").await, Err(ResolveError::NotFound));
}

#[tokio::test]
async fn answers_are_remembered_and_temporary_failures_are_not() {
    let rig = Rig::new().await;
    let questions = || rig.world.stats().dns_questions;
    for _ in 0..5 {
        let _ = rig.resolver.mx(&domain("mail1.test")).await;
        let _ = rig.resolver.mx(&domain("nxdomain.test")).await;
    }
    assert_eq!(questions(), 2);
    for _ in 0..3 {
        let _ = rig.resolver.mx(&domain("servfail.test")).await;
    }
    assert!(questions() >= 5);
    // The name comes up again: the next question hears of it.
    rig.world.behave("servfail.test", "accept");
    assert!(rig.resolver.mx(&domain("servfail.test")).await.is_ok());
}

#[tokio::test]
async fn a_campaign_asks_for_many_domains_at_once() {
    let rig = Rig::new().await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..600 {
        let resolver = rig.resolver.clone();
        // Each name twice: the second asker shares the first one's question or its answer.
        asking.spawn(async move { resolver.mx(&domain(&format!("mail{}.test", n / 2))).await });
    }
    let mut found = 0;
    while let Some(answer) = asking.join_next().await {
        found += usize::from(matches!(answer.expect("no panic"), Ok(MxAnswer::Hosts(_))));
    }
    assert_eq!(found, 600);
    assert_eq!(rig.world.stats().dns_questions, 300);
}

#[tokio::test]
async fn a_rehearsal_with_real_domains() {
    let rig = Rig::with(WorldConfig { other_domains: OtherDomains::Accept, ..WorldConfig::default() }).await;
    assert_eq!(hosts(&rig, "gmail.com").await, [(10, "mx1.gmail.com".to_owned())]);
    assert!(rig.deliver("someone@gmail.com", "a@x").await.is_ok());
    assert_eq!(rig.world.record().by_message_id("<a@x>").len(), 1);
}
