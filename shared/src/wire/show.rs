//! Any message on the bus as JSON, to be looked at: what `flowhook events tail` prints.

use prost::Message;
use serde_json::{Map, Value, json};

use super::delta::{Delta, Producer};
use super::flow_batch::FlowBatch;
use super::subject::Subjects;
use super::{WireError, proto};
use crate::model::metric::Metrics;
use crate::model::{HostCounters, InterfaceCounters, NetworkCounters, Timestamp};

/// Bytes of a message that is none of ours which are shown at most.
const SHOWN: usize = 4096;

/// A message and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// `delta`, `flows`, `post`, `json`, `text` or `bytes`.
    pub kind: &'static str,
    /// Its content.
    pub content: Value,
    /// Why it could not be read as what its subject says; then it is shown as what it looks like.
    pub error: Option<String>,
}

/// Decodes by the subject, and whatever that does not tell by the looks.
pub fn show(subjects: &Subjects, subject: &str, payload: &[u8]) -> Shown {
    let of = |kind: &str| subjects.parse(kind, subject).is_some();
    let read = if of("dl") {
        Some(("delta", Delta::decode(payload).map(|d| delta(&d))))
    } else if of("fr") {
        Some(("flows", FlowBatch::decode(payload).and_then(|batch| flows(&batch))))
    } else if of("po") {
        Some(("post", post(payload)))
    } else {
        None
    };
    match read {
        Some((kind, Ok(content))) => Shown { kind, content, error: None },
        Some((_, Err(error))) => Shown { error: Some(error.to_string()), ..by_its_looks(payload) },
        None => by_its_looks(payload),
    }
}

fn by_its_looks(payload: &[u8]) -> Shown {
    if let Ok(content) = serde_json::from_slice(payload) {
        return Shown { kind: "json", content, error: None };
    }
    let start = &payload[..payload.len().min(SHOWN)];
    match std::str::from_utf8(payload) {
        Ok(_) => Shown { kind: "text", content: String::from_utf8_lossy(start).into(), error: None },
        Err(_) => {
            let hex: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
            Shown { kind: "bytes", content: hex.into(), error: None }
        }
    }
}

fn producer(p: &Producer) -> Value {
    json!({
        "site": p.site, "node": p.node, "ifid": p.ifid, "interface": p.interface,
        "epoch": p.epoch, "sequence": p.sequence,
    })
}

/// Counters that are not 0, by name.
fn counters(names: &[&str], values: &[u64]) -> Value {
    let set = names.iter().zip(values).filter(|(_, value)| **value != 0);
    set.map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect::<Map<_, _>>().into()
}

fn metrics(metrics: &Metrics) -> Value {
    let one = |metric: &crate::model::metric::Metric| json!(metric);
    metrics.iter().map(|(name, metric)| (name.clone(), one(metric))).collect::<Map<_, _>>().into()
}

fn delta(delta: &Delta) -> Value {
    let l7 = delta.interface.l7.iter();
    let l7: Map<String, Value> = l7
        .map(|(name, c)| {
            (name.clone(), json!({ "flows": c.flows, "bytes": c.bytes, "category": c.category }))
        })
        .collect();
    let host = |host: &super::delta::HostDelta| {
        json!({
            "ip": host.key.ip.to_string(),
            "vlan": host.key.vlan,
            "mac": host.mac.map(mac),
            "local": host.local,
            "last_seen": time(host.last_seen),
            "counters": counters(HostCounters::NAMES, &host.counters.values()),
        })
    };
    let network = |network: &super::delta::NetworkDelta| {
        json!({
            "network": network.network.to_string(),
            "counters": counters(NetworkCounters::NAMES, &network.counters.values()),
        })
    };
    // Rows of hosts refer to them by their place.
    let of = |host: u32| delta.hosts.get(host as usize).map(|host| host.key.to_string());
    let contacts = delta.contacts.iter().map(|contact| {
        json!({
            "host": of(contact.host), "kind": contact.kind.name(), "hash": format!("{:016x}", contact.hash),
        })
    });
    let categories = delta.categories.iter().map(
        |row| json!({ "host": of(row.host), "category": row.category, "sent": row.sent, "rcvd": row.rcvd }),
    );
    let facts = delta.facts.iter().map(
        |fact| json!({ "host": of(fact.host), "kind": fact.kind.name(), "text": fact.text.to_string() }),
    );
    json!({
        "producer": producer(&delta.producer),
        "traceparent": delta.traceparent,
        "from": time(delta.from),
        "to": time(delta.to),
        "watermark": time(delta.watermark),
        "end_of_stream": delta.end_of_stream,
        "interface": {
            "counters": counters(InterfaceCounters::NAMES, &delta.interface.counters.values()),
            "live_flows": delta.interface.live_flows,
            "collected": delta.interface.collected,
            "l7": l7,
            "hooks": delta.interface.hooks,
            "metrics": metrics(&delta.interface.metrics),
        },
        "hosts": delta.hosts.iter().map(host).collect::<Vec<_>>(),
        "networks": delta.networks.iter().map(network).collect::<Vec<_>>(),
        "contacts": contacts.collect::<Vec<_>>(),
        "categories": categories.collect::<Vec<_>>(),
        "facts": facts.collect::<Vec<_>>(),
    })
}

