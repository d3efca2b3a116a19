//! CloudEvents 1.0 over NATS in binary mode: every attribute is a header `ce-<name>`, the message's
//! content is the data alone.
//!
//! The data of an event that is larger than a message is elsewhere ([`crate::bus::large`]); what is read
//! of a message that only refers to it has the reference as its data.
//!
//! A message without these headers is an event too, as anybody can publish on the bus with any client:
//! then the subject says what it is, and its place in the stream names it.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Body, Event, ItemBody, VERSION, flatten};
use crate::bus::Headers;
use crate::bus::large::REFERENCE;
use crate::model::Timestamp;
use crate::model::alert::derive_id;
use crate::wire::subject::EventSubject;

/// What may not stand in an attribute as it is (HTTP protocol binding 1.0.2 §3.1.3.2).
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Begin of the `type` of every event.
pub const TYPE_PREFIX: &str = "org.flowhook";

/// Longest id and source that an event may have, in bytes.
const MAX_NAME: usize = 512;

/// The data's media type.
const JSON: &str = "application/json";

/// The `type` of events of a kind, such as `org.flowhook.state.v1`.
pub fn type_of(kind: &str) -> String {
    format!("{TYPE_PREFIX}.{kind}.v{VERSION}")
}

/// Where the JSON Schema of a kind's data is named.
pub fn schema_of(kind: &str) -> String {
    format!("urn:flowhook:event:{kind}:v{VERSION}")
}

/// The headers of an event.
pub fn headers(event: &Event) -> Headers {
    let parsed = event.parsed();
    let kind = parsed.as_ref().map_or("unknown", EventSubject::kind);
    let shown = parsed.as_ref().map_or_else(|| event.subject.clone(), EventSubject::shown);
    let at = serde_json::to_value(event.at).unwrap_or_default();
    let mut attributes = vec![
        ("specversion", "1.0".to_owned()),
        ("id", event.id.clone()),
        ("source", event.source.clone()),
        ("type", type_of(kind)),
        ("subject", shown),
        ("time", at.as_str().unwrap_or_default().to_owned()),
        ("dataschema", schema_of(kind)),
        ("datacontenttype", JSON.to_owned()),
        ("partitionkey", event.key.clone()),
    ];
    if event.sequence > 0 {
        // Padded, because the extension compares sequences as text.
        attributes.push(("sequence", format!("{:020}", event.sequence)));
    }
    if event.depth > 0 {
        attributes.push(("hookdepth", event.depth.to_string()));
    }
    let mut headers: Headers =
        attributes.into_iter().map(|(name, value)| (format!("ce-{name}"), encoded(&value))).collect();
    headers.extend(event.traceparent.clone().map(|trace| ("traceparent".to_owned(), trace)));
    headers
}

/// A text as it may stand in a header.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Reads an event from a message of `subject` (without prefix). `place` tells the message from every other
/// one, also of a stream that was made anew.
///
/// # Errors
/// Says what is wrong with it.
pub fn read(
    subject: &str,
    place: &str,
    headers: &Headers,
    data: &[u8],
    now: Timestamp,
) -> Result<Event, String> {
    let parsed = EventSubject::parse(subject).ok_or_else(|| format!("'{subject}' is no event's subject"))?;
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(percent_decode_str(&found.1).decode_utf8_lossy().into_owned())
    };
    let attribute = |name: &str| header(&format!("ce-{name}")).filter(|value| !value.is_empty());
    if let Some(version) = attribute("specversion").filter(|version| !version.starts_with("1.")) {
        return Err(format!("CloudEvents version {version} is not known"));
    }
    let Some(id) = attribute("id") else { return Ok(bare(subject, &parsed, place, data, now)) };
    let source = attribute("source").unwrap_or_default();
    for (name, text) in [("ce-id", &id), ("ce-source", &source)] {
        if text.len() > MAX_NAME {
            return Err(format!("{name} has {} bytes, more than {MAX_NAME}", text.len()));
        }
    }
    let mut body = match header(REFERENCE).filter(|_| data.is_empty()) {
        // Who only listens, and who comes when the content is kept no longer, is told where it was.
        Some(reference) => json!({ "kind": parsed.kind(), "dataref": reference }),
        None => serde_json::from_slice(data).map_err(|e| format!("data: {e}"))?,
    };
    flatten(&mut body);
    let number = |name: &str| attribute(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let time = attribute("time").and_then(|text| serde_json::from_value(Value::String(text)).ok());
    Ok(Event {
        id,
        subject: subject.to_owned(),
        key: short(attribute("partitionkey").unwrap_or_else(|| parsed.key())),
        sequence: number("sequence"),
        at: time.unwrap_or(now),
        source,
        depth: u32::try_from(number("hookdepth")).unwrap_or(u32::MAX),
        traceparent: header("traceparent"),
        body,
    })
}

/// A key that indexes take, whoever made it.
fn short(key: String) -> String {
    if key.len() > MAX_NAME { derive_id(&[&key]) } else { key }
}

