//! A provider with hidden limits, Google's procedure step by step, Yahoo's silent close; all on a hand-wound clock.

use super::*;
use crate::shaping::{Profiles, Reply};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 3_600_000;
const STEP: i64 = 20;

/// What the provider keeps to itself.
#[derive(Clone, Copy, Default)]
struct Hidden {
    connections: Option<u32>,
    per_second: Option<f64>,
}

/// What happened in some minutes.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    accepted: u32,
    refused: u32,
    /// Sum of the open connections at each step.
    open: u64,
    steps: u64,
}

impl Tally {
    fn refused_share(self) -> f64 {
        f64::from(self.refused) / f64::from(self.accepted + self.refused).max(1.0)
    }
}

/// Sends as fast as the shaper lets us, from `from` to `to`; a tally for each ten minutes.
fn run(shaper: &mut Shaper, from: i64, to: i64, delay: i64, route: u32, hidden: impl Fn(i64) -> Hidden) -> Vec<Tally> {
    let mut tallies: Vec<Tally> = Vec::new();
    // When the message of each connection is over; `None` while it waits.
    let mut busy: Vec<Option<i64>> = Vec::new();
    let (mut tokens, mut blocked_until) = (0.0f64, 0);
    let mut now = from;
    while now < to {
        if (now - from) / (10 * MINUTE) >= tallies.len() as i64 {
            tallies.push(Tally::default());
        }
        let tally = tallies.last_mut().unwrap();
        let limit = hidden(now);
        if let Some(rate) = limit.per_second {
            tokens = (tokens + rate * STEP as f64 / 1e3).min(rate.max(1.0));
        }
        let allowed = shaper.connections(now).min(route) as usize;
        busy.retain({
            let mut kept = 0;
            move |b| {
                kept += 1;
                b.is_some() || kept <= allowed
            }
        });
        while busy.len() < allowed && now >= blocked_until {
            if limit.connections.is_some_and(|most| busy.len() >= most as usize) {
                tally.refused += 1;
                shaper.hear(now, busy.len() as u32 + 1, Heard::TooMany);
                // Who was refused tries again a little later.
                blocked_until = now + 100;
                break;
            }
            busy.push(None);
        }
        let open = busy.len() as u32;
        // Once the pace refuses one it refuses all of this moment.
        let mut refused = false;
        for slot in &mut busy {
            if slot.is_some_and(|end| now >= end) {
                *slot = None;
                let accepted = limit.per_second.is_none() || tokens >= 1.0;
                if accepted {
                    tokens -= 1.0;
                    tally.accepted += 1;
                    shaper.hear(now, open, Heard::Accepted);
                } else {
                    tally.refused += 1;
                    shaper.hear(now, open, Heard::TooFast);
                }
            }
            if slot.is_none() && !refused {
                refused = shaper.take(now, 1).is_err();
                *slot = (!refused).then_some(now + delay);
            }
        }
        tally.open += u64::from(open);
        tally.steps += 1;
        now += STEP;
    }
    tallies
}

/// Each ten minutes accept what the provider allows, within a fifth, and at most one in fifty is refused in all.
fn settled(tallies: &[Tally], per_second: f64, what: &str) {
    for (n, tally) in tallies.iter().enumerate() {
        let share = f64::from(tally.accepted) / (per_second * 600.0);
        assert!((0.8..=1.2).contains(&share), "{what}: {share:.3} of the limit in part {n}: {tally:?}");
    }
    let sum = |f: fn(&Tally) -> u32| tallies.iter().map(f).sum::<u32>();
    let all = Tally { accepted: sum(|t| t.accepted), refused: sum(|t| t.refused), ..Tally::default() };
    assert!(all.refused_share() <= 0.02, "{what}: {:.4} refused", all.refused_share());
}

fn crew(tallies: &[Tally]) -> f64 {
    tallies.iter().map(|t| t.open).sum::<u64>() as f64 / tallies.iter().map(|t| t.steps).sum::<u64>() as f64
}

#[test]
fn a_hidden_rate_is_found() {
    for (rate, delay) in [(5.0, 0), (20.0, 200), (20.0, 2_000), (200.0, 100)] {
        let mut shaper = Shaper::new(Profiles::shipped().limits("nobody.example"));
        let hidden = |_| Hidden { per_second: Some(rate), connections: None };
        let tallies = run(&mut shaper, 0, 80 * MINUTE, delay, 60, hidden);
        settled(&tallies[3..], rate, &format!("{rate}/s with a delay of {delay} ms"));
    }
}

