//! Whose turn it is, whose never comes, and what is kept of it.

use std::sync::atomic::AtomicU32;

use shared::bus::Stream;
use shared::model::Alert;

use super::*;
use crate::gate::GateConfig;
use crate::testing::Flaky;

#[tokio::test]
async fn what_a_far_end_refuses_is_kept_until_its_deadline_and_everybody_else_is_told_once() {
    let setup = Setup::with(100, 1, |delivery| match delivery.event_id.as_str() {
        "good" => Ok(()),
        _ => Err(DeliveryError::refused("answered 403")),
    });
    let (bus, subjects) = (&setup.args.teller.bus, &setup.args.teller.subjects);
    let mut alerts = bus.consume(Stream::Alert, "test", &subjects.all("al")).await.unwrap();
    let mut told = async || {
        let queued = alerts.next().await.unwrap();
        let alert: Alert = serde_json::from_slice(&queued.payload).unwrap();
        queued.ack();
        assert_eq!(alert.alert_key.as_deref(), Some("r"));
        (alert.alert_type, alert.message)
    };
    let _lane = setup.start().await;
    setup.owe(&[("a", "a"), ("b", "b"), ("c", "c")]).await;
    setup.until("the first try", |s| s.attempts == 1).await;
    let (kind, message) = told().await;
    assert_eq!(kind, "delivery_failed");
    assert!(message.contains("'r'") && message.contains("answered 403"), "{message}");
    setup.clock.advance(Duration::from_secs(299));
    setup.settle_down().await;
    setup.clock.advance(Duration::from_secs(1));
    setup.until("a probe", |s| s.attempts == 2).await;
    setup.settle_down().await;
    let stats = setup.stats().await;
    assert_eq!((stats.pending, stats.dead), (3, 0), "nothing is given up");
    // Those that were never tried are given up in their time as well.
    setup.clock.advance(Duration::from_secs(6 * 3600));
    let stats = setup.until("their deadline", |s| s.dead == 3).await;
    assert_eq!((stats.pending, stats.dropped["deadline"]), (0, 3));
    // The next word is that it works, not that it failed again.
    setup.clock.advance(Duration::from_secs(600));
    setup.owe(&[("good", "good")]).await;
    setup.until("a delivery", |s| s.delivered == 1).await;
    let (kind, message) = told().await;
    assert_eq!(kind, "delivery_works", "{message}");
}

#[tokio::test]
async fn what_was_answered_to_a_success_is_kept_with_the_time_it_took() {
    let setup = Setup::new(|_| Ok(()));
    let _lane = setup.start().await;
    setup.owe(&[("a", "a")]).await;
    setup.until("delivery", |s| s.delivered == 1).await;
    let record = setup.store.deliveries("a").await.unwrap().remove(0);
    let attempt = &record.attempts[0];
    assert_eq!((attempt.started, attempt.took_ms), (Some(NOW), Some(0)));
    assert_eq!(attempt.answer.as_deref(), Some("took a/r"));
}

#[tokio::test]
async fn the_gravest_go_first_and_the_oldest_are_not_forgotten() {
    let setup = Setup::with(0, 1, |_| Ok(()));
    let _lane = setup.start().await;
    let of = |n: usize, severity: Severity| {
        let id = format!("{}{n}", severity.name());
        (id.clone(), severity, id)
    };
    let mut events: Vec<_> = (0..4).map(|n| of(n, Severity::Warning)).collect();
    events.extend((0..20).map(|n| of(n, Severity::Critical)));
    let events = events.into_iter().map(|(id, severity, order_key)| LedgerEvent {
        severity,
        payload: format!("{{\"severity\":\"{}\"}}", severity.name()),
        ..event(&id, &order_key)
    });
    setup.store.accept(events.collect(), setup.clock.now(), horizon).await.unwrap();
    setup.endpoint.permits.add_permits(24);
    setup.until("all are delivered", |s| s.delivered == 24).await;
    let seen = setup.seen().concat();
    let place = |id: &str| seen.iter().position(|key| key == &format!("{id}/r")).unwrap();
    assert!(place("warning0") < 10, "the oldest has its turn: {seen:?}");
    assert!(place("warning2") >= 20, "the others wait: {seen:?}");
    assert_eq!(place("critical19"), 21, "two of the old ones went before the last of the grave: {seen:?}");
}

