//! A lane over a real ledger, a clock moved by hand, and an endpoint that answers as told.

use async_trait::async_trait;
use shared::bus::memory::MemoryBus;
use shared::clock::{Clock, ManualClock};
use shared::model::Severity;
use shared::store::sqlite::SqliteStore;
use shared::store::{EventKind, LedgerEvent, RecipientStats};
use shared::wire::subject::Subjects;
use tokio::sync::Semaphore;

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::config::NotifierConfig;
use crate::endpoint::{DeliveryError, Manners, Told};
use crate::inhibit::Rules;
use crate::lane::horizon;
use crate::testing::eventually;

mod gated;
mod promised;
mod turns;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

type Answer = Result<(), DeliveryError>;

/// Answers each delivery as `answer` says and notes what it was given; each batch needs a permit.
struct Scripted {
    answer: Box<dyn Fn(&Delivery) -> Answer + Send + Sync>,
    seen: Mutex<Vec<Vec<String>>>,
    /// Those that may have arrived before.
    perhaps: Mutex<Vec<String>>,
    permits: Semaphore,
    batch: usize,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

#[async_trait]
impl Endpoint for Scripted {
    fn manners(&self) -> Manners {
        Manners::of_batch(self.batch)
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Answer> {
        self.seen.lock().unwrap().push(batch.iter().map(Delivery::idempotency_key).collect());
        let perhaps = batch.iter().filter(|delivery| delivery.maybe_told);
        self.perhaps.lock().unwrap().extend(perhaps.map(Delivery::idempotency_key));
        self.permits.acquire().await.unwrap().forget();
        batch.iter().map(|delivery| (self.answer)(delivery)).collect()
    }

    async fn deliver_told(&self, batch: &[Delivery]) -> Vec<Told> {
        let ends = self.deliver(batch).await.into_iter().zip(batch);
        let say = |delivery: &Delivery| Some(format!("took {}", delivery.idempotency_key()));
        ends.map(|(end, delivery)| end.map(|()| say(delivery))).collect()
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        Ok(String::new())
    }
}

fn event(id: &str, order_key: &str) -> LedgerEvent {
    LedgerEvent {
        id: id.to_owned(),
        kind: EventKind::Alert,
        order_key: order_key.to_owned(),
        severity: Severity::Error,
        payload: "{\"severity\":\"error\"}".to_owned(),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        recipients: vec!["r".to_owned()],
        config_version: String::new(),
        not_before: None,
        spared: Vec::new(),
    }
}

struct Setup {
    store: SqliteStore,
    clock: Arc<ManualClock>,
    endpoint: Arc<Scripted>,
    args: RecipientArgs,
}

impl Setup {
    fn new(answer: impl Fn(&Delivery) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(10_000, 10, answer)
    }

    fn with(
        permits: usize,
        batch: usize,
        answer: impl Fn(&Delivery) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let store = SqliteStore::in_memory().unwrap();
        let clock = ManualClock::new(NOW);
        let (answer, permits) = (Box::new(answer), Semaphore::new(permits));
        let (seen, perhaps) = Default::default();
        let endpoint = Arc::new(Scripted { answer, seen, perhaps, permits, batch });
        let args = RecipientArgs {
            name: "r".to_owned(),
            owner: "n1/r".to_owned(),
            ledger: Arc::new(store.clone()),
            events: Emitter::quiet(),
            clock: Arc::clone(&clock) as SharedClock,
            endpoint: Arc::clone(&endpoint) as Arc<dyn Endpoint>,
            endpoint_health: None,
            policy: Policy::new(&NotifierConfig::default(), endpoint.manners(), None),
            pace: Default::default(),
            lease: Duration::from_secs(60),
            handle: Arc::default(),
            fallback: None,
            teller: Teller {
                bus: MemoryBus::new(Default::default()),
                subjects: Subjects::new("t"),
                clock: Arc::clone(&clock) as SharedClock,
                site: "main".to_owned(),
                node: "n1".to_owned(),
            },
            follow_ups: FollowUps {
                bus: MemoryBus::new(Default::default()),
                subjects: Subjects::new("t"),
                settings: tokio::sync::watch::channel(Arc::default()).1,
                rules: Rules::default(),
            },
        };
        Self { store, clock, endpoint, args }
    }

    async fn start(&self) -> (ActorRef<RecipientMessage>, JoinHandle<()>) {
        Actor::spawn(None, RecipientActor, self.args.clone()).await.unwrap()
    }

    async fn owe(&self, events: &[(&str, &str)]) {
        let events = events.iter().map(|(id, key)| event(id, key));
        self.store.accept(events.collect(), self.clock.now(), horizon).await.unwrap();
        self.args.handle.wake();
    }

    async fn stats(&self) -> RecipientStats {
        self.store.stats().await.unwrap().pop().unwrap_or_default()
    }

