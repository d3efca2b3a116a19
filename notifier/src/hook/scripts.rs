//! Threads that run Rhai: hooks and conditions. Each has an engine of its own; a script is compiled once
//! on each thread that runs it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// Looks at conditions and nothing else: events do not wait for hooks.
    conditions: mpsc::Sender<Order>,
    hasher: RandomState,
}

impl Scripts {
    /// Starts `threads` of them for hooks, and one for conditions.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(threads: usize, clock: &SharedClock) -> Result<Self, String> {
        let start = |name: String| {
            let (sender, orders) = mpsc::channel(QUEUE);
            let clock = Arc::clone(clock);
            let thread = std::thread::Builder::new().name(name);
            thread.spawn(move || serve(orders, &clock)).map_err(|e| e.to_string())?;
            Ok(sender)
        };
        let conditions = start("hook-condition".to_owned())?;
        let names = (0..threads.max(1)).map(|number| format!("hook-script-{number}"));
        let threads = names.map(start).collect::<Result<_, String>>()?;
        Ok(Self { threads, conditions, hasher: RandomState::new() })
    }

    /// Makes sure that a script compiles.
    ///
    /// # Errors
    /// Says where it does not.
    pub async fn check(&self, name: &str, source: Source) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.order(name, Order::Check(name.to_owned(), source, reply)).await;
        answer.await.unwrap_or_else(|_| Err(unanswered()))
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
        answer.await.map_err(|_| unanswered())
    }

    /// Whether conditions hold for an event, in their order.
    pub async fn hold(&self, conditions: Vec<(String, Source)>, event: Value) -> Vec<Result<bool, String>> {
        if conditions.is_empty() {
            return Vec::new();
        }
        let (reply, answer) = oneshot::channel();
        let count = conditions.len();
        // It fails only when the thread is gone, which who waits for the answer learns.
        let _ = self.conditions.send(Order::Holds(conditions, Arc::new(event), reply)).await;
        answer.await.unwrap_or_else(|_| vec![Err(unanswered()); count])
    }

    async fn order(&self, name: &str, order: Order) {
        let place = usize::try_from(self.hasher.hash_one(name)).unwrap_or(0) % self.threads.len().max(1);
        if let Some(thread) = self.threads.get(place) {
            // It fails only when the thread is gone, which who waits for the answer learns.
            let _ = thread.send(order).await;
        }
    }
}

fn unanswered() -> String {
    "panicked: a fault of the program that runs scripts, or its end".to_owned()
}

fn serve(mut orders: mpsc::Receiver<Order>, clock: &SharedClock) {
    let mut worker = Worker::new();
    while let Some(order) = orders.blocking_recv() {
        // Who asked learns of a panic by getting no answer; whatever it left behind is thrown away.
        if catch_unwind(AssertUnwindSafe(|| worker.answer(order, clock))).is_err() {
            worker = Worker::new();
        }
    }
}

/// What a thread has.
struct Worker {
    engine: ScriptEngine,
    compiled: HashMap<Source, EventScript>,
}

impl Worker {
    fn new() -> Self {
        let limits = ScriptLimits { max_millis: MAX_MILLIS, ..ScriptLimits::default() };
        Self { engine: ScriptEngine::new(limits), compiled: HashMap::new() }
    }

    fn answer(&mut self, order: Order, clock: &SharedClock) {
        let Self { engine, compiled } = self;
        if compiled.len() > MAX_COMPILED {
            compiled.clear();
        }
        // Who asked may have gone.
        match order {
            Order::Check(name, source, reply) => {
                let _ = reply.send(compile(engine, &name, &source).map(drop).map_err(|e| e.to_string()));
            }
            Order::Call(name, source, given, reply) => {
                let answer = match known(compiled, engine, &name, source) {
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
                    let condition = known(compiled, engine, &name, source);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use shared::clock::Clock;
    use shared::model::Timestamp;

    use super::*;

    /// Panics once, as a fault of the engine would.
    struct Faulty(AtomicBool);

    impl Clock for Faulty {
        fn now(&self) -> Timestamp {
            assert!(!self.0.swap(false, Ordering::SeqCst), "a fault");
            Timestamp::ZERO
        }
    }

    #[tokio::test]
    async fn a_panic_fails_one_call_and_the_thread_goes_on() {
        let clock: SharedClock = Arc::new(Faulty(AtomicBool::new(true)));
        let scripts = Scripts::start(1, &clock).unwrap();
        let call = || scripts.call("x", Source::Code("40 + 2".into()), Given::default());
        assert!(call().await.unwrap_err().contains("panicked"));
        assert_eq!(call().await.unwrap().1, 42);
    }

    #[tokio::test]
    async fn conditions_do_not_wait_for_hooks() {
        let scripts = Scripts::start(1, &shared::clock::SystemClock::shared()).unwrap();
        let endless = Source::Code("let n = 0; loop { n += 1; }".into());
        let slow = tokio::spawn({
            let scripts = scripts.clone();
            async move { scripts.call("slow", endless, Given::default()).await }
        });
        let condition = ("slow".to_owned(), Source::Condition("data.n > 1".into()));
        let event = serde_json::json!({ "subject": "event.item.a.b", "data": { "n": 2 } });
        assert_eq!(scripts.hold(vec![condition], event).await, [Ok(true)]);
        assert!(!slow.is_finished(), "it is still busy");
        assert!(slow.await.unwrap().unwrap().0.error.is_some(), "a limit ends it");
    }
}
