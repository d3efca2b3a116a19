//! What a running script can reach: the flow, the time, and a list of what it asks for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};

use crate::clock::Stopwatch;
use crate::counting;
use crate::model::flow_field::FLOW_FIELDS;
use crate::model::status;
use crate::model::{FlowRecord, Timestamp};
use crate::script::lists::Lists;
use crate::script::memory::SharedMemory;
use crate::script::value::{Counters, EntityInfo, from_field, from_json};
use crate::script::{AlertRequest, Effect, ScriptLimits};

/// Between two looks at the memory a script does one operation, which may copy what it holds up to three
/// times (`list + list`): it is stopped at this part of its quota.
const COPIES: usize = 4;

/// Taking so many bytes and filling them takes about as long as an operation does.
pub const BYTES_AN_OPERATION: u64 = 512;

/// Why a call was ended by the watch over its memory.
pub const OUT_OF_MEMORY: bool = true;

/// Why a call was ended by the watch over what it cost: taking memory counts too.
pub const OUT_OF_OPERATIONS: bool = false;

/// A function's answer, or an error with a position.
pub type Answer<T> = Result<T, Box<EvalAltResult>>;

/// What a call has read.
struct Reads {
    /// Of the flow's fields, by their places.
    flow: Vec<bool>,
    /// Of an element's counters and fields, such as `delta.bytes`.
    element: BTreeSet<String>,
}

/// State of the call under way.
pub struct Host {
    limits: ScriptLimits,
    watch: Cell<Stopwatch>,
    now: Cell<Timestamp>,
    flow: RefCell<Option<Rc<FlowRecord>>>,
    old_status: Cell<u64>,
    effects: RefCell<Vec<Effect>>,
    lists: RefCell<Rc<Lists>>,
    /// What the script remembers; element scripts have some.
    memory: RefCell<Option<SharedMemory>>,
    /// The call is for a log line.
    event: Cell<bool>,
    /// Operations of the call so far.
    operations: Cell<u64>,
    /// Bytes of the thread when the call began, less those that the script held already.
    floor: Cell<i64>,
    /// Bytes that the thread had ever taken when the call began.
    taken: Cell<u64>,
    /// What was read, while somebody watches.
    reads: RefCell<Option<Reads>>,
}

impl Host {
    /// A host before its first call.
    pub fn new(limits: ScriptLimits) -> Self {
        Self {
            limits,
            watch: Cell::new(Stopwatch::start()),
            now: Cell::new(Timestamp::ZERO),
            flow: RefCell::new(None),
            old_status: Cell::new(0),
            effects: RefCell::new(Vec::new()),
            lists: RefCell::default(),
            memory: RefCell::new(None),
            event: Cell::new(false),
            operations: Cell::new(0),
            floor: Cell::new(0),
            taken: Cell::new(0),
            reads: RefCell::new(None),
        }
    }

    /// Notes operations and reads from now on.
    pub fn watch_calls(&self) {
        *self.reads.borrow_mut() =
            Some(Reads { flow: vec![false; FLOW_FIELDS.len()], element: BTreeSet::new() });
    }

    /// Operations and fields read since the last time.
    pub fn take_watched(&self) -> (u64, Vec<String>) {
        let mut reads = Vec::new();
        if let Some(watched) = &mut *self.reads.borrow_mut() {
            for (field, read) in FLOW_FIELDS.iter().zip(&mut watched.flow) {
                if std::mem::take(read) {
                    reads.push(field.name.to_owned());
                }
            }
            reads.extend(std::mem::take(&mut watched.element));
        }
        (self.operations.take(), reads)
    }

    /// Time since the call began.
    pub fn elapsed(&self) -> Duration {
        self.watch.get().elapsed()
    }

    fn note_read(&self, place: usize) {
        if let Some(read) = self.reads.borrow_mut().as_mut().and_then(|reads| reads.flow.get_mut(place)) {
            *read = true;
        }
    }

    fn note_read_of(&self, map: &str, name: &str) {
        if let Some(reads) = &mut *self.reads.borrow_mut() {
            reads.element.insert(format!("{map}.{name}"));
        }
    }

    /// The limits of a call.
    pub fn limits(&self) -> &ScriptLimits {
        &self.limits
    }

