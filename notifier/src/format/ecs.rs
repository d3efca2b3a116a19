//! An alert in the Elastic Common Schema (seed 002 "Elasticsearch"; ECS 1.6 field reference).

use serde_json::{Map, Value, json};
use shared::model::{Alert, Category, Entity, Party, Severity};

use super::{json, text};

/// Version of the schema that documents conform to.
const ECS_VERSION: &str = "1.6.0";

/// The document of an alert.
///
/// The seed's keys are always there; flow alerts have `source`, `destination` and `network`, of which
/// only what is known is written. `message` is the sentence for people; the whole alert, which the
/// seed's example has there, is `event.original`, where ECS wants it. `event.action` and `event.id`
/// tell begin and end of an alert apart and join them.
pub fn document(alert: &Alert) -> Value {
    let time = alert.tstamp.rfc3339_millis();
    let mut document = json!({
        "@timestamp": time,
        "message": alert.message,
        "ecs": { "version": ECS_VERSION },
        "event": {
            "action": alert.action.name(),
            "category": category(alert.category),
            "created": time,
            "dataset": "alerts",
            "id": alert.id,
            "kind": "alert",
            "module": "flowhook",
            "original": json::full(alert, usize::MAX),
            "risk_score": alert.score,
            "severity": alert.severity.id(),
            "severity_label": severity_label(alert.severity),
        },
        "organization": { "name": "flowhook" },
        "rule": { "name": text::type_label(&alert.alert_type) },
    });
    if alert.entity == Entity::Flow {
        add(&mut document, "source", alert.client.as_ref().map(party));
        add(&mut document, "destination", alert.server.as_ref().map(party));
        add(&mut document, "network", Some(network(alert)));
    }
    document
}

/// The document on one line; texts are cut until it fits into `max` bytes, or no further cut helps.
pub fn line(alert: &Alert, max: usize) -> String {
    json::fit(alert, max, |alert| {
        let mut document = document(alert);
        // The alert a second time would be cut first anyway: a line has no room for both.
        if let Some(event) = document["event"].as_object_mut() {
            event.remove("original");
        }
        document
    })
}

fn add(document: &mut Value, key: &str, value: Option<Value>) {
    if let (Value::Object(document), Some(value)) = (document, value) {
        document.insert(key.to_owned(), value);
    }
}

fn party(party: &Party) -> Value {
    let mut value = json!({ "ip": party.ip, "port": party.port });
    let Some(geo) = &party.geo else { return value };
    let number = (geo.asn != 0).then(|| json!({ "number": geo.asn }));
    add(&mut value, "as", number);
    let mut place = Map::new();
    let mut put = |key: &str, text: &str| {
        if !text.is_empty() {
            place.insert(key.to_owned(), json!(text));
        }
    };
    put("city_name", &geo.city);
    put("continent_name", &geo.continent);
    put("country_name", &geo.country_name);
    put("country_iso_code", &geo.country);
    if let (Some(lat), Some(lon)) = (geo.latitude, geo.longitude) {
        place.insert("location".to_owned(), json!({ "lat": lat, "lon": lon }));
    }
    add(&mut value, "geo", (!place.is_empty()).then_some(Value::Object(place)));
    value
}

fn network(alert: &Alert) -> Value {
    let mut network = json!({});
    if let Some(flow) = &alert.flow {
        let lower = |text: &str| (!text.is_empty()).then(|| json!(text.to_lowercase()));
        add(&mut network, "transport", lower(&flow.l4));
        add(&mut network, "protocol", lower(&flow.l7));
        let id = &flow.community_id;
        add(&mut network, "community_id", (!id.is_empty()).then(|| json!(id)));
    }
    let vlan = alert.client.as_ref().or(alert.server.as_ref()).map_or(0, |party| party.vlan);
    add(&mut network, "vlan", (vlan != 0).then(|| json!({ "id": vlan.to_string() })));
    network
}

/// ECS's own categories that come nearest.
fn category(category: Category) -> &'static str {
    match category {
        Category::Security | Category::IdsIps => "intrusion_detection",
        Category::Internals | Category::System => "host",
        Category::Other | Category::Network | Category::ActiveMonitoring | Category::Snmp => "network",
    }
}

