//! Plain values to store in tests.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::model::alert::{ALERT_SCHEMA_VERSION, derive_id};
use crate::model::flow::{DirectionCounters, FlowSide, L7Info};
use crate::model::{
    Alert, AlertAction, Category, Entity, FlowEnd, FlowRecord, L4, L7Source, Severity, TcpState, Timestamp,
};
use crate::store::{EventKind, LedgerEvent, StoredFlow};

/// A point `secs` seconds after some fixed point in time.
pub fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + secs)
}

/// A host alert of the episode `name` at [`at`]`(secs)`.
pub fn alert(name: &str, action: AlertAction, secs: i64) -> Alert {
    Alert {
        schema_version: ALERT_SCHEMA_VERSION,
        id: derive_id(&[name]),
        action,
        alert_type: "threshold_cross".to_owned(),
        entity: Entity::Host,
        entity_value: "192.0.2.1".to_owned(),
        severity: Severity::Error,
        category: Category::Network,
        score: 100,
        tstamp: at(secs),
        engaged_at: None,
        site: "main".to_owned(),
        node: "n1".to_owned(),
        ifid: 1,
        interface: "eth0".to_owned(),
        script: "traffic".to_owned(),
        granularity: None,
        alert_key: Some("min_bytes".to_owned()),
        message: format!("{name}: too much"),
        value: Some(1500.0),
        threshold: Some(1000.0),
        client: None,
        server: None,
        flow: None,
        traceparent: None,
        mitre: Vec::new(),
        flapping: false,
        other: Default::default(),
    }
}

/// A TCP flow of the host `192.0.2.<host>` with `198.51.100.1`, last seen at [`at`]`(secs)`.
pub fn flow(host: u8, secs: i64) -> StoredFlow {
    let side = |ip, port, local| FlowSide { ip: IpAddr::V4(ip), port, mac: None, local };
    let flow = FlowRecord {
        id: 1,
        ifid: 1,
        vlan: 0,
        inner_vlan: 0,
        l4: L4::TCP,
        client: side(Ipv4Addr::new(192, 0, 2, host), 40000, true),
        server: side(Ipv4Addr::new(198, 51, 100, 1), 443, false),
        cli2srv: DirectionCounters { packets: 3, bytes: 300, ..Default::default() },
        srv2cli: DirectionCounters { packets: 4, bytes: 4000, ..Default::default() },
        first_seen: at(secs - 1),
        last_seen: at(secs),
        icmp: None,
        tcp_state: TcpState::Closed,
        handshake_ok: true,
        rtt_server_us: 1200,
        rtt_client_us: 80,
        gap_min_us: 5,
        gap_max_us: 900,
        gap_deviation_us: 70,
        reply_us: 0,
        fragmented: false,
        l7_category: crate::model::AppCategory::Web,
        l7_breed: crate::model::Breed::Safe,
        l7: "TLS".into(),
        l7_source: L7Source::Payload,
        info: L7Info::default(),
        status: 1 << 63 | 1 << 4,
        score: 0,
        collected: false,
        export: None,
        earlier_s: 0,
        top_score: 0,
        l7_payloads: 0,
        geo: None,
        end: Some(FlowEnd::Closed),
    };
    StoredFlow { site: "main".to_owned(), node: "n1".to_owned(), flow }
}

/// An event with this id and order key for these recipients.
pub fn event(id: &str, order_key: &str, recipients: &[&str]) -> LedgerEvent {
    LedgerEvent {
        id: id.to_owned(),
        kind: EventKind::Alert,
        order_key: order_key.to_owned(),
        severity: Severity::Error,
        payload: format!(r#"{{"id":"{id}"}}"#),
        traceparent: None,
        recipients: recipients.iter().map(|&name| name.to_owned()).collect(),
        config_version: "7".to_owned(),
        not_before: None,
        spared: Vec::new(),
    }
}

/// An hour for every severity; a minute for [`Severity::Info`].
pub fn an_hour(severity: Severity) -> Duration {
    Duration::from_secs(if severity == Severity::Info { 60 } else { 3600 })
}