    /// Sets what the next call sees.
    pub fn begin(&self, flow: Option<Rc<FlowRecord>>, old_status: u64, now: Timestamp) {
        *self.flow.borrow_mut() = flow;
        self.old_status.set(old_status);
        self.now.set(now);
        self.operations.set(0);
        self.taken.set(counting::taken());
        self.holds(0);
    }

    /// The script that is called next holds so many bytes already.
    pub fn holds(&self, bytes: i64) {
        self.floor.set(counting::bytes() - bytes);
    }

    /// Bytes that the script holds now, besides what it asked for.
    pub fn held(&self) -> i64 {
        let effects = self.effects.borrow();
        let spare = (effects.capacity() - effects.len()) * size_of::<Effect>();
        let asked: usize = effects.iter().map(Effect::bytes).sum();
        counting::bytes() - self.floor.get() - (asked + spare) as i64
    }

    /// What the call has cost so far: its operations, and one more for so many bytes taken.
    pub fn cost(&self) -> u64 {
        self.operations.get() + counting::taken().wrapping_sub(self.taken.get()) / BYTES_AN_OPERATION
    }

    /// Says whether the calls from now on are for log lines.
    pub fn has_event(&self, event: bool) {
        self.event.set(event);
    }

    /// Whether an alert may say whom it is about: the hosts that a log line speaks of.
    pub fn may_name_hosts(&self) -> bool {
        self.event.get()
    }

    /// Starts the time limit.
    pub fn start_watch(&self) {
        self.watch.set(Stopwatch::start());
    }

    /// Event time of the call.
    pub fn now(&self) -> Timestamp {
        self.now.get()
    }

    /// Sets what lists there are.
    pub fn set_lists(&self, lists: Lists) {
        *self.lists.borrow_mut() = Rc::new(lists);
    }

    /// What lists there are.
    pub fn lists(&self) -> &RefCell<Rc<Lists>> {
        &self.lists
    }

    /// Sets what the script of the next calls remembers.
    pub fn set_memory(&self, memory: Option<SharedMemory>) {
        *self.memory.borrow_mut() = memory;
    }

    /// What the script remembers.
    pub fn memory(&self) -> Answer<SharedMemory> {
        let memory = self.memory.borrow().clone();
        memory.ok_or_else(|| "only scripts of hosts, networks, interfaces and the system remember".into())
    }

    /// Notes what the script asks for.
    pub fn ask(&self, effect: Effect) -> Answer<()> {
        self.may_ask()?;
        self.effects.borrow_mut().push(effect);
        Ok(())
    }

    /// Whether the script may ask for one thing more.
    pub fn may_ask(&self) -> Answer<()> {
        if self.effects.borrow().len() >= self.limits.max_effects {
            return Err(format!("more effects than the limit of {}", self.limits.max_effects).into());
        }
        Ok(())
    }

    /// What the script asked for since the last time.
    pub fn take_effects(&self) -> Vec<Effect> {
        self.effects.take()
    }
}

/// The variable `flow`.
#[derive(Clone)]
pub struct FlowHandle(Rc<Host>);

impl FlowHandle {
    /// A handle on the flow of `host`'s calls.
    pub fn new(host: &Rc<Host>) -> Self {
        Self(Rc::clone(host))
    }

    fn get(&self) -> Answer<Rc<FlowRecord>> {
        self.0.flow.borrow().clone().ok_or_else(|| "there is no flow outside a flow hook".into())
    }
}

fn bit(name: &str) -> Answer<u8> {
    status::parse(name).ok_or_else(|| format!("unknown status '{name}'").into())
}