#[test]
fn a_hidden_number_of_connections_is_found() {
    for most in [1, 2, 3, 10, 25] {
        let mut shaper = Shaper::new(Profiles::shipped().limits("nobody.example"));
        let hidden = |_| Hidden { connections: Some(most), per_second: None };
        let tallies = run(&mut shaper, 0, 2 * HOUR, 200, 50, hidden);
        let share = crew(&tallies[3..]) / f64::from(most);
        assert!((0.8..=1.2).contains(&share), "{share:.3} of {most} connections");
        let refused = Tally {
            accepted: tallies[3..].iter().map(|t| t.accepted).sum(),
            refused: tallies[3..].iter().map(|t| t.refused).sum(),
            ..Tally::default()
        };
        assert!(refused.refused_share() <= 0.02, "{most} connections: {refused:?}");
    }
}

#[test]
fn both_limits_are_found_at_once() {
    let mut shaper = Shaper::new(Profiles::shipped().limits("nobody.example"));
    let hidden = |_| Hidden { connections: Some(4), per_second: Some(15.0) };
    let tallies = run(&mut shaper, 0, 3 * HOUR, 200, 50, hidden);
    settled(&tallies[3..], 15.0, "both");
    assert!(crew(&tallies[3..]) <= 4.8);
}

#[test]
fn limits_that_change_at_noon_are_found_again() {
    for (before, after) in [(20.0, 10.0), (10.0, 20.0)] {
        let mut shaper = Shaper::new(Profiles::shipped().limits("nobody.example"));
        let noon = 12 * HOUR;
        let hidden = |now| {
            let (connections, rate) = if now < noon { (6, before) } else { (4, after) };
            Hidden { connections: Some(connections), per_second: Some(rate) }
        };
        let tallies = run(&mut shaper, 10 * HOUR, 15 * HOUR, 150, 50, hidden);
        settled(&tallies[3..12], before, &format!("{before}/s in the morning"));
        // An hour to notice that there is more to be had, no time at all when there is less.
        let settled_from = if after > before { 18 } else { 13 };
        settled(&tallies[settled_from..], after, &format!("{after}/s in the afternoon"));
        assert!(crew(&tallies[settled_from..]) <= 4.8);
    }
}

#[test]
fn who_never_complains_gets_all_that_the_route_allows() {
    let mut shaper = Shaper::new(Profiles::shipped().limits("nobody.example"));
    let tallies = run(&mut shaper, 0, 10 * MINUTE, 100, 50, |_| Hidden::default());
    assert!(crew(&tallies) > 49.0, "{}", crew(&tallies));
    assert_eq!(tallies[0].refused, 0);
    assert_eq!(shaper.rate(), None);
}

fn google() -> (Shaper, &'static Rule, &'static str) {
    let line = "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address";
    let rule = Profiles::shipped().rule("google", &Reply::parse(line).unwrap()).unwrap();
    (Shaper::new(Profiles::shipped().limits("google")), rule, line)
}

/// Sends `n` messages one after the other, accepted, with `open` connections.
fn accepted(shaper: &mut Shaper, now: i64, open: u32, n: u32) {
    for _ in 0..n {
        shaper.hear(now, open, Heard::Accepted);
    }
}

#[test]
fn googles_recovery_step_by_step() {
    let (mut shaper, rule, line) = google();
    accepted(&mut shaper, 0, 5, 20);
    assert_eq!(shaper.connections(0), 5);

    // 4.7.28: nothing for ten minutes, and replies to what was on its way change nothing.
    let stopped = shaper.hear(1_000, 5, Heard::Rule(rule, line)).expect("a stop begins");
    assert_eq!((stopped.since, stopped.until, stopped.recovers), (1_000, 1_000 + 10 * MINUTE, true));
    assert_eq!(shaper.hear(3_000, 5, Heard::Rule(rule, line)), None);
    accepted(&mut shaper, 3_000, 5, 3);
    for at in [1_000, 60_000, 10 * MINUTE, 10 * MINUTE + 999] {
        assert_eq!(shaper.connections(at), 0, "at {at}");
        let hold = shaper.take(at, 1).unwrap_err();
        assert_eq!((hold.reason, hold.since, hold.until), (HoldReason::Stop, Some(1_000), Some(1_000 + 10 * MINUTE)));
        assert!(hold.detail.starts_with("unusual-rate: 421 4.7.28 Gmail"), "{}", hold.detail);
    }

    // Then one connection; one more after a minute of success, up to what there was.
    let mut now = 1_000 + 10 * MINUTE;
    assert_eq!((shaper.connections(now), shaper.take(now, 1)), (1, Ok(1)));
    assert_eq!(shaper.hold(now).map(|h| h.reason), Some(HoldReason::Recovery));
    accepted(&mut shaper, now + 1_000, 1, 50);
    assert_eq!(shaper.connections(now + 1_000), 1, "not before the minute is over");
    for connections in 2..=5 {
        now += 61_000;
        accepted(&mut shaper, now, connections - 1, connections);
        assert_eq!(shaper.connections(now), connections);
    }
    assert_eq!(shaper.hold(now), None, "recovered");
}

