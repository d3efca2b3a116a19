//! What the supervisor starts: a lane for each recipient, made anew where something was edited.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::settings::Settings;
use shared::store::StoreError;
use shared::supervise::RestartPolicy;
use shared::teller::Teller;
use tokio::sync::watch;

use crate::config::{EndpointConfig, NotifierConfig, RecipientConfig};
use crate::criteria::Criteria;
use crate::directory::Directory;
use crate::dispatcher::DispatcherArgs;
use crate::endpoint::{self, Endpoint, EndpointDeps, Gone};
use crate::follow_up::FollowUps;
use crate::hook::manager::{Health, ManagerArgs, Shared};
use crate::hook::runner::Tools;
use crate::hook::scripts::Scripts;
use crate::http::HttpClient;
use crate::inhibit::Rules;
use crate::lane::Policy;
use crate::pace::SharedPace;
use crate::recipient::{EndpointHealth, LaneHandle, RecipientArgs};
use crate::roster::{Known, Roster};
use crate::route::{ALERT_STORE, Router, SCRIPT_HTTP};
use crate::supervisor::{NotifierDeps, NotifierError};

/// Where the ledger notes the edited endpoints and recipients that were last in force.
const SCOPE: &str = "settings";
const KEY: &str = "last";

/// Why a recipient's deliveries are given up.
const DISABLED: &str = "the recipient is disabled";
const NOT_CONFIGURED: &str = "the recipient is not configured any more";

/// Everything that children are started with, again and again.
pub struct Plan {
    /// What the role was started with.
    pub deps: NotifierDeps,
    /// For the dispatcher.
    pub dispatcher: DispatcherArgs,
    /// For the hook manager.
    pub hooks: ManagerArgs,
    /// For each lane.
    pub lanes: BTreeMap<String, RecipientArgs>,
    /// How often a child may fail.
    pub restarts: RestartPolicy,
    /// What endpoints are built with.
    pub endpoint_deps: EndpointDeps,
    /// Which endpoints and recipients there are.
    pub directory: Directory,
    /// Who gets what is owed to a recipient that is removed.
    pub moves: BTreeMap<String, String>,
    roster: watch::Sender<Arc<Roster>>,
    /// What each lane was made from.
    origins: BTreeMap<String, Origin>,
    /// Handles outlive lanes, so that whoever holds one always reaches the lane of that name.
    handles: BTreeMap<String, Arc<LaneHandle>>,
    /// How endpoints do, by name.
    healths: BTreeMap<String, Arc<EndpointHealth>>,
    /// How fast far ends are asked: of an endpoint, or of one of its recipients.
    paces: BTreeMap<(String, Option<String>), SharedPace>,
    told: BTreeSet<String>,
}

