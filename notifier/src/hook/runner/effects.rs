//! Calls a Rhai hook and carries out what it asks for.
//!
//! What it logs is its output on record. Posts go to the stream of posts, so that they are delivered
//! like any other; a message goes to `sc.v1.<site>.`, and one to `event.item.` becomes an event that
//! this hook has caused.

use prost::Message as _;
use shared::bus::BusError;
use shared::events::{Body, Draft, Event, ItemBody, cloud};
use shared::model::alert::derive_id;
use shared::script::{CallResult, Effect, LogLevel};
use shared::store::hooks::{RunOutcome, RunResult};
use shared::wire::proto::HttpPost;
use shared::wire::subject::EventSubject;

use super::{Task, Tools};
use crate::hook::scripts::Source;

/// Calls it.
pub async fn call(source: Source, task: &Task, tools: &Tools) -> RunResult {
    let run = &task.claimed.run;
    let (result, answer) = match tools.scripts.call(&run.hook, source, tools.given(task)).await {
        Ok(answer) => answer,
        Err(reason) => return super::not_begun(&task.hook.argument, reason),
    };
    let CallResult { effects, error, .. } = result;
    let (mut out, mut wrong) = (String::new(), Vec::new());
    for (ordinal, effect) in effects.into_iter().enumerate() {
        match effect {
            Effect::Log(level, text) => {
                let level = if level == LogLevel::Warn { "warning: " } else { "" };
                out.push_str(&format!("{level}{text}\n"));
            }
            effect => wrong.extend(carry_out(effect, ordinal, task, tools).await.err()),
        }
    }
    if !answer.is_null() {
        out.push_str(&format!("{answer}\n"));
    }
    let reason = error.map(|error| error.to_string()).into_iter().chain(wrong).collect::<Vec<_>>().join("; ");
    let mut stdout = out.into_bytes();
    let stdout_bytes = stdout.len() as u64;
    stdout.truncate(usize::try_from(task.hook.limits.output_kib << 10).unwrap_or(usize::MAX));
    RunResult {
        outcome: Some(if reason.is_empty() { RunOutcome::Success } else { RunOutcome::Failure }),
        stdout,
        stdout_bytes,
        stderr_bytes: reason.len() as u64,
        stderr: reason.clone().into_bytes(),
        reason,
        command: task.hook.argument.clone(),
        ..RunResult::default()
    }
}

/// Carries out one thing; its id follows from the execution's key, so that another try asks for the same.
async fn carry_out(effect: Effect, ordinal: usize, task: &Task, tools: &Tools) -> Result<(), String> {
    let key = &task.claimed.run.idempotency_key;
    let id = derive_id(&[key, &ordinal.to_string()]);
    let failed = |error: BusError| error.to_string();
    match effect {
        Effect::HttpPost { url, body } => {
            let (site, script) = (tools.site.clone(), format!("hook:{}", task.claimed.run.hook));
            let asked_ns = tools.clock.now().ns();
            let traceparent = String::new();
            let post = HttpPost { id, site, script, url, body, asked_ns, traceparent };
            let subject = tools.subjects.post(&tools.site);
            let receipt = tools.bus.append(&subject, &post.id, post.encode_to_vec().into()).await;
            receipt.map_err(failed)?.stored().await.map_err(failed)
        }
        Effect::Publish { subject, payload } => match EventSubject::parse(&subject) {
            Some(EventSubject::Item { service, node }) => {
                let event = item(task, tools, id, service, node, payload);
                let data = event.body.to_string();
                let place = tools.subjects.prefixed(&event.subject);
                let id = format!("{}/{}", event.source, event.id);
                let receipt = tools.bus.append_with(&place, &id, cloud::headers(&event), data.into()).await;
                receipt.map_err(failed)?.stored().await.map_err(failed)
            }
            _ => {
                let subject = tools.subjects.script(&tools.site, &subject);
                tools.bus.publish(&subject, payload.into()).await.map_err(failed)
            }
        },
        _ => Err("asks for what concerns a flow or an element: not done".to_owned()),
    }
}

fn item(task: &Task, tools: &Tools, id: String, service: String, node: String, payload: String) -> Event {
    let payload = serde_json::from_str(&payload).unwrap_or(serde_json::Value::String(payload));
    let body = ItemBody {
        service: service.clone(),
        node: node.clone(),
        item_id: id.clone(),
        publisher: format!("hook:{}", task.claimed.run.hook),
        payload,
    };
    let draft = Draft::new(EventSubject::Item { service, node }, Body::Item(body));
    let depth = task.claimed.recorded.as_ref().map_or(0, |event| event.depth);
    Event {
        id,
        key: draft.subject.key(),
        subject: draft.subject.to_string(),
        sequence: 0,
        at: tools.clock.now(),
        source: format!("/{}/{}", tools.site, tools.node),
        depth: depth.saturating_add(1),
        traceparent: None,
        body: serde_json::to_value(draft.body).unwrap_or_default(),
    }
}
