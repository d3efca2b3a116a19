//! The REST API under `/api/v1`, and `/metrics`.
//!
//! One file a resource: its routes, its query and its documentation. Every error has one JSON shape
//! (`error`); lists are pages with an opaque `next`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};
use shared::bus::SharedBus;
use shared::clock::Stopwatch;
use shared::events::Emitter;
use shared::settings::{FileSettings, LiveSettings};
use shared::store::documents::DocumentStore;
use shared::store::series::SeriesStore;
use shared::store::{AlertStore, FlowStore};
use shared::wire::subject::Subjects;

use crate::config::ApiToken;
use crate::live::LiveState;
use crate::sessions::{SessionDeps, Sessions};
use crate::supervisor::{AggregatorDeps, AggregatorError, MetricsText};

mod access;
mod alerts;
mod contract;
mod error;
mod events;
mod executions;
mod flows;
mod health;
mod hooks;
mod hosts;
mod interfaces;
mod metrics;
mod monitor;
mod networks;
mod nodes;
mod page;
mod pubsub;
mod query;
mod recipients;
mod run;
mod schemas;
mod scripts;
mod series;
mod settings;
#[cfg(test)]
mod tests;

pub use contract::openapi;
pub use error::ApiError;

/// A body of a request in bytes at most.
const MAX_BODY: usize = 1024 * 1024;

/// The same of one that publishes an item: the item is an event, and JSON may need more bytes for the same.
const MAX_ITEM: usize = 2 * shared::bus::large::MAX_EVENT;

/// What handlers reach.
#[derive(Clone)]
pub struct ApiDeps {
    listen: String,
    node: String,
    /// Tells this process from others.
    run: u64,
    bus: SharedBus,
    subjects: Subjects,
    alerts: Arc<dyn AlertStore>,
    flows: Arc<dyn FlowStore>,
    series: Arc<dyn SeriesStore>,
    clock: shared::clock::SharedClock,
    /// How long a run may take.
    run_patience: std::time::Duration,
    documents: Arc<dyn DocumentStore>,
    sealer: Arc<shared::seal::Sealer>,
    events: Emitter,
    pub(crate) sessions: Arc<Sessions>,
    tokens: Vec<ApiToken>,
    file_settings: Arc<FileSettings>,
    settings: LiveSettings,
    live: LiveState,
    /// Scripts as this aggregator has them.
    scripts: scripts::Loaded,
    /// Since the role started.
    up: Stopwatch,
    metrics_text: MetricsText,
}

impl ApiDeps {
    /// The API's part of the role's dependencies.
    pub fn new(deps: &AggregatorDeps, live: LiveState) -> Self {
        Self {
            listen: deps.config.api.listen.clone(),
            node: deps.node.clone(),
            run: deps.run,
            bus: Arc::clone(&deps.bus),
            subjects: deps.subjects.clone(),
            alerts: Arc::clone(&deps.alerts),
            flows: Arc::clone(&deps.flows),
            series: Arc::clone(&deps.series),
            clock: Arc::clone(&deps.clock),
            run_patience: run::patience(deps.config.longest_run_deadline()),
            documents: Arc::clone(&deps.documents),
            sealer: Arc::clone(&deps.sealer),
            events: deps.events.clone(),
            sessions: Arc::new(Sessions::new(SessionDeps {
                store: Arc::clone(&deps.sessions),
                documents: Arc::clone(&deps.documents),
                bus: Arc::clone(&deps.bus),
                subjects: deps.subjects.clone(),
                clock: Arc::clone(&deps.clock),
                events: deps.events.clone(),
                lease: std::time::Duration::from_secs(deps.config.api.session_s),
                node: deps.node.clone(),
            })),
            tokens: deps.config.api.token.clone(),
            file_settings: Arc::new(deps.file_settings.clone()),
            settings: deps.settings.clone(),
            live,
            scripts: scripts::Loaded::new(deps.scripts.clone()),
            up: Stopwatch::start(),
            metrics_text: Arc::clone(&deps.metrics_text),
        }
    }

    /// Sets where to listen.
    pub fn listen_on(&mut self, address: SocketAddr) {
        self.listen = address.to_string();
    }
}