/// What a lane is made from: as long as this is the same, it goes on.
#[derive(Clone, Debug, PartialEq)]
enum Origin {
    Builtin,
    Configured(Box<(EndpointConfig, RecipientConfig)>),
    Gone(&'static str, Option<String>),
}

/// Edited endpoints and recipients as the ledger notes them; secrets in them are sealed.
#[derive(Default, Serialize, Deserialize)]
struct Noted {
    endpoints: BTreeMap<String, Value>,
    recipients: BTreeMap<String, Value>,
}

impl Plan {
    /// Of the configuration file and what is edited at the moment.
    ///
    /// # Errors
    /// [`NotifierError`] when the configuration is wrong or the ledger cannot be read.
    pub async fn new(deps: NotifierDeps) -> Result<Self, NotifierError> {
        let wrong = deps.config.check();
        if !wrong.is_empty() {
            return Err(NotifierError::Config(wrong));
        }
        let timeout = Duration::from_secs(deps.config.http_timeout_s);
        let targets = deps.config.targets().map_err(|cause| NotifierError::Config(vec![cause]))?;
        let proxy = deps.config.proxy().map_err(|cause| NotifierError::Config(vec![cause]))?;
        let clock = Arc::clone(&deps.clock);
        let http = HttpClient::through(proxy, timeout, targets, clock).map_err(NotifierError::Http)?;
        let endpoint_deps = EndpointDeps {
            http,
            bus: Arc::clone(&deps.bus),
            subjects: deps.subjects.clone(),
            clock: Arc::clone(&deps.clock),
            node: deps.owner.clone(),
            batch: deps.config.batch,
            ledger: Arc::clone(&deps.ledger),
            shell_dir: deps.config.shell_dir(),
            settings: deps.settings.clone(),
        };
        // Recipients of the file have to be right, or nothing starts.
        let mut handles = BTreeMap::new();
        recipients(&deps.config, &endpoint_deps, &mut handles)
            .map_err(|(_, cause)| NotifierError::Config(vec![cause]))?;
        let router = Router::new(&deps.config, deps.settings.clone());
        let empty = Roster { recipients: Vec::new(), router, lanes: BTreeMap::new() };
        let (roster, live) = watch::channel(Arc::new(empty));
        let dispatcher = DispatcherArgs {
            bus: Arc::clone(&deps.bus),
            ledger: Arc::clone(&deps.ledger),
            events: deps.events.clone(),
            clock: Arc::clone(&deps.clock),
            subjects: deps.subjects.clone(),
            roster: live,
            rules: Rules::new(&deps.config.inhibition).map_err(|cause| NotifierError::Config(vec![cause]))?,
            batch: deps.config.batch,
        };
        let directory = Directory::new(deps.config.clone(), Arc::clone(&deps.sealer));
        let hooks = hook_manager(&deps).map_err(NotifierError::Start)?;
        let mut plan = Self {
            deps,
            dispatcher,
            hooks,
            lanes: BTreeMap::new(),
            restarts: RestartPolicy::default(),
            endpoint_deps,
            directory,
            moves: BTreeMap::new(),
            roster,
            origins: BTreeMap::new(),
            handles,
            healths: BTreeMap::new(),
            paces: BTreeMap::new(),
            told: BTreeSet::new(),
        };
        plan.update().await?;
        Ok(plan)
    }

    /// Brings everything up to what is edited now; names the lanes that are to be started anew, or for
    /// the first time.
    ///
    /// # Errors
    /// The ledger cannot be asked; then nothing has changed.
    pub async fn update(&mut self) -> Result<Vec<String>, StoreError> {
        let settings = self.settings().await?;
        let (config, known) = self.recipients(&settings);
        let mut origins: BTreeMap<String, Origin> =
            known.iter().map(|known| (known.name.clone(), origin(&config, known))).collect();
        for stats in self.deps.ledger.stats().await? {
            // Before the edited ones are known, nobody is gone.
            if stats.pending > 0 && !origins.contains_key(&stats.recipient) && settings.edits_known {
                let to = self.moves.get(&stats.recipient).filter(|to| origins.contains_key(*to)).cloned();
                tracing::warn!(recipient = ?stats.recipient, owed = stats.pending, ?to, "recipient is gone");
                origins.insert(stats.recipient, Origin::Gone(NOT_CONFIGURED, to));
            }
        }
        // One that is there again is to be given up no more.
        self.moves.retain(|from, _| !known.iter().any(|known| known.name == *from));
        let mut changed = Vec::new();
        for (name, origin) in &origins {
            if self.origins.get(name) == Some(origin) {
                continue;
            }
            let target = known.iter().find(|known| known.name == *name);
            let args = self.lane(&config, name, origin, target);
            self.lanes.insert(name.clone(), args);
            changed.push(name.clone());
        }
        self.lanes.retain(|name, _| origins.contains_key(name));
        self.origins = origins;
        let router = Router::new(&config, self.deps.settings.clone());
        self.roster.send_replace(Arc::new(Roster { recipients: known, router, lanes: self.handles.clone() }));
        Ok(changed)
    }

    /// True when recipients without a lane are owed something: it was accepted while they were removed.
    pub async fn is_behind(&self) -> bool {
        let stats = self.deps.ledger.stats().await.unwrap_or_default();
        stats.iter().any(|stats| stats.pending > 0 && !self.lanes.contains_key(&stats.recipient))
    }

