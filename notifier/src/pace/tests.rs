use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn after(pace: &mut Pace, secs: i64) -> Option<u32> {
    if pace.take(NOW.plus_secs(secs)).is_none() {
        pace.give_back();
    }
    pace.now().map(|(now, _)| now)
}

/// When requests are made from `from` on, for so many seconds, by whoever makes one as soon as he may.
fn made(pace: &mut Pace, from: Timestamp, secs: i64) -> Vec<Timestamp> {
    let (mut now, mut made) = (from, Vec::new());
    while now < from.plus_secs(secs) {
        match pace.take(now) {
            Some(wait) => now = now.plus_ns(wait.as_nanos() as i64),
            None => {
                pace.made(1, now);
                made.push(now);
            }
        }
    }
    made
}

/// Most in any minute.
fn most_in_a_minute(made: &[Timestamp]) -> usize {
    let within = |from: &Timestamp| made.iter().filter(|at| (0..MINUTE).contains(&at.since(*from))).count();
    made.iter().map(within).max().unwrap_or(0)
}

#[test]
fn half_as_many_after_each_request_to_wait_and_a_tenth_more_after_each_clean_minute() {
    let shared = SharedPace::new(Some(20));
    let mut pace = shared.lock();
    pace.asked_to_wait(Duration::from_secs(1), NOW);
    pace.asked_to_wait(Duration::from_secs(1), NOW);
    assert_eq!(pace.now(), Some((5, Some(20))));
    assert_eq!(after(&mut pace, 59), Some(5));
    assert_eq!(after(&mut pace, 60), Some(6));
    assert_eq!(after(&mut pace, 119), Some(6));
    assert_eq!(after(&mut pace, 60 * 4), Some(9), "also when nobody looked meanwhile");
    pace.asked_to_wait(Duration::from_secs(1), NOW.plus_secs(250));
    assert_eq!(after(&mut pace, 309), Some(4), "the minute begins anew");
    assert_eq!(after(&mut pace, 310), Some(5));
    assert_eq!(after(&mut pace, 10_000), Some(20), "no more than its bound");
    for _ in 0..20 {
        pace.asked_to_wait(Duration::from_secs(1), NOW);
    }
    assert_eq!(pace.now(), Some((1, Some(20))), "it never stands still");
}

#[test]
fn a_bound_holds_in_every_minute_also_after_a_rest() {
    for most in [1, 2, 4, 20, 60, 240] {
        let shared = SharedPace::new(Some(most));
        let mut pace = shared.lock();
        let mut all = made(&mut pace, NOW, 200);
        all.extend(made(&mut pace, NOW.plus_secs(4000), 200));
        assert!(most_in_a_minute(&all) <= most as usize, "{most}: {}", most_in_a_minute(&all));
        let spread = all.iter().filter(|at| at.since(NOW) < 3 * MINUTE).count();
        assert!(spread >= most as usize * 5 / 2, "{most}: {spread} in the first three minutes");
    }
}

#[test]
fn several_requests_for_one_turn_are_paid_for() {
    let shared = SharedPace::new(Some(20));
    let mut pace = shared.lock();
    assert_eq!(pace.take(NOW), None);
    pace.made(10, NOW);
    assert_eq!(pace.take(NOW), Some(Duration::from_secs_f64(10.0 * 60.0 / 19.0)));
    assert_eq!(pace.take(NOW.plus_secs(31)).map(|wait| wait.as_secs()), Some(0));
    assert_eq!(pace.take(NOW.plus_secs(32)), None);
}

#[test]
fn what_it_asks_for_holds_and_its_shorter_wishes_do_not_shorten_that() {
    let shared = SharedPace::new(None);
    let mut pace = shared.lock();
    pace.asked_to_wait(Duration::from_secs(60), NOW);
    pace.asked_to_wait(Duration::from_secs(5), NOW);
    assert_eq!(pace.take(NOW.plus_secs(20)), Some(Duration::from_secs(40)));
    assert_eq!(pace.take(NOW.plus_secs(-86_400)), Some(Duration::from_secs(60)), "a clock set back by a day");
    assert_eq!(pace.take(NOW.plus_secs(60)), None);
}

#[test]
fn of_a_far_end_that_names_no_bound_one_is_learned_and_forgotten_after_an_hour() {
    let shared = SharedPace::new(None);
    let mut pace = shared.lock();
    for n in 0..1000 {
        let now = NOW.plus_ns(n * 60_000_000);
        assert_eq!(pace.take(now), None);
        pace.made(1, now);
    }
    assert_eq!(pace.now(), None);
    pace.asked_to_wait(Duration::from_secs(1), NOW.plus_secs(59));
    let (learned, most) = pace.now().unwrap();
    assert!((490..=500).contains(&learned) && most.is_none(), "{learned}");
    let later = NOW.plus_secs(60);
    let requests = made(&mut pace, later, 59);
    assert!((300..=500).contains(&requests.len()), "{}", requests.len());
    assert!(after(&mut pace, 59 + 120).unwrap() > 560);
    assert_eq!(after(&mut pace, 59 + 3600), None);
}

#[test]
fn another_bound_is_another_begin_and_the_same_is_not() {
    let shared = SharedPace::new(Some(60));
    let mut pace = shared.lock();
    pace.asked_to_wait(Duration::from_secs(1), NOW);
    pace.set_most(Some(60));
    assert_eq!(pace.now(), Some((30, Some(60))));
    pace.set_most(Some(20));
    assert_eq!(pace.now(), Some((20, Some(20))));
}

#[test]
fn a_window_holds_its_bound_in_every_minute_whatever_was_saved_up() {
    for bound in [1_u32, 6, 10, 100, 5000] {
        let (mut window, mut now, mut done) = (Window::default(), NOW, Vec::new());
        let mut go = |from: Timestamp, secs: i64, done: &mut Vec<(Timestamp, usize)>| {
            now = from;
            while now < from.plus_secs(secs) {
                match window.room(bound, now) {
                    0 => now = now.plus_ns(window.wait(bound, now).as_nanos() as i64),
                    room => {
                        window.add(now, room.min(7));
                        done.push((now, room.min(7)));
                    }
                }
                assert!(window.slots.len() <= SLOTS + 2, "{}", window.slots.len());
            }
        };
        go(NOW, 300, &mut done);
        let steady: usize = done.iter().map(|(_, count)| count).sum();
        assert!(steady >= bound as usize * 4, "{bound}: {steady} in five minutes");
        go(NOW.plus_secs(4000), 100, &mut done);
        let within = |from: Timestamp| {
            let minute = done.iter().filter(|(at, _)| (0..MINUTE).contains(&at.since(from)));
            minute.map(|(_, count)| count).sum::<usize>()
        };
        let most = done.iter().map(|(at, _)| within(*at)).max().unwrap();
        assert!(most <= bound as usize, "{bound}: {most}");
        assert!(window.room(bound, NOW.plus_secs(-86_400)) <= bound as usize, "a clock set back by a day");
    }
}
