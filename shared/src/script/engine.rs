//! The sandboxed Rhai engine. Only this module and [`super::value`] know Rhai.
//!
//! A script file is evaluated anew for every run; the closures in the map that it ends in capture
//! its variables, and those are the run's state. Calls return effects; nothing is carried out here.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use rhai::{AST, Dynamic, Engine, EvalAltResult, FnPtr, FuncArgs, Map, ParseError, Position, Scope};
use serde_json::Value;

use super::lists::Lists;
use super::log_event::LogEvent;
use super::lowered::{Expr, GiveUp, How, Input, Program};
use super::memory::SharedMemory;
use super::observer::{Observed, Observer};
use super::schema::Schema;
use super::source::{Origin, ScriptSource};
use super::value::{Counters, EntityInfo, from_json};
use super::{CallResult, ElementParams, FlowHook, HookName, ScriptError, ScriptLimits, ScriptMeta};
use crate::model::{FlowRecord, Granularity, Timestamp};

mod attributes;
mod functions;
mod host;
mod lower;
#[cfg(test)]
mod lower_tests;
#[cfg(test)]
mod tests;
mod when;

use host::{FlowHandle, Host};

/// A hook, and how it runs.
pub type Explained = (HookName, How);

/// Operations that no lowered hook does; see [`ScriptEngine::explain`].
const MANY_OPERATIONS: u64 = 100_000;

/// Compiles and runs scripts. Belongs to one thread.
pub struct ScriptEngine {
    engine: Engine,
    host: Rc<Host>,
    observer: RefCell<Option<Observer>>,
    /// Lowered hooks are interpreted all the same.
    interprets: Cell<bool>,
}

/// A compiled script.
pub struct Script {
    meta: ScriptMeta,
    ast: AST,
    hash: String,
    origin: Origin,
    programs: Rc<Programs>,
    schema: Rc<Schema>,
}

/// The hooks of a script that are lowered.
#[derive(Debug, Default)]
struct Programs {
    flow: [Option<Program>; FlowHook::ALL.len()],
    element: [Option<Program>; Granularity::PERIODS.len()],
    /// What has to be so for any hook to be called.
    when: Option<Expr>,
    /// Every hook is, and a run needs nothing else: what a run begins with may wait until it is needed.
    suffice: bool,
}

impl Script {
    /// What the script declares.
    pub fn meta(&self) -> &ScriptMeta {
        &self.meta
    }

    /// XXH3-64 of its text in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What its configuration may be.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// How a run began.
pub struct Started {
    /// The run; `None` when `setup` declined or something failed.
    pub run: Option<Run>,
    /// What `setup` asked for, and what failed.
    pub result: CallResult,
}

/// A script with its state.
pub struct Run {
    key: String,
    ast: AST,
    /// The functions of the hooks; of a script whose programs suffice only once one has given up.
    hooks: OnceCell<Map>,
    programs: Rc<Programs>,
    teardown: Option<FnPtr>,
    /// The last configuration as the script sees it; it seldom changes.
    config: RefCell<Option<(Value, Dynamic)>>,
}

impl ScriptEngine {
    /// An engine whose calls keep to `limits`.
    pub fn new(limits: ScriptLimits) -> Self {
        let host = Rc::new(Host::new(limits));
        let limits = host.limits();
        let mut engine = Engine::new();
        engine
            .set_max_operations(limits.max_operations)
            .set_max_call_levels(limits.max_call_depth)
            .set_max_expr_depths(limits.max_expression_depth, limits.max_expression_depth)
            .set_max_string_size(limits.max_string)
            .set_max_array_size(limits.max_array)
            .set_max_map_size(limits.max_map)
            .set_max_functions(200)
            .disable_symbol("eval");
        host::register(&mut engine, &host);
        functions::register(&mut engine, &host);
        Self { engine, host, observer: RefCell::new(None), interprets: Cell::new(false) }
    }

    /// Tells `observer` of every call from now on.
    pub fn observe(&self, observer: Observer) {
        self.host.watch_calls();
        // Only the interpreter tells what a call reads.
        self.interprets.set(true);
        *self.observer.borrow_mut() = Some(observer);
    }

