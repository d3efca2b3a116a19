//! Hooks as programs of our own, for those that are simple enough: some tens of nanoseconds a
//! call, where the interpreter takes a microsecond.
//!
//! A program knows only the way on which nothing is unusual. Whatever else comes (another type, a key
//! that is not there, a number too large, a limit) makes it give up before anything was asked for,
//! and the interpreter does the whole call. So both ways end the same by construction where they could
//! differ, and `tests` hold them together where they run side by side.

use std::cell::Cell;
use std::rc::Rc;

use serde_json::Value as Json;

use super::ElementParams;
use super::effect::LogLevel;
use super::lists::Lists;
use crate::model::FlowRecord;
use crate::model::flow_field::FieldValue;
use crate::model::status::StatusBits;

mod run;

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
    pub lists: Rc<Lists>,
    /// Longest text.
    pub max_string: usize,
    /// Effects of one call at most.
    pub max_effects: usize,
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

/// Something to do.
#[derive(Clone, Debug)]
pub enum Stmt {
    /// One of two ways.
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    /// Sets a variable.
    Set(usize, Expr),
    /// Ends the call.
    Return,
    /// From here on the interpreter is needed.
    GiveUp,
    /// Asks for something.
    Ask(Ask),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl Compare {
    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }
}

/// What two whole numbers make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`, of texts too
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

/// What a text tells of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// `contains`, or `in` the other way round
    Contains,
    /// `starts_with`
    StartsWith,
    /// `ends_with`
    EndsWith,
}

/// Since when a counter of an element counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Since the element is known.
    Stats,
    /// Since the last run of the period.
    Delta,
}

/// Something with a value.
#[derive(Clone, Debug)]
pub enum Expr {
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
    /// A field of the flow, by place.
    Field(usize),
    /// A whole number of the flow compared with a constant: most conditions are one.
    FieldIs(fn(&FlowRecord) -> FieldValue<'_>, Compare, i64),
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
    /// The element's identifying string.
    EntityValue,
    /// A field of `entity_info`.
    Info(String),
    /// Name of the period that runs.
    Period,
    /// Its length in seconds.
    PeriodSeconds,
    /// Interface id.
    InterfaceId,
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
    /// Of two whole numbers, or two texts.
    Arithmetic(Arithmetic, Box<(Expr, Expr)>),
    /// Of two texts, or of a list and what may be in it.
    Search(Search, Box<(Expr, Expr)>),
    /// Texts and numbers, joined.
    Join(Vec<Expr>),
    /// Characters of a text, or items of a list.
    Len(Box<Expr>),
    /// `ip_in`
    IpIn(Box<(Expr, Expr)>),
    /// `in_list`: list and what may be in it
    InList(Box<(Expr, Expr)>),
    /// `is_private`
    IsPrivate(Box<Expr>),
    /// `format_bytes`
    FormatBytes(Box<Expr>),
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
    /// `count` and `series` (true): name and number
    Note(bool, Box<(Expr, Expr)>),
    /// `log` and its kin
    Log(LogLevel, Expr),
}