fn flows(batch: &FlowBatch) -> Result<Value, WireError> {
    let rows = serde_json::to_value(&batch.flows).map_err(|e| WireError::malformed("flow batch", e))?;
    Ok(json!({ "producer": producer(&batch.producer), "flows": rows }))
}

fn post(payload: &[u8]) -> Result<Value, WireError> {
    let post = proto::HttpPost::decode(payload).map_err(|e| WireError::malformed("post", e))?;
    // The address may be a secret in itself; its host is not.
    let host = post.url.split('/').nth(2).unwrap_or_default().rsplit('@').next().unwrap_or_default();
    Ok(json!({
        "id": post.id, "site": post.site, "script": post.script, "host": host, "body": post.body,
        "asked": time(Timestamp::from_ns(post.asked_ns)),
    }))
}

fn mac(mac: crate::model::pool::Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn time(at: Timestamp) -> Value {
    json!(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden file of version 1.
    fn golden(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../tests/data/golden/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn each_kind_is_shown_as_what_it_is() {
        let subjects = Subjects::new("x");
        let shown = |subject: &str, payload: &[u8]| show(&subjects, subject, payload);
        let delta = shown("x.dl.v1.main.7.n1.3", &golden("delta_v1.bin"));
        assert_eq!((delta.kind, delta.error.as_deref()), ("delta", None));
        assert!(delta.content["producer"]["sequence"].as_u64().unwrap() > 0, "{}", delta.content);
        assert!(
            delta.content["hosts"].as_array().unwrap().iter().any(|h| h["counters"]["bytes_sent"] == 1000)
        );
        let full = shown("x.dl.v1.main.7.n1.3", &golden("delta_v1_full.bin")).content;
        assert_eq!(full["contacts"][0]["kind"], "dns_server", "{full}");
        assert_eq!(full["facts"][0], json!({ "host": "192.0.2.1", "kind": "os", "text": "Linux" }));
        assert_eq!(full["categories"][0]["sent"], 7);
        assert_eq!((&full["interface"]["collected"], full["traceparent"].is_string()), (&json!(true), true));
        let flows = shown("x.fr.v1.main.n1.3", &golden("flows_v1.bin"));
        assert_eq!((flows.kind, flows.error.as_deref()), ("flows", None));
        assert!(!flows.content["flows"].as_array().unwrap().is_empty());
        let post = proto::HttpPost {
            url: "https://u:hunter2@hooks.example.com/services/T0/hunter2".to_owned(),
            body: "hello".to_owned(),
            ..proto::HttpPost::default()
        };
        let post = shown("x.po.v1.main", &post.encode_to_vec());
        assert_eq!((post.kind, &post.content["host"]), ("post", &json!("hooks.example.com")));
        assert!(crate::secret::mark::found(post.content.to_string().as_bytes()).is_none());
        assert_eq!(shown("x.al.v1.main.host.error.store", br#"{"id":"1"}"#).content["id"], "1");
        assert_eq!(shown("x.sc.v1.main.hello", b"good day").kind, "text");
        assert_eq!(shown("other", &[0xff, 0x00]).content, json!("ff00"));
        assert_eq!(shown("other", b"").kind, "text");
    }

    /// Set FLOWHOOK_BLESS to write it again.
    #[test]
    fn the_golden_post_of_version_1_reads_and_is_written_as_it_was() {
        let text = str::to_owned;
        let post = proto::HttpPost {
            id: text("p1"),
            site: text("main"),
            script: text("check"),
            url: text("https://example.com/x"),
            body: text("hello"),
            asked_ns: 1_700_000_000_000_000_000,
            traceparent: text("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        };
        if std::env::var_os("FLOWHOOK_BLESS").is_some() {
            let path = format!("{}/../tests/data/golden/post_v1.bin", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, post.encode_to_vec()).unwrap();
        }
        let bytes = golden("post_v1.bin");
        assert_eq!(proto::HttpPost::decode(bytes.as_slice()).unwrap(), post);
        assert_eq!(post.encode_to_vec(), bytes);
    }

    #[test]
    fn what_is_not_as_its_subject_says_is_shown_with_the_reason() {
        let broken = show(&Subjects::default(), "dl.v1.main.7.n1.3", b"no delta");
        assert_eq!(broken.kind, "text");
        assert!(broken.error.unwrap().contains("delta"));
    }
}
