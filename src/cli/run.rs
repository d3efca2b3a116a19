//! `flowhook run`, `collector`, `aggregator`, `notifier`: serve until told to stop.

use anyhow::anyhow;
use shared::telemetry::Telemetry;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{BusKind, Config};
use crate::exit::{self, Failure};
use crate::node::{Node, NodeOptions, Roles};

/// One role alone: needs a bus that joins processes.
pub fn run_alone(config: &Config, roles: Roles) -> Result<(), Failure> {
    if config.bus.kind == BusKind::Memory {
        return Err(Failure::config(
            "bus.kind: a role alone needs \"nats\"; \"memory\" joins roles of one process",
        ));
    }
    run(config, roles)
}

/// Serves until SIGINT or SIGTERM, then drains and stops.
pub fn run(config: &Config, roles: Roles) -> Result<(), Failure> {
    // A process has one TLS provider; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let telemetry = Telemetry::start(&config.telemetry, &config.node_name()).map_err(Failure::config)?;
    let result = runtime()?.block_on(serve(config, roles, &telemetry));
    telemetry.shutdown();
    result
}

/// The runtime of a node.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?)
}

async fn serve(config: &Config, roles: Roles, telemetry: &Telemetry) -> Result<(), Failure> {
    let mut stop = std::pin::pin!(stop_signal()?);
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), "seed");
    let options =
        NodeOptions { metrics: Some(telemetry.prometheus_source()), seed, ..NodeOptions::default() };
    // It may wait for others, for ever.
    let node = tokio::select! {
        started = Node::start(config, roles, options) => started?,
        () = &mut stop => {
            tracing::info!("stopped before everything had started");
            return Ok(());
        }
    };
    match node.api_address() {
        Some(address) => {
            tracing::info!("API at http://{address}/api/v1/, metrics at http://{address}/metrics");
        }
        None => tracing::info!("started"),
    }
    let gave_up = tokio::select! {
        () = &mut stop => false,
        () = node.failed() => true,
    };
    tracing::info!("stopping");
    node.stop().await;
    if gave_up {
        return Err(Failure::new(exit::GAVE_UP, anyhow!("a part failed again and again and was given up")));
    }
    Ok(())
}

/// Resolves at SIGINT or SIGTERM.
pub fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
