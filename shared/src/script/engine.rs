//! The sandboxed Rhai engine. Only this module and [`super::value`] know Rhai.
//!
//! A script file is evaluated anew for every run; the closures in the map that it ends in capture
//! its variables, and those are the run's state. Calls return effects; nothing is carried out here.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use rhai::{AST, Dynamic, Engine, EvalAltResult, FnPtr, FuncArgs, Map, Scope};
use serde_json::Value;

use super::lists::Lists;
use super::lowered::{How, Input, Program};
use super::memory::SharedMemory;
use super::observer::{Observed, Observer};
use super::schema::Schema;
use super::source::ScriptSource;
use super::value::from_json;
use super::{CallResult, ElementParams, FlowHook, HookName, ScriptError, ScriptLimits, ScriptMeta};
use crate::model::{FlowRecord, Granularity, Timestamp};

mod attributes;
#[cfg(test)]
mod catalog;
mod error;
mod event;
mod functions;
mod guards;
mod host;
#[cfg(test)]
mod hostile_tests;
mod lower;
#[cfg(test)]
mod lower_tests;
#[cfg(test)]
mod manual_tests;
mod run;
mod script;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::flow as a_flow;
mod when;

use error::{parse_error, runtime_error};
pub use event::{EventInput, EventScript};
use host::{FlowHandle, Host};
pub use run::Run;
use script::Programs;
pub use script::Script;
pub use when::Need;

/// A hook, and how it runs.
pub type Explained = (HookName, How);

/// Operations that no lowered hook does; see [`ScriptEngine::explain`].
const MANY_OPERATIONS: u64 = 20_000;

/// Operations of the interpreter that a part of a lowered hook stands for, and more: what a loop does in
/// a program within the limit it could have done within it in the interpreter.
const OPERATIONS_PER_PART: u64 = 8;

/// Parts that loops of one lowered call run at most, a millisecond's worth; the interpreter watches the
/// clock over what takes longer.
const MAX_STEPS: u32 = 125_000;

/// Compiles and runs scripts. Belongs to one thread.
pub struct ScriptEngine {
    engine: Engine,
    host: Rc<Host>,
    observer: RefCell<Option<Observer>>,
    /// Lowered hooks are interpreted all the same.
    interprets: Cell<bool>,
    compiled: Cell<u64>,
}

/// How a run began.
pub struct Started {
    /// The run; `None` when `setup` declined or something failed.
    pub run: Option<Run>,
    /// What `setup` asked for, and what failed.
    pub result: CallResult,
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
        guards::register(&mut engine, &host);
        let (observer, interprets, compiled) = (RefCell::new(None), Cell::new(false), Cell::new(0));
        Self { engine, host, observer, interprets, compiled }
    }

    /// What calls and runs keep to.
    pub fn limits(&self) -> &ScriptLimits {
        self.host.limits()
    }

    /// Scripts compiled so far.
    pub fn compiled(&self) -> u64 {
        self.compiled.get()
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
            let took = self.host.elapsed();
            let (operations, reads) = self.host.take_watched();
            let about = about();
            let CallResult { effects, error, .. } = result;
            observer(&Observed {
                script,
                function,
                about: &about,
                reads,
                operations,
                took,
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
        &'a self,
        flow: Option<&'a FlowRecord>,
        element: Option<&'a ElementParams>,
        old_status: u64,
        now: Timestamp,
        config: &'a Value,
    ) -> Input<'a> {
        let limits = self.host.limits();
        let ScriptLimits { max_string, max_effects, max_operations, max_memory_bytes, .. } = *limits;
        Input {
            flow,
            element,
            old_status,
            now: now.secs(),
            config,
            lists: self.host.lists(),
            max_string,
            max_effects,
            max_steps: u32::try_from(max_operations / OPERATIONS_PER_PART).unwrap_or(u32::MAX).min(MAX_STEPS),
            max_bytes: i64::try_from(max_memory_bytes / 2).unwrap_or(i64::MAX),
        }
    }

    /// Compiles a script and reads its attributes.
    ///
    /// # Errors
    /// [`ScriptError`] with line and column of a syntax error, or the attribute that is wrong.
    pub fn compile(&self, source: &ScriptSource) -> Result<Script, ScriptError> {
        let wrong = |cause: String| ScriptError { script: source.name.clone(), line: 0, column: 0, cause };
        self.compiled.set(self.compiled.get() + 1);
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
        let hash = source.hash();
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
        let (name, origin) = (source.name.clone(), source.origin.clone());
        Ok(Script { meta: Rc::new(meta), ast, hash, name, origin, programs, schema })
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
        let cost = self.host.cost();
        let result = CallResult { effects: self.host.take_effects(), error: result.err(), cost };
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
        if let Ok(Some(run)) = &outcome {
            run.held.set(self.host.held());
        }
        let effects = self.host.take_effects();
        let (run, error) = match outcome {
            Ok(run) => (run, None),
            Err(error) => (None, Some(error)),
        };
        let result = CallResult { effects, error, cost: self.host.cost() };
        self.observed(&key, "setup", &String::new, &result);
        Started { run, result }
    }

    /// Evaluates a file to its final map.
    fn evaluate(&self, name: &str, ast: &AST) -> Result<Map, ScriptError> {
        let mut scope = Scope::new();
        scope.push("flow", FlowHandle::new(&self.host));
        let value = self
            .guarded(|| self.engine.eval_ast_with_scope::<Dynamic>(&mut scope, ast))
            .map_err(|e| runtime_error(name, self.host.limits(), &e))?;
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
            .map_err(|e| runtime_error(name, self.host.limits(), &e))
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
}

fn hooks_of(map: &Map) -> Map {
    map.get("hooks").and_then(|hooks| hooks.clone().try_cast::<Map>()).unwrap_or_default()
}

fn function(map: &Map, name: &str) -> Option<FnPtr> {
    map.get(name).and_then(|value| value.clone().try_cast::<FnPtr>())
}
