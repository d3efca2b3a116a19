//! Aggregators: the keeper's effects, shards and the outbox, without the actors around them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aggregator::AggregatorConfig;
use aggregator::carrier::Carrier;
use aggregator::keeper::{Effect, Event, Keeper, Renewal, Times};
use aggregator::shard::state::ShardState;
use aggregator::shard::{Backlog, ShardArgs};
use shared::lease::Leases;
use shared::model::{LocalNetworks, Timestamp};
use shared::script::registry::ScriptSetup;
use shared::script::source::{Origin, ScriptSource};
use shared::store::StoreError;
use shared::wire::heartbeat::Heartbeat;
use shared::wire::partition;
use shared::wire::subject::Subjects;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::bus::NodeBus;
use crate::collectors;
use crate::leases::NodeLeases;
use crate::store::NodeStore;
use crate::world::{Bug, World};

/// Raises, remembers, counts and posts; everything that a takeover could spoil.
const SCRIPT: &str = r#"#{
    hooks: #{ min: |p| {
        let n = recall("n"); if n == () { n = 0 }
        remember("n", n + 1);
        metric_inc("runs");
        if p.delta.bytes > 3000 { trigger_alert(#{ message: `run ${n}: ${p.delta.bytes}`, value: p.delta.bytes }) }
        if n % 3 == 1 { http_post("http://example.com/", `${p.entity_info} ${n}`) }
    } }
}"#;

pub fn setup() -> ScriptSetup {
    let source =
        ScriptSource { name: "sim".into(), origin: Origin::Inline, folder: None, text: SCRIPT.to_owned() };
    ScriptSetup { sources: vec![source], ..ScriptSetup::default() }
}

pub fn config() -> AggregatorConfig {
    AggregatorConfig { snapshot_s: 20, ..AggregatorConfig::default() }
}

pub fn networks() -> Arc<LocalNetworks> {
    Arc::new(LocalNetworks::new(["10.0.0.0/8".parse().unwrap()]))
}

/// One run of an aggregator; it dies with the set.
pub fn start(world: &Arc<World>, node: &str, run: u64) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let aggregator = Aggregator::new(Arc::clone(world), node.to_owned(), run);
    tasks.spawn_local(aggregator.live());
    tasks
}

struct Aggregator {
    world: Arc<World>,
    node: String,
    run: u64,
    carrier: Carrier,
    leases: Arc<NodeLeases>,
    tell: mpsc::UnboundedSender<Event>,
    told: mpsc::UnboundedReceiver<Event>,
    tasks: JoinSet<()>,
    shards: BTreeMap<u32, (watch::Sender<bool>, AbortHandle)>,
    leaves: bool,
}

impl Aggregator {
    fn new(world: Arc<World>, node: String, run: u64) -> Self {
        let store = Arc::new(NodeStore { world: Arc::clone(&world), node: node.clone() });
        let carrier = Carrier {
            events: shared::events::Emitter::quiet(),
            bus: NodeBus::shared(&world, &node),
            subjects: Subjects::default(),
            alerts: Arc::clone(&store) as _,
            memory: Arc::clone(&store) as _,
            partitions: Arc::clone(&store) as _,
            series: store,
            outbox: Arc::new(Notify::new()),
        };
        let leases = Arc::new(NodeLeases { world: Arc::clone(&world), node: node.clone() });
        let (tell, told) = mpsc::unbounded_channel();
        let (tasks, shards) = (JoinSet::new(), BTreeMap::new());
        Self { world, node, run, carrier, leases, tell, told, tasks, shards, leaves: false }
    }

    async fn live(mut self) {
        let Carrier { bus, subjects, alerts, outbox, .. } = self.carrier.clone();
        let mut words = bus.subscribe(&subjects.all("hb")).await.unwrap();
        let tell = self.tell.clone();
        self.tasks.spawn_local(async move {
            while let Some(word) = words.next().await {
                let Heartbeat { node, run, leaves, .. } = Heartbeat::decode(&word.payload).unwrap();
                let _ = tell.send(Event::Heard { node, run, leaves });
            }
        });
        self.tasks.spawn_local(aggregator::outbox::run(bus, subjects, alerts, outbox));
        let mut keeper = Keeper::new(self.node.clone(), self.run, false, Times::default());
        let tick = Duration::from_millis(500);
        let mut next = tokio::time::Instant::now();
        loop {
            let event = tokio::select! {
                biased;
                () = tokio::time::sleep_until(next) => { next = tokio::time::Instant::now() + tick; Event::Tick }
                event = self.told.recv() => event.unwrap(),
            };
            self.world.awake(&self.node).await;
            if event == Event::Tick && self.world.lock().leave && !std::mem::replace(&mut self.leaves, true) {
                for effect in keeper.step(self.world.now(), Event::Leave) {
                    self.act(effect, self.world.now());
                }
            }
            // Monotonic clocks go on while a process sleeps.
            let now = self.world.now();
            for effect in keeper.step(now, event) {
                self.act(effect, now);
            }
        }
    }