    /// What is edited; what was last in force as long as nobody could be asked.
    async fn settings(&self) -> Result<Settings, StoreError> {
        let live = Arc::clone(&self.deps.settings.borrow());
        let mut settings = Settings {
            edits_known: live.edits_known,
            endpoints: live.endpoints.clone(),
            recipients: live.recipients.clone(),
            ..Settings::default()
        };
        let kept = self.deps.ledger.notes(SCOPE).await?.remove(KEY);
        if !settings.edits_known {
            let noted: Noted = kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            (settings.endpoints, settings.recipients) = (noted.endpoints, noted.recipients);
            return Ok(settings);
        }
        let noted = Noted { endpoints: settings.endpoints.clone(), recipients: settings.recipients.clone() };
        let text = serde_json::to_string(&noted).unwrap_or_default();
        if kept.as_ref() != Some(&text) {
            self.deps.ledger.note(SCOPE, vec![(KEY.to_owned(), Some(text))]).await?;
        }
        Ok(settings)
    }

    /// The configuration in force, and its recipients with their endpoints built; what cannot be built is
    /// left out and told once.
    fn recipients(&mut self, settings: &Settings) -> (NotifierConfig, Vec<Known>) {
        let (mut config, wrong) = self.directory.with(settings, &self.endpoint_deps);
        config.serve_at(&self.deps.site);
        let mut wrong: BTreeSet<String> = wrong.into_iter().collect();
        let known = loop {
            match recipients(&config, &self.endpoint_deps, &mut self.handles) {
                Ok(known) => break known,
                // A file that a parameter names may have gone since it was checked.
                Err((name, cause)) => {
                    config.recipient.retain(|recipient| recipient.name != name);
                    wrong.insert(format!("recipients {name}: {cause}"));
                }
            }
        };
        for cause in wrong.difference(&self.told) {
            tracing::error!("settings: {cause}; it is left out");
        }
        self.told = wrong;
        (config, known)
    }

