//! Text of an attacker's in whole deliveries: the structure of what is sent is that of harmless text.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::editing::EDITING;
use super::super::requests::HTTP_KINDS;
use super::super::*;
use super::{DELIVERED, hostile_alerts, one_clean_line};

/// The paths of everything in a JSON value, without what stands there.
fn shape(value: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, v)| walk(v, &format!("{path}.{key}"), out)),
            Value::Array(items) => items.iter().for_each(|v| walk(v, &format!("{path}[]"), out)),
            _ => out.push(path.to_owned()),
        }
    }
    let mut out = Vec::new();
    walk(value, "", &mut out);
    out
}

/// The same alert with harmless text where there is any. Escapes change with a text's length, structure does
/// not.
fn calm(alert: &Alert) -> Alert {
    let calm = |text: &str| if text.is_empty() { String::new() } else { "n".to_owned() };
    let mut copy = Alert {
        message: calm(&alert.message),
        entity_value: calm(&alert.entity_value),
        alert_type: calm(&alert.alert_type),
        interface: calm(&alert.interface),
        site: calm(&alert.site),
        ..alert.clone()
    };
    if let Some(flow) = &mut copy.flow {
        (flow.name, flow.l4, flow.l7) = (calm(&flow.name), calm(&flow.l4), calm(&flow.l7));
    }
    copy
}

/// A request's structure: the names of its headers, and the paths in each line of its body.
type Structure = (Vec<String>, Vec<Vec<String>>);

fn structure(request: &Request) -> Structure {
    let names = request.head.lines().skip(1).map(|line| line.split(':').next().unwrap().to_owned());
    let lines = request.body.lines().map(|line| shape(&serde_json::from_str(line).unwrap()));
    (names.collect(), lines.collect())
}

/// Delivers an alert with one request, and gives it.
async fn sent(endpoint: &Arc<dyn Endpoint>, server: &Server, alert: &Alert) -> Request {
    let before = server.count();
    assert_eq!(endpoint.deliver(&[delivery(alert)]).await, [Ok(())], "{alert:?}");
    let mut requests = server.requests_after(before);
    assert_eq!(requests.len(), 1, "one request each");
    requests.remove(0)
}

/// Delivers hostile alerts, each as `told` makes it: each request has the structure of the one for the same
/// alert with harmless text, and is as `check` wants it.
async fn never_changes(
    endpoint: Arc<dyn Endpoint>,
    server: Server,
    alerts: Arc<Vec<Alert>>,
    told: fn(Alert) -> Alert,
    check: impl Fn(&Request),
) {
    // Harmless alerts differ in what is empty only.
    let mut harmless = BTreeMap::<String, Structure>::new();
    for alert in alerts.iter() {
        let calm = told(calm(alert));
        let key = serde_json::to_string(&calm).unwrap();
        if !harmless.contains_key(&key) {
            let request = sent(&endpoint, &server, &calm).await;
            harmless.insert(key.clone(), structure(&request));
        }
        let request = sent(&endpoint, &server, &told(alert.clone())).await;
        assert_eq!(structure(&request), harmless[&key], "{endpoint:?}: {}", request.body);
        check(&request);
    }
}

/// An endpoint that waits long enough for a machine on which everything runs at once.
fn patient(kind: &str, params: &str, recipient: &str) -> Arc<dyn Endpoint> {
    let deps = deps();
    let targets = crate::target::Targets::any();
    let http = HttpClient::new(Duration::from_secs(20), targets, Arc::clone(&deps.clock)).unwrap();
    let deps = EndpointDeps { http, ..deps };
    super::super::kind(kind).unwrap().build(&table(params), &table(recipient), &deps).unwrap()
}

/// An update that is written into a message that is there has the structure of one with harmless text.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_never_changes_an_edit() {
    use shared::model::AlertAction::{Engage, Update};
    let alerts = Arc::new(hostile_alerts(DELIVERED));
    let kinds = EDITING.map(|(kind, params, recipient, answer, edit)| {
        let alerts = Arc::clone(&alerts);
        tokio::spawn(async move {
            let server = Server::start(move |_, _| Script::json(200, answer)).await;
            let recipient = format!("{recipient}\nedit_in_place = true");
            let endpoint = patient(kind, &params.replace("URL", &server.url("")), &recipient);
            let begin = Alert { action: Engage, ..alert("a") };
            assert_eq!(endpoint.deliver(&[delivery(&begin)]).await, [Ok(())]);
            let update = |alert| Alert { action: Update, ..alert };
            never_changes(endpoint, server, alerts, update, |request| {
                assert!(request.head.starts_with(edit), "{kind}: {}", request.head);
                let text = ["content", "message", "text"].map(|key| request.json()[key].clone());
                let text = text.iter().find_map(Value::as_str).unwrap();
                assert!(one_clean_line(text), "{kind}: {text}");
            })
            .await;
        })
    });
    all(kinds).await;
}

/// One request an alert, as sent: the same headers and the same JSON structure as for harmless text.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_never_changes_a_request() {
    let alerts = Arc::new(hostile_alerts(DELIVERED));
    let kinds = HTTP_KINDS.map(|(kind, params, recipient, answer, _)| {
        let alerts = Arc::clone(&alerts);
        tokio::spawn(async move {
            let server = Server::start(move |_, _| Script::json(200, answer)).await;
            let endpoint = patient(kind, &params.replace("URL", &server.url("")), recipient);
            never_changes(endpoint, server, alerts, |alert| alert, |_| {}).await;
        })
    });
    all(kinds).await;
}

/// Waits for all kinds, which use all cores.
async fn all<const N: usize>(kinds: [tokio::task::JoinHandle<()>; N]) {
    for kind in kinds {
        kind.await.unwrap();
    }
}