/// Adds every route.
fn routes(config: &mut web::ServiceConfig) {
    let api = web::scope("/api/v1")
        .wrap(actix_web::middleware::from_fn(events::tell))
        .service(alerts::engaged)
        .service(alerts::history)
        .service(alerts::acknowledge)
        .service(alerts::unacknowledge)
        .service(alerts::acknowledge_all)
        .service(alerts::label)
        .service(alerts::delete_one)
        .service(alerts::delete_all)
        .service(events::types)
        .service(events::schema)
        .service(events::recorded)
        .service(hooks::list)
        .service(hooks::create)
        .service(hooks::one)
        .service(hooks::update)
        .service(hooks::remove)
        .service(hooks::rename)
        .service(executions::do_again)
        .service(executions::replay)
        .service(executions::test)
        .service(executions::retry_dead)
        .service(executions::discard_dead)
        .service(executions::one_execution)
        .service(hooks::switch)
        .service(executions::log)
        .service(pubsub::publish)
        .service(pubsub::create)
        .service(pubsub::list)
        .service(pubsub::remove)
        .service(pubsub::sessions)
        .service(pubsub::connect)
        .service(pubsub::disconnect)
        .service(flows::live)
        .service(flows::stored)
        .service(health::health)
        .service(hosts::list)
        .service(hosts::one)
        .service(interfaces::list)
        .service(interfaces::one)
        .service(monitor::list)
        .service(networks::list)
        .service(nodes::list)
        .service(recipients::list)
        .service(recipients::test)
        .service(recipients::explain)
        .service(recipients::deliveries)
        .service(recipients::dead)
        .service(recipients::dead_letter)
        .service(recipients::replay)
        .service(recipients::discard)
        .service(schemas::alert)
        .service(schemas::endpoints)
        .service(schemas::endpoint)
        .service(scripts::list)
        .service(scripts::one)
        .service(run::run)
        .service(series::of_element)
        .service(series::top)
        .service(settings::whole::export)
        .service(settings::whole::import)
        .service(settings::whole::reset)
        .service(settings::list)
        .service(settings::one)
        .service(settings::set)
        .service(settings::remove)
        .service(settings::history)
        .service(settings::rollback)
        .service(contract::document)
        .default_service(web::route().to(error::no_route));
    config
        // `events::tell` reads every body, and refuses what is larger than its call may have.
        .app_data(web::PayloadConfig::new(MAX_ITEM))
        .app_data(web::JsonConfig::default().limit(MAX_ITEM).error_handler(|e, _| error::bad_body(&e).into()))
        .app_data(web::PathConfig::default().error_handler(|e, _| error::bad_path(&e).into()))
        .service(api)
        .service(metrics::metrics)
        .default_service(web::route().to(error::no_route));
}

/// A server that listens, and answers while it is run.
pub struct ApiServer {
    /// Where it listens.
    pub address: SocketAddr,
    server: Server,
}

/// Stops a server.
pub struct ApiHandle(ServerHandle);

impl ApiServer {
    /// How to stop it.
    pub fn handle(&self) -> ApiHandle {
        ApiHandle(self.server.handle())
    }

    /// Answers requests until it is stopped.
    ///
    /// # Errors
    /// Why it ended by itself.
    pub async fn run(self) -> Result<(), String> {
        self.server.await.map_err(|e| e.to_string())
    }
}

impl ApiHandle {
    /// Lets requests under way finish, then stops.
    pub async fn stop(self) {
        self.0.stop(true).await;
    }
}

/// Begins to listen.
///
/// # Errors
/// [`AggregatorError`] names the address that cannot be listened on.
pub fn serve(deps: &ApiDeps) -> Result<ApiServer, AggregatorError> {
    let cannot = |cause: String| AggregatorError::Listen { address: deps.listen.clone(), cause };
    let address: SocketAddr = deps.listen.parse().map_err(|_| cannot("it is not ADDRESS:PORT".to_owned()))?;
    let listener = TcpListener::bind(address).map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => AggregatorError::PortTaken { address },
        _ => cannot(e.to_string()),
    })?;
    let address = listener.local_addr().map_err(|e| cannot(e.to_string()))?;
    let server = HttpServer::new({
        let deps = deps.clone();
        move || App::new().app_data(web::Data::new(deps.clone())).configure(routes)
    })
    .workers(2)
    .disable_signals()
    .shutdown_timeout(5)
    .listen(listener)
    .map_err(|e| cannot(e.to_string()))?
    .run();
    Ok(ApiServer { address, server })
}