    /// Tells the observer, if there is one.
    fn observed(&self, script: &str, function: &str, about: &dyn Fn() -> String, result: &CallResult) {
        if let Some(observer) = &mut *self.observer.borrow_mut() {
            let (operations, reads) = self.host.take_watched();
            let about = about();
            let CallResult { effects, error } = result;
            observer(&Observed {
                script,
                function,
                about: &about,
                reads,
                operations,
                effects,
                error: error.as_ref(),
            });
        }
    }

    /// Gives the script of the next calls this to remember with.
    pub fn set_memory(&self, memory: Option<SharedMemory>) {
        self.host.set_memory(memory);
    }

    /// Gives scripts these lists to look things up in.
    pub fn set_lists(&self, lists: Lists) {
        self.host.set_lists(lists);
    }

    /// Whether lowered hooks are interpreted all the same, to compare.
    pub fn interpret_all(&self, on: bool) {
        self.interprets.set(on);
    }

    /// How each hook of a script runs: lowered, or why it is interpreted.
    ///
    /// # Errors
    /// The script fails when it is evaluated.
    pub fn explain(&self, script: &Script) -> Result<Vec<Explained>, ScriptError> {
        self.host.begin(None, 0, Timestamp::ZERO);
        let map = self.evaluate(&script.meta.key, &script.ast);
        self.host.take_effects();
        let hooks = hooks_of(&map?);
        let how = |hook: HookName| match self.lower(&script.ast, &hooks, hook) {
            Ok(Program { gap: None, .. }) => How::Lowered,
            Ok(Program { gap: Some(reason), .. }) => How::Lifted(reason),
            Err(reason) => How::Interpreted(reason),
        };
        Ok(script.meta.hooks.iter().map(|hook| (*hook, how(*hook))).collect())
    }

    fn lower(&self, ast: &AST, hooks: &Map, hook: HookName) -> Result<Program, String> {
        let function = function(hooks, hook.name()).or_else(|| function(hooks, "all"));
        let program = lower::lower(ast, &function.ok_or("there is no such hook")?, hook)?;
        // A program does a bounded number of things; a lower limit is the interpreter's to watch.
        match self.host.limits().max_operations < MANY_OPERATIONS {
            true => Err("scripts.limits.max_operations is low".to_owned()),
            false => Ok(program),
        }
    }

