use super::*;
use crate::pace::Bound;
use crate::testing::{alert, delivery};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn lane(manners: Manners) -> Lane {
    lane_of(Policy::new(&NotifierConfig::default(), manners, None))
}

fn lane_of(policy: Policy) -> Lane {
    let pace = SharedPace::new(policy.manners.bound.map(|bound| bound.per_minute));
    Lane::new(policy, pace)
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
        lane.settle(one(), fails(), 1, NOW);
        assert_eq!(lane.turn(NOW), Turn::Claim(10));
    }
    lane.settle(one(), fails(), 1, NOW);
    assert!(lane.is_open());
    assert_eq!(lane.turn(NOW), Turn::Wait(Duration::from_secs(30)));
    let probe = NOW.plus_secs(30);
    assert_eq!(lane.turn(probe), Turn::Claim(1));
    lane.settle(one(), fails(), 1, probe);
    assert_eq!(lane.turn(probe.plus_secs(29)), Turn::Wait(Duration::from_secs(1)));
    lane.settle(one(), vec![Ok(())], 1, probe.plus_secs(30));
    assert!(!lane.is_open());
    assert_eq!(lane.turn(probe.plus_secs(30)), Turn::Claim(10));
}

#[test]
fn a_success_or_a_refusal_between_failures_keeps_the_breaker_closed() {
    let mut lane = lane(Manners::of_batch(10));
    for _ in 0..3 {
        for _ in 0..4 {
            lane.settle(one(), fails(), 1, NOW);
        }
        lane.settle(one(), vec![Err(DeliveryError::permanent("answered 404"))], 1, NOW);
    }
    assert!(!lane.is_open());
}

#[test]
fn a_far_end_that_takes_nothing_from_us_is_probed_seldom_and_what_it_is_owed_is_kept() {
    let refused = || vec![Err(DeliveryError::refused("answered 403"))];
    let mut one_end = lane(Manners::of_batch(10));
    let ends = one_end.settle(one(), refused(), 1, NOW);
    assert!(matches!(&ends[0].1, Outcome::Retry { reason, .. } if reason == "answered 403"), "{ends:?}");
    assert!(one_end.is_open(), "the first refusal is enough");
    assert_eq!(one_end.turn(NOW), Turn::Wait(Duration::from_secs(300)));
    let probe = NOW.plus_secs(300);
    assert_eq!(one_end.turn(probe), Turn::Claim(1));
    one_end.settle(one(), refused(), 1, probe);
    assert_eq!(one_end.turn(probe), Turn::Wait(Duration::from_secs(300)));
    one_end.settle(one(), fails(), 1, probe);
    assert_eq!(one_end.turn(probe), Turn::Wait(Duration::from_secs(30)), "it fails otherwise now");
    one_end.settle(one(), vec![Ok(())], 1, probe);
    assert_eq!(one_end.turn(probe), Turn::Claim(10));

    let late = NOW.plus_secs(6 * 3600 + 1);
    let Outcome::Dead { reason } = one_end.settle(one(), refused(), 1, late).remove(0).1 else { panic!() };
    assert_eq!(reason, "deadline passed: answered 403");
    assert_eq!(one_end.expired(&one()[0], NOW), None);
    let never_tried = Outcome::Dead { reason: "deadline passed: the endpoint fails".to_owned() };
    assert_eq!(one_end.expired(&one()[0], late), Some(never_tried));
    let mut store = lane(Manners { never_gives_up: true, ..Manners::of_batch(1) });
    assert_eq!(store.expired(&one()[0], late), None);

    // Of many far ends, each is refused for itself.
    store = lane(Manners { one_target: false, ..Manners::of_batch(8) });
    let dead = Outcome::Dead { reason: "answered 403".to_owned() };
    assert_eq!(store.settle(one(), refused(), 1, NOW)[0].1, dead);
    assert_eq!(store.turn(NOW), Turn::Claim(8));
}

