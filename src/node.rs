//! One process of flowhook: opens bus and store, starts the roles asked for, stops them in order.
//!
//! The only file that names all roles.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use aggregator::{Aggregator, AggregatorDeps};
use collector::interface::FlowSink;
use collector::{Collector, CollectorDeps};
use notifier::NotifierDeps;
use shared::bus::SharedBus;
use shared::bus::memory::{MemoryBus, MemoryConfig};
use shared::bus::nats::NatsBus;
use shared::clock::{SharedClock, SystemClock};
use shared::events::{Emitter, Outlet};
use shared::lease::Leases;
use shared::lease::memory::MemoryLeases;
use shared::model::LocalNetworks;
use shared::presence;
use shared::script::source::ScriptSource;
use shared::store::Store;
use shared::store::documents::DocumentStore;
use shared::store::events::EventStore;
use shared::teller::Teller;
use shared::wire::heartbeat::Heartbeat;
use shared::wire::partition::PARTITIONS;
use shared::wire::subject::Subjects;

use crate::config::{BusKind, Config, StoreKind};
use crate::exporters;
use crate::scripts::{self, Lifecycle};
use crate::settings::{self, Keeper};

mod answers;
mod error;
mod group;
mod identity;
mod levels;
mod open;
mod shown;
mod standing;
mod stop;
mod told;
mod waits;
mod watchers;

pub use error::NodeError;
pub use open::{geo_bases, script_lists, script_sources};

use open::{Opened, open_store, sealer};
use standing::{Place, Standing};

/// Aggregators of one group share the partitions: this one, or those of a site.
const GROUP: &str = "all";

/// Which roles a process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Capture.
    pub collector: bool,
    /// Elements, alerts, API.
    pub aggregator: bool,
    /// Deliveries.
    pub notifier: bool,
}

impl Roles {
    /// Every role.
    pub const ALL: Self = Self { collector: true, aggregator: true, notifier: true };
    /// No role, to add one to.
    pub const NONE: Self = Self { collector: false, aggregator: false, notifier: false };

    /// What a process that plays these roles is called beside others of its node.
    const fn process(self) -> &'static str {
        match (self.aggregator, self.notifier) {
            (true, true) => "both",
            (true, false) => "aggregator",
            (false, true) => "notifier",
            (false, false) => "collector",
        }
    }

    /// Names of those that are played, as heartbeats say them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = [self.collector.then_some("collector"), self.aggregator.then_some("aggregator")];
        named.into_iter().chain([self.notifier.then_some("notifier")]).flatten()
    }
}

/// What a node is started with, beside its configuration.
#[derive(Default)]
pub struct NodeOptions {
    /// Where ended flows are written too.
    pub flow_sink: Option<FlowSink>,
    /// Metrics in Prometheus format.
    pub metrics: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    /// Same seed, same jitter and same hashes.
    pub seed: u64,
}

/// A running process.
pub struct Node {
    bus: SharedBus,
    /// The same, where it is NATS: it also gives out leases.
    nats: Option<Arc<NatsBus>>,
    store: Option<Arc<dyn Store>>,
    collector: Option<Collector>,
    aggregator: Option<Aggregator>,
    notifier: Option<NotifierRole>,
    /// Tells events, and the task that does it.
    events: Emitter,
    telling: Option<tokio::task::JoinHandle<()>>,
    /// The node's name.
    name: String,
    roles: Roles,
    /// What is remembered of its roles.
    standing: Option<Standing>,
    /// What the roles say of themselves, but for the aggregator's.
    words: Vec<Heartbeat>,
    subjects: Subjects,
    /// The interfaces that the collector reads live.
    interfaces: Vec<String>,
    /// Whose the events are in the outbox.
    owner: String,
    /// Tells it from another node of its name.
    instance: String,
    /// Look after settings and scripts.
    watchers: Vec<tokio::task::JoinHandle<()>>,
    /// What scripts have to say at the end.
    last_words: Option<scripts::LastWords>,
    _lock: Option<File>,
}

type NotifierRole = (ractor::ActorRef<notifier::NotifierMessage>, tokio::task::JoinHandle<()>);