    /// What a lowered hook is called with.
    fn input<'a>(
        &self,
        flow: Option<&'a FlowRecord>,
        element: Option<&'a ElementParams>,
        old_status: u64,
        now: Timestamp,
        config: &'a Value,
    ) -> Input<'a> {
        let ScriptLimits { max_string, max_effects, .. } = *self.host.limits();
        let lists = self.host.lists();
        Input { flow, element, old_status, now: now.secs(), config, lists, max_string, max_effects }
    }

    /// Compiles a script and reads its attributes.
    ///
    /// # Errors
    /// [`ScriptError`] with line and column of a syntax error, or the attribute that is wrong.
    pub fn compile(&self, source: &ScriptSource) -> Result<Script, ScriptError> {
        let wrong = |cause: String| ScriptError { script: source.name.clone(), line: 0, column: 0, cause };
        let ast = self.engine.compile(&source.text).map_err(|e| parse_error(&source.name, &e))?;
        self.host.begin(None, 0, Timestamp::ZERO);
        let map = self.evaluate(&source.name, &ast);
        if !self.host.take_effects().is_empty() {
            return Err(wrong(
                "asks for something while it is loaded; do that in setup or in a hook".to_owned(),
            ));
        }
        let map = map?;
        let meta = attributes::read(&map, source).map_err(wrong)?;
        let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(source.text.as_bytes()));
        let programs = Rc::new(self.programs(&ast, &map, &meta).map_err(wrong)?);
        let schema = match meta.config_schema.clone() {
            Some(schema) => {
                let schema = Schema::new(schema).map_err(|cause| wrong(format!("config_schema: {cause}")))?;
                schema
                    .check(&meta.default_value)
                    .map_err(|cause| wrong(format!("default_value: {cause}")))?;
                schema
            }
            None => Schema::of_default(&meta.default_value),
        };
        let schema = Rc::new(schema);
        Ok(Script { meta, ast, hash, origin: source.origin.clone(), programs, schema })
    }

    fn programs(&self, ast: &AST, map: &Map, meta: &ScriptMeta) -> Result<Programs, String> {
        let hooks = hooks_of(map);
        let lowered = |hook: HookName| {
            let has = meta.hooks.contains(&hook);
            has.then(|| self.lower(ast, &hooks, hook).ok()).flatten()
        };
        let flow = FlowHook::ALL.map(|hook| lowered(HookName::Flow(hook)));
        let element = Granularity::PERIODS.map(|period| lowered(HookName::Element(period)));
        let whole = flow.iter().chain(&element).flatten().filter(|program| program.gap.is_none());
        let suffice =
            whole.count() == meta.hooks.len() && !meta.has_teardown && function(map, "setup").is_none();
        let when = meta.when.as_deref().map(|text| when::compile(&self.engine, &self.host, text, meta.kind));
        let when = when.transpose().map_err(|cause| format!("when: {cause}"))?;
        Ok(Programs { flow, element, when, suffice })
    }

    /// Calls one of the functions that a script has for its own life (`onLoad`, `onUnload`, `onEnable`,
    /// `onDisable`, `onUpdateConfig`) with a hook's name and configuration, on a fresh evaluation of its
    /// file; `None` when it has no such function.
    pub fn lifecycle(
        &self,
        script: &Script,
        name: &str,
        hook: HookName,
        config: &Value,
        now: Timestamp,
    ) -> Option<CallResult> {
        let key = &script.meta.key;
        self.host.begin(None, 0, now);
        let result = match self.evaluate(key, &script.ast) {
            Err(error) => Err(error),
            Ok(map) => {
                let function = function(&map, name)?;
                self.host.begin(None, 0, now);
                self.call(key, &script.ast, &function, (hook.name().to_owned(), from_json(config)))
            }
        };
        let result = CallResult { effects: self.host.take_effects(), error: result.err() };
        self.observed(key, name, &|| hook.name().to_owned(), &result);
        Some(result)
    }

    /// Begins a run: fresh state, then `setup`.
    pub fn start(&self, script: &Script, now: Timestamp) -> Started {
        let key = script.meta.key.clone();
        if script.programs.suffice && !self.interprets.get() {
            return Started {
                run: Some(Run::new(script, OnceCell::new(), None)),
                result: CallResult::default(),
            };
        }
        self.host.begin(None, 0, now);
        let outcome = self.evaluate(&key, &script.ast).and_then(|map| {
            let accepted = match function(&map, "setup") {
                None => true,
                Some(setup) => {
                    self.host.begin(None, 0, now);
                    let answer = self.call(&key, &script.ast, &setup, ())?;
                    answer.as_bool().unwrap_or(false)
                }
            };
            let teardown = function(&map, "teardown");
            Ok(accepted.then(|| Run::new(script, OnceCell::from(hooks_of(&map)), teardown)))
        });
        let effects = self.host.take_effects();
        let (run, error) = match outcome {
            Ok(run) => (run, None),
            Err(error) => (None, Some(error)),
        };
        let result = CallResult { effects, error };
        self.observed(&key, "setup", &String::new, &result);
        Started { run, result }
    }

    /// Evaluates a file to its final map.
    fn evaluate(&self, name: &str, ast: &AST) -> Result<Map, ScriptError> {
        let mut scope = Scope::new();
        scope.push("flow", FlowHandle::new(&self.host));
        let value = self
            .guarded(|| self.engine.eval_ast_with_scope::<Dynamic>(&mut scope, ast))
            .map_err(|e| self.runtime_error(name, &e))?;
        let found = value.type_name();
        value.try_cast::<Map>().ok_or_else(|| ScriptError {
            script: name.to_owned(),
            line: 0,
            column: 0,
            cause: format!("must end in a map #{{ … }}, not in a value of type {found}"),
        })
    }

    fn call(
        &self,
        name: &str,
        ast: &AST,
        function: &FnPtr,
        args: impl FuncArgs,
    ) -> Result<Dynamic, ScriptError> {
        self.guarded(|| function.call::<Dynamic>(&self.engine, ast, args))
            .map_err(|e| self.runtime_error(name, &e))
    }

    /// Runs `call` under the time limit; a panic inside the interpreter becomes an error.
    fn guarded(
        &self,
        call: impl FnOnce() -> Result<Dynamic, Box<EvalAltResult>>,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        self.host.start_watch();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(call))
            .unwrap_or_else(|_| Err("the interpreter panicked".into()))
    }

    fn runtime_error(&self, script: &str, error: &EvalAltResult) -> ScriptError {
        let limits = self.host.limits();
        let inner = error.unwrap_inner();
        let position = if inner.position().is_none() { error.position() } else { inner.position() };
        let cause = match inner {
            EvalAltResult::ErrorTooManyOperations(_) => {
                format!("more operations than the limit of {}", limits.max_operations)
            }
            EvalAltResult::ErrorStackOverflow(_) => {
                format!("calls are nested deeper than the limit of {}", limits.max_call_depth)
            }
            EvalAltResult::ErrorTerminated(..) => {
                format!("ran longer than the limit of {} ms", limits.max_millis)
            }
            EvalAltResult::ErrorDataTooLarge(what, _) => format!("{} beyond the limit", what.to_lowercase()),
            EvalAltResult::ErrorRuntime(value, _) => value.to_string(),
            EvalAltResult::ErrorParsing(kind, _) => kind.to_string(),
            other => {
                let mut other = other.to_string();
                // The position is told apart from the text.
                if let Some(place) = other.rfind(" (line ") {
                    other.truncate(place);
                }
                other
            }
        };
        at(script, position, cause)
    }
}

