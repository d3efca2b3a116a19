//! Hooks as programs of our own, for those that are simple enough: some tens of nanoseconds a
//! call, where the interpreter takes a microsecond.
//!
//! A program knows only the way on which nothing is unusual. Whatever else comes (another type, a key
//! that is not there, a number too large, a limit) makes it give up before anything was asked for,
//! and the interpreter does the whole call. So both ways end the same by construction where they could
//! differ, and `tests` hold them together where they run side by side.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value as Json;

use super::ElementParams;
use super::effect::LogLevel;
use super::lists::Lists;
use crate::model::status::StatusBits;
use crate::model::{AppCategory, FlowRecord};

mod ask;
mod control;
mod operator;
mod price;
mod run;
mod value;

pub use operator::{Arithmetic, Compare, Search};
pub use value::Scalar;

/// What a call sees.
pub struct Input<'a> {
    /// The flow, of a flow hook.
    pub flow: Option<&'a FlowRecord>,
    /// The element, of an element's hook.
    pub element: Option<&'a ElementParams>,
    /// Status bits at the previous call.
    pub old_status: StatusBits,
    /// Event time, seconds since the epoch.
    pub now: i64,
    /// The script's configuration.
    pub config: &'a Json,
    /// Lists to look things up in.
    pub lists: &'a RefCell<Rc<Lists>>,
    /// Longest text.
    pub max_string: usize,
    /// Effects of one call at most.
    pub max_effects: usize,
    /// Parts of programs that loops of one call may run; long texts and large lists count as parts do.
    pub max_steps: u32,
    /// Bytes that one call may hold at once.
    pub max_bytes: i64,
}

/// The interpreter is to do this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiveUp;

/// A hook.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// What it does, in order.
    pub body: Vec<Stmt>,
    /// Places for variables.
    pub locals: usize,
    /// Why some way through it ends in [`Stmt::GiveUp`]; `None` when none does.
    pub gap: Option<String>,
    /// What has to be so for it to do anything.
    pub gate: Gate,
}

/// Whole numbers of a flow, and how each has to stand to a constant for a hook to do anything. Most calls
/// end here, before anything is made ready for one.
#[derive(Clone, Debug, Default)]
pub struct Gate(pub Vec<(Whole, Compare, i64)>);

impl Gate {
    /// Whether the hook may do something with this flow.
    #[inline]
    pub fn lets_in(&self, flow: &FlowRecord) -> bool {
        self.0.iter().all(|(field, compare, constant)| compare.holds((field.read)(flow), *constant))
    }
}

/// How a hook runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// As a program.
    Lowered,
    /// As a program up to a point, which most calls do not reach; beyond it, interpreted, because …
    Lifted(String),
    /// Interpreted, because …
    Interpreted(String),
}

impl How {
    /// Its name.
    pub fn tier(&self) -> &'static str {
        match self {
            Self::Lowered => "lowered",
            Self::Lifted(_) => "lifted",
            Self::Interpreted(_) => "interpreted",
        }
    }
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Stmt {
    /// One of two ways.
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    /// Sets a variable.
    Set(usize, Expr),
    /// Changes a part of a list or map.
    Change(Box<Change>),
    /// Does something again and again.
    Loop(Box<Loop>),
    /// One of many ways.
    Switch(Box<Switch>),
    /// Leaves the innermost loop.
    Break,
    /// Goes on with the next round of the innermost loop.
    Continue,
    /// Ends the call.
    Return,
    /// From here on the interpreter is needed.
    GiveUp,
    /// Asks for something.
    Ask(Ask),
}

/// A change of a part of a list or map: `list.push(x)`, `map.key = x`, `list[i] += x`.
#[derive(Clone, Debug)]
pub struct Change {
    /// The variable.
    pub place: usize,
    /// Indices and keys that lead to the part.
    pub path: Vec<Expr>,
    /// What is done to it.
    pub how: Changing,
    /// With what.
    pub value: Expr,
}

/// What is done to a part of a list or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changing {
    /// It becomes the value.
    Put,
    /// It becomes what it makes with the value.
    Compute(Arithmetic),
    /// It is a list and gets the value as its last item.
    Push,
}

/// A loop.
#[derive(Clone, Debug)]
pub struct Loop {
    /// How often.
    pub over: Over,
    /// What.
    pub body: Vec<Stmt>,
    /// Parts of a round, for the limit.
    pub cost: u32,
}

/// How often a loop does something.
#[derive(Clone, Debug)]
pub enum Over {
    /// While this holds, looked at before each round.
    While(Expr),
    /// While this is so, looked at after each round.
    DoWhile(Expr, bool),
    /// For each of the whole numbers from one up to another, which belongs to them or not.
    Range(Each, Expr, Expr, bool),
    /// For each item of a list.
    Items(Each, Expr),
}

/// The variables of a `for`: the item, and its number from 0.
#[derive(Clone, Copy, Debug)]
pub struct Each {
    /// The item.
    pub item: usize,
    /// Its number.
    pub counter: Option<usize>,
}

