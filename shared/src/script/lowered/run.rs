//! What a program does.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::control::Goes;
use super::price::{BYTES_A_PART, PARTS_A_PREFIX};
use super::value::{self, Value};
use super::{Arithmetic, Expr, GiveUp, Input, Program, Span, Stmt};
use crate::counting;
use crate::model::FlowRecord;
use crate::model::flow_field::{FLOW_FIELDS, FieldValue, Read};
use crate::script::effect::Effect;
use crate::script::element::{ElementParams, InfoValue};
use crate::script::functions::{format_bytes, ip_in, is_private};

impl Program {
    /// Runs; what is asked for goes to `effects`, which stays as it was when it gives up. Tells also how many
    /// parts loops and long texts cost it.
    ///
    /// # Errors
    /// [`GiveUp`] when something is unusual.
    pub fn run(&self, input: &Input<'_>, effects: &mut Vec<Effect>) -> (Result<(), GiveUp>, u32) {
        let before = effects.len();
        let mut locals = Vec::new();
        if self.locals > 0 {
            locals.resize(self.locals, Value::Unit);
        }
        let bytes = counting::bytes();
        let mut run = Running { input, locals, effects, steps: Cell::new(input.max_steps), bytes };
        let outcome = run.block(&self.body);
        let used = input.max_steps - run.steps.get();
        if outcome.is_err() {
            effects.truncate(before);
        }
        (outcome.map(drop), used)
    }
}

impl Expr {
    /// Whether a condition without variables holds.
    ///
    /// # Errors
    /// [`GiveUp`] when something is unusual.
    pub fn is_so(&self, input: &Input<'_>) -> Result<bool, GiveUp> {
        let effects = &mut Vec::new();
        let steps = Cell::new(input.max_steps);
        Running { input, locals: Vec::new(), effects, steps, bytes: 0 }.holds(self)
    }
}

pub(super) struct Running<'a, 'b> {
    pub(super) input: &'a Input<'a>,
    pub(super) locals: Vec<Value<'a>>,
    effects: &'b mut Vec<Effect>,
    /// Parts that loops may still run.
    pub(super) steps: Cell<u32>,
    /// Bytes of the thread when the call began.
    pub(super) bytes: i64,
}

