//! A script with its state, and calls of its hooks.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use rhai::{AST, Dynamic, FnPtr, Map};
use serde_json::Value;

use super::{Programs, Script, ScriptEngine, function, hooks_of};
use crate::model::{AppCategory, FlowRecord, Granularity, Timestamp};
use crate::script::log_event::LogEvent;
use crate::script::lowered::{GiveUp, Input, Program};
use crate::script::value::{Counters, EntityInfo, from_json};
use crate::script::{CallResult, ElementParams, FlowHook, HookName, ScriptError};

/// So many parts of a program take as long as an operation of the interpreter.
const PARTS_AN_OPERATION: u64 = 8;

/// A script with its state.
pub struct Run {
    pub(super) key: String,
    pub(super) ast: AST,
    /// The functions of the hooks; of a script whose programs suffice only once one has given up.
    pub(super) hooks: OnceCell<Map>,
    pub(super) programs: Rc<Programs>,
    pub(super) teardown: Option<FnPtr>,
    /// The last configuration as the script sees it; it seldom changes.
    pub(super) config: RefCell<Option<(Value, Dynamic)>>,
    /// Bytes that it holds between calls.
    pub(super) held: Cell<i64>,
}

impl Run {
    pub(super) fn new(script: &Script, hooks: OnceCell<Map>, teardown: Option<FnPtr>) -> Self {
        let (key, ast) = (script.meta.key.clone(), script.ast.clone());
        Self {
            key,
            ast,
            hooks,
            programs: Rc::clone(&script.programs),
            teardown,
            config: RefCell::new(None),
            held: Cell::new(0),
        }
    }

    /// The function of a hook for the interpreter; the file is evaluated now if it was not.
    fn function(&self, engine: &ScriptEngine, hook: &str) -> Result<Option<FnPtr>, ScriptError> {
        let hooks = match self.hooks.get() {
            Some(hooks) => hooks,
            None => {
                engine.host.begin(None, 0, Timestamp::ZERO);
                let map = engine.evaluate(&self.key, &self.ast)?;
                self.hooks.get_or_init(|| hooks_of(&map))
            }
        };
        Ok(function(hooks, hook).or_else(|| function(hooks, "all")))
    }

    /// Calls a flow hook; a script without it does nothing.
    pub fn flow(
        &mut self,
        engine: &ScriptEngine,
        hook: FlowHook,
        flow: &FlowRecord,
        old_status: u64,
        now: Timestamp,
        config: &Value,
    ) -> CallResult {
        if let Some(when) = &self.programs.when {
            match when.is_so(&engine.input(Some(flow), None, old_status, now, config)) {
                Ok(true) => {}
                Ok(false) => return CallResult::default(),
                Err(GiveUp) => return self.odd_condition(),
            }
        }
        let mut in_vain = 0;
        if let Some(program) = self.programs.flow[hook as usize].as_ref().filter(|_| !engine.interprets.get())
        {
            if !program.gate.lets_in(flow) {
                return CallResult::default();
            }
            match run_program(program, &engine.input(Some(flow), None, old_status, now, config)) {
                Ok(result) => return result,
                Err(cost) => in_vain = cost,
            }
        }
        let function = match self.function(engine, hook.name()) {
            Ok(Some(function)) => function,
            Ok(None) => return CallResult::default(),
            Err(error) => return CallResult { error: Some(error), ..CallResult::default() },
        };
        engine.host.begin(Some(Rc::new(flow.clone())), old_status, now);
        engine.host.holds(self.held.get());
        let config = self.config(config);
        let result = engine.call(&self.key, &self.ast, &function, (now.secs(), config));
        let result = self.finish(engine, hook.name(), &|| flow.label(), result);
        CallResult { cost: result.cost + in_vain, ..result }
    }

    /// Calls an element hook; a script without it does nothing.
    pub fn element(&mut self, engine: &ScriptEngine, params: &ElementParams, config: &Value) -> CallResult {
        let Some(granularity) = params.hook.or(params.granularity) else { return CallResult::default() };
        if let Some(when) = &self.programs.when {
            match when.is_so(&engine.input(None, Some(params), 0, params.when, config)) {
                Ok(true) => {}
                Ok(false) => return CallResult::default(),
                Err(GiveUp) => return self.odd_condition(),
            }
        }
        let place = Granularity::PERIODS.iter().position(|period| *period == granularity);
        let program = place.and_then(|place| self.programs.element[place].as_ref());
        if let Some(program) = program.filter(|_| !engine.interprets.get())
            && let Ok(result) =
                run_program(program, &engine.input(None, Some(params), 0, params.when, config))
        {
            return result;
        }
        let name = HookName::Element(granularity).name();
        let function = match self.function(engine, name) {
            Ok(Some(function)) => function,
            Ok(None) => return CallResult::default(),
            Err(error) => return CallResult { error: Some(error), ..CallResult::default() },
        };
        engine.host.begin(None, 0, params.when);
        engine.host.holds(self.held.get());
        let map = params_map(params, self.config(config), &self.key);
        let result = engine.call(&self.key, &self.ast, &function, (map,));
        self.finish(engine, name, &|| params.entity_value.clone(), result)
    }