/// Registers `flow`, `entity_info` and the limits that the host watches over.
pub fn register(engine: &mut Engine, host: &Rc<Host>) {
    let watched = Rc::clone(host);
    let most = i64::try_from(host.limits.max_memory_bytes / COPIES).unwrap_or(i64::MAX);
    engine.on_progress(move |operations| {
        watched.operations.set(operations);
        if watched.cost() > watched.limits.max_operations {
            return Some(Dynamic::from(OUT_OF_OPERATIONS));
        }
        if counting::bytes() - watched.floor.get() > most {
            return Some(Dynamic::from(OUT_OF_MEMORY));
        }
        // Reading the clock costs more than an operation.
        let late = operations % 256 == 0 && watched.watch.get().elapsed() > watched.limits.max_time();
        late.then_some(Dynamic::UNIT)
    });
    engine.register_type_with_name::<FlowHandle>("Flow");
    for (place, field) in FLOW_FIELDS.iter().enumerate() {
        engine.register_get(field.name, move |flow: &mut FlowHandle| -> Answer<Dynamic> {
            flow.0.note_read(place);
            Ok(from_field(field.of(&*flow.get()?)))
        });
    }
    engine.register_get("old_status", |flow: &mut FlowHandle| flow.0.old_status.get() as i64);
    engine.register_get("old_status_names", |flow: &mut FlowHandle| -> Dynamic {
        status::names(flow.0.old_status.get()).into_iter().map(Dynamic::from).collect::<rhai::Array>().into()
    });
    engine.register_fn("set_status", |flow: &mut FlowHandle, name: &str| -> Answer<()> {
        flow.get()?;
        flow.0.ask(Effect::SetStatus(bit(name)?))
    });
    engine.register_fn("clear_status", |flow: &mut FlowHandle, name: &str| -> Answer<()> {
        flow.get()?;
        flow.0.ask(Effect::ClearStatus(bit(name)?))
    });
    engine.register_fn("is_status_set", |flow: &mut FlowHandle, name: &str| -> Answer<bool> {
        Ok(flow.get()?.status & (1 << bit(name)?) != 0)
    });
    engine.register_fn("trigger_alert", |flow: &mut FlowHandle, score: i64, message: &str| -> Answer<()> {
        flow.get()?;
        let score = u32::try_from(score).map_err(|_| format!("score {score} is not a number from 0"))?;
        let message = Some(message.to_owned());
        flow.0.ask(Effect::Trigger(AlertRequest { score: Some(score), message, ..AlertRequest::default() }))
    });
    register_entity_info(engine, host);
    register_counters(engine, host);
}

/// What maps can do.
fn register_counters(engine: &mut Engine, host: &Rc<Host>) {
    engine.register_type_with_name::<Counters>("Counters");
    let read = |host: &Rc<Host>| {
        let host = Rc::clone(host);
        move |counters: &mut Counters, name: &str| {
            host.note_read_of(counters.of, name);
            counters.get(name)
        }
    };
    engine.register_indexer_get(read(host));
    engine.register_fn("get", read(host));
    engine.register_fn("contains", |counters: &mut Counters, name: &str| !counters.get(name).is_unit());
    engine.register_fn("len", |counters: &mut Counters| counters.counts.len() as i64);
    engine.register_fn("keys", |counters: &mut Counters| {
        counters.map().into_keys().map(|k| Dynamic::from(ImmutableString::from(k))).collect::<rhai::Array>()
    });
    engine.register_fn("values", |counters: &mut Counters| {
        counters.map().into_values().collect::<rhai::Array>()
    });
    engine.register_fn("to_map", |counters: &mut Counters| counters.map());
    engine.register_fn("to_string", |counters: &mut Counters| format!("{:?}", counters.map()));
    engine.register_fn("to_debug", |counters: &mut Counters| format!("{:?}", counters.map()));
}

fn register_entity_info(engine: &mut Engine, host: &Rc<Host>) {
    engine.register_type_with_name::<EntityInfo>("EntityInfo");
    engine.register_fn("to_string", |entity: &mut EntityInfo| entity.text.clone());
    engine.register_fn("to_debug", |entity: &mut EntityInfo| entity.text.clone());
    let host = Rc::clone(host);
    engine.register_indexer_get(move |entity: &mut EntityInfo, field: &str| -> Answer<Dynamic> {
        host.note_read_of("entity_info", field);
        match entity.fields.get(field) {
            Some(value) => Ok(from_json(value)),
            None => Err(format!("entity_info has no field '{field}'").into()),
        }
    });
    engine.register_fn("==", |a: EntityInfo, b: EntityInfo| a.text == b.text);
    engine.register_fn("!=", |a: EntityInfo, b: EntityInfo| a.text != b.text);
    engine.register_fn("==", |a: EntityInfo, b: ImmutableString| a.text == b);
    engine.register_fn("!=", |a: EntityInfo, b: ImmutableString| a.text != b);
    engine.register_fn("==", |a: ImmutableString, b: EntityInfo| a == b.text);
    engine.register_fn("!=", |a: ImmutableString, b: EntityInfo| a != b.text);
    engine.register_fn("+", |a: EntityInfo, b: ImmutableString| a.text + b);
    engine.register_fn("+", |a: ImmutableString, b: EntityInfo| a + b.text);
}