/// An event that is only a message.
fn bare(subject: &str, parsed: &EventSubject, place: &str, data: &[u8], now: Timestamp) -> Event {
    let mut payload = serde_json::from_slice(data)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(data).into_owned()));
    flatten(&mut payload);
    let id = format!("message-{place}");
    let body = match parsed {
        EventSubject::Item { service, node } => serde_json::to_value(Body::Item(ItemBody {
            service: service.clone(),
            node: node.clone(),
            item_id: id.clone(),
            publisher: String::new(),
            payload,
        }))
        .unwrap_or_default(),
        _ => payload,
    };
    Event {
        id,
        subject: subject.to_owned(),
        key: short(parsed.key()),
        sequence: 0,
        at: now,
        source: "/bus".to_owned(),
        depth: 0,
        traceparent: None,
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::large::Reference;
    use crate::events::Draft;

    fn event() -> Event {
        let draft = Draft::state("HOOK", "night watch", "ENABLED", None, json!({}));
        Event {
            id: "a-1".to_owned(),
            subject: draft.subject.to_string(),
            key: draft.subject.key(),
            sequence: 41,
            at: Timestamp::from_secs(1_700_000_000),
            source: "/main/n 1".to_owned(),
            depth: 2,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            body: serde_json::to_value(draft.body).unwrap(),
        }
    }

    #[test]
    fn an_event_goes_out_and_comes_in_the_same() {
        let event = event();
        let headers = headers(&event);
        let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
        assert_eq!(value("ce-specversion"), Some("1.0"));
        assert_eq!(value("ce-type"), Some("org.flowhook.state.v1"));
        assert_eq!(value("ce-time"), Some("2023-11-14T22:13:20Z"));
        assert_eq!(value("ce-source"), Some("/main/n%201"));
        assert_eq!(value("ce-sequence"), Some("00000000000000000041"));
        assert_eq!(value("ce-subject"), Some("HOOK/ENABLED//night%20watch"));
        let data = serde_json::to_vec(&event.body).unwrap();
        let back = read(&event.subject, "7", &headers, &data, Timestamp::ZERO).unwrap();
        assert_eq!(back, event);
        let referring = Reference::to(&data).put_into(headers);
        let back = read(&event.subject, "7", &referring, b"", Timestamp::ZERO).unwrap();
        let reference = back.body["dataref"].as_str().unwrap();
        assert!(reference.starts_with("urn:flowhook:object:"), "{reference}");
        assert_eq!((back.id, &back.body["kind"]), (event.id, &json!("state")));
    }

    #[test]
    fn what_no_store_could_keep_or_read_again_is_made_smaller_or_refused() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        for headers in [Headers::new(), headers(&event())] {
            let deep =
                read("event.item.a.b", "1", &headers, nested(127).as_bytes(), Timestamp::ZERO).unwrap();
            let stored = serde_json::to_string(&deep).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&stored).unwrap(), deep);
            assert!(stored.contains("[[[") && stored.contains(":\"[") || stored.contains("[\"["), "{stored}");
        }
        let with = |name: &str, length: usize| {
            let mut headers = headers(&event());
            headers.retain(|(known, _)| known != name);
            headers.push((name.to_owned(), "x".repeat(length)));
            read("event.item.a.b", "1", &headers, b"1", Timestamp::ZERO)
        };
        for name in ["ce-id", "ce-source"] {
            assert!(with(name, MAX_NAME).is_ok());
            let refused = with(name, MAX_NAME + 1).unwrap_err();
            assert_eq!(refused, format!("{name} has 513 bytes, more than 512"));
        }
        let keyed = with("ce-partitionkey", 4000).unwrap();
        assert_eq!(keyed.key, with("ce-partitionkey", 4000).unwrap().key);
        assert!(keyed.key.len() < 100 && keyed.key != with("ce-partitionkey", 4001).unwrap().key);
        let long = format!("event.item.a.{}", "b".repeat(3000));
        assert!(read(&long, "1", &Headers::new(), b"1", Timestamp::ZERO).unwrap().key.len() < 100);
    }

    #[test]
    fn any_message_on_an_events_subject_is_one() {
        let now = Timestamp::from_secs(5);
        let event = read("event.item.blog.news", "9", &Headers::new(), b"not JSON \xff", now).unwrap();
        assert_eq!((event.id.as_str(), event.at), ("message-9", now));
        assert_eq!(event.body["payload"], "not JSON \u{fffd}");
        assert_eq!((event.body["kind"].as_str(), event.body["node"].as_str()), (Some("item"), Some("news")));
        assert!(read("event.item.blog", "9", &Headers::new(), b"", now).is_err());
        let old = vec![("ce-specversion".to_owned(), "0.3".to_owned())];
        assert!(read("event.item.a.b", "9", &old, b"", now).unwrap_err().contains("0.3"));
    }
}
