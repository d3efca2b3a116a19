use super::*;
use crate::testing::{alert, delivery};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn lane(manners: Manners) -> Lane {
    Lane::new(Policy::new(&NotifierConfig::default(), manners, None))
}

fn owed(id: &str, severity: Severity, accepted: Timestamp) -> Delivery {
    let alert = shared::model::Alert { severity, ..alert(id) };
    Delivery { accepted_at: accepted, deadline: later(accepted, HORIZON), ..delivery(&alert) }
}

fn one() -> Vec<Delivery> {
    vec![owed("a", Severity::Error, NOW)]
}

fn fails() -> Vec<Result<(), DeliveryError>> {
    vec![Err(DeliveryError::retry("answered 503"))]
}

#[test]
fn five_failures_open_the_breaker_and_one_probe_each_half_minute_follows() {
    let mut lane = lane(Manners::of_batch(10));
    for _ in 0..4 {
        lane.settle(one(), fails(), NOW);
        assert_eq!(lane.turn(NOW), Turn::Claim(10));
    }
    lane.settle(one(), fails(), NOW);
    assert!(lane.is_open());
    assert_eq!(lane.turn(NOW), Turn::Wait(Duration::from_secs(30)));
    let probe = NOW.plus_secs(30);
    assert_eq!(lane.turn(probe), Turn::Claim(1));
    lane.settle(one(), fails(), probe);
    assert_eq!(lane.turn(probe.plus_secs(29)), Turn::Wait(Duration::from_secs(1)));
    lane.settle(one(), vec![Ok(())], probe.plus_secs(30));
    assert!(!lane.is_open());
    assert_eq!(lane.turn(probe.plus_secs(30)), Turn::Claim(10));
}

#[test]
fn a_success_or_a_refusal_between_failures_keeps_the_breaker_closed() {
    let mut lane = lane(Manners::of_batch(10));
    for _ in 0..3 {
        for _ in 0..4 {
            lane.settle(one(), fails(), NOW);
        }
        lane.settle(one(), vec![Err(DeliveryError::permanent("answered 404"))], NOW);
    }
    assert!(!lane.is_open());
}

#[test]
fn retry_after_holds_the_lane_and_does_not_count_as_a_failure() {
    let mut lane = lane(Manners::of_batch(10));
    let after = Some(Duration::from_secs(60));
    for _ in 0..9 {
        let asked = vec![Err(DeliveryError::Retry { after, reason: "answered 429".to_owned() })];
        let ends = lane.settle(one(), asked, NOW);
        assert!(matches!(ends[0].1, Outcome::Retry { at, .. } if at >= NOW.plus_secs(60)));
    }
    assert!(!lane.is_open());
    assert_eq!(lane.turn(NOW.plus_secs(20)), Turn::Wait(Duration::from_secs(40)));
    assert_eq!(lane.turn(NOW.plus_secs(60)), Turn::Claim(10));
    let set_back = NOW.plus_secs(-86_400);
    assert_eq!(lane.turn(set_back), Turn::Wait(Duration::from_secs(60)), "a clock set back by a day");
}

#[test]
fn many_targets_neither_open_a_breaker_nor_hold_each_other() {
    let mut lane = lane(Manners { one_target: false, ..Manners::of_batch(8) });
    let after = Some(Duration::from_secs(60));
    for _ in 0..20 {
        lane.settle(one(), fails(), NOW);
        lane.settle(one(), vec![Err(DeliveryError::Retry { after, reason: String::new() })], NOW);
    }
    assert_eq!(lane.turn(NOW), Turn::Claim(8));
}

#[test]
fn deadlines_go_by_severity_and_count_from_acceptance() {
    for (severity, hours) in [(Severity::Critical, 24), (Severity::Error, 6), (Severity::Info, 1)] {
        let accepted = NOW;
        let at = |seconds: i64| {
            let now = accepted.plus_secs(hours * 3600 + seconds);
            let ends = lane(Manners::of_batch(1)).settle(vec![owed("a", severity, accepted)], fails(), now);
            ends.into_iter().next().unwrap().1
        };
        assert!(matches!(at(-10), Outcome::Retry { .. }), "{severity}");
        let Outcome::Dead { reason } = at(1) else { panic!("{severity}") };
        assert_eq!(reason, "deadline passed: answered 503");
    }
}

