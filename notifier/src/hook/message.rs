//! Events as HOOK_MESSAGE documents and as the keys that go before them. Pure.
//!
//! The form is that of the hook manager whose subscribers the ZeroMQ bridge serves: a document with
//! HOOK_TYPE, and for calls CALL and CALL_INFO with numbered parameters, for states HOOK_OBJECT, STATE,
//! RESOURCE_ID and the object itself, for retries ARGUMENTS and HOOK_ID.

use serde_json::Value;
use shared::events::Event;
use shared::wire::subject::EventSubject;

/// Nesting of an object's elements at most; deeper values are text.
const MAX_DEPTH: usize = 32;

/// An event as a document.
pub fn event_xml(event: &Event) -> String {
    let mut xml = String::from("<HOOK_MESSAGE>");
    let body = &event.body;
    match event.parsed() {
        Some(EventSubject::Api { ns, object, verb, success }) => {
            element(&mut xml, "HOOK_TYPE", "API");
            element(&mut xml, "CALL", &format!("{ns}.{object}.{verb}"));
            xml.push_str("<CALL_INFO>");
            element(&mut xml, "RESULT", if success { "1" } else { "0" });
            xml.push_str("<PARAMETERS>");
            for (list, kind) in [("in", "IN"), ("out", "OUT")] {
                for parameter in body[list].as_array().into_iter().flatten() {
                    xml.push_str("<PARAMETER>");
                    element(&mut xml, "POSITION", &text(&parameter["pos"]));
                    element(&mut xml, "TYPE", kind);
                    element(&mut xml, "VALUE", &text(&parameter["value"]));
                    xml.push_str("</PARAMETER>");
                }
            }
            xml.push_str("</PARAMETERS>");
            object_element(&mut xml, "EXTRA", &body["extra"], 0);
            xml.push_str("</CALL_INFO>");
        }
        Some(EventSubject::State { resource, state, sub, id }) => {
            element(&mut xml, "HOOK_TYPE", "STATE");
            element(&mut xml, "HOOK_OBJECT", &resource);
            element(&mut xml, "STATE", &state);
            if let Some(sub) = sub {
                element(&mut xml, "LCM_STATE", &sub);
            }
            element(&mut xml, "RESOURCE_ID", &id);
            if let Some(group) = group(event) {
                element(&mut xml, "SERVICE_ID", group);
            }
            if let Some(host) = body["host"].as_str().or_else(|| body["object"]["node"].as_str()) {
                element(&mut xml, "REMOTE_HOST", host);
            }
            let root = if resource == "NET" { "VNET" } else { resource.as_str() };
            object_element(&mut xml, root, &body["object"], 0);
        }
        _ => {
            element(&mut xml, "HOOK_TYPE", "EVENT");
            element(&mut xml, "SUBJECT", &event.subject);
            object_element(&mut xml, "DATA", body, 0);
        }
    }
    if event.sequence > 0 {
        element(&mut xml, "SEQUENCE", &event.sequence.to_string());
    }
    xml.push_str("</HOOK_MESSAGE>");
    xml
}

/// A retry as a document; `arguments` are in base64.
pub fn retry_xml(hook: &str, arguments: &str) -> String {
    let mut xml = String::from("<HOOK_MESSAGE>");
    element(&mut xml, "ARGUMENTS", arguments);
    element(&mut xml, "HOOK_ID", hook);
    xml.push_str("</HOOK_MESSAGE>");
    xml
}

/// The keys an event is published under: with `aliases` those by id and group before and after the
/// canonical one.
pub fn keys(event: &Event, aliases: bool) -> Vec<String> {
    match event.parsed() {
        Some(EventSubject::Api { ns, object, verb, success }) => {
            vec![format!("EVENT API {ns}.{object}.{verb} {}", u8::from(success))]
        }
        Some(EventSubject::State { resource, state, sub, id }) => {
            let sub = sub.unwrap_or_default();
            let canonical = format!("EVENT STATE {resource}/{state}/{sub}/{id} ");
            if !aliases {
                return vec![canonical];
            }
            let mut keys = vec![format!("EVENT {resource} {id}/{state}/{sub} "), canonical];
            keys.extend(group(event).map(|group| format!("EVENT SERVICE {group} ")));
            keys
        }
        Some(subject) => vec![format!("EVENT {} {} ", subject.kind().to_uppercase(), subject.shown())],
        None => Vec::new(),
    }
}

/// The group that what has changed its state belongs to.
fn group(event: &Event) -> Option<&str> {
    event.body["group"].as_str().or_else(|| event.body["object"]["service_id"].as_str())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value as an element; keys that are no names become `ITEM`s with a `NAME`.
fn object_element(xml: &mut String, name: &str, value: &Value, depth: usize) {
    let name = &tag(name);
    match value {
        Value::Object(map) if depth < MAX_DEPTH => {
            xml.push_str(&format!("<{name}>"));
            for (key, value) in map {
                object_element(xml, &key.to_uppercase(), value, depth + 1);
            }
            xml.push_str(&format!("</{name}>"));
        }
        Value::Array(items) if depth < MAX_DEPTH => {
            for item in items {
                object_element(xml, name, item, depth + 1);
            }
        }
        other => element(xml, name, &text(other)),
    }
}

fn element(xml: &mut String, name: &str, content: &str) {
    xml.push_str(&format!("<{name}>"));
    escape(xml, content);
    xml.push_str(&format!("</{name}>"));
}

/// A name that XML takes: letters, digits, `_`, `-` and `.`, and no digit first.
fn tag(name: &str) -> String {
    let mut tag: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' }).collect();
    if !tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        tag.insert(0, '_');
    }
    tag
}