#[tokio::test]
async fn recipients_of_one_endpoint_wait_when_it_asks_one_of_them_to() {
    let asks = Setup::new(|delivery| match delivery.attempts {
        0 => Err(DeliveryError::Retry {
            after: Some(Duration::from_secs(60)),
            reason: "answered 429".to_owned(),
        }),
        _ => Ok(()),
    });
    let mut other = Setup::new(|_| Ok(()));
    other.args.pace = asks.args.pace.clone();
    let _lanes = (asks.start().await, other.start().await);
    asks.owe(&[("a", "a")]).await;
    asks.until("the first try", |s| s.attempts == 1).await;
    other.owe(&[("b", "b")]).await;
    other.clock.advance(Duration::from_secs(59));
    other.settle_down().await;
    assert_eq!(other.stats().await.attempts, 0);
    other.clock.advance(Duration::from_secs(1));
    other.until("a delivery", |s| s.delivered == 1).await;
    assert_eq!(other.args.handle.pace().map(|(_, most)| most), Some(None), "a bound is learned");
}

/// What was claimed and not tried has not arrived, and does not wait until its claim runs out.
#[tokio::test]
async fn what_a_failing_ledger_keeps_from_being_tried_is_tried_soon_and_told_for_the_first_time() {
    let mut setup = Setup::new(|_| Ok(()));
    setup.args.policy.gate = toml::from_str::<GateConfig>("duplicate_window_s = 1").unwrap();
    let flaky = Arc::new(Flaky { looks: 1.into(), ..Flaky::new(&setup.store) });
    setup.args.ledger = Arc::clone(&flaky) as Arc<dyn Ledger>;
    setup.owe(&[("a", "a")]).await;
    let _lane = setup.start().await;
    let stats = setup.until("a delivery", |s| s.delivered == 1).await;
    assert_eq!((flaky.looks.load(Ordering::SeqCst), stats.attempts), (0, 1));
    assert!(setup.endpoint.perhaps.lock().unwrap().is_empty());
}

/// As shell scripts while those of other recipients run.
#[tokio::test]
async fn to_wait_for_room_counts_neither_as_a_try_nor_against_the_endpoint() {
    let full = Arc::new(AtomicBool::new(true));
    let room = Arc::clone(&full);
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let setup = Setup::with(10_000, 1, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        match room.load(Ordering::SeqCst) {
            true => Err(DeliveryError::NoRoom { reason: "others run" }),
            false => Ok(()),
        }
    });
    let _lane = setup.start().await;
    setup.owe(&[("a", "a"), ("b", "b")]).await;
    setup.until("more looks than the breaker takes failures", |_| asked.load(Ordering::SeqCst) > 10).await;
    let record = setup.store.deliveries("a").await.unwrap().remove(0);
    assert_eq!((record.reason.as_deref(), record.attempts.len()), (Some("others run"), 0));
    let stats = setup.stats().await;
    assert_eq!((stats.attempts, stats.failed, stats.dead, setup.args.handle.is_open()), (0, 0, 0, false));
    full.store(false, Ordering::SeqCst);
    let stats = setup.until("both", |s| s.delivered == 2).await;
    assert_eq!(stats.attempts, 2);
    // What never has room is given up in its time.
    full.store(true, Ordering::SeqCst);
    setup.clock.advance(Duration::from_secs(3600));
    setup.owe(&[("c", "c")]).await;
    setup.clock.advance(Duration::from_secs(7 * 3600));
    setup.until("its end", |s| s.dead == 1).await;
    assert_eq!(setup.store.dead_letters(None, 1).await.unwrap()[0].reason, "deadline passed: others run");
}

/// A stop may come before a lane has looked at what a kill before it has left.
#[tokio::test]
async fn what_a_kill_left_may_have_arrived_also_when_the_next_lane_is_stopped_before_its_first_turn() {
    let setup = Setup::with(0, 10, |_| Ok(()));
    let (killed, handle) = setup.start().await;
    setup.owe(&[("a", "a")]).await;
    eventually("the try", || async { (!setup.seen().is_empty()).then_some(()) }).await;
    killed.kill();
    handle.await.unwrap();
    let (stopped, handle) = setup.start().await;
    stopped.stop(None);
    handle.await.unwrap();
    assert_eq!(setup.seen(), [["a/r"]], "it had no turn");
    setup.endpoint.permits.add_permits(1);
    let _lane = setup.start().await;
    setup.until("delivery", |s| s.delivered == 1).await;
    assert_eq!(*setup.endpoint.perhaps.lock().unwrap(), ["a/r"]);
}
