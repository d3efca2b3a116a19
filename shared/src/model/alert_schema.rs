//! The JSON Schema (draft 2020-12) of [`Alert`], the public form of alerts.
//!
//! It follows from the type; `docs/schema/alert.v1.json` is the published copy.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::Alert;
use super::alert::ALERT_SCHEMA_VERSION;

/// Where OpenAPI documents keep what JSON Schema keeps under `$defs`.
const COMPONENTS: &str = "#/components/schemas/";

/// The schema of alerts.
pub fn alert_schema() -> Value {
    whole_schema::<Alert>(&format!("urn:flowhook:alert:v{ALERT_SCHEMA_VERSION}"), "Alert")
}

/// The schema of a type with everything it refers to, under a name of its own.
pub fn whole_schema<T: ToSchema + PartialSchema>(id: &str, title: &str) -> Value {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    let read = |schema| serde_json::to_value(schema).unwrap_or_default();
    let defs: Map<String, Value> = parts.into_iter().map(|(name, part)| (name, read(part))).collect();
    let mut schema = read(T::schema());
    schema["$defs"] = Value::Object(defs);
    localise(&mut schema);
    let mut whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": id,
        "title": title,
    });
    if let (Value::Object(whole), Value::Object(schema)) = (&mut whole, schema) {
        whole.extend(schema);
    }
    whole
}

/// References to components become references to `$defs`.
fn localise(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::String(text) if key == "$ref" => {
                        if let Some(name) = text.strip_prefix(COMPONENTS) {
                            *text = format!("#/$defs/{name}");
                        }
                    }
                    other => localise(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(localise),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema/alert.v1.json");

    /// Set FLOWHOOK_BLESS to write it again.
    #[test]
    fn the_published_schema_is_that_of_the_type() {
        let right = format!("{:#}\n", alert_schema());
        if std::env::var_os("FLOWHOOK_BLESS").is_some() {
            std::fs::write(PUBLISHED, right).unwrap();
        } else {
            assert!(
                std::fs::read_to_string(PUBLISHED).unwrap() == right,
                "docs/schema/alert.v1.json differs"
            );
        }
    }

    /// Alerts as this version was first told them; no later program may read or write them otherwise.
    const GOLDEN: [&str; 4] = [
        include_str!("../../../tests/data/golden/alert_v1_flow.json"),
        include_str!("../../../tests/data/golden/alert_v1_engage.json"),
        include_str!("../../../tests/data/golden/alert_v1_release.json"),
        include_str!("../../../tests/data/golden/alert_v1_update.json"),
    ];

    #[test]
    fn golden_alerts_fit_the_schema_and_come_back_as_they_were() {
        let validator = jsonschema::validator_for(&alert_schema()).unwrap();
        for golden in GOLDEN {
            let value: Value = serde_json::from_str(golden).unwrap();
            let wrong: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
            assert!(wrong.is_empty(), "{wrong:?}");
            let alert: Alert = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(&alert).unwrap(), value);
        }
    }

    #[test]
    fn what_a_later_version_tells_is_passed_on() {
        let mut later: Value = serde_json::from_str(GOLDEN[0]).unwrap();
        later["tenant"] = json!({ "name": "x", "n": 18_446_744_073_709_551_615_u64 });
        for part in ["client", "server", "flow"] {
            later[part]["owner"] = json!("y");
        }
        let alert: Alert = serde_json::from_slice(&serde_json::to_vec(&later).unwrap()).unwrap();
        assert_eq!(serde_json::to_value(&alert).unwrap(), later);
        assert!(jsonschema::validator_for(&alert_schema()).unwrap().is_valid(&later));
    }

    #[test]
    fn the_schema_refuses_what_is_no_alert() {
        let validator = jsonschema::validator_for(&alert_schema()).unwrap();
        let good: Value = serde_json::from_str(GOLDEN[0]).unwrap();
        for (key, wrong) in [
            ("severity", json!("loud")),
            ("action", json!("end")),
            ("score", json!(-1)),
            ("client", json!({ "ip": 7 })),
            ("id", Value::Null),
        ] {
            let mut bad = good.clone();
            bad[key] = wrong;
            assert!(!validator.is_valid(&bad), "{key}");
        }
    }
}