impl<'a> Running<'a, '_> {
    pub(super) fn block(&mut self, block: &'a [Stmt]) -> Result<Goes, GiveUp> {
        for stmt in block {
            let goes = match stmt {
                Stmt::If(condition, then, otherwise) => {
                    let way = if self.holds(condition)? { then } else { otherwise };
                    self.block(way)?
                }
                Stmt::Set(place, value) => {
                    let value = self.value(value)?;
                    self.check_size(&value)?;
                    self.set(*place, value)?;
                    Goes::On
                }
                Stmt::Return => Goes::Return,
                Stmt::Ask(ask) => {
                    self.check_bytes()?;
                    if self.effects.len() >= self.input.max_effects {
                        return Err(GiveUp);
                    }
                    let effect = self.effect(ask)?;
                    self.effects.push(effect);
                    Goes::On
                }
                Stmt::Change(change) => {
                    self.change(change)?;
                    Goes::On
                }
                Stmt::Loop(inner) => self.repeat(inner)?,
                Stmt::Switch(switch) => self.switch(switch)?,
                Stmt::Break => Goes::Break,
                Stmt::Continue => Goes::Continue,
                Stmt::GiveUp => return Err(GiveUp),
            };
            if goes != Goes::On {
                return Ok(goes);
            }
        }
        Ok(Goes::On)
    }

    pub(super) fn set(&mut self, place: usize, value: Value<'a>) -> Result<(), GiveUp> {
        *self.locals.get_mut(place).ok_or(GiveUp)? = value;
        Ok(())
    }

    pub(super) fn holds(&self, expr: &'a Expr) -> Result<bool, GiveUp> {
        match expr {
            Expr::FieldIs(field, compare, constant) => {
                Ok(compare.holds((field.read)(self.flow()?), *constant))
            }
            Expr::Bool(value) => Ok(*value),
            Expr::Field(place) => match FLOW_FIELDS.get(*place).ok_or(GiveUp)?.read {
                Read::Bool(read) => Ok(read(self.flow()?)),
                _ => Err(GiveUp),
            },
            Expr::StatusSet(bits) => Ok(self.flow()?.status & bits != 0),
            Expr::Not(inner) => Ok(!self.holds(inner)?),
            Expr::And(parts) => {
                for part in parts {
                    if !self.holds(part)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Expr::Or(parts) => {
                for part in parts {
                    if self.holds(part)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Expr::Compare(compare, pair) => {
                let (a, b) = (self.value(&pair.0)?, self.value(&pair.1)?);
                if let Value::Text(_) = a {
                    self.charge_for(&a)?;
                }
                value::compare(*compare, &a, &b)
            }
            Expr::Search(search, pair) => {
                let (place, wanted) = (self.part(&pair.0)?, self.value(&pair.1)?);
                self.charge_for(&place)?;
                self.charge_for(&wanted)?;
                value::search(*search, &place, &wanted)
            }
            Expr::IsEmpty(of) => Ok(self.part(of)?.length()? == 0),
            Expr::IpIn(pair) => self.ip_in(&self.value(&pair.0)?, self.value(&pair.1)?),
            Expr::InList(pair) => {
                let (lists, wanted) = (self.input.lists.borrow(), self.text(&pair.1)?);
                self.charge(wanted.len() / BYTES_A_PART)?;
                Ok(lists.has(&self.text(&pair.0)?, &wanted))
            }
            Expr::HasList(list) => Ok(self.input.lists.borrow().contains(&self.text(list)?)),
            Expr::IsPrivate(ip) => {
                let ip = self.text(ip)?;
                let ip: IpAddr = ip.split('@').next().unwrap_or(&ip).parse().map_err(|_| GiveUp)?;
                Ok(is_private(ip))
            }
            Expr::KeepsSeries => Ok(self.element()?.ts_enabled),
            Expr::FirstRun => Ok(self.element()?.first_run),
            other => match self.value(other)? {
                Value::Bool(value) => Ok(value),
                _ => Err(GiveUp),
            },
        }
    }

    pub(super) fn value(&self, expr: &'a Expr) -> Result<Value<'a>, GiveUp> {
        Ok(match expr {
            Expr::Unit => Value::Unit,
            Expr::Int(value) => Value::Int(*value),
            Expr::Float(value) => Value::Float(*value),
            Expr::Text(text) => Value::Text(Cow::Borrowed(text)),
            Expr::List(items) => {
                let items = items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?;
                self.small(Value::List(items))?
            }
            Expr::Map(pairs) => {
                let pair =
                    |(key, value): &'a (String, Expr)| Ok((Cow::Borrowed(key.as_str()), self.value(value)?));
                self.small(Value::Map(pairs.iter().map(pair).collect::<Result<BTreeMap<_, _>, _>>()?))?
            }
            Expr::At(_) | Expr::Property(..) | Expr::Local(_) => match self.part(expr)? {
                Cow::Borrowed(value) => {
                    self.charge_for(value)?;
                    value.clone()
                }
                Cow::Owned(value) => value,
            },
            Expr::Field(place) => {
                let field = FLOW_FIELDS.get(*place).ok_or(GiveUp)?;
                match field.of(self.flow()?) {
                    FieldValue::Bool(value) => Value::Bool(value),
                    FieldValue::Int(value) => Value::Int(value),
                    FieldValue::Text(text) => Value::Text(text),
                    FieldValue::List(items) => {
                        Value::List(items.into_iter().map(|item| Value::Text(Cow::Owned(item))).collect())
                    }
                }
            }
            Expr::OldStatus => Value::Int(self.input.old_status as i64),
            Expr::Now => Value::Int(self.input.now),
            Expr::Config(path) => {
                let at = path.iter().try_fold(self.input.config, |at, key| at.as_object()?.get(key));
                let value = Value::from_json(at.ok_or(GiveUp)?)?;
                if let Value::List(_) | Value::Map(_) = value {
                    self.charge_for(&value)?;
                }
                value
            }
            Expr::Counter(span, name, place) => Value::Int(self.counter(*span, name, place)?),
            Expr::Category(category) => {
                let bytes = self.element()?.category(*category).ok_or(GiveUp)?;
                Value::Int(i64::try_from(bytes).unwrap_or(i64::MAX))
            }
            Expr::EntityValue => Value::Text(Cow::Borrowed(&self.element()?.entity_value)),
            Expr::Info(name) => match self.element()?.info(name).ok_or(GiveUp)? {
                InfoValue::Int(number) => Value::Int(*number),
                InfoValue::Bool(yes) => Value::Bool(*yes),
                other => Value::Text(other.text().ok_or(GiveUp)?),
            },
            Expr::Period => Value::Text(Cow::Borrowed(self.element()?.granularity.ok_or(GiveUp)?.name())),
            Expr::PeriodSeconds => Value::Int(self.element()?.seconds()),
            Expr::InterfaceId => Value::Int(self.element()?.ifid.into()),
            Expr::Arithmetic(operation, pair) => {
                self.arithmetic(*operation, self.value(&pair.0)?, &self.value(&pair.1)?)?
            }
            Expr::Join(parts) => {
                let mut text = String::new();
                for part in parts {
                    let part = self.value(part)?;
                    self.charge_for(&part)?;
                    part.write(&mut text)?;
                }
                self.limited(Value::Text(Cow::Owned(text)))?
            }
            Expr::Len(of) => {
                let of = self.part(of)?;
                if let Value::Text(_) = *of {
                    self.charge_for(&of)?;
                }
                Value::Int(of.length()? as i64)
            }
            Expr::Keys(of) | Expr::Values(of) => {
                let of = self.part(of)?;
                self.charge_for(&of)?;
                match (expr, &*of) {
                    (Expr::Keys(_), Value::Map(map)) => {
                        Value::List(map.keys().cloned().map(Value::Text).collect())
                    }
                    (_, Value::Map(map)) => Value::List(map.values().cloned().collect()),
                    _ => return Err(GiveUp),
                }
            }
            Expr::Function(function, arguments) => {
                let arguments: Vec<_> =
                    arguments.iter().map(|argument| self.value(argument)).collect::<Result<_, _>>()?;
                arguments.iter().try_for_each(|argument| self.charge_for(argument))?;
                self.limited(value::function(*function, &arguments)?)?
            }
            Expr::FormatBytes(bytes) => match self.value(bytes)? {
                Value::Int(bytes) => Value::Text(Cow::Owned(format_bytes(bytes as f64))),
                _ => return Err(GiveUp),
            },
            Expr::Bool(_)
            | Expr::FieldIs(..)
            | Expr::StatusSet(_)
            | Expr::Not(_)
            | Expr::And(_)
            | Expr::Or(_)
            | Expr::Compare(..)
            | Expr::Search(..)
            | Expr::IsEmpty(_)
            | Expr::IpIn(_)
            | Expr::InList(_)
            | Expr::HasList(_)
            | Expr::KeepsSeries
            | Expr::FirstRun
            | Expr::IsPrivate(_) => Value::Bool(self.holds(expr)?),
        })
    }

    /// A value to look at; a variable's is lent.
    fn part<'s>(&'s self, expr: &'a Expr) -> Result<Cow<'s, Value<'a>>, GiveUp> {
        match expr {
            Expr::Local(place) => self.locals.get(*place).map(Cow::Borrowed).ok_or(GiveUp),
            Expr::At(pair) => {
                let place = self.value(&pair.1)?;
                match self.part(&pair.0)? {
                    Cow::Borrowed(base) => base.at(&place).map(Cow::Borrowed),
                    Cow::Owned(base) => base.at(&place).cloned().map(Cow::Owned),
                }
            }
            Expr::Property(of, name) => match (self.part(of)?, name.as_str()) {
                (Cow::Borrowed(Value::Map(map)), name) => {
                    Ok(map.get(name).map_or(Cow::Owned(Value::Unit), Cow::Borrowed))
                }
                (Cow::Owned(Value::Map(mut map)), name) => {
                    Ok(Cow::Owned(map.remove(name).unwrap_or(Value::Unit)))
                }
                (other, "len") => Ok(Cow::Owned(Value::Int(other.length()? as i64))),
                _ => Err(GiveUp),
            },
            other => self.value(other).map(Cow::Owned),
        }
    }

    fn flow(&self) -> Result<&'a FlowRecord, GiveUp> {
        self.input.flow.ok_or(GiveUp)
    }

    pub(super) fn element(&self) -> Result<&'a ElementParams, GiveUp> {
        self.input.element.ok_or(GiveUp)
    }

    /// A counter; the counters of all elements of a run are in the same places.
    fn counter(&self, span: Span, name: &str, place: &Cell<usize>) -> Result<i64, GiveUp> {
        let element = self.element()?;
        let counts = if span == Span::Stats { &element.stats } else { &element.delta };
        let value = match counts.get(place.get()) {
            Some((known, value)) if *known == name => *value,
            _ => {
                let found = counts.iter().position(|(known, _)| *known == name).ok_or(GiveUp)?;
                place.set(found);
                counts.get(found).ok_or(GiveUp)?.1
            }
        };
        Ok(i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn arithmetic(&self, operation: Arithmetic, a: Value<'a>, b: &Value<'a>) -> Result<Value<'a>, GiveUp> {
        if let Value::Text(_) | Value::List(_) = a {
            self.charge_for(&a)?;
            self.charge_for(b)?;
        }
        self.limited(value::arithmetic(operation, a, b)?)
    }

    fn ip_in(&self, ip: &Value<'_>, prefixes: Value<'_>) -> Result<bool, GiveUp> {
        let Value::Text(ip) = ip else { return Err(GiveUp) };
        let under = |prefix: &str| {
            self.charge(PARTS_A_PREFIX + prefix.len() / BYTES_A_PART)?;
            ip_in(ip, prefix).map_err(|_| GiveUp)
        };
        match prefixes {
            Value::Text(prefix) => under(&prefix),
            Value::List(prefixes) => {
                for prefix in prefixes {
                    let Value::Text(prefix) = prefix else { return Err(GiveUp) };
                    if under(&prefix)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            _ => Err(GiveUp),
        }
    }
}