    /// Calls the hook of log lines; a script without it does nothing.
    pub fn event(&mut self, engine: &ScriptEngine, event: &LogEvent, config: &Value) -> CallResult {
        let name = HookName::Event.name();
        let function = match self.function(engine, name) {
            Ok(Some(function)) => function,
            Ok(None) => return CallResult::default(),
            Err(error) => return CallResult { error: Some(error), ..CallResult::default() },
        };
        engine.host.begin(None, 0, event.when);
        engine.host.holds(self.held.get());
        engine.host.has_event(true);
        let seen = from_json(&event.json());
        let result = engine.call(&self.key, &self.ast, &function, (seen, self.config(config)));
        engine.host.has_event(false);
        self.finish(engine, name, &|| event.label(), result)
    }

    /// A condition that compares what cannot be compared.
    fn odd_condition(&self) -> CallResult {
        let cause = "when: compares values of different types, or reads what is not there".to_owned();
        let error = ScriptError { script: self.key.clone(), line: 0, column: 0, cause };
        CallResult { error: Some(error), ..CallResult::default() }
    }

    /// Ends the run.
    pub fn teardown(self, engine: &ScriptEngine, now: Timestamp) -> CallResult {
        let Some(function) = &self.teardown else { return CallResult::default() };
        engine.host.begin(None, 0, now);
        engine.host.holds(self.held.get());
        let result = engine.call(&self.key, &self.ast, function, ());
        self.finish(engine, "teardown", &String::new, result)
    }

    fn finish(
        &self,
        engine: &ScriptEngine,
        function: &str,
        about: &dyn Fn() -> String,
        result: Result<Dynamic, ScriptError>,
    ) -> CallResult {
        let error = result.err();
        let told = error.as_ref().map_or(0, |error| error.script.capacity() + error.cause.capacity());
        self.held.set(engine.host.held() - told as i64);
        let cost = engine.host.cost();
        let result = CallResult { effects: engine.host.take_effects(), error, cost };
        engine.observed(&self.key, function, about, &result);
        result
    }

    fn config(&self, config: &Value) -> Dynamic {
        let mut kept = self.config.borrow_mut();
        match &*kept {
            Some((value, seen)) if value == config => seen.clone(),
            _ => {
                let seen = match config {
                    Value::Null => Map::new().into(),
                    config => from_json(config),
                };
                *kept = Some((config.clone(), seen.clone()));
                seen
            }
        }
    }
}

/// What a program asks for and what it cost, or what it has cost when the interpreter is needed.
fn run_program(program: &Program, input: &Input<'_>) -> Result<CallResult, u64> {
    let mut effects = Vec::new();
    let (outcome, parts) = program.run(input, &mut effects);
    let cost = u64::from(parts) / PARTS_AN_OPERATION;
    match outcome {
        Ok(()) => Ok(CallResult { effects, cost, error: None }),
        Err(GiveUp) => Err(cost),
    }
}

/// The `params` of seed 000: every key, for every element.
pub(super) fn params_map(params: &ElementParams, config: Dynamic, key: &str) -> Map {
    let text = params.entity_value.as_str();
    let entity = params.entity.map_or("", crate::model::Entity::name);
    let mut alert_entity = Map::new();
    alert_entity.insert("entity".into(), entity.into());
    alert_entity.insert("value".into(), text.into());
    let fields = params.info.iter().map(|(name, value)| ((*name).to_owned(), value.json()));
    let info = EntityInfo { text: text.into(), fields: Rc::new(fields.collect()) };
    let alerts: rhai::Array = params
        .cur_alerts
        .iter()
        .map(|alert| from_json(&serde_json::to_value(alert).unwrap_or_default()))
        .collect();
    let mut map = Map::new();
    let mut set = |name: &str, value: Dynamic| drop(map.insert(name.into(), value));
    set("granularity", params.granularity.map_or("", crate::model::Granularity::name).into());
    set("alert_entity", alert_entity.into());
    set("entity_info", Dynamic::from(info));
    set("cur_alerts", alerts.into());
    set("user_script_config", config);
    set("user_script", key.into());
    set("when", params.when.secs().into());
    set("seconds", params.seconds().into());
    set("first_run", params.first_run.into());
    set("ifid", i64::from(params.ifid).into());
    set("ts_enabled", params.ts_enabled.into());
    set("stats", Dynamic::from(Counters { of: "stats", counts: Rc::new(params.stats.clone()) }));
    set("delta", Dynamic::from(Counters { of: "delta", counts: Rc::new(params.delta.clone()) }));
    let categories = AppCategory::ALL.iter();
    let categories = categories.filter_map(|category| Some((category.name(), params.category(*category)?)));
    set("categories", Dynamic::from(Counters { of: "categories", counts: Rc::new(categories.collect()) }));
    let counted = |(name, flows, bytes): &(String, u64, u64)| {
        let counts = Counters { of: "l7", counts: Rc::new(vec![("flows", *flows), ("bytes", *bytes)]) };
        (name.as_str().into(), Dynamic::from(counts))
    };
    set("l7", Dynamic::from(params.l7.iter().map(counted).collect::<Map>()));
    map
}