/// One of many ways, by a value.
#[derive(Clone, Debug)]
pub struct Switch {
    /// The value.
    pub on: Expr,
    /// How values are hashed.
    pub hash: fn(Scalar<'_>) -> u64,
    /// Ways by hash of the value.
    pub cases: HashMap<u64, Vec<usize>>,
    /// Ways by range of whole numbers, both ends included.
    pub ranges: Vec<(i64, i64, usize)>,
    /// Each way with its condition.
    pub ways: Vec<(Expr, Vec<Stmt>)>,
    /// The way when no other is taken.
    pub otherwise: Option<usize>,
}

/// Since when a counter of an element counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Since the element is known.
    Stats,
    /// Since the last run of the period.
    Delta,
}

/// A field that holds a whole number.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// Place in the table of fields.
    pub place: usize,
    /// Reads it.
    pub read: fn(&FlowRecord) -> i64,
}

/// Something with a value.
#[derive(Clone, Debug)]
pub enum Expr {
    /// `()`
    Unit,
    /// A constant.
    Bool(bool),
    /// A constant.
    Int(i64),
    /// A constant.
    Float(f64),
    /// A constant.
    Text(String),
    /// A constant list, or one put together.
    List(Vec<Expr>),
    /// A constant map, or one put together.
    Map(Vec<(String, Expr)>),
    /// An item of a list by its number, or of a map by its key.
    At(Box<(Expr, Expr)>),
    /// What a map has under a key, or the length of a text or list.
    Property(Box<Expr>, String),
    /// The keys of a map.
    Keys(Box<Expr>),
    /// The values of a map, in order of its keys.
    Values(Box<Expr>),
    /// True when a text, list or map holds nothing.
    IsEmpty(Box<Expr>),
    /// A function of one or two values.
    Function(Function, Vec<Expr>),
    /// A field of the flow, by place.
    Field(usize),
    /// A whole number of the flow compared with a constant: most conditions are one.
    FieldIs(Whole, Compare, i64),
    /// Whether one of these bits is set.
    StatusSet(StatusBits),
    /// Status bits at the previous call.
    OldStatus,
    /// The event time.
    Now,
    /// A value of the configuration, by its path.
    Config(Vec<String>),
    /// A counter of the element since it is known, or since the last run; and where it was found last.
    Counter(Span, String, Cell<usize>),
    /// Bytes of the element by what they were for.
    Category(AppCategory),
    /// The element's identifying string.
    EntityValue,
    /// A field of `entity_info`.
    Info(String),
    /// Name of the period that runs.
    Period,
    /// Its length in seconds.
    PeriodSeconds,
    /// Whether no run of the period has reached the element before.
    FirstRun,
    /// Interface id.
    InterfaceId,
    /// Whether time series of the element are kept.
    KeepsSeries,
    /// A variable.
    Local(usize),
    /// `!`
    Not(Box<Expr>),
    /// All hold.
    And(Vec<Expr>),
    /// One holds.
    Or(Vec<Expr>),
    /// Of two values of one type.
    Compare(Compare, Box<(Expr, Expr)>),
    /// Of two numbers, or a text and something that can be written.
    Arithmetic(Arithmetic, Box<(Expr, Expr)>),
    /// Of two texts, or of a list and what may be in it.
    Search(Search, Box<(Expr, Expr)>),
    /// Texts and numbers, joined.
    Join(Vec<Expr>),
    /// Characters of a text, or items of a list or map.
    Len(Box<Expr>),
    /// `ip_in`
    IpIn(Box<(Expr, Expr)>),
    /// `in_list`: list and what may be in it
    InList(Box<(Expr, Expr)>),
    /// `has_list`
    HasList(Box<Expr>),
    /// `is_private`
    IsPrivate(Box<Expr>),
    /// `format_bytes`
    FormatBytes(Box<Expr>),
}

/// A function that only looks at its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `-` of one number
    Negate,
    /// `abs`
    Abs,
    /// `min` of two numbers
    Min,
    /// `max` of two numbers
    Max,
    /// `to_int`
    ToInt,
    /// `parse_int`
    ParseInt,
    /// `to_float`
    ToFloat,
    /// `to_string`
    ToText,
    /// `to_lower`
    ToLower,
    /// `to_upper`
    ToUpper,
}

/// A key of an alert's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertKey {
    /// `type`
    Type,
    /// `severity`
    Severity,
    /// `category`
    Category,
    /// `score`
    Score,
    /// `message`
    Message,
    /// `value`
    Value,
    /// `threshold`
    Threshold,
    /// `metric`
    Metric,
    /// `attacker`
    Attacker,
    /// `victim`
    Victim,
}

/// Something to ask for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// `trigger_alert`
    Trigger(Vec<(AlertKey, Expr)>),
    /// `keep_alert`
    Keep(Vec<(AlertKey, Expr)>),
    /// `store_alert`
    Store(Vec<(AlertKey, Expr)>),
    /// `release_alert`
    Release(Option<Expr>),
    /// `flow.set_status`
    SetStatus(u8),
    /// `flow.clear_status`
    ClearStatus(u8),
    /// `check_threshold`: value and metric
    CheckThreshold(Box<(Expr, Expr)>),
    /// `http_post`: address and body
    Post(Box<(Expr, Expr)>),
    /// `publish`: subject and payload
    Publish(Box<(Expr, Expr)>),
    /// `count` and `series` (true): name and number
    Note(bool, Box<(Expr, Expr)>),
    /// `log` and its kin
    Log(LogLevel, Expr),
}
