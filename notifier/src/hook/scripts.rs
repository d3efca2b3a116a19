//! Threads that run Rhai: hooks and conditions. Each has an engine of its own; a script is compiled once
//! on each thread that runs it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use serde_json::Value;
use shared::clock::SharedClock;
use shared::script::engine::{EventInput, EventScript, ScriptEngine};
use shared::script::{CallResult, ScriptError, ScriptLimits};
use tokio::sync::{mpsc, oneshot};

/// Calls that may wait for one thread; who asks for more waits.
const QUEUE: usize = 1024;

/// Scripts that one thread keeps compiled; beyond it, it forgets all of them.
const MAX_COMPILED: usize = 4096;

/// Milliseconds that one call may take.
const MAX_MILLIS: u64 = 5000;

/// A script's text and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Defines `hook(host, client, item)`.
    Function(Arc<str>),
    /// Code that sees the three as variables.
    Code(Arc<str>),
    /// An expression over an event.
    Condition(Arc<str>),
}

/// What a call is given.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The node and the hook.
    pub host: Value,
    /// Who made the hook.
    pub client: Value,
    /// The event.
    pub item: Value,
}

enum Order {
    Check(String, Source, oneshot::Sender<Result<(), String>>),
    Call(String, Source, Given, oneshot::Sender<(CallResult, Value)>),
    Holds(Vec<(String, Source)>, Arc<Value>, oneshot::Sender<Vec<Result<bool, String>>>),
}

/// The threads; they end with the last clone.
#[derive(Clone)]
pub struct Scripts {
    threads: Vec<mpsc::Sender<Order>>,
    hasher: RandomState,
}

impl Scripts {
    /// Starts `threads` of them.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(threads: usize, clock: &SharedClock) -> Result<Self, String> {
        let start = |number: usize| {
            let (sender, orders) = mpsc::channel(QUEUE);
            let clock = Arc::clone(clock);
            let thread = std::thread::Builder::new().name(format!("hook-script-{number}"));
            thread.spawn(move || serve(orders, &clock)).map_err(|e| e.to_string())?;
            Ok(sender)
        };
        let threads = (0..threads.max(1)).map(start).collect::<Result<_, String>>()?;
        Ok(Self { threads, hasher: RandomState::new() })
    }

    /// Makes sure that a script compiles.
    ///
    /// # Errors
    /// Says where it does not.
    pub async fn check(&self, name: &str, source: Source) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.order(name, Order::Check(name.to_owned(), source, reply)).await;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Calls a script; calls of one hook are one after the other.
    pub async fn call(
        &self,
        name: &str,
        source: Source,
        given: Given,
    ) -> Result<(CallResult, Value), String> {
        let (reply, answer) = oneshot::channel();
        self.order(name, Order::Call(name.to_owned(), source, given, reply)).await;
        answer.await.map_err(|_| ended())
    }

    /// Whether conditions hold for an event, in their order.
    pub async fn hold(&self, conditions: Vec<(String, Source)>, event: Value) -> Vec<Result<bool, String>> {
        if conditions.is_empty() {
            return Vec::new();
        }
        let (reply, answer) = oneshot::channel();
        let count = conditions.len();
        let name = conditions.first().map(|(name, _)| name.clone()).unwrap_or_default();
        self.order(&name, Order::Holds(conditions, Arc::new(event), reply)).await;
        answer.await.unwrap_or_else(|_| vec![Err(ended()); count])
    }

    async fn order(&self, name: &str, order: Order) {
        let place = usize::try_from(self.hasher.hash_one(name)).unwrap_or(0) % self.threads.len().max(1);
        if let Some(thread) = self.threads.get(place) {
            // It fails only when the thread is gone, which who waits for the answer learns.
            let _ = thread.send(order).await;
        }
    }
}

fn ended() -> String {
    "the thread that runs scripts has ended".to_owned()
}

fn serve(mut orders: mpsc::Receiver<Order>, clock: &SharedClock) {
    let engine = ScriptEngine::new(ScriptLimits { max_millis: MAX_MILLIS, ..ScriptLimits::default() });
    let mut compiled: HashMap<Source, EventScript> = HashMap::new();
    while let Some(order) = orders.blocking_recv() {
        if compiled.len() > MAX_COMPILED {
            compiled.clear();
        }
        // Who asked may have gone.
        match order {
            Order::Check(name, source, reply) => {
                let _ = reply.send(compile(&engine, &name, &source).map(drop).map_err(|e| e.to_string()));
            }
            Order::Call(name, source, given, reply) => {
                let answer = match known(&mut compiled, &engine, &name, source) {
                    Ok(script) => {
                        let Given { host, client, item } = &given;
                        engine.call_event(script, &EventInput { host, client, item }, clock.now())
                    }
                    Err(error) => (CallResult { error: Some(error), ..CallResult::default() }, Value::Null),
                };
                let _ = reply.send(answer);
            }
            Order::Holds(conditions, event, reply) => {
                let holds = |(name, source): (String, Source)| {
                    let condition = known(&mut compiled, &engine, &name, source);
                    condition
                        .and_then(|c| engine.holds_of_event(c, &event, clock.now()))
                        .map_err(|e| e.to_string())
                };
                let _ = reply.send(conditions.into_iter().map(holds).collect());
            }
        }
    }
}

fn known<'a>(
    compiled: &'a mut HashMap<Source, EventScript>,
    engine: &ScriptEngine,
    name: &str,
    source: Source,
) -> Result<&'a EventScript, ScriptError> {
    match compiled.entry(source) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(new) => {
            let script = compile(engine, name, new.key())?;
            Ok(new.insert(script))
        }
    }
}

fn compile(engine: &ScriptEngine, name: &str, source: &Source) -> Result<EventScript, ScriptError> {
    match source {
        Source::Function(text) => engine.compile_event(name, text, false),
        Source::Code(text) => engine.compile_event(name, text, true),
        Source::Condition(text) => engine.compile_condition(name, text),
    }
}
