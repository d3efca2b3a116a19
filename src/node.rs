//! One process of flowhook: opens bus and store, starts the roles asked for, stops them in order.
//!
//! The only file that names all roles.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aggregator::{Aggregator, AggregatorDeps, AggregatorError};
use collector::interface::FlowSink;
use collector::{Collector, CollectorDeps, CollectorError};
use notifier::{NotifierDeps, NotifierError};
use shared::bus::memory::{MemoryBus, MemoryConfig};
use shared::bus::nats::NatsBus;
use shared::bus::{BusError, SharedBus};
use shared::clock::{SharedClock, SystemClock};
use shared::geo::GeoBases;
use shared::lease::Leases;
use shared::lease::memory::MemoryLeases;
use shared::model::LocalNetworks;
use shared::script::engine::ScriptEngine;
use shared::script::lists::Lists;
use shared::script::registry::Registry;
use shared::script::source::{self, ScriptSource};
use shared::seal::Sealer;
use shared::store::documents::DocumentStore;
use shared::store::partitions::PartitionStore;
use shared::store::sqlite::SqliteStore;
use shared::store::{Ledger, StoreError};
use shared::wire::subject::Subjects;

use crate::config::{BusKind, Config};
use crate::exit::{self, Failure};
use crate::report::Report;
use crate::scripts::{self, Lifecycle};
use crate::settings::{self, Keeper};

