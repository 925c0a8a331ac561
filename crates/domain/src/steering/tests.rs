//! The table of what concerns what, and the order of verdicts.

use super::*;

const W: WorkspaceId = WorkspaceId(1);
const C: CampaignId = CampaignId(7);

fn rule(action: SteerAction, scope: SteerScope) -> SteerRule {
    SteerRule {
        id: QueueRuleId(1),
        workspace: Some(W),
        action,
        scope,
        pace: None,
        connections: None,
        route: None,
        text: String::new(),
        reason: "why".into(),
        by: "Ann".into(),
        since: 0,
        until: None,
        last: None,
        swept: false,
    }
}

fn facts<'a>() -> SteerFacts<'a> {
    SteerFacts {
        workspace: W,
        campaign: Some(C),
        stream: Stream::Marketing,
        sites: ["google", "google"],
        source: Some("direct"),
        one: Some(OneFacts {
            delivery: DeliveryId(50),
            message: None,
            domain: "gmail.com",
            sending_domain: Some("news.example.org"),
        }),
    }
}

#[test]
fn each_scope_concerns_what_it_names_and_nothing_else() {
    let text = |t: &str| Some(t.to_owned());
    let all = SteerScope::default;
    let table = [
        (all(), Concern::Yes),
        (SteerScope { campaign: Some(C), ..all() }, Concern::Yes),
        (SteerScope { campaign: Some(CampaignId(8)), ..all() }, Concern::No),
        (SteerScope { stream: Some(Stream::Marketing), ..all() }, Concern::Yes),
        (SteerScope { stream: Some(Stream::Transactional), ..all() }, Concern::No),
        (SteerScope { sending_domain: text("news.example.org"), ..all() }, Concern::Yes),
        (SteerScope { sending_domain: text("example.org"), ..all() }, Concern::No),
        (SteerScope { site: text("google"), ..all() }, Concern::Yes),
        (SteerScope { site: text("gmail.com"), ..all() }, Concern::No),
        (SteerScope { domain: text("gmail.com"), ..all() }, Concern::Yes),
        (SteerScope { domain: text("google"), ..all() }, Concern::No),
        (SteerScope { source: text("direct"), ..all() }, Concern::Yes),
        (SteerScope { source: text("rte_1"), ..all() }, Concern::No),
        (SteerScope { delivery: Some(DeliveryId(50)), ..all() }, Concern::Yes),
        (SteerScope { delivery: Some(DeliveryId(51)), ..all() }, Concern::No),
        (SteerScope { message: Some(MessageId(1)), ..all() }, Concern::No),
        // All that is named must be so.
        (SteerScope { site: text("google"), campaign: Some(C), ..all() }, Concern::Yes),
        (SteerScope { site: text("yahoo"), campaign: Some(C), ..all() }, Concern::No),
        (SteerScope { site: text("google"), domain: text("other.test"), ..all() }, Concern::No),
    ];
    for (scope, want) in table {
        assert_eq!(rule(SteerAction::Suspend, scope.clone()).concerns(&facts()), want, "{}", scope.words());
    }
    let foreign = SteerRule { workspace: Some(WorkspaceId(2)), ..rule(SteerAction::Suspend, all()) };
    assert_eq!(foreign.concerns(&facts()), Concern::No);
    let installation = SteerRule { workspace: None, ..foreign };
    assert_eq!(installation.concerns(&facts()), Concern::Yes);
}

#[test]
fn what_is_not_known_stops_and_what_rules_it_out_does_not() {
    let scope = SteerScope { sending_domain: Some("news.example.org".into()), ..SteerScope::default() };
    let mut unknown = facts();
    unknown.one = unknown.one.map(|one| OneFacts { sending_domain: None, ..one });
    assert_eq!(rule(SteerAction::Suspend, scope.clone()).concerns(&unknown), Concern::Unknown);
    for action in [SteerAction::Suspend, SteerAction::Hold, SteerAction::Reroute, SteerAction::Cancel] {
        let rules = [rule(action, scope.clone())];
        assert!(matches!(verdict(&rules, &unknown, None, 0), Verdict::Stop(_)), "{action}");
    }
    let both = SteerScope { site: Some("yahoo".into()), ..scope };
    assert_eq!(rule(SteerAction::Suspend, both).concerns(&unknown), Concern::No);
    // A whole lane: only what holds for each of its deliveries is sure.
    let lane = SteerFacts { one: None, source: None, ..facts() };
    let of = |scope| rule(SteerAction::Suspend, scope).concerns(&lane);
    assert_eq!(of(SteerScope { site: Some("google".into()), ..SteerScope::default() }), Concern::Yes);
    assert_eq!(of(SteerScope { domain: Some("gmail.com".into()), ..SteerScope::default() }), Concern::Unknown);
    assert_eq!(of(SteerScope { source: Some("direct".into()), ..SteerScope::default() }), Concern::Unknown);
    assert_eq!(of(SteerScope { campaign: Some(CampaignId(8)), ..SteerScope::default() }), Concern::No);
}

#[test]
fn rules_count_until_their_time_and_for_what_was_there() {
    let limited = SteerRule { until: Some(100), ..rule(SteerAction::Suspend, SteerScope::default()) };
    assert!(matches!(verdict([&limited], &facts(), None, 99), Verdict::Stop(_)));
    assert_eq!(verdict([&limited], &facts(), None, 100), Verdict::Go);
    let once = |last| SteerRule { last: Some(DeliveryId(last)), ..rule(SteerAction::Cancel, SteerScope::default()) };
    assert!(matches!(verdict([&once(50)], &facts(), None, 0), Verdict::Stop(_)));
    assert_eq!(verdict([&once(49)], &facts(), None, 0), Verdict::Go, "it came later");
}