    fn act(&mut self, effect: Effect, asked: Duration) {
        let (leases, tell) = (Arc::clone(&self.leases), self.tell.clone());
        match effect {
            Effect::Beat { leaves } => {
                let beat = Heartbeat {
                    node: self.node.clone(),
                    site: "s".into(),
                    role: "aggregator".into(),
                    group: "all".into(),
                    run: self.run,
                    partitions: partition::PARTITIONS,
                    leaves,
                    before: String::new(),
                    sent: Timestamp::ZERO,
                };
                let (bus, subject) =
                    (Arc::clone(&self.carrier.bus), self.carrier.subjects.heartbeat(&self.node));
                self.tasks.spawn_local(async move { drop(bus.publish(&subject, beat.encode()).await) });
            }
            // Nobody needs the others; they are never answered for.
            Effect::Take(partition) if !is_used(partition) => {}
            Effect::Take(partition) => {
                let holder = self.node.clone();
                self.tasks.spawn_local(async move {
                    let lease = leases.take(&format!("p.{partition}"), &holder).await.unwrap_or(None);
                    let _ = tell.send(Event::Taken { partition, asked, lease });
                });
            }
            Effect::Renew(partition, lease) => {
                self.tasks.spawn_local(async move {
                    let outcome = match leases.renew(&lease).await {
                        Ok(Some(lease)) => Renewal::Kept(lease),
                        Ok(None) => Renewal::Lost,
                        Err(_) => Renewal::Unknown,
                    };
                    let _ = tell.send(Event::Renewed { partition, asked, outcome });
                });
            }
            Effect::GiveUp(lease) => {
                self.tasks.spawn_local(async move { drop(leases.give_up(&lease).await) });
            }
            Effect::Start(partition, fence) => {
                let (stop, stopped) = watch::channel(false);
                let world = Arc::clone(&self.world);
                let handle = self.tasks.spawn_local(shard(world, self.args(partition, fence), stopped, tell));
                self.shards.insert(partition, (stop, handle));
            }
            Effect::Stop(partition) => match self.shards.remove(&partition) {
                Some((stop, _)) => drop(stop.send_replace(true)),
                None => drop(tell.send(Event::Ended(partition))),
            },
            Effect::Kill(partition) => {
                if let Some((_, handle)) = self.shards.remove(&partition) {
                    handle.abort();
                }
                let _ = tell.send(Event::Ended(partition));
            }
            Effect::SameName => panic!("{} meets its name", self.node),
        }
    }

    fn args(&self, partition: u32, fence: u64) -> ShardArgs {
        ShardArgs {
            partition,
            fence,
            site: None,
            carrier: self.carrier.clone(),
            networks: networks(),
            config: config(),
            scripts: setup().into(),
            backlog: Backlog::default(),
            levels: Arc::new(Vec::new),
            clock: shared::clock::ManualClock::new(Timestamp::from_secs(collectors::START)),
            refused: BTreeSet::new(),
            at_once: false,
        }
    }
}

fn is_used(partition: u32) -> bool {
    collectors::interfaces().any(|(site, ifid)| partition::of_interface(site, ifid) == partition)
}

/// A shard with its restarts, until it is told to stop or its partition is another's.
async fn shard(
    world: Arc<World>,
    args: ShardArgs,
    mut stop: watch::Receiver<bool>,
    tell: mpsc::UnboundedSender<Event>,
) {
    let partition = args.partition;
    loop {
        let run = async {
            let (mut state, mut deltas) = ShardState::begin(args.clone()).await?;
            loop {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => return state.leave().await,
                    delta = deltas.next() => match delta {
                        Some(delta) if world.has(Bug::SummaryForgotten) && world.fails(1) => delta.ack(),
                        Some(delta) => state.delta(delta).await?,
                        None => return Err("the stream ended".into()),
                    },
                }
            }
        };
        let Err(error) = run.await else { break };
        let stale =
            error.downcast_ref::<StoreError>().is_some_and(|e| matches!(e, StoreError::StaleFence { .. }));
        if stale {
            let _ = tell.send(Event::Stale(partition));
            break;
        }
        if *stop.borrow() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let _ = tell.send(Event::Ended(partition));
}
