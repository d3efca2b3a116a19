//! Flow scripts ask for alerts; here the requests become alerts. Pure.

use shared::model::alert::{ALERT_SCHEMA_VERSION, AlertFlow, derive_id};
use shared::model::pool::mac_text;
use shared::model::{Alert, AlertAction, Entity, FlowRecord, Party, Severity, Timestamp, status};
use shared::script::effect::Role;
use shared::script::{AlertRequest, ScriptMeta};

use crate::flow::Extra;

/// Types of alerts of one flow that are remembered.
const MAX_TYPES: usize = 32;

/// Where a flow was seen.
#[derive(Clone, Debug)]
pub struct Place {
    /// Site.
    pub site: String,
    /// Node.
    pub node: String,
    /// Interface id.
    pub ifid: u32,
    /// Interface name.
    pub interface: String,
}

/// The type of the alert that is asked for.
pub fn type_of<'a>(meta: &'a ScriptMeta, request: &'a AlertRequest) -> &'a str {
    request.alert_type.as_deref().unwrap_or(&meta.key)
}

/// A number for an alert type of a script, to raise each once per flow.
pub fn once_key(meta: &ScriptMeta, request: &AlertRequest) -> u64 {
    let kind = type_of(meta, request);
    xxhash_rust::xxh3::xxh3_64_with_seed(kind.as_bytes(), xxhash_rust::xxh3::xxh3_64(meta.key.as_bytes()))
}

/// The alert that `meta`'s script asked for on `flow` at event time `now`.
pub fn build(
    request: AlertRequest,
    meta: &ScriptMeta,
    flow: &FlowRecord,
    place: &Place,
    now: Timestamp,
    traceparent: Option<String>,
) -> Alert {
    let (severity, score) = meta.weight(&request);
    let alert_type = request.alert_type.unwrap_or_else(|| meta.key.clone());
    let attacker = request.attacker.or(meta.attacker);
    let victim = request.victim.or(meta.victim);
    let label = flow.label();
    let l4 = flow.l4.name();
    let id = derive_id(&[
        &place.site,
        &place.ifid.to_string(),
        &label,
        &l4,
        &flow.first_seen.ns().to_string(),
        &meta.key,
        &alert_type,
    ]);
    let located = |role| {
        flow.geo
            .as_ref()
            .and_then(|geo| if role == Role::Client { geo.client.clone() } else { geo.server.clone() })
    };
    let party = |side: &shared::model::flow::FlowSide, role: Role| Party {
        ip: side.ip,
        port: side.port,
        vlan: flow.vlan,
        mac: side.mac.as_ref().map(mac_text),
        local: side.local,
        pool: String::new(),
        geo: located(role),
        is_attacker: attacker == Some(role),
        is_victim: victim == Some(role),
        other: Default::default(),
    };
    Alert {
        schema_version: ALERT_SCHEMA_VERSION,
        id,
        action: AlertAction::Store,
        message: request.message.unwrap_or_else(|| meta.title.clone()),
        alert_type,
        entity: Entity::Flow,
        entity_value: label,
        severity,
        category: request.category.unwrap_or(meta.category),
        score,
        tstamp: now,
        engaged_at: None,
        site: place.site.clone(),
        node: place.node.clone(),
        ifid: place.ifid,
        interface: place.interface.clone(),
        script: meta.key.clone(),
        granularity: None,
        alert_key: None,
        value: request.value,
        threshold: request.threshold,
        client: Some(party(&flow.client, Role::Client)),
        server: Some(party(&flow.server, Role::Server)),
        flow: Some(AlertFlow {
            l4,
            l7: flow.l7.to_string(),
            name: flow.info.name().to_owned(),
            cli2srv_bytes: flow.cli2srv.bytes,
            srv2cli_bytes: flow.srv2cli.bytes,
            cli2srv_packets: flow.cli2srv.packets,
            srv2cli_packets: flow.srv2cli.packets,
            first_seen: flow.first_seen,
            status: status::names(flow.status),
            community_id: flow.community_id(),
            // Known when the alert is counted.
            score: 0,
            alerts: Vec::new(),
            predominant: false,
            other: Default::default(),
        }),
        traceparent,
        mitre: meta.mitre.clone(),
        flapping: false,
        other: Default::default(),
    }
}

/// Adds an alert to those of its flow. Returns whether it is the weightiest so far.
pub fn weigh(alert_type: &str, score: u32, extra: &mut Extra) -> bool {
    extra.score = extra.score.saturating_add(score);
    if extra.alert_types.len() < MAX_TYPES && !extra.alert_types.iter().any(|known| known == alert_type) {
        extra.alert_types.push(alert_type.to_owned());
    }
    let predominant = extra.top_score.is_none_or(|top| score > top);
    extra.top_score = extra.top_score.max(Some(score));
    predominant
}

/// Tells an alert of how much those of its flow weigh together, itself included.
pub fn tell_weight(alert: &mut Alert, predominant: bool, extra: &Extra) {
    if let Some(flow) = &mut alert.flow {
        flow.score = extra.score;
        flow.alerts.clone_from(&extra.alert_types);
        flow.predominant = predominant;
    }
}

/// An alert of the collector itself about one of its interfaces.
pub fn interface_alert(
    place: &Place,
    alert_type: &str,
    severity: Severity,
    message: String,
    now: Timestamp,
) -> Alert {
    let id = derive_id(&[&place.site, &place.node, &place.interface, alert_type, &now.ns().to_string()]);
    Alert {
        entity: Entity::Interface,
        entity_value: place.interface.clone(),
        site: place.site.clone(),
        node: place.node.clone(),
        ifid: place.ifid,
        interface: place.interface.clone(),
        script: "collector".to_owned(),
        ..Alert::internal(id, alert_type, severity, message, now)
    }
}