#[test]
fn the_strictest_rule_counts_in_whatever_order_they_were_made() {
    let everything = SteerScope::default;
    let of = |action| rule(action, everything());
    let reroute = SteerRule { route: Some(RouteId(9)), ..of(SteerAction::Reroute) };
    let rules = [
        of(SteerAction::Speed),
        of(SteerAction::Release),
        reroute.clone(),
        of(SteerAction::Suspend),
        of(SteerAction::Hold),
    ];
    for turn in 0..rules.len() {
        let mut order: Vec<&SteerRule> = rules.iter().collect();
        order.rotate_left(turn);
        assert!(matches!(verdict(order, &facts(), None, 0), Verdict::Hold(_)), "{turn}");
    }
    let cancel = SteerRule { last: Some(DeliveryId(99)), ..of(SteerAction::Cancel) };
    assert!(
        matches!(verdict([&rules[4], &cancel], &facts(), None, 0), Verdict::Stop(r) if r.action == SteerAction::Cancel)
    );
    assert!(matches!(verdict(&rules[2..4], &facts(), None, 0), Verdict::Stop(r) if r.action == SteerAction::Suspend));
    assert!(matches!(verdict([&reroute], &facts(), None, 0), Verdict::Reroute(_)));
    assert_eq!(verdict([&reroute], &facts(), Some(RouteId(9)), 0), Verdict::Go, "it is there already");
    assert_eq!(verdict(&rules[..2], &facts(), None, 0), Verdict::Go);
}

#[test]
fn what_people_write_is_checked() {
    let new = |action| NewSteerRule::of(action, SteerScope::default(), "why");
    assert_eq!(new(SteerAction::Suspend).check(0), Ok(()));
    let cases = [
        (NewSteerRule { reason: " ".into(), ..new(SteerAction::Suspend) }, SteerError::Reason),
        (NewSteerRule { reason: "a\nb".into(), ..new(SteerAction::Suspend) }, SteerError::Reason),
        (new(SteerAction::Speed), SteerError::Missing("per_second", SteerAction::Speed)),
        (new(SteerAction::Reroute), SteerError::Missing("route", SteerAction::Reroute)),
        (new(SteerAction::Bounce), SteerError::Text),
        (
            NewSteerRule { text: "x".into(), ..new(SteerAction::Cancel) },
            SteerError::Foreign("text", SteerAction::Bounce),
        ),
        (
            NewSteerRule { pace: Some(SteerPace(1)), ..new(SteerAction::Hold) },
            SteerError::Foreign("per_second", SteerAction::Speed),
        ),
        (NewSteerRule { connections: Some(0), ..new(SteerAction::Speed) }, SteerError::Connections),
        (NewSteerRule { connections: Some(2), ..new(SteerAction::Speed) }, SteerError::ConnectionsOfSite),
        (NewSteerRule { until: Some(5), ..new(SteerAction::Cancel) }, SteerError::Endless(SteerAction::Cancel)),
        (NewSteerRule { until: Some(0), ..new(SteerAction::Hold) }, SteerError::End),
        (NewSteerRule { until: Some(i64::MAX), ..new(SteerAction::Hold) }, SteerError::End),
    ];
    for (new, want) in cases {
        assert_eq!(new.check(0), Err(want), "{new:?}");
    }
    for bad in ["", "Google", "a b", "a'b", "é", "a\0b"] {
        let scope = SteerScope { site: Some(bad.into()), ..SteerScope::default() };
        let checked = NewSteerRule::of(SteerAction::Suspend, scope, "why").check(0);
        assert!(matches!(checked, Err(SteerError::Name(_, "site"))), "{bad:?}");
    }
    assert_eq!(SteerPace::of(0.0), Err(SteerError::Speed));
    assert_eq!(SteerPace::of(f64::NAN), Err(SteerError::Speed));
    assert_eq!(SteerPace::of(2.5).map(SteerPace::per_second), Ok(2.5));
}

#[test]
fn a_rule_says_who_why_since_and_until() {
    let rule = SteerRule { since: 0, until: Some(7_200_000), ..rule(SteerAction::Suspend, SteerScope::default()) };
    assert_eq!(
        rule.hold().sentence(),
        "A rule of the queue keeps it back (suspended by Ann: why), since 1970-01-01T00:00:00.000Z, until 1970-01-01T02:00:00.000Z."
    );
}

#[test]
fn only_what_is_asked_at_the_hand_out_can_name_an_egress_source() {
    let naming = |source: &str| SteerScope { source: Some(source.into()), ..SteerScope::default() };
    for action in SteerAction::ALL {
        for known_before in ["direct", "rte_0000000000001"] {
            assert_eq!(naming(known_before).check_source(*action), Ok(()), "{action} of {known_before}");
        }
        let source = naming("src_0000000000001").check_source(*action);
        let pool = naming("pol_0000000000001").check_source(*action);
        assert!(matches!(pool, Err(SteerError::Pool(_))), "{action} of a pool");
        match action {
            SteerAction::Suspend | SteerAction::Speed => assert_eq!(source, Ok(())),
            SteerAction::Hold
            | SteerAction::Reroute
            | SteerAction::Release
            | SteerAction::Cancel
            | SteerAction::Bounce => {
                let words = source.expect_err("refused").to_string();
                assert!(words.contains("only `suspend` and `speed`") && words.contains("site"), "{words}");
            }
        }
        let new = NewSteerRule::of(*action, naming("pol_0000000000001"), "why");
        assert!(matches!(new.check(0), Err(SteerError::Pool(_))), "{action}: asked when it is set");
    }
}
