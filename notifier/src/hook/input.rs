//! What a process is given. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared::events::Event;
use shared::hook::{Hook, HookKind, InputForm};
use shared::store::hooks::{ClaimedRun, RunInput};

use super::message;
use super::plan::event_json;

/// What the definition makes of an event.
pub fn render(hook: &Hook, event: &Event, attempt: u32) -> RunInput {
    if hook.kind != HookKind::Exec {
        return RunInput::default();
    }
    let input = match hook.input {
        InputForm::Json => event_json(event).to_string(),
        InputForm::JsonBase64 => STANDARD.encode(event_json(event).to_string()),
        InputForm::OneXml => message::event_xml(event),
        InputForm::OneXmlBase64 => STANDARD.encode(message::event_xml(event)),
        InputForm::None => String::new(),
    };
    let mut arguments: Vec<String> = hook
        .arguments
        .iter()
        .map(|argument| match argument.as_str() {
            "$EVENT_ID" => event.id.clone(),
            "$SUBJECT" => event.subject.clone(),
            "$KEY" => event.key.clone(),
            "$ATTEMPT" => attempt.to_string(),
            "$EVENT" => input.clone(),
            _ => argument.clone(),
        })
        .map(|argument| argument.replace('\0', "\u{fffd}"))
        .collect();
    let mut stdin = Vec::new();
    match (hook.stdin, hook.input) {
        (true, _) => stdin = input.into_bytes(),
        (false, InputForm::None) => {}
        (false, _) if hook.arguments.iter().any(|argument| argument == "$EVENT") => {}
        (false, _) => arguments.push(input.replace('\0', "\u{fffd}")),
    }
    RunInput { arguments, stdin }
}

/// The environment of every process of a hook.
pub fn environment(hook: &Hook, claimed: &ClaimedRun) -> Vec<(String, String)> {
    let event = claimed.recorded.as_ref();
    let depth = event.map_or(0, |event| event.depth).saturating_add(1);
    let ours = [
        ("FLOWHOOK_HOOK", claimed.run.hook.clone()),
        ("FLOWHOOK_EXECUTION", claimed.number.to_string()),
        ("FLOWHOOK_IDEMPOTENCY_KEY", claimed.run.idempotency_key.clone()),
        ("FLOWHOOK_ATTEMPT", claimed.attempt.to_string()),
        ("FLOWHOOK_TRIGGER", claimed.run.trigger.name().to_owned()),
        ("FLOWHOOK_EVENT", claimed.run.event.clone()),
        ("FLOWHOOK_SUBJECT", event.map(|event| event.subject.clone()).unwrap_or_default()),
        ("FLOWHOOK_HOOK_DEPTH", depth.to_string()),
    ];
    let theirs = hook.environment.iter().map(|(name, value)| (name.clone(), value.clone()));
    theirs.chain(ours.map(|(name, value)| (name.to_owned(), value))).collect()
}
