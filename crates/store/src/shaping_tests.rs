//! Limits of workspaces, stops, and what holds a delivery back, on both databases.

use postrider_domain::campaign::CampaignState;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::shaping::{FlowView, Hold, HoldReason, SiteSettings, SiteView};
use postrider_domain::stream::Stream;

use crate::actor::Actor;
use crate::error::StoreError;
use crate::page::PageRequest;
use crate::queue_rig::{Rig, SITE};
use crate::settle::Next;
use crate::shaping::SiteStop;
use crate::testing::{open_both, write_book};

const BY: Actor = Actor::Console;

fn policy() -> RetryPolicy {
    RetryPolicy::preset("rehearsal").unwrap()
}

#[tokio::test]
async fn limits_are_set_replaced_forgotten_and_audited() {
    for store in open_both("site_limits").await {
        let (mine, other) = {
            let a = write_book(&store, 1, &policy()).await.unwrap().workspace;
            let b = write_book(&store, 1, &policy()).await.unwrap().workspace;
            (a, b)
        };
        let three = SiteSettings { connections: Some(3), ..SiteSettings::default() };
        store.put_site_settings(mine, &BY, "google", &three).await.unwrap();
        let evenly = SiteSettings { per_hour: Some(500), ..SiteSettings::default() };
        store.put_site_settings(mine, &BY, "google", &evenly).await.unwrap();
        let set = store.site_settings(mine).await.unwrap();
        assert_eq!(set.iter().map(|s| (s.site.as_str(), &s.settings)).collect::<Vec<_>>(), [("google", &evenly)]);
        assert_eq!(store.site_settings(other).await.unwrap(), []);
        assert_eq!(store.all_site_settings().await.unwrap()[&(mine, "google".to_owned())], evenly);
        let nothing = store.put_site_settings(mine, &BY, "google", &SiteSettings::default()).await;
        assert!(matches!(nothing, Err(StoreError::Refused { .. })), "{nothing:?}");
        let foreign = store.delete_site_settings(other, &BY, "google").await;
        assert!(matches!(foreign, Err(StoreError::NotFound { .. })), "{foreign:?}");
        store.delete_site_settings(mine, &BY, "google").await.unwrap();
        assert_eq!(store.all_site_settings().await.unwrap().len(), 0);
        let audit = store.audit(mine, &PageRequest::first(10)).await.unwrap().items;
        let acts: Vec<&str> =
            audit.iter().map(|l| l.action.as_str()).filter(|a| a.starts_with("site_limits")).collect();
        assert_eq!(acts, ["site_limits.delete", "site_limits.set", "site_limits.set"]);
    }
}

#[tokio::test]
async fn stops_are_kept_until_they_end() {
    for store in open_both("site_stops").await {
        let stop = SiteStop {
            source: "direct".into(),
            site: "google".into(),
            since: store.now(),
            until: store.now() + 600_000,
            rule: "unusual-rate".into(),
            reply: "421 4.7.28".into(),
            recovers: true,
        };
        store.keep_site_stop(&stop).await.unwrap();
        let longer = SiteStop { until: stop.until + 1, ..stop };
        store.keep_site_stop(&longer).await.unwrap();
        assert_eq!(store.site_stops().await.unwrap(), [longer]);
        store.clock.advance(600_001);
        assert_eq!(store.site_stops().await.unwrap(), []);
    }
}

#[tokio::test]
async fn each_delivery_says_what_holds_it_back() {
    for store in open_both("holds").await {
        let rig = Rig::start(&store, 4, &policy()).await;
        let (workspace, campaign) = (rig.book.workspace, rig.book.campaign);
        let deliveries = rig.deliveries().await;
        let holds = async || store.holds(workspace, &deliveries).await.unwrap();
        let one = deliveries[0];
        assert_eq!(holds().await.len(), 4);
        assert_eq!(holds().await[&one].reason, HoldReason::Connection);

        // What a node told of the site counts for its messages, until it is old.
        let until = store.now() + 1_000;
        let hold = Hold { since: Some(1), until: Some(until), detail: "x".into(), ..Hold::of(HoldReason::Stop) };
        let site = SITE.to_owned();
        let view = SiteView {
            source: "direct".into(),
            site: site.clone(),
            own: None,
            connections: 1,
            connections_allowed: Some(0),
            rate: 0.0,
            rate_allowed: None,
            per_connection: None,
            replies: vec![],
            hold: Some(hold.clone()),
            flows: vec![FlowView {
                workspace,
                campaign: Some(campaign),
                stream: Stream::Marketing,
                lane_site: site,
                ready: 4,
                more: false,
                claimed: 0,
                hold: Some(hold),
            }],
        };
        store.tell_sites(rig.node, &[view]).await.unwrap();
        let told = holds().await[&one].clone();
        assert_eq!((told.reason, told.until, told.detail.as_str()), (HoldReason::Stop, Some(until), "x"));
        assert!(told.since.unwrap() > 1, "not before it was ready");
        store.clock.advance(20_000);
        assert_eq!(holds().await[&one].reason, HoldReason::Connection);

        // A later try, a settled one, a lost reply, and a pause over all.
        rig.mark(one).await;
        let again = store.now() + 300_000;
        rig.settle(one, Next::Later { ready_at: again }).await;
        assert_eq!((holds().await[&one].reason, holds().await[&one].until), (HoldReason::Retry, Some(again)));
        rig.mark(deliveries[1]).await;
        assert_eq!(holds().await[&deliveries[1]].reason, HoldReason::InDoubt);
        store.pause_campaign(workspace, campaign).await.unwrap();
        assert_eq!(holds().await[&deliveries[2]].reason, HoldReason::Paused);
        assert_eq!(store.campaign(workspace, campaign).await.unwrap().state, CampaignState::Paused);
        let theirs = write_book(&store, 1, &policy()).await.unwrap().workspace;
        assert!(store.holds(theirs, &deliveries).await.unwrap().is_empty());
    }
}