/// The seed's four words.
fn severity_label(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug | Severity::Info | Severity::Notice => "low",
        Severity::Warning => "medium",
        Severity::Error => "high",
        Severity::Critical | Severity::Emergency => "critical",
    }
}

#[cfg(test)]
mod tests {
    use shared::model::alert::AlertFlow;
    use shared::model::{AlertAction, GeoPlace, Timestamp};

    use super::*;
    use crate::testing::{alert, flow_alert};

    /// The alert of the seed's example.
    fn low_goodput() -> Alert {
        let mut alert = flow_alert("a");
        alert.alert_type = "low_goodput_ratio".to_owned();
        alert.severity = Severity::Notice;
        alert.score = 10;
        alert.category = Category::Network;
        alert.tstamp = Timestamp::from_secs(1_606_141_256);
        alert.action = AlertAction::Store;
        let client = alert.client.as_mut().unwrap();
        (client.ip, client.port) = ("192.168.1.29".parse().unwrap(), 60952);
        let server = alert.server.as_mut().unwrap();
        (server.ip, server.port) = ("23.206.251.35".parse().unwrap(), 80);
        let place = GeoPlace {
            asn: 16625,
            continent: "NA".to_owned(),
            country: "US".to_owned(),
            latitude: Some(37.75),
            longitude: Some(-97.8),
            ..GeoPlace::default()
        };
        server.geo = Some(place.into());
        alert.flow = Some(AlertFlow {
            l4: "TCP".to_owned(),
            l7: "HTTP".to_owned(),
            community_id: "1:fUGQhJ6nxu/LILCAW+Lb8dF4sKU=".to_owned(),
            ..alert.flow.unwrap()
        });
        alert
    }

    #[test]
    fn a_flow_reads_as_the_seeds_example() {
        let mut document = document(&low_goodput());
        let original = document["event"].as_object_mut().unwrap().remove("original").unwrap();
        assert_eq!(serde_json::from_str::<Alert>(original.as_str().unwrap()).unwrap(), low_goodput());
        assert_eq!(
            document,
            json!({
                "organization": { "name": "flowhook" },
                "rule": { "name": "Low Goodput Ratio" },
                "ecs": { "version": "1.6.0" },
                "event": {
                    "severity_label": "low", "created": "2020-11-23T14:20:56.000Z", "category": "network",
                    "module": "flowhook", "kind": "alert", "severity": 3, "dataset": "alerts",
                    "risk_score": 10, "action": "store", "id": "a",
                },
                "source": { "port": 60952, "ip": "192.168.1.29" },
                "destination": {
                    "geo": {
                        "continent_name": "NA", "country_iso_code": "US",
                        "location": { "lat": 37.75, "lon": -97.8 },
                    },
                    "ip": "23.206.251.35", "as": { "number": 16625 }, "port": 80,
                },
                "network": {
                    "community_id": "1:fUGQhJ6nxu/LILCAW+Lb8dF4sKU=", "transport": "tcp", "protocol": "http",
                },
                "message": "Remote client and remote server",
                "@timestamp": "2020-11-23T14:20:56.000Z",
            })
        );
    }

    #[test]
    fn what_is_no_flow_has_the_common_keys_alone() {
        let document = document(&alert("a"));
        let keys: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["@timestamp", "ecs", "event", "message", "organization", "rule"]);
        assert_eq!(document["event"]["severity_label"], "high");
    }

    #[test]
    fn a_tagged_flow_has_its_vlan_and_a_line_fits() {
        let mut alert = low_goodput();
        alert.client.as_mut().unwrap().vlan = 42;
        assert_eq!(document(&alert)["network"]["vlan"]["id"], "42");
        alert.message = "ü\n".repeat(4000);
        let line = line(&alert, 2048);
        assert!(line.len() <= 2048 && !line.contains('\n'), "{}", line.len());
        let read: Value = serde_json::from_str(&line).unwrap();
        assert!(read["message"].as_str().unwrap().ends_with('…'));
    }
}