#[test]
fn a_tenth_of_all_is_chosen_by_age_however_few_are_claimed_at_once() {
    for most in [1, 3, 10, 64, 1000] {
        let mut lane = lane(Manners::of_batch(most));
        let shares: Vec<usize> = (0..100).map(|_| lane.oldest(most)).collect();
        assert_eq!(shares.iter().sum::<usize>(), most * 10, "{most}");
        assert!(shares.iter().all(|share| *share <= most / 10 + 1), "{most}: {shares:?}");
    }
}

#[test]
fn retry_after_holds_the_lane_and_does_not_count_as_a_failure() {
    let mut lane = lane(Manners::of_batch(10));
    let after = Some(Duration::from_secs(60));
    for _ in 0..9 {
        let asked = vec![Err(DeliveryError::Retry { after, reason: "answered 429".to_owned() })];
        let ends = lane.settle(one(), asked, 1, NOW);
        assert!(matches!(ends[0].1, Outcome::Retry { at, .. } if at >= NOW.plus_secs(60)));
    }
    assert!(!lane.is_open());
    assert_eq!(lane.turn(NOW.plus_secs(20)), Turn::Wait(Duration::from_secs(40)));
    assert_eq!(lane.turn(NOW.plus_secs(60)), Turn::Claim(10));
    let set_back = NOW.plus_secs(-86_400);
    assert_eq!(lane.turn(set_back), Turn::Wait(Duration::from_secs(60)), "a clock set back by a day");
}

#[test]
fn a_far_end_that_asks_to_wait_gets_half_as_many_requests() {
    let mut lane = lane(Manners { bound: Some(Bound::of_endpoint(60)), ..Manners::of_batch(10) });
    let ten = || -> Vec<Delivery> { (0..10).map(|n| owed(&n.to_string(), Severity::Error, NOW)).collect() };
    assert_eq!(lane.turn(NOW), Turn::Claim(10));
    lane.settle(ten(), vec![Ok(()); 10], 1, NOW);
    let Turn::Wait(wait) = lane.turn(NOW) else { panic!("a bound of 60 and a request just made") };
    assert_eq!(wait.as_secs(), 1, "a request counts once, whatever is in it");
    assert_eq!(lane.turn(NOW.plus_secs(2)), Turn::Claim(10));
    lane.unused();
    assert_eq!(lane.turn(NOW.plus_secs(2)), Turn::Claim(10), "nothing was asked");
    lane.settle(ten(), vec![Ok(()); 10], 4, NOW.plus_secs(2));
    let Turn::Wait(wait) = lane.turn(NOW.plus_secs(2)) else { panic!("four requests") };
    assert!((3..=4).contains(&wait.as_secs()), "{wait:?}");
    let asked = |secs| {
        let after = Some(Duration::from_secs(secs));
        vec![Err(DeliveryError::Retry { after, reason: "answered 429".to_owned() })]
    };
    lane.settle(one(), asked(0), 1, NOW);
    assert_eq!(lane.pace(), Some((60, Some(60))), "put off by ourselves");
    lane.settle(one(), asked(5), 1, NOW);
    assert_eq!(lane.pace(), Some((30, Some(60))));
    lane.turn(NOW.plus_secs(65));
    assert_eq!(lane.pace(), Some((33, Some(60))));
}