#[test]
fn no_success_no_further_connection_and_a_relapse_stops_longer() {
    let (mut shaper, rule, line) = google();
    accepted(&mut shaper, 0, 5, 20);
    shaper.hear(0, 5, Heard::Rule(rule, line)).unwrap();
    let back = 10 * MINUTE;
    assert_eq!(shaper.connections(back), 1);
    assert_eq!(shaper.connections(back + HOUR), 1, "time alone gives nothing back");
    let again = shaper.hear(back + HOUR, 1, Heard::Rule(rule, line)).expect("it stops again");
    assert_eq!(again.until - again.since, 20 * MINUTE);
    assert_eq!(shaper.connections(again.until - 1), 0);
    assert_eq!(shaper.connections(again.until), 1);
}

#[test]
fn a_stop_survives_a_restart_and_reaches_others() {
    let (mut shaper, rule, line) = google();
    let stop = shaper.hear(0, 5, Heard::Rule(rule, line)).unwrap();
    let (mut other, ..) = google();
    other.keep_stop(stop.clone());
    assert_eq!((other.connections(1), other.connections(stop.until)), (0, 1));
}

#[test]
fn yahoos_silent_close_is_learned_and_no_fault() {
    let mut shaper = Shaper::new(Profiles::shipped().limits("yahoo"));
    accepted(&mut shaper, 0, 5, 20);
    let before = shaper.connections(0);
    shaper.closed_after(0, 12);
    assert_eq!((shaper.per_connection(0), shaper.connections(0)), (12, before));
    assert_eq!(shaper.per_connection(HOUR), 20, "believed for an hour");
    // A site of which nobody knows it has to do it twice in the same way.
    let mut shaper = Shaper::new(Profiles::shipped().limits("nobody.example"));
    shaper.closed_after(0, 7);
    assert_eq!(shaper.per_connection(0), 100);
    shaper.closed_after(0, 3);
    assert_eq!(shaper.per_connection(0), 100);
    shaper.closed_after(0, 3);
    assert_eq!(shaper.per_connection(0), 3);
}

#[test]
fn rules_act_when_they_are_triggered_and_no_longer_than_they_say() {
    let act = |site: &str, line: &'static str, times: usize| {
        let rule = Profiles::shipped().rule(site, &Reply::parse(line).unwrap()).unwrap();
        let mut shaper = Shaper::new(Profiles::shipped().limits(site));
        accepted(&mut shaper, 0, 4, 10);
        for n in 0..times {
            shaper.hear(10_000 + 4_000 * n as i64, 4, Heard::Rule(rule, line));
        }
        (shaper, 10_000 + 4_000 * (times as i64 - 1))
    };
    let tss04 = "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints";
    assert!(!act("yahoo", tss04, 1).0.is_stopped(10_000));
    let (mut shaper, at) = act("yahoo", tss04, 2);
    assert!(shaper.is_stopped(at + 2 * HOUR - 1) && !shaper.is_stopped(at + 2 * HOUR));

    let (mut shaper, at) = act("gmx", "421 web.de (mxweb001) Too many connections from your host", 3);
    assert_eq!((shaper.connections(at), shaper.connections(at + 30 * MINUTE - 1)), (1, 1));
    assert!(shaper.connections(at + 30 * MINUTE) > 1);

    let (mut shaper, _) = act("yahoo", "421 4.7.0 [TS02] Messages from 192.0.2.1 temporarily deferred", 3);
    assert!(shaper.rate().unwrap() <= 1.0 / 60.0 + 1e-9, "{:?}", shaper.rate());
    accepted(&mut shaper, 30_000, 1, 1);
    assert!((shaper.rate().unwrap() - 1.0 / 60.0).abs() < 1e-9);

    let (mut shaper, at) = act("yahoo", "421 Max message per connection reached, closing transmission channel", 30);
    assert_eq!((shaper.rate(), shaper.is_stopped(at), shaper.connections(at)), (None, false, 9));
}

