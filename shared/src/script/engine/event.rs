//! Scripts of hooks on events: a function `hook(host, client, item)`, or code that sees the three as
//! variables; and conditions over an event.

use rhai::{AST, Dynamic, Scope};
use serde_json::Value;

use super::ScriptEngine;
use super::error::{parse_error, runtime_error};
use crate::model::Timestamp;
use crate::script::value::{from_json, to_json};
use crate::script::{CallResult, ScriptError};

/// The function that a file defines.
const FUNCTION: &str = "hook";

/// A compiled script of a hook on events.
pub struct EventScript {
    name: String,
    ast: AST,
    /// It is code, not a function.
    is_code: bool,
}

/// What a call is given.
pub struct EventInput<'a> {
    /// The node: its name, site, and the hook.
    pub host: &'a Value,
    /// Who made the hook.
    pub client: &'a Value,
    /// The event.
    pub item: &'a Value,
}

impl ScriptEngine {
    /// Compiles a file that defines `hook(host, client, item)`, or code.
    ///
    /// # Errors
    /// Where the syntax is wrong, or that there is no such function.
    pub fn compile_event(&self, name: &str, text: &str, is_code: bool) -> Result<EventScript, ScriptError> {
        let ast = self.engine.compile(text).map_err(|e| parse_error(name, &e))?;
        let found = ast.iter_functions().any(|f| f.name == FUNCTION && f.params.len() == 3);
        if !is_code && !found {
            let cause = format!("defines no function {FUNCTION}(host, client, item)");
            return Err(ScriptError { script: name.to_owned(), line: 0, column: 0, cause });
        }
        Ok(EventScript { name: name.to_owned(), ast, is_code })
    }

    /// Calls it; gives what it asked for and what it answered, nothing when it answered nothing.
    pub fn call_event(
        &self,
        script: &EventScript,
        input: &EventInput<'_>,
        now: Timestamp,
    ) -> (CallResult, Value) {
        self.host.begin(None, 0, now);
        let args = [input.host, input.client, input.item].map(from_json);
        let answer = self.guarded(|| {
            let mut scope = Scope::new();
            if script.is_code {
                for (name, value) in ["host", "client", "item"].into_iter().zip(args) {
                    scope.push_dynamic(name, value);
                }
                return self.engine.eval_ast_with_scope::<Dynamic>(&mut scope, &script.ast);
            }
            self.engine.call_fn::<Dynamic>(&mut scope, &script.ast, FUNCTION, args)
        });
        let answer = answer.map_err(|e| runtime_error(&script.name, self.host.limits(), &e));
        let (answer, error) = match answer {
            Ok(value) => (to_json(&value).unwrap_or_default(), None),
            Err(error) => (Value::Null, Some(error)),
        };
        let cost = self.host.cost();
        (CallResult { effects: self.host.take_effects(), error, cost }, answer)
    }

    /// Compiles a condition: an expression over the variables that [`Self::holds`] will be given.
    ///
    /// # Errors
    /// Where the syntax is wrong.
    pub fn compile_condition(&self, name: &str, text: &str) -> Result<EventScript, ScriptError> {
        let ast = self.engine.compile_expression(text).map_err(|e| parse_error(name, &e))?;
        Ok(EventScript { name: name.to_owned(), ast, is_code: true })
    }

    /// Whether a condition is true of an event: of `subject`, `data` and the whole `event`.
    ///
    /// # Errors
    /// As [`Self::holds`].
    pub fn holds_of_event(
        &self,
        condition: &EventScript,
        event: &Value,
        now: Timestamp,
    ) -> Result<bool, ScriptError> {
        let variables = [("subject", &event["subject"]), ("data", &event["data"]), ("event", event)];
        self.holds(condition, &variables, now)
    }

    /// Whether a condition is true of these variables.
    ///
    /// # Errors
    /// It fails, or its answer is neither true nor false.
    pub fn holds(
        &self,
        condition: &EventScript,
        variables: &[(&'static str, &Value)],
        now: Timestamp,
    ) -> Result<bool, ScriptError> {
        self.host.begin(None, 0, now);
        let answer = self.guarded(|| {
            let mut scope = Scope::new();
            for (name, value) in variables {
                scope.push_dynamic(*name, from_json(value));
            }
            self.engine.eval_ast_with_scope::<Dynamic>(&mut scope, &condition.ast)
        });
        // A condition asks for nothing.
        self.host.take_effects();
        let answer = answer.map_err(|e| runtime_error(&condition.name, self.host.limits(), &e))?;
        answer.as_bool().map_err(|kind| ScriptError {
            script: condition.name.clone(),
            line: 0,
            column: 0,
            cause: format!("must be true or false, not a value of type {kind}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::script::{Effect, LogLevel, ScriptLimits};

    fn engine() -> ScriptEngine {
        ScriptEngine::new(ScriptLimits::default())
    }

    fn call(engine: &ScriptEngine, text: &str, is_code: bool) -> (CallResult, Value) {
        let script = engine.compile_event("h", text, is_code).unwrap();
        let (host, client, item) =
            (json!({ "node": "n1" }), json!({ "profile": "ann" }), json!({ "id": "7" }));
        let input = EventInput { host: &host, client: &client, item: &item };
        engine.call_event(&script, &input, Timestamp::ZERO)
    }

    #[test]
    fn a_function_and_code_see_the_same_three() {
        let engine = engine();
        let body = "log(`${item.id} ${host.node} ${client.profile}`); 5";
        for (text, is_code) in
            [(format!("fn hook(host, client, item) {{ {body} }}"), false), (body.into(), true)]
        {
            let (result, answer) = call(&engine, &text, is_code);
            assert_eq!(result.error, None);
            assert_eq!(result.effects, [Effect::Log(LogLevel::Info, "7 n1 ann".to_owned())]);
            assert_eq!(answer, json!(5));
        }
        let wrong = engine.compile_event("h", "fn hook(item) { }", false).err().unwrap();
        assert!(wrong.cause.contains("hook(host, client, item)"), "{wrong}");
        let wrong = engine.compile_event("h", "let x = ;", true).err().unwrap();
        assert_eq!(wrong.line, 1);
        let (result, _) = call(&engine, "loop { }", true);
        assert!(result.error.unwrap().cause.contains("limit"), "an endless loop ends");
    }

    #[test]
    fn a_condition_is_true_or_false() {
        let engine = engine();
        let event = json!({ "subject": "event.state.A.B._.c", "data": { "prev": { "state": "X" }, "n": 3 } });
        let holds = |text: &str| {
            let condition = engine.compile_condition("when", text).unwrap();
            engine.holds_of_event(&condition, &event, Timestamp::ZERO)
        };
        assert_eq!(holds("data.prev.state == \"X\" && data.n > 2"), Ok(true));
        assert_eq!(holds("subject.contains(\".D.\")"), Ok(false));
        assert!(holds("data.n").unwrap_err().cause.contains("true or false"));
        assert!(engine.compile_condition("when", "let x = 1").is_err());
    }
}