    fn lane(
        &mut self,
        config: &NotifierConfig,
        name: &str,
        origin: &Origin,
        known: Option<&Known>,
    ) -> RecipientArgs {
        let recipient = config.recipient.iter().find(|recipient| recipient.name == name);
        let gone = |reason| Arc::new(Gone { reason }) as Arc<dyn Endpoint>;
        let endpoint = match (origin, known) {
            (Origin::Gone(reason, _), _) => gone(*reason),
            (_, Some(known)) if known.enabled => Arc::clone(&known.target),
            _ => gone(DISABLED),
        };
        let mut policy = Policy::new(&self.deps.config, endpoint.manners(), recipient);
        if let Origin::Gone(_, to) = origin {
            policy.fallback.clone_from(to);
        }
        let fallback = policy.fallback.as_deref().map(|name| handle(&mut self.handles, name));
        let endpoint_health = recipient.map(|recipient| {
            let health = self.healths.entry(recipient.endpoint.clone()).or_default();
            (recipient.endpoint.clone(), Arc::clone(health))
        });
        let bound = policy.manners.bound;
        let far_end = recipient.map_or(name, |recipient| &recipient.endpoint).to_owned();
        let whose = bound.is_some_and(|bound| bound.each_recipient).then(|| name.to_owned());
        let pace = self.paces.entry((far_end, whose)).or_default().clone();
        pace.lock().set_most(bound.map(|bound| bound.per_minute));
        RecipientArgs {
            name: name.to_owned(),
            owner: format!("{}#{}/{name}", self.deps.owner, self.deps.instance),
            ledger: Arc::clone(&self.deps.ledger),
            events: self.deps.events.clone(),
            clock: Arc::clone(&self.deps.clock),
            endpoint,
            endpoint_health,
            policy,
            pace,
            lease: Duration::from_secs(self.deps.config.claim_lease_s),
            handle: handle(&mut self.handles, name),
            fallback,
            follow_ups: FollowUps {
                bus: Arc::clone(&self.deps.bus),
                subjects: self.deps.subjects.clone(),
                settings: self.deps.settings.clone(),
                rules: self.dispatcher.rules.clone(),
            },
            teller: Teller {
                bus: Arc::clone(&self.deps.bus),
                subjects: self.deps.subjects.clone(),
                clock: Arc::clone(&self.deps.clock),
                site: self.deps.site.clone(),
                node: self.deps.owner.clone(),
            },
        }
    }
}

/// What the hook manager is started with.
fn hook_manager(deps: &NotifierDeps) -> Result<ManagerArgs, String> {
    let config = deps.config.hooks.clone();
    let tools = Tools {
        bus: Arc::clone(&deps.bus),
        subjects: deps.subjects.clone(),
        clock: Arc::clone(&deps.clock),
        node: deps.owner.clone(),
        site: deps.site.clone(),
        dir: config.dir(),
        python: config.python.clone().into(),
        scripts: Scripts::start(config.script_threads, &deps.clock)?,
        references: deps.config.references.clone(),
    };
    let shared = Shared {
        store: Arc::clone(&deps.hooks),
        tools,
        woken: tokio::sync::Notify::new(),
        max_depth: config.max_depth,
        health: Health::default(),
    };
    Ok(ManagerArgs { shared: Arc::new(shared), settings: deps.settings.clone(), config })
}

fn handle(handles: &mut BTreeMap<String, Arc<LaneHandle>>, name: &str) -> Arc<LaneHandle> {
    Arc::clone(handles.entry(name.to_owned()).or_default())
}

fn origin(config: &NotifierConfig, known: &Known) -> Origin {
    let recipient = config.recipient.iter().find(|recipient| recipient.name == known.name);
    let pair = recipient.and_then(|recipient| Some((config.endpoint_of(recipient).ok()?, recipient)));
    match pair {
        Some((endpoint, recipient)) => Origin::Configured(Box::new((endpoint.clone(), recipient.clone()))),
        None => Origin::Builtin,
    }
}

/// The built-in recipients and the configured ones.
///
/// # Errors
/// The recipient whose endpoint cannot be built, and why.
fn recipients(
    config: &NotifierConfig,
    deps: &EndpointDeps,
    handles: &mut BTreeMap<String, Arc<LaneHandle>>,
) -> Result<Vec<Known>, (String, String)> {
    let none = toml::Table::new();
    let kind_of = |recipient: &str, kind: &str| {
        let unknown = || (recipient.to_owned(), format!("there is no kind '{kind}'"));
        endpoint::kind(kind).ok_or_else(unknown)
    };
    let mut known = Vec::new();
    for (name, kind) in [(ALERT_STORE, "alert_store"), (SCRIPT_HTTP, "http_post")] {
        let kind = kind_of(name, kind)?;
        known.push(Known {
            name: name.to_owned(),
            endpoint: name.to_owned(),
            kind: kind.name(),
            builtin: true,
            enabled: true,
            criteria: Criteria::default(),
            target: kind.build(&none, &none, deps).map_err(|cause| (name.to_owned(), cause))?,
            lane: handle(handles, name),
        });
    }
    for recipient in &config.recipient {
        let wrong = |cause: String| (recipient.name.clone(), cause);
        let endpoint = config.endpoint_of(recipient).map_err(wrong)?;
        let kind = kind_of(&recipient.name, &endpoint.kind)?;
        let target = kind.build(&endpoint.params.0, &recipient.params.0, deps).map_err(wrong)?;
        target.manners().takes(&recipient.gate, kind.name()).map_err(wrong)?;
        known.push(Known {
            name: recipient.name.clone(),
            endpoint: endpoint.name.clone(),
            kind: kind.name(),
            builtin: false,
            enabled: recipient.enabled,
            criteria: recipient.criteria(),
            lane: handle(handles, &recipient.name),
            target,
        });
    }
    Ok(known)
}