#[test]
fn lanes_of_one_endpoint_share_its_bound_and_what_it_asks_for() {
    let pace = SharedPace::new(Some(4));
    let policy = Policy::new(&NotifierConfig::default(), Manners::of_batch(10), None);
    let mut lanes = [Lane::new(policy.clone(), pace.clone()), Lane::new(policy, pace)];
    let (mut now, mut requests) = (NOW, Vec::new());
    while now < NOW.plus_secs(300) {
        for lane in &mut lanes {
            if let Turn::Claim(_) = lane.turn(now) {
                requests.push(now);
                lane.settle(one(), vec![Ok(())], 1, now);
            }
        }
        now = now.plus_secs(1);
    }
    let minute = |from: &Timestamp| {
        requests.iter().filter(|at| (0..60_000_000_000).contains(&at.since(*from))).count()
    };
    assert!(requests.iter().all(|from| minute(from) <= 4), "{requests:?}");
    assert!(requests.len() >= 18, "{}", requests.len());
    let after = Some(Duration::from_secs(600));
    let asked = vec![Err(DeliveryError::Retry { after, reason: "answered 429".to_owned() })];
    lanes[0].settle(one(), asked, 1, now);
    assert_eq!(lanes[1].turn(now.plus_secs(300)), Turn::Wait(Duration::from_secs(300)));
}

#[test]
fn many_targets_neither_open_a_breaker_nor_hold_each_other() {
    let mut lane = lane(Manners { one_target: false, ..Manners::of_batch(8) });
    let after = Some(Duration::from_secs(60));
    for _ in 0..20 {
        lane.settle(one(), fails(), 1, NOW);
        lane.settle(one(), vec![Err(DeliveryError::Retry { after, reason: String::new() })], 1, NOW);
    }
    assert_eq!(lane.turn(NOW), Turn::Claim(8));
}

