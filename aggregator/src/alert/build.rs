//! A script's request becomes an alert.

use shared::model::alert::{ALERT_SCHEMA_VERSION, derive_id};
use shared::model::{Alert, AlertAction, Granularity, Party, Timestamp};
use shared::script::effect::Role;
use shared::script::{AlertRequest, ScriptMeta};

use super::Subject;

/// Bytes of an alert's message at most: an alert has to fit into a message of the bus.
const MAX_TEXT: usize = 4096;

/// Bytes of an alert's type and of its metric at most.
const MAX_NAME: usize = 128;

/// A text of `max` bytes at most, cut between characters.
fn clip(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The type of an alert as it is kept: the script's key when the script names none.
pub fn alert_type<'a>(named: Option<&'a str>, meta: &'a ScriptMeta) -> &'a str {
    clip(named.unwrap_or(&meta.key), MAX_NAME)
}

fn message<'a>(request: &'a AlertRequest, meta: &'a ScriptMeta) -> &'a str {
    clip(request.message.as_deref().unwrap_or(&meta.title), MAX_TEXT)
}

/// The host of the alert, or the client of its flow, with the part that it plays.
fn party(request: &AlertRequest, meta: &ScriptMeta, subject: &Subject) -> Option<Party> {
    subject.party.clone().map(|party| with_part(party, Role::Client, request, meta, subject))
}

/// A side with the part that it plays. There is but one side of a host, whatever a script calls it.
fn with_part(
    party: Party,
    side: Role,
    request: &AlertRequest,
    meta: &ScriptMeta,
    subject: &Subject,
) -> Party {
    let plays = |part: Option<Role>| part.is_some_and(|part| part == side || subject.flow.is_none());
    let is_attacker = plays(request.attacker.or(meta.attacker));
    let is_victim = plays(request.victim.or(meta.victim));
    Party { is_attacker, is_victim, ..party }
}

/// The alert that a request is for.
pub(super) fn build(
    request: &AlertRequest,
    meta: &ScriptMeta,
    subject: &Subject,
    granularity: Granularity,
    now: Timestamp,
    action: AlertAction,
) -> Alert {
    let (severity, score) = meta.weight(request);
    let alert_type = alert_type(request.alert_type.as_deref(), meta);
    let id = derive_id(&[
        &subject.site,
        &subject.ifid.to_string(),
        subject.entity.name(),
        &subject.value,
        alert_type,
        &meta.key,
        granularity.name(),
        &now.ns().to_string(),
    ]);
    let (server, flow) = subject.flow.clone().unzip();
    Alert {
        schema_version: ALERT_SCHEMA_VERSION,
        id,
        action,
        alert_type: alert_type.to_owned(),
        entity: subject.entity,
        entity_value: subject.value.clone(),
        severity,
        category: request.category.unwrap_or(meta.category),
        score,
        tstamp: now,
        engaged_at: None,
        site: subject.site.clone(),
        node: subject.node.clone(),
        ifid: subject.ifid,
        interface: subject.interface.clone(),
        script: meta.key.clone(),
        granularity: Some(granularity),
        alert_key: request.metric.as_ref().map(|metric| format!("{granularity}_{}", clip(metric, MAX_NAME))),
        message: message(request, meta).to_owned(),
        value: request.value,
        threshold: request.threshold,
        client: party(request, meta, subject),
        server: server.map(|party| with_part(party, Role::Server, request, meta, subject)),
        flow,
        traceparent: None,
        mitre: meta.mitre.clone(),
        flapping: false,
        other: Default::default(),
    }
}

/// True when an engaged alert of the same key already shows what [`build`] would make of a request,
/// found out without making it: nearly every trigger of a long episode is such a one.
pub(super) fn shows(alert: &Alert, request: &AlertRequest, meta: &ScriptMeta, subject: &Subject) -> bool {
    let same_metric = match (&alert.alert_key, &request.metric, alert.granularity) {
        (None, None, _) => true,
        (Some(shown), Some(metric), Some(granularity)) => {
            let shown = shown.strip_prefix(granularity.name()).and_then(|rest| rest.strip_prefix('_'));
            shown == Some(clip(metric, MAX_NAME))
        }
        _ => false,
    };
    same_metric
        && (alert.severity, alert.score) == meta.weight(request)
        && alert.category == request.category.unwrap_or(meta.category)
        && alert.value == request.value
        && alert.threshold == request.threshold
        && alert.message == message(request, meta)
        && alert.node == subject.node
        && alert.interface == subject.interface
        && alert.traceparent.is_none()
        && alert.mitre == meta.mitre
        && alert.client == party(request, meta, subject)
}

/// The end of an episode.
pub(super) fn released(alert: Alert, now: Timestamp) -> Alert {
    let engaged_at = Some(alert.tstamp);
    Alert { action: AlertAction::Release, tstamp: now, engaged_at, ..alert }
}