/// Aggregators of one group share the partitions.
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

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration says something impossible.
    #[error("configuration: {}", .0.join("; "))]
    Config(Vec<String>),
    /// Scripts cannot be read.
    #[error(transparent)]
    Script(#[from] shared::script::ScriptError),
    /// Another process uses the state directory.
    #[error("state directory {path} is in use by another flowhook, or cannot be written: {cause}")]
    StateDir {
        /// Which directory.
        path: String,
        /// Why.
        cause: String,
    },
    /// The bus cannot be reached.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The collector does not start.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The aggregator does not start.
    #[error(transparent)]
    Aggregator(#[from] AggregatorError),
    /// The notifier does not start.
    #[error(transparent)]
    Notifier(#[from] NotifierError),
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        let code = match &error {
            NodeError::Config(_) | NodeError::Script(_) => exit::CONFIG,
            NodeError::Collector(CollectorError::Capture(capture)) => exit::capture_code(capture),
            NodeError::Aggregator(AggregatorError::PortTaken { .. }) => exit::PORT_TAKEN,
            _ => exit::FAILED,
        };
        Self::new(code, error)
    }
}

/// A running process.
pub struct Node {
    bus: SharedBus,
    /// The same, where it is NATS: it also gives out leases.
    nats: Option<Arc<NatsBus>>,
    store: Option<SqliteStore>,
    collector: Option<Collector>,
    aggregator: Option<Aggregator>,
    notifier: Option<NotifierRole>,
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
            let engine = ScriptEngine::new(config.scripts.limits.clone());
            let (_, errors) = Registry::load(&engine, sources.clone(), &config.scripts.settings);
            if !errors.is_empty() {
                return Err(NodeError::Config(errors.iter().map(ToString::to_string).collect()));
            }
        }
        let name = config.node_name();
        let clock: SharedClock = SystemClock::shared();
        let subjects = Subjects::new(&config.bus.prefix);
        let keeps_state = roles.aggregator || roles.notifier;
        let lock = if keeps_state { Some(lock(&config.node.state_dir)?) } else { None };
        let store = match keeps_state {
            true => Some(SqliteStore::open(&config.node.state_dir)?),
            false => None,
        };
        let mut server = None;
        let bus: SharedBus = match config.bus.kind {
            BusKind::Memory => MemoryBus::new(MemoryConfig::default()),
            BusKind::Nats => {
                let mut nats = config.bus.nats.clone();
                nats.prefix.clone_from(&config.bus.prefix);
                let nats = NatsBus::connect(nats).await?;
                server = Some(Arc::clone(&nats));
                nats
            }
        };
        let mut node = Self {
            bus,
            nats: server,
            store,
            collector: None,
            aggregator: None,
            notifier: None,
            watchers: Vec::new(),
            last_words: None,
            _lock: lock,
        };
        let started = node.start_roles(config, roles, options, sources, name, clock, subjects).await;
        match started {
            Ok(()) => Ok(node),
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
        let documents = self.store.clone().filter(|_| roles.aggregator);
        let documents = documents.map(|store| Arc::new(store) as Arc<dyn DocumentStore>);
        let file = settings::of_file(config);
        let (bus, known) = (Arc::clone(&self.bus), subjects.clone());
        let (settings, keeper) = Keeper::start(file.clone(), documents.clone(), bus, known).await?;
        self.watchers.push(tokio::spawn(keeper.run()));
        let lifecycle = roles.aggregator.then(|| Lifecycle {
            bus: Arc::clone(&self.bus),
            subjects: subjects.clone(),
            site: config.node.site.clone(),
            clock: Arc::clone(&clock),
        });
        let (scripts, watcher) = scripts::watch(config, sources, lists, geo, settings.clone(), lifecycle);
        self.last_words = watcher.last_words();
        if roles.collector || roles.aggregator {
            self.watchers.push(tokio::spawn(watcher.run()));
        }
        if let Some(store) = self.store.clone().filter(|_| roles.notifier) {
            let deps = NotifierDeps {
                sealer: sealer(config)?,
                bus: Arc::clone(&self.bus),
                ledger: Arc::new(store),
                clock: Arc::clone(&clock),
                subjects: subjects.clone(),
                settings: settings.clone(),
                config: config.notifier.clone(),
                owner: name.clone(),
            };
            self.notifier = Some(notifier::spawn(deps).await?);
        }
        if let (Some(store), Some(documents)) = (self.store.clone(), documents) {
            let leases: Arc<dyn Leases> = match &self.nats {
                Some(nats) => nats.leases(GROUP, shared::lease::TTL),
                None => MemoryLeases::new(Arc::clone(&clock), store.highest_fence().await?),
            };
            let deps = AggregatorDeps {
                sealer: sealer(config)?,
                bus: Arc::clone(&self.bus),
                alerts: Arc::new(store.clone()),
                flows: Arc::new(store.clone()),
                memory: Arc::new(store.clone()),
                partitions: Arc::new(store.clone()),
                series: Arc::new(store),
                leases,
                group: GROUP.to_owned(),
                alone: config.bus.kind == BusKind::Memory,
                run: u64::try_from(clock.now().ns()).unwrap_or(0),
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
                epoch: u64::try_from(clock.now().ns()).unwrap_or(0),
                clock,
                seed: options.seed,
                flow_sink: options.flow_sink,
                spool_dir: self.nats.as_ref().map(|_| config.node.state_dir.join("spool")),
            };
            self.collector = Some(collector::spawn(deps).await?);
        }
        Ok(())
    }

    /// Where the API listens.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.aggregator.as_ref().and_then(|a| a.api_address)
    }

    /// Where log lines are listened for.
    pub fn syslog_address(&self) -> Option<SocketAddr> {
        self.aggregator.as_ref().and_then(|a| a.syslog_address)
    }

    /// The collector role.
    pub fn collector(&self) -> Option<&Collector> {
        self.collector.as_ref()
    }

    /// Waits until every capture file has been read, or a role has ended.
    pub async fn captured(&self) {
        let Some(collector) = &self.collector else { return };
        let mut finished = collector.finished.clone();
        let files = async {
            // An error means that the supervisor is gone, which `failed` tells.
            let _ = finished.wait_for(|done| *done).await;
        };
        tokio::select! {
            () = files => {}
            () = self.failed() => {}
        }
    }

    /// Waits until what was captured has gone all the way: bus, alert state, ledger. Gives up at
    /// `deadline`, when an endpoint does not answer; returns whether all had gone.
    pub async fn drained(&self, deadline: Duration) -> bool {
        let all = async {
            loop {
                if self.is_drained().await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(deadline, all).await.is_ok()
    }

    async fn is_drained(&self) -> bool {
        if self.bus.outstanding().unwrap_or(0) > 0 {
            return false;
        }
        if let Some(aggregator) = &self.aggregator
            && !aggregator.is_idle().await
        {
            return false;
        }
        match &self.store {
            Some(store) => {
                let owed = store.outstanding().await.unwrap_or(0);
                owed == 0 && self.bus.outstanding().unwrap_or(0) == 0
            }
            None => true,
        }
    }

    /// Waits until a role has ended by itself, which it does only when it has given up.
    pub async fn failed(&self) {
        loop {
            let ended = self.collector.as_ref().is_some_and(|c| c.handle.is_finished())
                || self.aggregator.as_ref().is_some_and(|a| a.handle.is_finished())
                || self.notifier.as_ref().is_some_and(|(_, handle)| handle.is_finished());
            if ended {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What this process has done.
    pub async fn report(&self) -> Report {
        let mut report = Report::default();
        if let Some(collector) = &self.collector {
            report.add_collector(collector.report());
        }
        if let Some(aggregator) = &self.aggregator {
            report.add_aggregator(aggregator.report().await);
        }
        if let Some(store) = &self.store
            && self.notifier.is_some()
        {
            let stats = store.stats().await.unwrap_or_default();
            for recipient in stats {
                let outcomes: BTreeMap<String, u64> = [
                    ("delivered", recipient.delivered),
                    ("dead", recipient.dead),
                    ("pending", recipient.pending),
                ]
                .map(|(name, count)| (name.to_owned(), count))
                .into();
                report.deliveries.insert(recipient.recipient, outcomes);
            }
        }
        report
    }

    /// Stops in order: who produces first, each draining what it has; then closes bus and store.
    pub async fn stop(mut self) {
        for watcher in self.watchers.drain(..) {
            watcher.abort();
        }
        if let Some(last_words) = self.last_words.take() {
            last_words.say().await;
        }
        if let Some(collector) = self.collector.take() {
            stop_actor(&collector.actor.get_cell(), collector.handle, "collector").await;
        }
        if self.aggregator.is_some() && self.bus.outstanding().is_some() {
            self.bus_empties(Duration::from_secs(20)).await;
        }
        self.history_is_whole(Duration::from_secs(10)).await;
        if let Some(aggregator) = self.aggregator.take() {
            stop_actor(&aggregator.actor.get_cell(), aggregator.handle, "aggregator").await;
        }
        if let Some((actor, handle)) = self.notifier.take() {
            stop_actor(&actor.get_cell(), handle, "notifier").await;
        }
        let _ = self.bus.flush().await;
        self.bus.close().await;
        if let Some(store) = &self.store {
            store.close().await;
        }
    }

    /// Waits until the last alerts have gone through the ledger into the history: both roles are
    /// needed for that, so it is done before either stops.
    async fn history_is_whole(&self, deadline: Duration) {
        let (Some(aggregator), Some((_, notifier)), Some(store)) =
            (&self.aggregator, &self.notifier, &self.store)
        else {
            return;
        };
        let whole = async {
            loop {
                let stats = store.stats().await.unwrap_or_default();
                let owed = stats.iter().any(|lane| lane.recipient == "alert_store" && lane.pending > 0);
                let ended = aggregator.handle.is_finished() || notifier.is_finished();
                if ended || (aggregator.is_idle().await && !owed) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(deadline, whole).await.is_err() {
            tracing::warn!(
                "alerts are still on their way into the history; they are stored after the next start"
            );
        }
    }

    /// Waits until nothing is under way on an in-process bus.
    async fn bus_empties(&self, deadline: Duration) {
        let empty = async {
            while self.bus.outstanding().unwrap_or(0) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(deadline, empty).await.is_err() {
            tracing::error!(left = self.bus.outstanding(), "messages were still under way at the stop");
        }
    }
}

async fn stop_actor(cell: &ractor::ActorCell, handle: tokio::task::JoinHandle<()>, role: &str) {
    cell.stop(None);
    if tokio::time::timeout(Duration::from_secs(45), handle).await.is_err() {
        tracing::error!(role, "did not stop within 45 s");
    }
}

/// Built-in scripts and the user's, in this order.
///
/// # Errors
/// A [`ScriptError`](shared::script::ScriptError) names the folder or file that cannot be read.
pub fn script_sources(config: &Config) -> Result<Vec<ScriptSource>, shared::script::ScriptError> {
    let mut sources = if config.scripts.builtin { source::builtin() } else { Vec::new() };
    if !config.scripts.dir.as_os_str().is_empty() {
        sources.extend(source::load_dir(&config.scripts.dir)?);
    }
    Ok(sources)
}

/// The lists that scripts look things up in.
///
/// # Errors
/// Names the file that cannot be read.
pub fn script_lists(config: &Config) -> Result<Lists, NodeError> {
    Lists::load(&config.scripts.lists).map_err(|wrong| NodeError::Config(vec![wrong]))
}

/// The databases that tell where addresses are.
///
/// # Errors
/// Names the file that cannot be read.
pub fn geo_bases(config: &Config) -> Result<GeoBases, NodeError> {
    GeoBases::load(&config.geo.databases).map_err(|wrong| NodeError::Config(vec![wrong]))
}

/// What seals the secrets of edited settings.
fn sealer(config: &Config) -> Result<Arc<Sealer>, NodeError> {
    let loaded = Sealer::load(&config.node.secret_key, &config.node.state_dir);
    loaded.map(Arc::new).map_err(|cause| NodeError::Config(vec![format!("node.secret_key: {cause}")]))
}

/// Makes sure that one process alone uses the state directory.
fn lock(dir: &Path) -> Result<File, NodeError> {
    let wrong = |cause: String| NodeError::StateDir { path: dir.display().to_string(), cause };
    std::fs::create_dir_all(dir).map_err(|e| wrong(e.to_string()))?;
    let file = File::create(dir.join("flowhook.lock")).map_err(|e| wrong(e.to_string()))?;
    file.try_lock().map_err(|e| wrong(e.to_string()))?;
    Ok(file)
}
