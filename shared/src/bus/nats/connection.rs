//! Opens the connection and watches over it.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::sync::{broadcast, watch};

use super::{MAX_MESSAGE, NatsConfig, credentials, other, server};
use crate::backoff::{Backoff, unit_random};
use crate::bus::BusError;
use crate::metrics;

/// How long one server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a server that says nothing is asked whether it is there; it is given up at the third time.
/// A machine that went away ends no connection, and another server of its cluster may be waiting.
const PING: Duration = Duration::from_secs(4);

/// Waits between tries to connect again.
const RECONNECT: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };

/// Refusals that a listener may be behind.
const DENIALS: usize = 256;

/// Tells on which subjects the server did not let this account publish, as it says so.
pub(super) type Denials = broadcast::Sender<String>;

/// How the server says that an account may not publish on a subject, in lower case.
const DENIED: &str = "permissions violation for publish to \"";

/// Connects; the flag becomes true when the connection has ended for good.
pub(super) async fn open(config: &NatsConfig) -> Result<(Client, watch::Receiver<bool>, Denials), BusError> {
    let servers = servers(config)?;
    let (ended, disconnected) = watch::channel(false);
    let denials = Denials::new(DENIALS);
    let denying = denials.clone();
    // Nodes that lose the same server spread their tries.
    let seed = u64::from(std::process::id());
    let options = authenticate(config)?
        .name("flowhook")
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING)
        .custom_inbox_prefix(&config.inbox_prefix)
        .require_tls(config.tls_required)
        .max_reconnects(None)
        .reconnect_delay_callback(move |attempt| {
            let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
            RECONNECT.wait(attempt, unit_random(seed ^ u64::from(attempt)))
        })
        .event_callback(move |event| {
            let over = matches!(event, Event::Closed);
            note(&event);
            if let Some(subject) = denied(&event) {
                // Nobody may wait for one.
                let _ = denying.send(subject);
            }
            if over {
                ended.send_replace(true);
            }
            std::future::ready(())
        });
    let options = match &config.tls_ca {
        Some(file) => options.add_root_certificates(file.clone()),
        None => options,
    };
    // Host and port only: an address may hold a password.
    let names: Vec<String> = servers.iter().map(|s| format!("{}:{}", s.host(), s.port())).collect();
    let client = options
        .connect(servers)
        .await
        .map_err(|error| BusError::Unreachable(format!("{}: {error}", names.join(", "))))?;
    let info = client.server_info();
    for missed in server::check(&info.version, info.jetstream, config)? {
        tracing::info!("nats-server {} has no {missed}", info.version);
    }
    let limit = info.max_payload;
    // 4096 bytes more than the largest message is what headers may take.
    if limit < MAX_MESSAGE + 4096 {
        return Err(BusError::Other(format!(
            "the server's max_payload is {limit} bytes, {} are needed",
            MAX_MESSAGE + 4096
        )));
    }
    Ok((client, disconnected, denials))
}

fn servers(config: &NatsConfig) -> Result<Vec<ServerAddr>, BusError> {
    if config.servers.is_empty() {
        return Err(BusError::Other("no NATS servers given".to_owned()));
    }
    let numbered = config.servers.iter().enumerate();
    let parsed = numbered.map(|(number, server)| {
        server.parse().map_err(|e| other(format!("NATS server {} is no address", number + 1), e))
    });
    parsed.collect()
}

/// Options with what logs in.
fn authenticate(config: &NatsConfig) -> Result<ConnectOptions, BusError> {
    let ways =
        [config.credentials.is_some(), config.user.is_some(), config.token.is_some(), config.nkey.is_some()];
    if ways.into_iter().filter(|given| *given).count() > 1 {
        return Err(BusError::Other("give only one of credentials, user, token and nkey".to_owned()));
    }
    if config.user.is_some() != config.password.is_some() {
        return Err(BusError::Other("user and password go together".to_owned()));
    }
    let options = match &config.credentials {
        Some(file) => credentials::options(file)?,
        None => ConnectOptions::new(),
    };
    let options = match (&config.user, &config.password) {
        (Some(user), Some(password)) => options.user_and_password(user.clone(), password.reveal().to_owned()),
        _ => options,
    };
    let options = match &config.nkey {
        Some(seed) => options.nkey(seed.reveal().to_owned()),
        None => options,
    };
    Ok(match &config.token {
        Some(token) => options.token(token.reveal().to_owned()),
        None => options,
    })
}

/// The subject on which the server has just refused a message.
fn denied(event: &Event) -> Option<String> {
    let Event::ServerError(error) = event else { return None };
    let text = error.to_string();
    let begin = text.to_ascii_lowercase().find(DENIED)? + DENIED.len();
    text.get(begin..)?.split('"').next().map(str::to_owned)
}

fn note(event: &Event) {
    match event {
        Event::Connected => {
            metrics::bus_connection("connected");
            tracing::info!("bus connected");
        }
        Event::Disconnected => {
            metrics::bus_connection("disconnected");
            tracing::warn!("bus disconnected");
        }
        Event::LameDuckMode => {
            metrics::bus_connection("lame_duck");
            tracing::info!("bus server is about to stop");
        }
        Event::Draining | Event::Closed => {
            metrics::bus_connection("closed");
            tracing::info!("bus connection closed");
        }
        Event::SlowConsumer(subscription) => {
            metrics::bus_connection("slow_consumer");
            tracing::warn!(subscription, "bus subscription is too slow");
        }
        Event::ServerError(error) => {
            metrics::bus_connection("server_error");
            tracing::warn!(%error, "bus server error");
        }
        Event::ClientError(error) => {
            metrics::bus_connection("client_error");
            tracing::warn!(%error, "bus client error");
        }
    }
}
