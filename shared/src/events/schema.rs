//! JSON Schemas of events' bodies, and the AsyncAPI document of where they are told.
//!
//! Both follow from the types; `docs/schema/` holds the published copies.

use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::{AlertBody, ApiBody, FlowBody, ItemBody, StateBody, TimerBody, cloud};
use crate::model::alert_schema::whole_schema;

/// A kind of event.
pub struct EventType {
    /// The second token of its subjects.
    pub kind: &'static str,
    /// Its subjects, words in braces standing for tokens.
    pub subject: &'static str,
    /// Its filter.
    pub filter: &'static str,
    /// What it tells.
    pub summary: &'static str,
    /// The JSON Schema of its data.
    pub schema: fn() -> Value,
}

/// Every kind of event.
pub const EVENT_TYPES: [EventType; 6] = [
    EventType {
        kind: "api",
        subject: "event.api.{ns}.{object}.{verb}.{success}",
        filter: "event.api.*.*.*.*",
        summary: "A call of the control plane has ended; success is 0 or 1",
        schema: || schema::<ApiBody>("api"),
    },
    EventType {
        kind: "state",
        subject: "event.state.{resource}.{state}.{substate}.{id}",
        filter: "event.state.*.*.*.*",
        summary: "Something is in another state now; the substate is _ where there is none",
        schema: || schema::<StateBody>("state"),
    },
    EventType {
        kind: "flow",
        subject: "event.flow.{hook}.{ifid}",
        filter: "event.flow.*.*",
        summary: "A flow hook was due; at most once, not kept",
        schema: || schema::<FlowBody>("flow"),
    },
    EventType {
        kind: "timer",
        subject: "event.timer.{granularity}.{element}",
        filter: "event.timer.*.*",
        summary: "A window of elements has closed",
        schema: || schema::<TimerBody>("timer"),
    },
    EventType {
        kind: "alert",
        subject: "event.alert.{severity}.{type}.{entity}",
        filter: "event.alert.*.*.*",
        summary: "An alert was engaged, updated, released or stored",
        schema: || schema::<AlertBody>("alert"),
    },
    EventType {
        kind: "item",
        subject: "event.item.{service}.{node}",
        filter: "event.item.*.*",
        summary: "Somebody has published an item on a node",
        schema: || schema::<ItemBody>("item"),
    },
];

/// The kind of this name.
pub fn event_type(kind: &str) -> Option<&'static EventType> {
    EVENT_TYPES.iter().find(|known| known.kind == kind)
}

fn schema<T: ToSchema + PartialSchema>(kind: &str) -> Value {
    let mut whole = whole_schema::<T>(&cloud::schema_of(kind), kind);
    whole["properties"]["kind"] = json!({ "type": "string", "const": kind });
    if let Some(required) = whole["required"].as_array_mut() {
        required.insert(0, "kind".into());
    }
    whole
}

/// The AsyncAPI 3.0 document of every kind of event.
pub fn asyncapi() -> Value {
    let (mut channels, mut operations, mut messages) = (json!({}), json!({}), json!({}));
    for EventType { kind, subject, summary, schema, .. } in EVENT_TYPES {
        let words = subject.split(['{', '}']).skip(1).step_by(2);
        let parameters: serde_json::Map<String, Value> =
            words.map(|word| (word.to_owned(), json!({}))).collect();
        channels[kind] = json!({
            "address": subject,
            "summary": summary,
            "parameters": parameters,
            "messages": { kind: { "$ref": format!("#/components/messages/{kind}") } },
        });
        operations[format!("tell_{kind}")] = json!({
            "action": "send",
            "channel": { "$ref": format!("#/channels/{kind}") },
            "summary": summary,
        });
        messages[kind] = json!({
            "name": cloud::type_of(kind),
            "contentType": "application/json",
            "headers": { "$ref": "#/components/schemas/headers" },
            "payload": { "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": schema() },
        });
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "flowhook events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in binary mode over NATS. Every subject stands under bus.prefix.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "schemas": { "headers": header_schema() } },
    })
}

/// The headers of every event.
fn header_schema() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "required": ["ce-specversion", "ce-id", "ce-source", "ce-type"],
        "properties": {
            "ce-specversion": { "type": "string", "const": "1.0" },
            "ce-id": text("Unique together with ce-source"),
            "ce-source": text("Who tells it: /site/node"),
            "ce-type": text("org.flowhook.<kind>.v1"),
            "ce-subject": text("What it is about, for people"),
            "ce-time": { "type": "string", "format": "date-time" },
            "ce-dataschema": text("Name of the data's JSON Schema"),
            "ce-datacontenttype": { "type": "string", "const": "application/json" },
            "ce-partitionkey": text("Events of one key keep their order"),
            "ce-sequence": text("Number within the key, 20 digits; a gap is a loss"),
            "ce-hookdepth": text("How many hooks stand between the event and what people did"),
            "traceparent": text("W3C trace context"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Body, Draft};

    /// Fails unless `docs/schema/<name>` holds `value`; with FLOWHOOK_BLESS set, writes it.
    fn published(name: &str, value: &Value) {
        let path = format!("{}/../docs/schema/{name}", env!("CARGO_MANIFEST_DIR"));
        let right = format!("{value:#}\n");
        if std::env::var_os("FLOWHOOK_BLESS").is_some() {
            std::fs::write(&path, &right).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == right, "docs/schema/{name} is not what the types say: FLOWHOOK_BLESS=1 writes it");
    }

    #[test]
    fn the_published_documents_are_what_the_types_say() {
        for known in EVENT_TYPES {
            published(&format!("event.{}.v1.json", known.kind), &(known.schema)());
        }
        published("asyncapi.json", &asyncapi());
    }

    #[test]
    fn bodies_keep_to_their_schemas() {
        let draft =
            Draft::state("HOOK", "x", "ENABLED", Some("DISABLED"), json!({ "a": 1 })).by("ann", "rest", 3);
        let validator = jsonschema::validator_for(&(event_type("state").unwrap().schema)()).unwrap();
        let body = serde_json::to_value(&draft.body).unwrap();
        assert!(validator.is_valid(&body), "{body}");
        let mut wrong = body.clone();
        wrong["state"] = json!(7);
        assert!(!validator.is_valid(&wrong));
        assert_eq!(serde_json::from_value::<Body>(body).unwrap(), draft.body);
    }
}