#[test]
fn who_only_refuses_is_left_alone_for_longer_and_longer() {
    let mut shaper = Shaper::new(Profiles::shipped().limits("nobody.example"));
    let (mut now, mut pauses) = (0, Vec::new());
    while pauses.len() < 8 {
        if shaper.is_stopped(now) {
            let hold = shaper.hold(now).unwrap();
            assert_eq!(hold.reason, HoldReason::BackOff);
            pauses.push(hold.until.unwrap() - now);
            now = hold.until.unwrap();
        } else {
            shaper.hear(now, 2, Heard::TooFast);
            if !shaper.is_stopped(now) {
                now += 5_000;
            }
        }
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1_800, 1_800].map(|s| s * 1_000));
    accepted(&mut shaper, now, 1, 1);
    shaper.hear(now + 5_000, 2, Heard::TooFast);
    assert!(!shaper.is_stopped(now + 5_000), "one success, and patience is back");
}

#[test]
fn time_outs_tire_but_never_below_two_connections() {
    let mut shaper = Shaper::new(Profiles::shipped().limits("nobody.example"));
    for open in 2..20 {
        accepted(&mut shaper, 0, open, 1);
    }
    assert_eq!(shaper.connections(0), 20);
    for n in 0..100 {
        shaper.hear(n * 5_000, 20, Heard::Trouble(Trouble::TimedOut));
    }
    assert_eq!(shaper.connections(500_000), 2);
}

#[test]
fn the_hourly_limit_is_even_and_says_so() {
    let mut shaper = Shaper::new(Profiles::shipped().limits("wp"));
    let mut sent = Vec::new();
    for now in (0..HOUR).step_by(100) {
        if shaper.take(now, 8).is_ok() {
            sent.push(now);
        }
    }
    assert!((249..=251).contains(&sent.len()), "{}", sent.len());
    assert!(sent.windows(2).all(|w| w[1] - w[0] >= 14_000), "evenly");
    let hold = shaper.hold(HOUR).unwrap();
    assert_eq!((hold.reason, hold.detail.as_str()), (HoldReason::Hour, "250 an hour, evenly spread"));
    assert!(hold.since.unwrap() < 1_000 && hold.until.unwrap() <= HOUR + 14_500);
    assert_eq!(shaper.hold(HOUR + 60_000), None, "nobody waits any more");
}

#[test]
fn new_limits_count_at_once_and_keep_what_was_learned() {
    let mut shaper = Shaper::new(Limits::NONE);
    assert_eq!(shaper.take(0, 8), Ok(8));
    shaper.set_limits(Limits { per_second: Some(2.0), ..Limits::NONE });
    assert_eq!((shaper.take(0, 8), shaper.rate()), (Ok(1), Some(2.0)));
    shaper.hear(0, 3, Heard::TooMany);
    shaper.set_limits(Limits::NONE);
    assert_eq!((shaper.take(0, 8), shaper.connections(0)), (Ok(8), 1));
}

#[test]
fn a_speed_that_somebody_set_takes_the_place_of_what_was_found_and_a_stop_still_stops() {
    let limits = Profiles::shipped().limits("nobody.example");
    let limits = Limits { per_second: Some(2.0), per_hour: Some(10), connections: Some(1), ..limits };
    let mut shaper = Shaper::new(limits);
    let set = SetSpeed { per_second: Some(50.0), connections: Some(7), detail: "by Ann".into() };
    shaper.steer(Some(set));
    assert_eq!((shaper.rate(), shaper.connections(0)), (Some(50.0), 7));
    // Refusals teach, and do not slow down what somebody has set.
    for n in 0..20 {
        shaper.hear(n * 100, 7, Heard::TooFast);
        shaper.hear(n * 100 + 50, 7, Heard::Accepted);
    }
    assert_eq!(shaper.rate(), Some(50.0));
    let mut hold = None;
    for _ in 0..10 {
        hold = hold.or(shaper.take(2_000, 1).err());
    }
    let hold = hold.expect("fifty a second are not ten at once");
    assert_eq!((hold.reason, hold.detail.as_str()), (HoldReason::Speed, "by Ann"));
    shaper.keep_stop(Stopped { since: 0, until: 10_000, rule: "r".into(), reply: String::new(), recovers: false });
    assert_eq!(shaper.connections(3_000), 0);
    shaper.steer(None);
    assert!(shaper.rate().is_some_and(|rate| rate <= 10.0 / 3_600.0 + 1e-9), "{:?}", shaper.rate());
}
