//! Endpoint kinds against real programs, and beside another program that does the same.

mod apprise;
mod fail2ban;
mod mail;
mod nginx;
mod rsyslog;

use std::sync::Arc;
use std::time::Duration;

use notifier::endpoint::{self, DeliveryError, Endpoint, EndpointDeps};
use notifier::http::HttpClient;
use serde_json::{Value, json};
use shared::bus::memory::MemoryBus;
use shared::clock::SystemClock;
use shared::model::{Alert, Timestamp};
use shared::secret::mark::assert_absent;
use shared::store::{Delivery, EventKind};

/// An endpoint of `kind` with these parameters, in TOML.
fn endpoint(kind: &str, params: &str, recipient: &str) -> Arc<dyn Endpoint> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = SystemClock::shared();
    let deps = EndpointDeps {
        http: HttpClient::new(Duration::from_secs(10), notifier::target::Targets::any(), Arc::clone(&clock))
            .unwrap(),
        bus: MemoryBus::new(Default::default()),
        subjects: Default::default(),
        clock,
        node: "n1".to_owned(),
        batch: 64,
        ledger: Arc::new(shared::store::sqlite::SqliteStore::in_memory().unwrap()),
        shell_dir: None,
        settings: tokio::sync::watch::channel(Arc::default()).1,
    };
    let (params, recipient) = (toml::from_str(params).unwrap(), toml::from_str(recipient).unwrap());
    let endpoint = endpoint::kind(kind).unwrap().build(&params, &recipient, &deps).unwrap();
    assert_absent("an endpoint's Debug", format!("{endpoint:?}").as_bytes());
    endpoint
}

/// Waits for what an endpoint does.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.unwrap().block_on(future)
}

/// A flow alert with this id, whose client attacks.
fn alert(id: &str, action: &str, message: &str) -> Alert {
    let party = |ip: &str, attacks: bool| json!({ "ip": ip, "port": 443, "is_attacker": attacks });
    let alert: Value = json!({
        "schema_version": 1, "id": id, "action": action, "type": "syn_scan", "entity": "flow",
        "entity_value": "203.0.113.9:443 192.0.2.1:443", "severity": "error", "category": "security",
        "score": 100, "tstamp": "2018-09-06T15:22:00Z", "site": "main", "node": "n1", "ifid": 0,
        "interface": "eno1", "script": "syn_scan", "message": message,
        "client": party("203.0.113.9", true), "server": party("192.0.2.1", false),
        "flow": {
            "l4": "TCP", "l7": "TLS", "cli2srv_bytes": 1, "srv2cli_bytes": 2, "cli2srv_packets": 3,
            "srv2cli_packets": 4, "first_seen": "2018-09-06T15:21:00Z",
        },
    });
    serde_json::from_value(alert).unwrap()
}

/// Delivers to the end.
fn deliver(endpoint: &Arc<dyn Endpoint>, alerts: &[Alert]) -> Vec<Result<(), DeliveryError>> {
    let delivery = |alert: &Alert| Delivery {
        event_id: alert.transition_id(),
        recipient: "r".to_owned(),
        kind: EventKind::Alert,
        payload: serde_json::to_string(alert).unwrap(),
        traceparent: None,
        attempts: 0,
        deadline: Timestamp::MAX,
        accepted_at: Timestamp::ZERO,
        maybe_told: false,
        claimed_by: String::new(),
    };
    let batch: Vec<_> = alerts.iter().map(delivery).collect();
    let ends = wait(endpoint.deliver_told(&batch));
    assert_absent("how deliveries ended", format!("{ends:?}").as_bytes());
    ends.into_iter().map(|end| end.map(drop)).collect()
}