/// Text as XML 1.0 takes it; characters that it has no form for become U+FFFD.
fn escape(xml: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\t' | '\n' => xml.push(c),
            '\r' => xml.push_str("&#13;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            c => xml.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use shared::model::Timestamp;

    use super::*;

    fn event(subject: &EventSubject, body: Value) -> Event {
        Event {
            id: "1".to_owned(),
            key: subject.key(),
            subject: subject.to_string(),
            sequence: 0,
            at: Timestamp::ZERO,
            source: "/s/n".to_owned(),
            depth: 0,
            traceparent: None,
            body,
        }
    }

    fn state(resource: &str, state: &str, sub: Option<&str>, id: &str, body: Value) -> Event {
        let [resource, state, id] = [resource, state, id].map(str::to_owned);
        event(&EventSubject::State { resource, state, sub: sub.map(str::to_owned), id }, body)
    }

    fn api(success: bool, body: Value) -> Event {
        let [ns, object, verb] = ["one", "vm", "allocate"].map(str::to_owned);
        event(&EventSubject::Api { ns, object, verb, success }, body)
    }

    #[test]
    fn keys_are_those_of_the_vectors_to_the_byte() {
        let none = json!({});
        for (event, expected) in [
            (api(true, none.clone()), vec!["EVENT API one.vm.allocate 1"]),
            (api(false, none.clone()), vec!["EVENT API one.vm.allocate 0"]),
            (
                state("HOST", "ERROR", None, "3", none.clone()),
                vec!["EVENT HOST 3/ERROR/ ", "EVENT STATE HOST/ERROR//3 "],
            ),
            (
                state("VM", "ACTIVE", Some("RUNNING"), "12", json!({ "group": "4" })),
                vec!["EVENT VM 12/ACTIVE/RUNNING ", "EVENT STATE VM/ACTIVE/RUNNING/12 ", "EVENT SERVICE 4 "],
            ),
            (
                state("IMAGE", "READY", None, "7", none.clone()),
                vec!["EVENT IMAGE 7/READY/ ", "EVENT STATE IMAGE/READY//7 "],
            ),
            (
                state("NET", "ERROR", None, "5", none.clone()),
                vec!["EVENT NET 5/ERROR/ ", "EVENT STATE NET/ERROR//5 "],
            ),
        ] {
            assert_eq!(keys(&event, true), expected);
            let canonical = expected.iter().find(|key| key.starts_with("EVENT API") || key.contains("STATE"));
            assert_eq!(keys(&event, false), [*canonical.unwrap()]);
        }
    }

    #[test]
    fn documents_have_the_elements_of_their_type() {
        let body = json!({ "in": [{ "pos": 1, "value": "****" }, { "pos": 2, "value": "a<b && \"c\"" }],
            "out": [{ "pos": 1, "value": true }], "extra": { "id": 17 } });
        assert_eq!(
            event_xml(&api(true, body)),
            "<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>one.vm.allocate</CALL><CALL_INFO><RESULT>1</RESULT>\
             <PARAMETERS><PARAMETER><POSITION>1</POSITION><TYPE>IN</TYPE><VALUE>****</VALUE></PARAMETER>\
             <PARAMETER><POSITION>2</POSITION><TYPE>IN</TYPE><VALUE>a&lt;b &amp;&amp; &quot;c&quot;</VALUE>\
             </PARAMETER><PARAMETER><POSITION>1</POSITION><TYPE>OUT</TYPE><VALUE>true</VALUE></PARAMETER>\
             </PARAMETERS><EXTRA><ID>17</ID></EXTRA></CALL_INFO></HOOK_MESSAGE>"
        );
        let net = state("NET", "ERROR", None, "5", json!({ "object": { "name": "x" } }));
        assert_eq!(
            event_xml(&net),
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>NET</HOOK_OBJECT><STATE>ERROR</STATE>\
             <RESOURCE_ID>5</RESOURCE_ID><VNET><NAME>x</NAME></VNET></HOOK_MESSAGE>"
        );
        let grouped =
            state("VM", "ACTIVE", Some("RUNNING"), "12", json!({ "group": "4", "host": "n1", "object": {} }));
        assert_eq!(
            event_xml(&grouped),
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
             <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>12</RESOURCE_ID><SERVICE_ID>4</SERVICE_ID>\
             <REMOTE_HOST>n1</REMOTE_HOST><VM></VM></HOOK_MESSAGE>"
        );
        assert_eq!(
            retry_xml("h", "YQ=="),
            "<HOOK_MESSAGE><ARGUMENTS>YQ==</ARGUMENTS><HOOK_ID>h</HOOK_ID></HOOK_MESSAGE>"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_told_the_document_is_well_formed(key in ".*", value in ".*", id in ".*") {
            let xml = event_xml(&state("X", "Y", None, &id, json!({ "object": { key: [value, null] } })));
            let mut open = Vec::new();
            for part in xml.split('<').skip(1) {
                let (tag, text) = part.split_once('>').unwrap();
                prop_assert!(!text.contains(|c: char| c < ' ' && !"\t\n".contains(c)));
                match tag.strip_prefix('/') {
                    Some(name) => prop_assert_eq!(open.pop(), Some(name.to_owned())),
                    None => open.push(tag.to_owned()),
                }
            }
            prop_assert!(open.is_empty());
        }
    }
}