#[test]
fn deadlines_go_by_severity_and_count_from_acceptance() {
    for (severity, hours) in [(Severity::Critical, 24), (Severity::Error, 6), (Severity::Info, 1)] {
        let accepted = NOW;
        let at = |seconds: i64| {
            let now = accepted.plus_secs(hours * 3600 + seconds);
            let ends =
                lane(Manners::of_batch(1)).settle(vec![owed("a", severity, accepted)], fails(), 1, now);
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
    let ends = lane(manners).settle(vec![old], fails(), 1, now);
    assert!(matches!(ends[0].1, Outcome::Retry { at, .. } if at <= now.plus_secs(30)));
}

#[test]
fn waits_grow_are_spread_and_can_be_replayed() {
    let wait = |id: &str, attempts: u32| {
        let tried = Delivery { attempts, ..owed(id, Severity::Critical, NOW) };
        let ends = lane(Manners::of_batch(1)).settle(vec![tried], fails(), 1, NOW);
        let Outcome::Retry { at, .. } = ends[0].1 else { panic!() };
        at.since(NOW)
    };
    assert_eq!(wait("a", 3), wait("a", 3));
    assert_ne!(wait("a", 3), wait("b", 3));
    assert!(wait("a", 0) <= 1_000_000_000);
    let longest = (0..50).map(|n| wait(&n.to_string(), 5)).max().unwrap();
    assert!((16_000_000_000..=32_000_000_000).contains(&longest), "{longest}");
}

#[test]
fn what_failed_in_one_request_is_tried_again_at_the_same_time_and_apart_from_the_new() {
    let batch = || -> Vec<Delivery> {
        let tried = |n: u32| Delivery { attempts: n / 3, ..owed(&n.to_string(), Severity::Error, NOW) };
        (0..6).map(tried).collect()
    };
    let times =
        |lane: &mut Lane, result: &Result<(), DeliveryError>| -> std::collections::BTreeSet<Timestamp> {
            let ends = lane.settle(batch(), vec![result.clone(); 6], 1, NOW);
            let at = |(_, outcome): (Delivery, Outcome)| match outcome {
                Outcome::Retry { at, .. } | Outcome::Unknown { at, .. } => at,
                other => panic!("{other:?}"),
            };
            ends.into_iter().map(at).collect()
        };
    for result in [&fails()[0], &Err(DeliveryError::unknown("no answer"))] {
        let together = times(&mut lane(Manners::of_batch(10)), result);
        assert_eq!(together.len(), 1, "{result:?}");
        assert!(together.iter().all(|at| at.since(NOW) <= 1_000_000_000), "as soon as the least tried");
        let apart = times(&mut lane(Manners { one_target: false, ..Manners::of_batch(10) }), result);
        assert_eq!(apart.len(), 6, "each has a far end of its own");
    }
    let (fresh, tried) = (&batch()[0], &batch()[5]);
    assert!(!lane(Manners::of_batch(10)).goes_with(tried, fresh));
    assert!(lane(Manners::of_batch(10)).goes_with(tried, &batch()[4]));
    assert!(lane(Manners::of_batch(1)).goes_with(tried, fresh), "a request of its own each");
}

#[test]
fn what_may_have_arrived_together_is_probed_together() {
    let mut lane = lane(Manners::of_batch(10));
    let three = || -> Vec<Delivery> { ["a", "b", "c"].map(|id| owed(id, Severity::Error, NOW)).into() };
    for _ in 0..5 {
        lane.settle(three(), vec![Err(DeliveryError::unknown("no answer")); 3], 1, NOW);
    }
    assert_eq!(lane.turn(NOW.plus_secs(30)), Turn::Claim(3));
    lane.settle(three(), vec![fails().remove(0); 3], 1, NOW);
    assert_eq!(lane.turn(NOW.plus_secs(30)), Turn::Claim(1), "nothing of it has arrived");
}

#[test]
fn no_more_than_its_bound_is_tried_in_any_minute() {
    let policy = Policy::new(&NotifierConfig::default(), Manners::of_batch(4), None);
    let mut lane = lane_of(Policy { max_per_minute: Some(6), ..policy });
    let (mut now, mut tried) = (NOW, Vec::new());
    while now < NOW.plus_secs(600) {
        match lane.turn(now) {
            Turn::Wait(wait) => now = later(now, wait),
            Turn::Claim(most) => {
                let batch: Vec<_> = (0..most).map(|_| one().remove(0)).collect();
                tried.extend((0..most).map(|_| now));
                lane.settle(batch, (0..most).map(|_| Ok(())).collect(), 1, now);
            }
        }
    }
    assert!((54..=62).contains(&tried.len()), "{}", tried.len());
    let minute =
        |from: &Timestamp| tried.iter().filter(|at| *at >= from && at.since(*from) < 60_000_000_000).count();
    assert!(tried.iter().all(|from| minute(from) <= 6));
    // Who was silent for long may catch up by a minute's worth, not more.
    let rest = now.plus_secs(3600);
    assert_eq!(lane.turn(rest), Turn::Claim(4));
    lane.settle((0..4).map(|_| one().remove(0)).collect(), vec![Ok(()), Ok(()), Ok(()), Ok(())], 1, rest);
    assert_eq!(lane.turn(rest), Turn::Claim(2));
}

#[test]
fn what_is_given_up_goes_to_the_fallback() {
    let policy = Policy::new(&NotifierConfig::default(), Manners::of_batch(1), None);
    let mut lane = lane_of(Policy { fallback: Some("mail".to_owned()), ..policy });
    let refused = vec![Err(DeliveryError::permanent("answered 404"))];
    let expected = Outcome::Diverted { reason: "answered 404".to_owned(), to: "mail".to_owned() };
    assert_eq!(lane.settle(one(), refused, 1, NOW)[0].1, expected);
    let late = NOW.plus_secs(86_400);
    assert!(matches!(lane.settle(one(), fails(), 1, late)[0].1, Outcome::Diverted { .. }));
}

#[test]
fn a_missing_result_is_tried_again() {
    let ends = lane(Manners::of_batch(10)).settle(one(), Vec::new(), 1, NOW);
    assert!(matches!(ends[0].1, Outcome::Retry { .. }));
}

#[test]
fn as_many_are_claimed_as_the_kind_can_take_in_one_message() {
    for most in [1, 100, 256] {
        assert_eq!(lane(Manners::of_batch(most)).turn(NOW), Turn::Claim(most));
    }
}
