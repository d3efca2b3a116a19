//! What a process is given.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared::events::Event;
use shared::hook::{Hook, HookKind, InputForm};
use shared::secret::Secret;
use shared::store::hooks::{ClaimedRun, RunInput};

use super::message;
use super::plan::event_json;
use crate::references;

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

/// The environment of every process of a hook. Values that name a secret (`env:NAME`, `file:PATH`) are
/// resolved now, on this node: the definition holds the name alone.
///
/// # Errors
/// Names the variable whose secret cannot be read, or may not be.
pub fn environment(
    hook: &Hook,
    claimed: &ClaimedRun,
    allowed: &[String],
) -> Result<Vec<(String, String)>, String> {
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
    let resolved = |(name, value): (&String, &String)| {
        let secret = references::check_text(value, allowed).and_then(|()| Secret::resolve(value));
        match secret {
            Ok(secret) => Ok((name.clone(), secret.reveal().to_owned())),
            Err(cause) => Err(format!("environment.{name}: {cause}")),
        }
    };
    let mut all = hook.environment.iter().map(resolved).collect::<Result<Vec<_>, _>>()?;
    all.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::model::Timestamp;

    use super::*;

    fn event() -> Event {
        Event {
            id: "7".to_owned(),
            subject: "event.state.HOST.ERROR._.3".to_owned(),
            key: "HOST/3".to_owned(),
            sequence: 0,
            at: Timestamp::ZERO,
            source: "/s/n".to_owned(),
            depth: 0,
            traceparent: None,
            body: json!({ "object": { "name": "a<b" } }),
        }
    }

    fn exec(input: InputForm, stdin: bool, arguments: &[&str]) -> Hook {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Hook { input, stdin, arguments, ..Hook::new(HookKind::Exec, "x") }
    }

    #[test]
    fn every_form_goes_to_standard_input_or_into_the_arguments() {
        let json = event_json(&event()).to_string();
        let xml = message::event_xml(&event());
        assert!(xml.contains("<NAME>a&lt;b</NAME>"), "{xml}");
        for (form, content) in [
            (InputForm::Json, json.clone()),
            (InputForm::JsonBase64, STANDARD.encode(&json)),
            (InputForm::OneXml, xml.clone()),
            (InputForm::OneXmlBase64, STANDARD.encode(&xml)),
            (InputForm::None, String::new()),
        ] {
            let given = render(&exec(form, true, &["$KEY"]), &event(), 1);
            assert_eq!(
                (given.arguments, given.stdin),
                (vec!["HOST/3".to_owned()], content.clone().into_bytes())
            );
            let given = render(&exec(form, false, &["a"]), &event(), 1);
            let last = Some(content.clone()).filter(|_| form != InputForm::None);
            let expected: Vec<String> = std::iter::once("a".to_owned()).chain(last).collect();
            assert_eq!((given.arguments, given.stdin), (expected, Vec::new()), "{form:?}");
            let given = render(&exec(form, false, &["$EVENT", "b"]), &event(), 1);
            assert_eq!(given.arguments, [content, "b".to_owned()], "where the definition says: {form:?}");
        }
    }

    #[test]
    fn words_of_the_event_are_replaced_where_they_are_a_whole_argument() {
        let words = ["$EVENT_ID", "$SUBJECT", "$KEY", "$ATTEMPT", "x$KEY", "$EVENT"];
        let given = render(&exec(InputForm::None, true, &words), &event(), 3);
        assert_eq!(given.arguments, ["7", "event.state.HOST.ERROR._.3", "HOST/3", "3", "x$KEY", ""]);
        assert_eq!(render(&Hook::new(HookKind::RhaiCode, "1"), &event(), 1), RunInput::default());
    }
}
