//! What several tests need: sample alerts, a recording HTTP server, waiting for a condition.

use std::time::Duration;

use shared::model::alert::{ALERT_SCHEMA_VERSION, AlertFlow};
use shared::model::{Alert, AlertAction, Category, Entity, Party, Severity, Timestamp};
use shared::store::{Delivery, EventKind};

pub use self::certificate::certificate;
pub use self::ledger::Flaky;
pub use self::server::{Request, Script, Server};
pub use self::watched::watched;

mod certificate;
mod ledger;
mod server;
mod watched;

/// An alert of an interface with this id.
pub fn alert(id: &str) -> Alert {
    Alert {
        schema_version: ALERT_SCHEMA_VERSION,
        id: id.to_owned(),
        action: AlertAction::Engage,
        alert_type: "threshold_cross".to_owned(),
        entity: Entity::Interface,
        entity_value: "iface_0".to_owned(),
        severity: Severity::Error,
        category: Category::Network,
        score: 100,
        tstamp: Timestamp::from_secs(1_536_247_320),
        engaged_at: None,
        site: "main".to_owned(),
        node: "n1".to_owned(),
        ifid: 0,
        interface: "eno1".to_owned(),
        script: "interface_bytes".to_owned(),
        granularity: None,
        alert_key: Some("min_bytes".to_owned()),
        message: "Minute traffic crossed by interface eno1 [1.08 MB > 2 Bytes]".to_owned(),
        value: None,
        threshold: None,
        client: None,
        server: None,
        flow: None,
        traceparent: None,
        mitre: Vec::new(),
        flapping: false,
        other: Default::default(),
    }
}

/// An alert of a flow with this id.
pub fn flow_alert(id: &str) -> Alert {
    let party = |ip: &str| Party {
        ip: ip.parse().unwrap(),
        port: 138,
        vlan: 0,
        mac: None,
        local: false,
        pool: String::new(),
        geo: None,
        is_attacker: false,
        is_victim: false,
        other: Default::default(),
    };
    Alert {
        action: AlertAction::Store,
        alert_type: "remote_to_remote_flow".to_owned(),
        entity: Entity::Flow,
        entity_value: "192.168.1.100:138 192.168.1.255:138".to_owned(),
        severity: Severity::Warning,
        script: "remote_to_remote".to_owned(),
        alert_key: None,
        message: "Remote client and remote server".to_owned(),
        client: Some(party("192.168.1.100")),
        server: Some(party("192.168.1.255")),
        flow: Some(AlertFlow {
            l4: "UDP".to_owned(),
            l7: "NetBIOS".to_owned(),
            name: String::new(),
            cli2srv_bytes: 1,
            srv2cli_bytes: 2,
            cli2srv_packets: 3,
            srv2cli_packets: 4,
            first_seen: Timestamp::from_secs(1_536_247_000),
            status: Vec::new(),
            community_id: String::new(),
            score: 50,
            alerts: Vec::new(),
            predominant: true,
            other: Default::default(),
        }),
        ..alert(id)
    }
}

/// A delivery of an alert, first try.
pub fn delivery(alert: &Alert) -> Delivery {
    Delivery {
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
    }
}

/// Fails unless `bytes` are those of `tests/data/golden/endpoints/<name>`; with FLOWHOOK_BLESS set,
/// writes them there.
pub fn golden(name: &str, bytes: &[u8]) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/golden/endpoints");
    let path = std::path::Path::new(folder).join(name);
    if std::env::var_os("FLOWHOOK_BLESS").is_some() {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let recorded = std::fs::read(&path).unwrap_or_default();
    assert!(
        recorded == bytes,
        "{name} is recorded otherwise (FLOWHOOK_BLESS=1 writes it):\n{}",
        String::from_utf8_lossy(bytes)
    );
}

/// The process's TLS provider, which the binary installs otherwise.
pub fn tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Waits until `found` gives something; fails after 20 s.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut found: impl FnMut() -> F) -> T {
    let wait = async {
        loop {
            if let Some(value) = found().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen"))
}