impl Node {
    /// Starts `roles`: first who consumes, then who produces.
    ///
    /// # Errors
    /// [`NodeError`]; what had been started is stopped again.
    pub async fn start(config: &Config, roles: Roles, options: NodeOptions) -> Result<Self, NodeError> {
        let wrong = config.check();
        if !wrong.is_empty() {
            return Err(NodeError::Config(wrong));
        }
        let sources = script_sources(config)?;
        if roles.collector || roles.aggregator {
            scripts::check(config, &sources).map_err(NodeError::Config)?;
        }
        let name = config.node_name();
        let clock: SharedClock = SystemClock::shared();
        let subjects = Subjects::new(&config.bus.prefix);
        let Opened { store, lock, instance } = match roles.aggregator || roles.notifier {
            true => open_store(config, roles, options.seed).await?,
            false => Opened::default(),
        };
        let mut server = None;
        let bus: SharedBus = match config.bus.kind {
            BusKind::Memory => MemoryBus::new(MemoryConfig::default()),
            BusKind::Nats => {
                let mut nats = config.bus.nats.clone();
                nats.prefix.clone_from(&config.bus.prefix);
                // Under a prefix that is written wrong a collector would make streams that nobody reads.
                nats.create_streams.get_or_insert(roles.aggregator);
                let nats = NatsBus::connect(nats).await?;
                server = Some(Arc::clone(&nats));
                nats
            }
        };
        let source = format!("/{}/{name}", config.node.site);
        let owner = format!("{source}/{}", roles.process());
        let outlet = Outlet {
            bus: Arc::clone(&bus),
            store: store.clone().map(|store| store as Arc<dyn EventStore>),
            subjects: subjects.clone(),
            clock: Arc::clone(&clock),
            source: source.clone(),
            owner: owner.clone(),
            answers: roles.aggregator,
            config: config.events.clone(),
        };
        let (events, telling) = Emitter::start_held(outlet);
        let mut node = Self {
            bus,
            nats: server,
            store,
            owner,
            collector: None,
            aggregator: None,
            notifier: None,
            events,
            telling: Some(telling),
            name: name.clone(),
            roles,
            standing: None,
            words: Vec::new(),
            subjects: subjects.clone(),
            interfaces: told::live_interfaces(config, roles),
            watchers: Vec::new(),
            last_words: None,
            instance,
            _lock: lock,
        };
        let started = node.start_roles(config, roles, options, sources, name, clock, subjects).await;
        match started {
            Ok(()) => {
                node.events.release();
                node.tell_started().await;
                Ok(node)
            }
            Err(error) => {
                node.stop().await;
                Err(error)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the second half of start")]
    async fn start_roles(
        &mut self,
        config: &Config,
        roles: Roles,
        options: NodeOptions,
        sources: Vec<ScriptSource>,
        name: String,
        clock: SharedClock,
        subjects: Subjects,
    ) -> Result<(), NodeError> {
        let prefixes = config.node.local_networks.iter().filter_map(|n| n.parse().ok());
        let networks = Arc::new(LocalNetworks::new(prefixes));
        let lists = script_lists(config)?;
        let geo = geo_bases(config)?;
        // Files are of one process: beside an aggregator of another, they hold nothing that users edit.
        let shared_store = config.store.kind == StoreKind::Postgres;
        let documents = self.store.clone().filter(|_| roles.aggregator || shared_store);
        let documents = documents.map(|store| store as Arc<dyn DocumentStore>);
        let teller = Teller {
            bus: Arc::clone(&self.bus),
            subjects: subjects.clone(),
            clock: Arc::clone(&clock),
            site: config.node.site.clone(),
            node: name.clone(),
        };
        self.watch_carriers(roles, teller.clone(), &config.bus.prefix);
        let file = settings::of_file(config);
        let (bus, known) = (Arc::clone(&self.bus), subjects.clone());
        let (settings, keeper) = Keeper::start(file.clone(), documents.clone(), bus, known).await?;
        self.watchers.push(tokio::spawn(keeper.run()));
        let run = u64::try_from(clock.now().ns()).unwrap_or(0);
        let epoch = match roles.collector {
            true => self.epoch(&config.node.state_dir, clock.now())?,
            false => run,
        };
        let place = Place {
            node: &name,
            site: &config.node.site,
            state_dir: &config.node.state_dir,
            clock: Arc::clone(&clock),
            events: self.events.clone(),
            store: self.store.clone().map(|store| store as Arc<dyn EventStore>),
            is_known: roles.aggregator || shared_store,
        };
        let run_of = |role: &str| if role == "collector" { epoch } else { run };
        self.standing = Some(Standing::read(place, roles, run_of).await);
        self.answer_hits(&subjects, run, &settings).await?;
        let lifecycle = roles.aggregator.then_some(Lifecycle { teller });
        let (scripts, watcher) = scripts::watch(config, sources, lists, geo, settings.clone(), lifecycle);
        self.last_words = watcher.last_words();
        if roles.collector || roles.aggregator {
            self.watchers.push(tokio::spawn(watcher.run()));
        }
        if let (true, Some(store)) = (roles.notifier, self.store.clone()) {
            let deps = NotifierDeps {
                sealer: sealer(config)?,
                bus: Arc::clone(&self.bus),
                ledger: Arc::clone(&store) as _,
                hooks: store,
                events: self.events.clone(),
                clock: Arc::clone(&clock),
                subjects: subjects.clone(),
                settings: settings.clone(),
                config: config.notifier.clone(),
                site: config.node.site.clone(),
                owner: name.clone(),
                instance: self.instance.clone(),
            };
            self.notifier = Some(notifier::spawn(deps).await?);
            self.say_there("notifier", &clock);
        }
        if let (true, Some(store), Some(documents)) = (roles.aggregator, self.store.clone(), documents) {
            let group = match config.aggregator.only_own_site {
                true => format!("site {}", config.node.site),
                false => GROUP.to_owned(),
            };
            if shared_store {
                group::claim(&*store, &group).await?;
            }
            let leases: Arc<dyn Leases> = match &self.nats {
                Some(nats) => {
                    let leases = nats.leases(&group, shared::lease::TTL, PARTITIONS);
                    leases.check().await?;
                    leases
                }
                // Nobody else could take them: they do not run out, whatever the clock does.
                None => {
                    let last = store.highest_fence().await?;
                    MemoryLeases::with_ttl(Arc::clone(&clock), last, Duration::MAX)
                }
            };
            let deps = AggregatorDeps {
                sealer: sealer(config)?,
                bus: Arc::clone(&self.bus),
                alerts: Arc::clone(&store) as _,
                flows: Arc::clone(&store) as _,
                memory: Arc::clone(&store) as _,
                partitions: Arc::clone(&store) as _,
                series: Arc::clone(&store) as _,
                sessions: Arc::clone(&store) as _,
                events: self.events.clone(),
                leases,
                group,
                alone: config.bus.kind == BusKind::Memory,
                run,
                times: aggregator::keeper::Times::default(),
                clock: Arc::clone(&clock),
                subjects: subjects.clone(),
                networks: Arc::clone(&networks),
                config: config.aggregator.clone(),
                scripts: scripts.clone(),
                documents,
                file_settings: file,
                settings,
                site: config.node.site.clone(),
                node: name.clone(),
                levels: levels::levels(config.node.state_dir.clone(), self.events.clone(), store),
                metrics_text: options.metrics.unwrap_or_else(|| Arc::new(String::new)),
            };
            self.aggregator = Some(aggregator::spawn(deps).await?);
        }
        if roles.collector {
            let apps = config.collector.app_table().map_err(|wrong| NodeError::Config(vec![wrong]))?;
            let deps = CollectorDeps {
                apps,
                config: config.collector.clone(),
                site: config.node.site.clone(),
                node: name,
                networks,
                scripts,
                bus: Arc::clone(&self.bus),
                subjects,
                epoch,
                clock: Arc::clone(&clock),
                seed: options.seed,
                flow_sink: options.flow_sink,
                spool_dir: self.nats.as_ref().map(|_| config.node.state_dir.join("spool")),
            };
            let collector = collector::spawn(deps).await?;
            if config.events.exporters {
                let watch =
                    exporters::watch(SystemClock::shared(), self.events.clone(), collector.reporter());
                self.watchers.push(tokio::spawn(watch));
            }
            self.collector = Some(collector);
            self.say_there("collector", &clock);
        }
        Ok(())
    }

    /// Says from now on that a role is there, where somebody else may hear it.
    fn say_there(&mut self, role: &str, clock: &SharedClock) {
        let word = self.standing.as_ref().filter(|_| self.nats.is_some()).and_then(|s| s.word(role));
        let Some(word) = word else { return };
        self.words.push(word.clone());
        let (bus, clock) = (Arc::clone(&self.bus), Arc::clone(clock));
        self.watchers.push(tokio::spawn(presence::say(bus, self.subjects.clone(), clock, word)));
    }
}