    /// Waits for counts; wakes the lane, as moving a clock by hand fires no timer.
    async fn until(&self, what: &str, reached: impl Fn(&RecipientStats) -> bool) -> RecipientStats {
        eventually(what, || async {
            self.args.handle.wake();
            Some(self.stats().await).filter(|stats| reached(stats))
        })
        .await
    }

    /// Lets the lane look into the ledger again, and again, and gives it time to act.
    async fn settle_down(&self) {
        let seen = self.seen();
        for _ in 0..5 {
            self.args.handle.wake();
            eventually("a look", || async { (!self.args.handle.woken.load(Ordering::SeqCst)).then_some(()) })
                .await;
            self.stats().await;
        }
        assert_eq!(self.seen(), seen, "the lane was to stay quiet");
    }

    fn seen(&self) -> Vec<Vec<String>> {
        self.endpoint.seen.lock().unwrap().clone()
    }
}

fn fails() -> Answer {
    Err(DeliveryError::retry("answered 503"))
}

#[tokio::test]
async fn deliveries_of_one_key_wait_for_the_first_and_others_do_not() {
    let setup = Setup::new(|delivery| match (delivery.event_id.as_str(), delivery.attempts) {
        ("a1", 0 | 1) => fails(),
        _ => Ok(()),
    });
    let _lane = setup.start().await;
    setup.owe(&[("a1", "a"), ("a2", "a"), ("b1", "b")]).await;
    setup.until("b is delivered", |s| s.delivered == 1 && s.attempts == 2).await;
    setup.settle_down().await;
    for attempts in [3, 5] {
        setup.clock.advance(Duration::from_secs(3));
        setup.until("the next try", |s| s.attempts >= attempts.min(5)).await;
    }
    let stats = setup.until("all are delivered", |s| s.delivered == 3).await;
    assert_eq!((stats.pending, stats.attempts), (0, 5));
    let order: Vec<String> = setup.seen().concat();
    assert_eq!(order, ["a1/r", "b1/r", "a1/r", "a1/r", "a2/r"]);
}

#[tokio::test]
async fn a_request_without_an_answer_is_made_again_as_it_was() {
    let setup = Setup::new(|delivery| match delivery.attempts {
        0 if delivery.event_id != "d" => Err(DeliveryError::unknown("no answer")),
        _ => Ok(()),
    });
    let _lane = setup.start().await;
    setup.owe(&[("a", "a"), ("b", "b"), ("c", "c")]).await;
    setup.until("the first try", |s| s.attempts == 3).await;
    // The other comes at the moment at which those are due again.
    setup.clock.advance(Duration::from_secs(2));
    setup.owe(&[("d", "d")]).await;
    setup.until("all are delivered", |s| s.delivered == 4).await;
    assert_eq!(setup.seen(), [vec!["a/r", "b/r", "c/r"], vec!["a/r", "b/r", "c/r"], vec!["d/r"]]);
}

#[tokio::test]
async fn retry_after_holds_the_whole_lane() {
    let setup = Setup::new(|delivery| match delivery.attempts {
        0 if delivery.event_id == "a" => Err(DeliveryError::Retry {
            after: Some(Duration::from_secs(60)),
            reason: "answered 429".to_owned(),
        }),
        _ => Ok(()),
    });
    let _lane = setup.start().await;
    setup.owe(&[("a", "a")]).await;
    setup.until("the first try", |s| s.attempts == 1).await;
    setup.owe(&[("b", "b")]).await;
    setup.clock.advance(Duration::from_secs(59));
    setup.settle_down().await;
    setup.clock.advance(Duration::from_secs(1));
    setup.until("one", |s| s.delivered == 1).await;
    // It goes slower than before.
    setup.settle_down().await;
    setup.clock.advance(Duration::from_secs(4));
    setup.until("both", |s| s.delivered == 2).await;
}

#[tokio::test]
async fn the_breaker_opens_probes_and_closes() {
    let works = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&works);
    let setup = Setup::with(10_000, 1, move |_| match answers.load(Ordering::SeqCst) {
        true => Ok(()),
        false => fails(),
    });
    let _lane = setup.start().await;
    let events: Vec<(String, String)> = (0..8).map(|n| (format!("e{n}"), format!("k{n}"))).collect();
    let events: Vec<(&str, &str)> = events.iter().map(|(id, key)| (id.as_str(), key.as_str())).collect();
    setup.owe(&events).await;
    setup.until("five failures", |s| s.attempts == 5).await;
    assert!(setup.args.handle.is_open());
    setup.settle_down().await;
    setup.clock.advance(Duration::from_secs(30));
    setup.until("the probe", |s| s.attempts == 6).await;
    setup.settle_down().await;
    works.store(true, Ordering::SeqCst);
    setup.clock.advance(Duration::from_secs(30));
    let stats = setup.until("all are delivered", |s| s.delivered == 8).await;
    assert!(!setup.args.handle.is_open());
    assert_eq!((stats.attempts, stats.last_error), (14, None));
}

#[tokio::test]
async fn what_is_refused_becomes_a_dead_letter_with_its_reason() {
    let setup = Setup::new(|_| Err(DeliveryError::permanent("answered 400")));
    let _lane = setup.start().await;
    setup.owe(&[("a", "a")]).await;
    setup.until("a dead letter", |s| s.dead == 1).await;
    let letters = setup.store.dead_letters(Some("r"), 10).await.unwrap();
    assert_eq!((letters[0].reason.as_str(), letters[0].attempts), ("answered 400", 1));
}

#[tokio::test]
async fn a_delivery_past_its_deadline_is_given_up_and_a_replay_gives_it_a_new_one() {
    let setup = Setup::new(|_| fails());
    let _lane = setup.start().await;
    setup.owe(&[("a", "a")]).await;
    setup.until("the first try", |s| s.attempts == 1).await;
    setup.clock.advance(Duration::from_secs(6 * 3600));
    setup.until("a dead letter", |s| s.dead == 1).await;
    let letters = setup.store.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters[0].reason, "deadline passed: answered 503");
    let now = setup.clock.now();
    setup.store.replay_dead("r", None, now, crate::lane::HORIZON).await.unwrap();
    let stats = setup.until("a try after the replay", |s| s.attempts == 3).await;
    assert_eq!((stats.dead, stats.pending), (0, 1));
}