#[test]
fn the_alert_store_never_gives_up() {
    let manners =
        Manners { never_gives_up: true, backoff_cap: Some(Duration::from_secs(30)), ..Manners::of_batch(64) };
    let now = NOW.plus_secs(300 * 86_400);
    let old = Delivery { attempts: 900_000, ..owed("a", Severity::Info, NOW) };
    let ends = lane(manners).settle(vec![old], fails(), now);
    assert!(matches!(ends[0].1, Outcome::Retry { at, .. } if at <= now.plus_secs(30)));
}

#[test]
fn waits_grow_are_spread_and_can_be_replayed() {
    let wait = |id: &str, attempts: u32| {
        let tried = Delivery { attempts, ..owed(id, Severity::Critical, NOW) };
        let ends = lane(Manners::of_batch(1)).settle(vec![tried], fails(), NOW);
        let Outcome::Retry { at, .. } = ends[0].1 else { panic!() };
        at.since(NOW)
    };
    assert_eq!(wait("a", 3), wait("a", 3));
    assert_ne!(wait("a", 3), wait("b", 3));
    assert!(wait("a", 0) <= 1_000_000_000 && wait("a", 5) >= 16_000_000_000);
}

#[test]
fn no_more_than_its_bound_is_tried_in_any_minute() {
    let policy = Policy::new(&NotifierConfig::default(), Manners::of_batch(4), None);
    let mut lane = Lane::new(Policy { max_per_minute: Some(6), ..policy });
    let (mut now, mut tried) = (NOW, Vec::new());
    while now < NOW.plus_secs(600) {
        match lane.turn(now) {
            Turn::Wait(wait) => now = later(now, wait),
            Turn::Claim(most) => {
                let batch: Vec<_> = (0..most).map(|_| one().remove(0)).collect();
                tried.extend((0..most).map(|_| now));
                lane.settle(batch, (0..most).map(|_| Ok(())).collect(), now);
            }
        }
    }
    assert!((58..=62).contains(&tried.len()), "{}", tried.len());
    let minute =
        |from: &Timestamp| tried.iter().filter(|at| *at >= from && at.since(*from) < 60_000_000_000).count();
    assert!(tried.iter().all(|from| minute(from) <= 7), "six, and the one that was saved up");
    // Who was silent for long may catch up by a minute's worth, not more.
    let rest = now.plus_secs(3600);
    assert_eq!(lane.turn(rest), Turn::Claim(4));
    lane.settle((0..4).map(|_| one().remove(0)).collect(), vec![Ok(()), Ok(()), Ok(()), Ok(())], rest);
    assert_eq!(lane.turn(rest), Turn::Claim(2));
}

#[test]
fn what_is_given_up_goes_to_the_fallback() {
    let policy = Policy::new(&NotifierConfig::default(), Manners::of_batch(1), None);
    let mut lane = Lane::new(Policy { fallback: Some("mail".to_owned()), ..policy });
    let refused = vec![Err(DeliveryError::permanent("answered 404"))];
    let expected = Outcome::Diverted { reason: "answered 404".to_owned(), to: "mail".to_owned() };
    assert_eq!(lane.settle(one(), refused, NOW)[0].1, expected);
    let late = NOW.plus_secs(86_400);
    assert!(matches!(lane.settle(one(), fails(), late)[0].1, Outcome::Diverted { .. }));
}

#[test]
fn a_missing_result_is_tried_again() {
    let ends = lane(Manners::of_batch(10)).settle(one(), Vec::new(), NOW);
    assert!(matches!(ends[0].1, Outcome::Retry { .. }));
}
