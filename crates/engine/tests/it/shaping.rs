//! Limits of sites from end to end: what a workspace sets, and domains that move to another site.

use std::time::Duration;

use postrider_domain::outcome::ReportStatus;
use postrider_domain::shaping::{HoldReason, SiteSettings};
use postrider_store::site::{DomainState, MailDomain};

use crate::on_both;
use crate::rig::{CONSOLE, Rig, rehearsal};

on_both!(limits_of_a_workspace_count_at_once, a_domain_moves_to_its_new_site);

/// One an hour, and then without limit; the first is seen by people, with its reason.
async fn limits_of_a_workspace_count_at_once(rig: Rig) {
    let people: Vec<String> = (0..20).map(|n| format!("p{n}@mail1.test")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let slowly = SiteSettings { per_hour: Some(1), ..SiteSettings::default() };
    rig.store.put_site_settings(rig.workspace, &CONSOLE, "mail1.test", &slowly).await.unwrap();
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("somebody waits and says why", || async {
        let told = rig.store.told_sites().await.unwrap();
        let site = told.iter().flat_map(|n| &n.sites).find(|s| s.site == "mail1.test");
        site.is_some_and(|s| {
            let flow = s.flows.first();
            s.own == Some(rig.workspace)
                && flow.is_some_and(|f| f.ready > 0 && f.hold.as_ref().is_some_and(|h| h.reason == HoldReason::Hour))
        })
    })
    .await;
    let waiting = rig.rows(campaign).await.into_iter().find(|r| r.status == ReportStatus::Queued).unwrap();
    let hold = rig.store.holds(rig.workspace, &[waiting.id]).await.unwrap().remove(&waiting.id).unwrap();
    assert!(hold.sentence().contains("(1 an hour, evenly spread), since "), "{}", hold.sentence());
    assert_eq!(rig.world.record().copies(), 1);
    rig.store.delete_site_settings(rig.workspace, &CONSOLE, "mail1.test").await.unwrap();
    // Some seconds of the clock, where one an hour was allowed: only the bell can have told it.
    rig.until_done_winding(campaign, 50).await;
    assert!(rig.rows(campaign).await.iter().all(|r| (r.status, r.attempt) == (ReportStatus::Sent, 1)));
    assert_eq!(rig.ledger(campaign).await.accepted, 20);
    engine.shutdown(Duration::from_secs(10)).await;
}

/// The store believes an old answer; the first connection sees another one, and the rows that wait move.
async fn a_domain_moves_to_its_new_site(rig: Rig) {
    let people: Vec<String> = (0..60).map(|n| format!("p{n}@mail1.test")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let now = rig.store.now();
    let old = MailDomain {
        name: "mail1.test".into(),
        site: Some("elsewhere.test".into()),
        state: DomainState::Found,
        resolved_at: now - 3_600_000,
        look_again_at: now + 3_600_000,
        nxdomain_since: None,
    };
    rig.store.remember_domains(&[old]).await.unwrap();
    // Slow enough that rows are left when the answer is known.
    let slowly = SiteSettings { per_second: Some(10.0), ..SiteSettings::default() };
    rig.store.put_site_settings(rig.workspace, &CONSOLE, "elsewhere.test", &slowly).await.unwrap();
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_done_winding(campaign, 50).await;
    let names = ["mail1.test".to_owned()];
    let known = rig.store.mail_domains(&names).await.unwrap().remove("mail1.test").unwrap();
    assert_eq!(known.site.as_deref(), Some("mail1.test"));
    assert!(rig.rows(campaign).await.iter().all(|r| (r.status, r.attempt) == (ReportStatus::Sent, 1)));
    assert_eq!((rig.ledger(campaign).await.accepted, rig.world.record().copies()), (60, 60));
    engine.shutdown(Duration::from_secs(10)).await;
}
