//! An expression over an alert, in the language of scripts: `alert.score > 100 && alert.flow?.l7 == "SSH"`.
//! Without I/O and without a clock; what it costs has limits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use shared::model::Alert;
use shared::script::engine::{EventScript, ScriptEngine};
use shared::script::{ScriptError, ScriptLimits};

/// What errors call it.
const NAME: &str = "when";

/// What it calls the alert, in the form of the published schema.
const ALERT: &str = "alert";

/// Operations that it may take: it is asked of every alert, before that is accepted.
const MAX_OPERATIONS: u64 = 20_000;

/// Milliseconds that it may take.
const MAX_MILLIS: u64 = 50;

/// Expressions that a thread keeps compiled; beyond it, it forgets all of them.
const MAX_COMPILED: usize = 1024;

/// A thread's engine, which no other thread may use, with what it has compiled.
struct Desk {
    engine: ScriptEngine,
    compiled: HashMap<Arc<str>, EventScript>,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk {
        engine: ScriptEngine::new(ScriptLimits {
            max_operations: MAX_OPERATIONS,
            max_millis: MAX_MILLIS,
            max_string: 64 << 10,
            max_memory_bytes: 8 << 20,
            ..ScriptLimits::default()
        }),
        compiled: HashMap::new(),
    });
}

/// An expression that compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition(Arc<str>);

impl Condition {
    /// Reads an expression.
    ///
    /// # Errors
    /// Where its syntax is wrong.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = Arc::<str>::from(text);
        let wrong = |e: ScriptError| match e.line {
            0 => e.cause,
            line => format!("line {line}, column {}: {}", e.column, e.cause),
        };
        with(&text, |_, _| Ok(())).map_err(wrong)?;
        Ok(Self(text))
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether it is true of an alert.
    ///
    /// # Errors
    /// It fails, reaches a limit, or its answer is neither true nor false.
    pub fn holds(&self, alert: &Alert) -> Result<bool, String> {
        let value = serde_json::to_value(alert).map_err(|e| e.to_string())?;
        let holds = |engine: &ScriptEngine, script: &EventScript| {
            engine.holds(script, &[(ALERT, &value)], alert.tstamp)
        };
        with(&self.0, holds).map_err(|e| e.cause)
    }
}

/// Asks this thread's engine something about an expression.
fn with<T>(
    text: &Arc<str>,
    ask: impl FnOnce(&ScriptEngine, &EventScript) -> Result<T, ScriptError>,
) -> Result<T, ScriptError> {
    DESK.with_borrow_mut(|Desk { engine, compiled }| {
        if compiled.len() >= MAX_COMPILED {
            compiled.clear();
        }
        let script = match compiled.entry(Arc::clone(text)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(engine.compile_condition(NAME, text)?),
        };
        ask(engine, script)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alert, flow_alert};

    #[test]
    fn an_expression_sees_every_field_of_the_alert() {
        for (text, of_flow, of_interface) in [
            ("alert.score >= 100", true, true),
            ("alert.severity in [\"error\", \"critical\"]", false, true),
            ("alert.flow?.l7 == \"NetBIOS\" && alert.client.port == 138", true, false),
            ("alert.message.contains(\"traffic\") || alert.type == \"x\"", false, true),
            ("if alert.entity == \"flow\" { alert.flow.score > 40 } else { false }", true, false),
        ] {
            let condition = Condition::new(text).unwrap();
            assert_eq!(condition.holds(&flow_alert("a")), Ok(of_flow), "{text}");
            assert_eq!(condition.holds(&alert("a")), Ok(of_interface), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_takes_for_ever() {
        let deep = format!("{}true{}", "(".repeat(1000), ")".repeat(1000));
        let long = format!("[{}].len() > 0", "alert.score, ".repeat(30_000));
        for (text, word) in
            [("alert.score >", "line 1"), ("let x = 1", "line 1"), ("", ""), (deep.as_str(), "")]
        {
            let wrong = Condition::new(text).unwrap_err();
            assert!(wrong.contains(word), "{text}: {wrong}");
        }
        for (text, word) in [
            ("alert.score", "true or false"),
            ("alert.flow.l7 == \"x\"", "l7"),
            ("nothing > 1", "nothing"),
            (long.as_str(), "limit"),
        ] {
            let told = Condition::new(text).and_then(|condition| condition.holds(&alert("a")));
            let wrong = told.unwrap_err();
            assert!(wrong.contains(word), "{wrong}");
        }
    }
}
