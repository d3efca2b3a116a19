//! What a hook may be.

use super::{Hook, HookKind, InputForm};

/// Bytes of a hook's name at most.
const MAX_NAME: usize = 128;

/// Seconds an execution may take at most: a day.
const MAX_TIMEOUT_S: u64 = 86_400;

/// Makes sure that a name can be a hook's.
///
/// # Errors
/// Says what is wrong.
pub fn check_name(name: &str) -> Result<(), String> {
    let odd = |c: char| c.is_control() || c == '/';
    match name.is_empty() || name.len() > MAX_NAME || name.contains(odd) {
        true => Err(format!("name: has 1 to {MAX_NAME} bytes, no '/' and no control characters")),
        false => Ok(()),
    }
}

impl Hook {
    /// Makes sure that it can be one, as far as that can be told without looking at files and scripts.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn check(&self) -> Result<(), String> {
        let filters = self.filters()?;
        if filters.is_empty() {
            return Err("subjects: needs a subject or a trigger".to_owned());
        }
        let events = |filter: &String| {
            let first = filter.split('.').next().unwrap_or_default();
            matches!(first, "event" | "*" | ">")
        };
        if let Some(filter) = filters.iter().find(|filter| !events(filter)) {
            return Err(format!(
                "subjects: '{filter}' matches no event; subjects of events begin with event."
            ));
        }
        if self.argument.trim().is_empty() {
            return Err(format!("argument: a hook of kind {} needs one", self.kind.name()));
        }
        if self.argument.contains('\0') || self.arguments.iter().any(|argument| argument.contains('\0')) {
            return Err("argument: must not hold a NUL character".to_owned());
        }
        self.check_process()?;
        self.check_numbers()
    }

    fn check_process(&self) -> Result<(), String> {
        let program = self.kind == HookKind::Exec;
        for (key, given) in [
            ("arguments", !self.arguments.is_empty()),
            ("shell", self.shell),
            ("stdin", !self.stdin),
            ("input", self.input != InputForm::Json),
        ] {
            if given && !program {
                return Err(format!("{key}: is for hooks of kind exec"));
            }
        }
        if !self.environment.is_empty() && !self.kind.is_process() {
            return Err("environment: is for hooks of kinds exec and python_file".to_owned());
        }
        let name = |name: &String| {
            let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            word && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        if let Some(odd) = self.environment.keys().find(|key| !name(key)) {
            return Err(format!("environment: '{odd}' is no name of a variable"));
        }
        if let Some(odd) = self.environment.keys().find(|key| key.starts_with("FLOWHOOK_")) {
            return Err(format!("environment: '{odd}': names that begin with FLOWHOOK_ are set by the node"));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), String> {
        let range = |key: &str, value: u64, least: u64, most: u64| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(format!("{key}: must be {least} to {most}, not {value}")),
        };
        range("timeout_s", self.timeout_s, 1, MAX_TIMEOUT_S)?;
        range("grace_s", self.grace_s, 0, 600)?;
        range("concurrency", self.concurrency.into(), 1, 256)?;
        range("retry.attempts", self.retry.attempts.into(), 1, 100)?;
        range("retry.base_ms", self.retry.base_ms, 1, 86_400_000)?;
        range("retry.cap_ms", self.retry.cap_ms, self.retry.base_ms, 7 * 86_400_000)?;
        range("keep.success", self.keep.success.into(), 1, 10_000)?;
        range("keep.failure", self.keep.failure.into(), 1, 10_000)?;
        range("limits.cpu_s", self.limits.cpu_s, 1, MAX_TIMEOUT_S)?;
        range("limits.memory_mib", self.limits.memory_mib, 16, 1 << 20)?;
        range("limits.file_mib", self.limits.file_mib, 0, 1 << 20)?;
        range("limits.processes", self.limits.processes, 1, 1 << 20)?;
        // Both outputs on record have to fit into one answer.
        range("limits.output_kib", self.limits.output_kib, 1, 256)?;
        range("expire_s", self.expire_s.unwrap_or(1), 1, 365 * 86_400)?;
        range("max_per_minute", self.max_per_minute.unwrap_or(1).into(), 1, 1_000_000)?;
        let suppressed = self.suppress.as_ref().map_or(1, |suppress| suppress.seconds);
        range("suppress.seconds", suppressed, 1, 365 * 86_400)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hook(value: &serde_json::Value) -> Result<Hook, String> {
        let mut whole = json!({ "kind": "exec", "argument": "notify.sh", "subjects": ["event.>"] });
        if let (Some(whole), Some(value)) = (whole.as_object_mut(), value.as_object()) {
            whole.extend(value.clone());
        }
        let hook: Hook = serde_json::from_value(whole).map_err(|e| e.to_string())?;
        hook.check().map(|()| hook)
    }

    #[test]
    fn triggers_are_filters_in_words() {
        let hook = hook(&json!({ "subjects": [], "triggers": [
            { "type": "api", "call": "flowhook.hook.create", "on": "failure" },
            { "type": "api", "call": "one.vm.*" },
            { "type": "state", "resource": "HOST", "id": "3" },
            { "type": "state", "resource": "VM", "state": "ACTIVE", "substate": "RUNNING" },
            { "type": "item", "node": "urn:xmpp:microblog:0" },
        ]}))
        .unwrap();
        assert_eq!(
            hook.filters().unwrap(),
            [
                "event.api.flowhook.hook.create.0",
                "event.api.one.vm.*.*",
                "event.state.HOST.*.*.3",
                "event.state.VM.ACTIVE.RUNNING.*",
                "event.item._.urn%3Axmpp%3Amicroblog%3A0",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (wrong, cause) in [
            (json!({ "subjects": [] }), "subjects: needs"),
            (json!({ "subjects": ["dl.v1.>"] }), "matches no event"),
            (json!({ "subjects": ["event.>.x"] }), "at the end"),
            (json!({ "triggers": [{ "type": "api", "call": "a.b" }] }), "triggers[0].call"),
            (json!({ "argument": " " }), "argument: "),
            (json!({ "argument": "a\u{0}" }), "NUL"),
            (json!({ "kind": "rhai_code", "arguments": ["x"] }), "arguments: is for"),
            (json!({ "environment": { "A=B": "x" } }), "environment: 'A=B'"),
            (json!({ "environment": { "FLOWHOOK_X": "x" } }), "set by the node"),
            (json!({ "timeout_s": 0 }), "timeout_s: must be 1 to 86400, not 0"),
            (json!({ "retry": { "attempts": 0 } }), "retry.attempts"),
            (json!({ "retry": { "tries": 1 } }), "tries"),
            (json!({ "colour": "red" }), "colour"),
            (json!({ "kind": "perl" }), "perl"),
        ] {
            let told = hook(&wrong).unwrap_err();
            assert!(told.contains(cause), "{wrong}: {told}");
        }
        let back = hook(&json!({})).unwrap();
        assert_eq!(
            back,
            Hook { subjects: vec!["event.>".to_owned()], ..Hook::new(HookKind::Exec, "notify.sh") }
        );
        assert!(check_name("a/b").is_err() && check_name("night watch").is_ok());
    }
}