#[tokio::test]
async fn what_an_earlier_run_had_claimed_is_tried_again_with_the_same_key() {
    let setup = Setup::new(|_| Ok(()));
    setup.owe(&[("a", "a")]).await;
    let until = NOW.plus_secs(60);
    let before = setup.store.claim("r", "n1/r", NOW, until, 10, 0).await.unwrap();
    let _lane = setup.start().await;
    setup.until("delivery", |s| s.delivered == 1).await;
    assert_eq!(setup.seen(), [[before[0].idempotency_key()]]);
    assert_eq!(*setup.endpoint.perhaps.lock().unwrap(), ["a/r"], "and may have arrived");
}

#[tokio::test]
async fn a_stop_waits_for_the_delivery_under_way() {
    let setup = Setup::with(0, 10, |_| Ok(()));
    let (actor, handle) = setup.start().await;
    setup.owe(&[("a", "a")]).await;
    eventually("the try", || async { (!setup.seen().is_empty()).then_some(()) }).await;
    actor.stop(None);
    setup.endpoint.permits.add_permits(1);
    handle.await.unwrap();
    let stats = setup.stats().await;
    assert_eq!((stats.delivered, stats.pending), (1, 0));
}

/// As a far end that says nothing while the program is to stop.
#[tokio::test(start_paused = true)]
async fn what_a_stop_breaks_off_may_have_arrived() {
    let setup = Setup::with(0, 10, |_| Ok(()));
    let (actor, handle) = setup.start().await;
    setup.owe(&[("a", "a")]).await;
    eventually("the try", || async { (!setup.seen().is_empty()).then_some(()) }).await;
    actor.stop(None);
    handle.await.unwrap();
    let record = setup.store.deliveries("a").await.unwrap().remove(0);
    let tries: Vec<_> = record.attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!((record.state.as_str(), tries), ("pending", vec!["unknown"]));
}

#[tokio::test]
async fn a_killed_lane_delivers_again_with_the_same_key() {
    let setup = Setup::with(0, 10, |_| Ok(()));
    let (actor, handle) = setup.start().await;
    setup.owe(&[("a", "a")]).await;
    eventually("the try", || async { (!setup.seen().is_empty()).then_some(()) }).await;
    actor.kill();
    handle.await.unwrap();
    setup.endpoint.permits.add_permits(2);
    let _lane = setup.start().await;
    setup.until("delivery", |s| s.delivered == 1).await;
    assert_eq!(setup.seen(), [["a/r"], ["a/r"]]);
    assert_eq!(*setup.endpoint.perhaps.lock().unwrap(), ["a/r"]);
}

#[tokio::test]
async fn an_endpoint_that_panics_is_tried_again() {
    let setup = Setup::new(|delivery| match delivery.attempts {
        0 => panic!("in the endpoint"),
        _ => Ok(()),
    });
    let _lane = setup.start().await;
    setup.owe(&[("a", "a")]).await;
    let stats = setup.until("the first try", |s| s.attempts == 1).await;
    assert!(stats.last_error.unwrap().contains("failed inside"));
    setup.clock.advance(Duration::from_secs(1));
    setup.until("delivery", |s| s.delivered == 1).await;
}
