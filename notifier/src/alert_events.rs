//! Events that follow from alerts: the alert's own, its state, and that of the interface where it is
//! about one. Pure.

use serde_json::{Value, json};
use shared::events::config::AlertEvents;
use shared::events::{AlertBody, Body, Draft};
use shared::model::{Alert, AlertAction};
use shared::wire::subject::EventSubject;

/// Types of alerts that say that an interface is in another state, with the state.
const OF_INTERFACES: [(&str, &str, &str); 4] = [
    ("interface_down", "DOWN", "UP"),
    ("interface_up", "UP", "DOWN"),
    ("capture_failed", "FAILED", "CAPTURING"),
    ("capture_resumed", "CAPTURING", "FAILED"),
];

/// What is told of an alert, as JSON; its ids follow from the alert's, so that telling it twice is telling
/// it once.
pub fn drafts(payload: &str, wanted: AlertEvents) -> Vec<Draft> {
    let Ok(alert) = serde_json::from_str::<Alert>(payload) else { return Vec::new() };
    let id = alert.transition_id();
    let mut drafts = Vec::new();
    if let Some((_, state, before)) = OF_INTERFACES.iter().find(|(kind, ..)| *kind == alert.alert_type) {
        let object =
            json!({ "name": alert.interface, "site": alert.site, "node": alert.node, "ifid": alert.ifid });
        let name = format!("{}/{}", alert.node, alert.interface);
        let draft = Draft::state("INTERFACE", &name, state, Some(before), object);
        drafts.push(draft.with_id(format!("{id}/interface")));
    }
    if alert.alert_type == "script_quarantined" {
        let object = json!({ "site": alert.site, "node": alert.node, "message": alert.message });
        let draft = Draft::state("SCRIPT", &alert.script, "QUARANTINED", Some("ENABLED"), object);
        drafts.push(draft.with_id(format!("{id}/script")));
    }
    let state = match alert.action {
        AlertAction::Engage => Some(("ENGAGED", None)),
        AlertAction::Release => Some(("RELEASED", Some("ENGAGED"))),
        AlertAction::Store => Some(("STORED", None)),
        // Still engaged.
        AlertAction::Update => None,
    };
    let told = match wanted {
        AlertEvents::Off => false,
        AlertEvents::Engaged => alert.action != AlertAction::Store,
        AlertEvents::All => true,
    };
    if !told {
        return drafts;
    }
    let subject = EventSubject::Alert {
        severity: alert.severity,
        alert_type: alert.alert_type.clone(),
        entity: alert.entity.to_string(),
    };
    let traceparent = alert.traceparent.clone();
    let body: Value = serde_json::from_str(payload).unwrap_or_default();
    let of_state = state.map(|(state, before)| Draft::state("ALERT", &alert.id, state, before, body.clone()));
    let body = AlertBody { action: alert.action.to_string(), alert: body };
    let of_alert = Draft::new(subject, Body::Alert(body));
    drafts.push(Draft { traceparent: traceparent.clone(), ..of_alert.with_id(format!("{id}/alert")) });
    drafts.extend(of_state.map(|draft| Draft { traceparent, ..draft.with_id(format!("{id}/state")) }));
    drafts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::alert;

    fn subjects(alert: &Alert, wanted: AlertEvents) -> Vec<String> {
        let payload = serde_json::to_string(alert).unwrap();
        drafts(&payload, wanted).iter().map(|draft| draft.subject.to_string()).collect()
    }

    #[test]
    fn an_alert_is_told_with_its_state_and_an_interface_with_its_own() {
        let engaged = alert("a1");
        assert_eq!(
            subjects(&engaged, AlertEvents::Engaged),
            ["event.alert.error.threshold_cross.interface", "event.state.ALERT.ENGAGED._.a1"]
        );
        assert!(subjects(&engaged, AlertEvents::Off).is_empty());
        let worse =
            Alert { action: AlertAction::Update, severity: shared::model::Severity::Critical, ..alert("a1") };
        assert_eq!(
            subjects(&worse, AlertEvents::Engaged),
            ["event.alert.critical.threshold_cross.interface"],
            "its state is the same"
        );
        let down =
            Alert { action: AlertAction::Store, alert_type: "interface_down".to_owned(), ..alert("a2") };
        assert_eq!(subjects(&down, AlertEvents::Engaged), ["event.state.INTERFACE.DOWN._.n1%2Feno1"]);
        assert_eq!(subjects(&down, AlertEvents::All).len(), 3);
        let script = "my_check".to_owned();
        let quarantined = Alert { alert_type: "script_quarantined".to_owned(), script, ..down };
        assert_eq!(
            subjects(&quarantined, AlertEvents::Engaged),
            ["event.state.SCRIPT.QUARANTINED._.my_check"],
            "of whatever kind it is"
        );
    }
}
