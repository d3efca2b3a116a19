//! Notifiers: the real router and lane, a ledger in memory, and an endpoint that may not say how it went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use notifier::NotifierConfig;
use notifier::endpoint::{DeliveryError, Manners};
use notifier::lane::{HORIZON, Lane, Policy, Turn};
use notifier::pace::SharedPace;
use notifier::route::Router;
use shared::bus::{Queued, Stream};
use shared::model::Timestamp;
use shared::store::{Delivery, LedgerEvent, Outcome};
use shared::wire::subject::Subjects;
use tokio::task::JoinSet;

use crate::bus::NodeBus;
use crate::world::{Bug, World};

/// How long a delivery may be under way before another may claim it.
const CLAIM: Duration = Duration::from_secs(20);

/// What one event owes to the one recipient.
pub struct Owed {
    pub event: LedgerEvent,
    attempts: u32,
    claimed: Option<(String, tokio::time::Instant)>,
    not_before: Duration,
    pub done: bool,
}

/// The ledger and what the endpoint has seen.
#[derive(Default)]
pub struct Deliveries {
    pub owed: Vec<Owed>,
    known: BTreeSet<String>,
    /// Events as the endpoint got them, in order, again ones included.
    pub seen: Vec<String>,
}

/// One run of a notifier; it dies with the set.
pub fn start(world: &Arc<World>, node: &str) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn_local(dispatch(Arc::clone(world), node.to_owned()));
    tasks.spawn_local(lane(Arc::clone(world), node.to_owned()));
    tasks
}

fn router() -> Router {
    let config = serde_json::json!({
        "endpoint": [{ "name": "e", "kind": "webhook", "params": { "url": "https://example.com/" } }],
        "recipient": [{ "name": "r", "endpoint": "e" }],
    });
    let config: NotifierConfig = serde_json::from_value(config).unwrap();
    Router::new(&config, tokio::sync::watch::channel(Arc::default()).1)
}

/// The store is the same as the aggregators', with the same troubles.
async fn ledger(world: &World, node: &str) -> bool {
    world.sleep_ms(20).await;
    world.until(node, |trouble| trouble.asleep || trouble.no_store).await;
    !world.fails(1)
}

/// What the node's clock shows.
fn wall(world: &World, node: &str) -> Timestamp {
    let clock = world.trouble(node).clock_s;
    Timestamp::from_secs(crate::collectors::START + world.now().as_secs() as i64 + clock)
}

async fn dispatch(world: Arc<World>, node: String) {
    let router = router();
    let bus = NodeBus::shared(&world, &node);
    let filter = Subjects::default().all(Stream::Alert.kind());
    let mut alerts = bus.consume(Stream::Alert, "notifier", &filter).await.unwrap();
    while let Some(queued) = alerts.next().await {
        let events = router.alert(&queued.payload, wall(&world, &node)).unwrap();
        let mut queued = Some(queued);
        if world.has(Bug::AckedTooEarly) {
            queued.take().into_iter().for_each(Queued::ack);
        }
        while !ledger(&world, &node).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        {
            let mut shared = world.lock();
            let deliveries = &mut shared.deliveries;
            for event in events.into_iter().filter(|event| event.recipients.iter().any(|name| name == "r")) {
                if deliveries.known.insert(event.id.clone()) {
                    let not_before = Duration::ZERO;
                    deliveries.owed.push(Owed { event, attempts: 0, claimed: None, not_before, done: false });
                }
            }
        }
        // An answer may be lost; then the message comes again, and is known.
        if ledger(&world, &node).await {
            queued.into_iter().for_each(Queued::ack);
        }
    }
}