impl Run {
    fn new(script: &Script, hooks: OnceCell<Map>, teardown: Option<FnPtr>) -> Self {
        let (key, ast) = (script.meta.key.clone(), script.ast.clone());
        Self { key, ast, hooks, programs: Rc::clone(&script.programs), teardown, config: RefCell::new(None) }
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
        if let Some(program) = self.programs.flow[hook as usize].as_ref().filter(|_| !engine.interprets.get())
        {
            let input = engine.input(Some(flow), None, old_status, now, config);
            let mut effects = Vec::new();
            if program.run(&input, &mut effects).is_ok() {
                return CallResult { effects, error: None };
            }
        }
        let function = match self.function(engine, hook.name()) {
            Ok(Some(function)) => function,
            Ok(None) => return CallResult::default(),
            Err(error) => return CallResult { effects: Vec::new(), error: Some(error) },
        };
        engine.host.begin(Some(Rc::new(flow.clone())), old_status, now);
        let config = self.config(config);
        let result = engine.call(&self.key, &self.ast, &function, (now.secs(), config));
        self.finish(engine, hook.name(), &|| flow.label(), result)
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
        if let Some(program) = program.filter(|_| !engine.interprets.get()) {
            let input = engine.input(None, Some(params), 0, params.when, config);
            let mut effects = Vec::new();
            if program.run(&input, &mut effects).is_ok() {
                return CallResult { effects, error: None };
            }
        }
        let name = HookName::Element(granularity).name();
        let function = match self.function(engine, name) {
            Ok(Some(function)) => function,
            Ok(None) => return CallResult::default(),
            Err(error) => return CallResult { effects: Vec::new(), error: Some(error) },
        };
        engine.host.begin(None, 0, params.when);
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
            Err(error) => return CallResult { effects: Vec::new(), error: Some(error) },
        };
        engine.host.begin(None, 0, event.when);
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
        CallResult { effects: Vec::new(), error: Some(error) }
    }

    /// Ends the run.
    pub fn teardown(self, engine: &ScriptEngine, now: Timestamp) -> CallResult {
        let Some(function) = &self.teardown else { return CallResult::default() };
        engine.host.begin(None, 0, now);
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
        let result = CallResult { effects: engine.host.take_effects(), error: result.err() };
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

/// The `params` of seed 000: every key, for every element.
fn params_map(params: &ElementParams, config: Dynamic, key: &str) -> Map {
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
    set("ifid", i64::from(params.ifid).into());
    set("ts_enabled", params.ts_enabled.into());
    set("stats", Dynamic::from(Counters(Rc::new(params.stats.clone()))));
    set("delta", Dynamic::from(Counters(Rc::new(params.delta.clone()))));
    map
}

fn hooks_of(map: &Map) -> Map {
    map.get("hooks").and_then(|hooks| hooks.clone().try_cast::<Map>()).unwrap_or_default()
}

fn function(map: &Map, name: &str) -> Option<FnPtr> {
    map.get(name).and_then(|value| value.clone().try_cast::<FnPtr>())
}

fn parse_error(script: &str, error: &ParseError) -> ScriptError {
    at(script, error.position(), error.err_type().to_string())
}

fn at(script: &str, position: Position, cause: String) -> ScriptError {
    ScriptError {
        script: script.to_owned(),
        line: position.line().unwrap_or(0),
        column: position.position().unwrap_or(0),
        cause,
    }
}
