//! One delivery after the other: what the other side does, and what the report says.

use postrider_domain::campaign::CampaignState;
use postrider_domain::gate::Withheld;
use postrider_domain::outcome::ReportStatus;
use postrider_store::page::PageRequest;
use postrider_store::suppression::SuppressionFilter;

use crate::on_both;
use crate::rig::{Rig, rehearsal};

on_both!(cases_six_to_nine, every_byte_of_a_retry_is_the_same, missing_domains_are_believed_at_the_second_look);

/// Seeds, section 8: never answers, deferred twice, no such mailbox; and blocks that say nothing about a recipient.
async fn cases_six_to_nine(rig: Rig) {
    rig.people(&[
        "ok@mail1.test",
        "twice@defer2.test",
        "silent@never.test",
        "gone@unknown.test",
        "a@block-connect.test",
        "b@block-mail.test",
        "c@block-data.test",
        "d@nullmx.test",
        "e@full.test",
        "f@multi.test",
        "g@private.test",
    ])
    .await;
    let stranger = rig.stranger("nobody@mail1.test").await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_done_winding(campaign, 400).await;
    let report = rig.report(campaign).await;
    let row = |mailbox: &str| report.get(mailbox).unwrap_or_else(|| panic!("{mailbox} in {report:#?}"));
    let short = |mailbox: &str| (row(mailbox).0, row(mailbox).1, row(mailbox).2);
    assert_eq!(short("ok@mail1.test"), (ReportStatus::Sent, 1, 3));
    assert_eq!(short("twice@defer2.test"), (ReportStatus::Sent, 3, 3));
    assert_eq!(short("silent@never.test"), (ReportStatus::Timeout, 3, 3));
    assert!(
        row("silent@never.test").3.starts_with("unable to reach remote mail server"),
        "{:?}",
        row("silent@never.test")
    );
    assert_eq!(short("gone@unknown.test"), (ReportStatus::Bounced, 1, 3));
    for (mailbox, reason) in
        [("a@block-connect.test", "5.7.1"), ("b@block-mail.test", "5.7.1"), ("c@block-data.test", "5.7.1")]
    {
        assert_eq!(row(mailbox).0, ReportStatus::Bounced, "{:?}", row(mailbox));
        assert!(row(mailbox).3.contains(reason), "{:?}", row(mailbox));
    }
    assert_eq!(short("d@nullmx.test"), (ReportStatus::Bounced, 1, 3));
    assert_eq!(short("e@full.test"), (ReportStatus::Bounced, 1, 3));
    assert_eq!(short("f@multi.test"), (ReportStatus::Sent, 1, 3), "the second MX host takes it in the same attempt");
    assert_eq!(row("g@private.test").0, ReportStatus::Bounced);
    assert!(row("g@private.test").3.contains("allow_private_mx"), "{:?}", row("g@private.test"));
    assert!(!report.contains_key("nobody@mail1.test"), "no consent, no delivery");
    let exclusions = rig.store.exclusions(rig.workspace, campaign, &PageRequest::first(10)).await.unwrap().items;
    assert_eq!(exclusions.iter().map(|e| (e.contact, e.reason)).collect::<Vec<_>>(), [(stranger, Withheld::NoConsent)]);
    assert!(rig.world.seen("nobody@mail1.test").is_empty(), "nothing on the wire");

    let suppressions = rig
        .store
        .suppressions(rig.workspace, &SuppressionFilter::default(), &PageRequest::first(50))
        .await
        .unwrap()
        .items;
    let suppressed: Vec<_> = suppressions.iter().filter_map(|s| s.mailbox.as_deref()).collect();
    assert_eq!(suppressed, ["gone@unknown.test"], "only proof at RCPT suppresses");
    let ledger = rig.ledger(campaign).await;
    assert_eq!((ledger.frozen, ledger.queued), (11, 0));

    // The next campaign leaves the dead mailbox out from the start.
    let next = rig.campaign(rehearsal()).await;
    rig.until_done_winding(next, 400).await;
    let exclusions = rig.store.exclusions(rig.workspace, next, &PageRequest::first(10)).await.unwrap().items;
    assert!(exclusions.iter().any(|e| e.reason == Withheld::Suppressed), "{exclusions:?}");
    assert_eq!(rig.world.seen("gone@unknown.test").len(), 1, "named once, in the first campaign");
    let report = engine.shutdown(std::time::Duration::from_secs(10)).await;
    assert_eq!((report.left, report.trouble), (0, None));
}

/// The reply to the dot is lost twice: three copies with the same bytes, on one row.
async fn every_byte_of_a_retry_is_the_same(rig: Rig) {
    rig.people(&["x@keep-dot2.test"]).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_done_winding(campaign, 700).await;
    let report = rig.report(campaign).await;
    let row = &report["x@keep-dot2.test"];
    assert_eq!((row.0, row.1), (ReportStatus::Sent, 3), "{row:?}");
    let duplicates = rig.world.record().duplicates(10);
    assert_eq!(duplicates.len(), 1);
    assert_eq!((duplicates[0].count, duplicates[0].identical), (3, true));
    let kept = rig.world.kept();
    let text = String::from_utf8_lossy(&kept[0].bytes).into_owned();
    for header in [
        "DKIM-Signature:",
        "List-Unsubscribe:",
        "List-Unsubscribe-Post:",
        "List-Id:",
        "Feedback-ID:",
        "Message-ID:",
        "Date:",
    ] {
        assert_eq!(
            text.matches(&format!("\r\n{header}")).count() + usize::from(text.starts_with(header)),
            1,
            "{header} in {text}"
        );
    }
    assert!(kept[0].reverse_path.starts_with("b-") && kept[0].reverse_path.ends_with("@bounce.news.example.org"));
    assert_eq!(rig.ledger(campaign).await.accepted, 1);
    engine.shutdown(std::time::Duration::from_secs(10)).await;
}

/// RF-7: a missing domain gets a second look an hour later, and only then is refused.
async fn missing_domains_are_believed_at_the_second_look(rig: Rig) {
    rig.people(&["a@nxdomain.test", "b@servfail.test", "c@mail2.test"]).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("the first attempts", || async {
        rig.rows(campaign).await.iter().filter(|r| r.attempt >= 1).count() == 3
    })
    .await;
    let row = rig.rows(campaign).await.into_iter().find(|r| r.mailbox == "a@nxdomain.test").unwrap();
    assert_eq!((row.status, row.attempt), (ReportStatus::Queued, 1), "{row:?}");
    assert_eq!(row.next_at, Some(rig.store.now() + 3_600_000));
    rig.until_done_winding(campaign, 60_000).await;
    let report = rig.report(campaign).await;
    assert_eq!((report["a@nxdomain.test"].0, report["a@nxdomain.test"].1), (ReportStatus::Bounced, 2));
    assert_eq!(
        (report["b@servfail.test"].0, report["b@servfail.test"].1),
        (ReportStatus::Expired, 3),
        "never permanent"
    );
    assert_eq!(report["c@mail2.test"].0, ReportStatus::Sent);
    assert_eq!(rig.store.campaign(rig.workspace, campaign).await.unwrap().state, CampaignState::Done);
    engine.shutdown(std::time::Duration::from_secs(10)).await;
}