async fn lane(world: Arc<World>, node: String) {
    let manners = Manners::of_batch(4);
    let config: NotifierConfig = serde_json::from_value(serde_json::json!({})).unwrap();
    let mut lane = Lane::new(Policy::new(&config, manners, None), SharedPace::default());
    loop {
        world.awake(&node).await;
        let wall = || wall(&world, &node);
        let most = match lane.turn(wall()) {
            Turn::Wait(wait) => {
                tokio::time::sleep(wait.min(Duration::from_secs(5))).await;
                continue;
            }
            Turn::Claim(most) => most,
        };
        if !ledger(&world, &node).await {
            lane.unused();
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        let oldest = lane.oldest(most);
        let batch = claim(&world, &node, most, oldest, wall());
        if batch.is_empty() {
            lane.unused();
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        let results = deliver(&world, &node, &batch).await;
        let settled = lane.settle(batch, results, 1, wall());
        while !ledger(&world, &node).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        settle(&world, &node, settled, wall());
    }
}

/// Of the oldest unfinished deliveries of each key, unless another works on it, the gravest, and `oldest` by
/// their age.
fn claim(world: &World, node: &str, most: usize, oldest: usize, now: Timestamp) -> Vec<Delivery> {
    let at = world.now();
    let mut shared = world.lock();
    let mut keys = BTreeSet::new();
    let mut due: Vec<&mut Owed> = Vec::new();
    for owed in shared.deliveries.owed.iter_mut().filter(|owed| !owed.done) {
        let head = keys.insert(owed.event.order_key.clone());
        let free = owed.claimed.as_ref().is_none_or(|(_, since)| since.elapsed() >= CLAIM);
        if head && free && owed.not_before <= at {
            due.push(owed);
        }
    }
    // They are in order of acceptance.
    let rest = due.get_mut(oldest..).unwrap_or_default();
    rest.sort_by_key(|owed| std::cmp::Reverse(owed.event.severity));
    let mut batch = Vec::new();
    for owed in due.into_iter().take(most) {
        owed.claimed = Some((node.to_owned(), tokio::time::Instant::now()));
        batch.push(Delivery {
            event_id: owed.event.id.clone(),
            recipient: "r".to_owned(),
            kind: owed.event.kind,
            payload: owed.event.payload.clone(),
            traceparent: None,
            attempts: owed.attempts,
            deadline: now.plus_ns(HORIZON.as_nanos() as i64),
            accepted_at: now,
            maybe_told: false,
            claimed_by: node.to_owned(),
        });
    }
    batch
}

async fn deliver(world: &World, node: &str, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
    let mut results = Vec::new();
    for delivery in batch {
        world.way(node).await;
        if world.fails(3) {
            results.push(Err(DeliveryError::retry("503")));
            continue;
        }
        world.lock().deliveries.seen.push(delivery.event_id.clone());
        let lost = world.fails(3);
        results.push(if lost { Err(DeliveryError::retry("no answer")) } else { Ok(()) });
    }
    results
}

fn settle(world: &World, node: &str, settled: Vec<(Delivery, Outcome)>, now: Timestamp) {
    let at = world.now();
    let mut shared = world.lock();
    for (delivery, outcome) in settled {
        let owed = shared.deliveries.owed.iter_mut().find(|owed| owed.event.id == delivery.event_id);
        let owed = owed.expect("what was claimed is owed");
        // Whoever claimed it since settles it.
        if owed.claimed.as_ref().is_none_or(|(by, _)| by != node) || owed.done {
            continue;
        }
        (owed.claimed, owed.attempts) = (None, owed.attempts + 1);
        match outcome {
            Outcome::Delivered { .. } => owed.done = true,
            Outcome::Retry { at: again, .. }
            | Outcome::Unknown { at: again, .. }
            | Outcome::Postponed { at: again, .. }
            | Outcome::Waits { at: again, .. } => {
                let wait = u64::try_from(again.since(now).max(0)).unwrap();
                owed.not_before = at + Duration::from_nanos(wait);
            }
            Outcome::Dead { reason } | Outcome::Diverted { reason, .. } => panic!("given up: {reason}"),
            other @ (Outcome::Suppressed { .. } | Outcome::Merged { .. }) => panic!("not told: {other:?}"),
        }
    }
}

/// How often each event arrived.
pub fn arrivals(seen: &[String]) -> BTreeMap<&str, u32> {
    let mut counts = BTreeMap::new();
    for id in seen {
        *counts.entry(id.as_str()).or_default() += 1;
    }
    counts
}
