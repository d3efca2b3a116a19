//! What a program does.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;

use serde_json::Value as Json;

use super::{AlertKey, Arithmetic, Ask, Compare, Expr, GiveUp, Input, Program, Search, Span, Stmt};
use crate::model::flow_field::{FLOW_FIELDS, FieldValue};
use crate::model::{Category, FlowRecord, Severity};
use crate::script::effect::{self, AlertRequest, Effect, Role};
use crate::script::element::{ElementParams, InfoValue};
use crate::script::functions::{format_bytes, ip_in, is_private};
use crate::script::threshold::Crossing;

/// A value under way.
#[derive(Clone, Debug)]
enum Value<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
}

impl Program {
    /// Runs; what is asked for goes to `effects`, which stays as it was when it gives up.
    ///
    /// # Errors
    /// [`GiveUp`] when something is unusual.
    pub fn run(&self, input: &Input<'_>, effects: &mut Vec<Effect>) -> Result<(), GiveUp> {
        let before = effects.len();
        let mut locals = Vec::new();
        if self.locals > 0 {
            locals.resize(self.locals, Value::Bool(false));
        }
        let mut run = Running { input, locals, effects };
        let outcome = run.block(&self.body);
        if outcome.is_err() {
            effects.truncate(before);
        }
        outcome.map(drop)
    }
}

impl Expr {
    /// Whether a condition without variables holds.
    ///
    /// # Errors
    /// [`GiveUp`] when something is unusual.
    pub fn is_so(&self, input: &Input<'_>) -> Result<bool, GiveUp> {
        Running { input, locals: Vec::new(), effects: &mut Vec::new() }.holds(self)
    }
}

struct Running<'a, 'b> {
    input: &'a Input<'a>,
    locals: Vec<Value<'a>>,
    effects: &'b mut Vec<Effect>,
}

/// Whether the call goes on.
type Goes = bool;

impl<'a> Running<'a, '_> {
    fn block(&mut self, block: &'a [Stmt]) -> Result<Goes, GiveUp> {
        for stmt in block {
            let goes_on = match stmt {
                Stmt::If(condition, then, otherwise) => {
                    let way = if self.holds(condition)? { then } else { otherwise };
                    self.block(way)?
                }
                Stmt::Set(place, value) => {
                    let value = self.value(value)?;
                    *self.locals.get_mut(*place).ok_or(GiveUp)? = value;
                    true
                }
                Stmt::Return => false,
                Stmt::GiveUp => return Err(GiveUp),
                Stmt::Ask(ask) => {
                    if self.effects.len() >= self.input.max_effects {
                        return Err(GiveUp);
                    }
                    let effect = self.effect(ask)?;
                    self.effects.push(effect);
                    true
                }
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn holds(&self, expr: &'a Expr) -> Result<bool, GiveUp> {
        match expr {
            Expr::Bool(value) => Ok(*value),
            Expr::StatusSet(bits) => Ok(self.flow()?.status & bits != 0),
            Expr::FieldIs(read, compare, constant) => match read(self.flow()?) {
                FieldValue::Int(value) => Ok(compare.holds(value.cmp(constant))),
                _ => Err(GiveUp),
            },
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
                self.compare(*compare, self.value(&pair.0)?, self.value(&pair.1)?)
            }
            Expr::Search(search, pair) => self.search(*search, self.value(&pair.0)?, &self.value(&pair.1)?),
            Expr::IpIn(pair) => self.ip_in(&self.value(&pair.0)?, self.value(&pair.1)?),
            Expr::InList(pair) => Ok(self.input.lists.has(&self.text(&pair.0)?, &self.text(&pair.1)?)),
            Expr::IsPrivate(ip) => {
                let ip = self.text(ip)?;
                let ip: IpAddr = ip.split('@').next().unwrap_or(&ip).parse().map_err(|_| GiveUp)?;
                Ok(is_private(ip))
            }
            other => match self.value(other)? {
                Value::Bool(value) => Ok(value),
                _ => Err(GiveUp),
            },
        }
    }

    fn value(&self, expr: &'a Expr) -> Result<Value<'a>, GiveUp> {
        Ok(match expr {
            Expr::Int(value) => Value::Int(*value),
            Expr::Float(value) => Value::Float(*value),
            Expr::Text(text) => Value::Text(Cow::Borrowed(text)),
            Expr::List(items) => {
                Value::List(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?)
            }
            Expr::Field(place) => {
                let field = FLOW_FIELDS.get(*place).ok_or(GiveUp)?;
                match (field.read)(self.flow()?) {
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
                from_json(at.ok_or(GiveUp)?)?
            }
            Expr::Counter(span, name, place) => Value::Int(self.counter(*span, name, place)?),
            Expr::EntityValue => Value::Text(Cow::Borrowed(&self.element()?.entity_value)),
            Expr::Info(name) => match self.element()?.info(name).ok_or(GiveUp)? {
                InfoValue::Int(number) => Value::Int(*number),
                InfoValue::Bool(yes) => Value::Bool(*yes),
                other => Value::Text(other.text().ok_or(GiveUp)?),
            },
            Expr::Period => Value::Text(Cow::Borrowed(self.element()?.granularity.ok_or(GiveUp)?.name())),
            Expr::PeriodSeconds => Value::Int(self.element()?.seconds()),
            Expr::InterfaceId => Value::Int(self.element()?.ifid.into()),
            Expr::Local(place) => self.locals.get(*place).ok_or(GiveUp)?.clone(),
            Expr::Arithmetic(operation, pair) => {
                self.arithmetic(*operation, self.value(&pair.0)?, self.value(&pair.1)?)?
            }
            Expr::Join(parts) => Value::Text(Cow::Owned(self.join(parts)?)),
            Expr::Len(of) => match self.value(of)? {
                Value::Text(text) => Value::Int(text.chars().count() as i64),
                Value::List(items) => Value::Int(items.len() as i64),
                _ => return Err(GiveUp),
            },
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
            | Expr::IpIn(_)
            | Expr::InList(_)
            | Expr::IsPrivate(_) => Value::Bool(self.holds(expr)?),
        })
    }

    fn flow(&self) -> Result<&'a FlowRecord, GiveUp> {
        self.input.flow.ok_or(GiveUp)
    }

    fn element(&self) -> Result<&'a ElementParams, GiveUp> {
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

    fn check_threshold(&self, value: &'a Expr, metric: &'a Expr) -> Result<Effect, GiveUp> {
        let number = |value| match value {
            Value::Int(value) => Ok(value as f64),
            Value::Float(value) => Ok(value),
            _ => Err(GiveUp),
        };
        let element = self.element()?;
        let value = number(self.value(value)?)?;
        let config = self.input.config;
        let threshold = number(from_json(config.get("threshold").ok_or(GiveUp)?)?)?;
        // What is no number is none to the interpreter too.
        let clear = config.get("clear_threshold").map(from_json);
        let clear = clear.and_then(|value| number(value.ok()?).ok());
        let operator = config.get("operator").and_then(Json::as_str);
        let about = Crossing {
            granularity: element.granularity,
            entity: element.entity.map_or("", crate::model::Entity::name),
            name: &element.entity_value,
            metric: &self.text(metric)?,
        };
        about.effect(operator, value, threshold, clear).map(|(effect, _)| effect).map_err(|_| GiveUp)
    }

    fn text(&self, expr: &'a Expr) -> Result<Cow<'a, str>, GiveUp> {
        match self.value(expr)? {
            Value::Text(text) => Ok(text),
            _ => Err(GiveUp),
        }
    }

    fn compare(&self, compare: Compare, a: Value<'_>, b: Value<'_>) -> Result<bool, GiveUp> {
        let order = match (a, b) {
            (Value::Int(a), Value::Int(b)) => a.cmp(&b),
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(&b).ok_or(GiveUp)?,
            (Value::Text(a), Value::Text(b)) => a.cmp(&b),
            (Value::Bool(a), Value::Bool(b)) if matches!(compare, Compare::Eq | Compare::Ne) => a.cmp(&b),
            _ => return Err(GiveUp),
        };
        Ok(compare.holds(order))
    }

    fn arithmetic(&self, operation: Arithmetic, a: Value<'a>, b: Value<'a>) -> Result<Value<'a>, GiveUp> {
        match (a, b) {
            (Value::Int(a), Value::Int(b)) => {
                let result = match operation {
                    Arithmetic::Add => a.checked_add(b),
                    Arithmetic::Subtract => a.checked_sub(b),
                    Arithmetic::Multiply => a.checked_mul(b),
                    Arithmetic::Divide => a.checked_div(b),
                    Arithmetic::Remainder => a.checked_rem(b),
                };
                result.map(Value::Int).ok_or(GiveUp)
            }
            (Value::Text(a), Value::Text(b)) if operation == Arithmetic::Add => {
                self.limited(a.into_owned() + &*b).map(|text| Value::Text(Cow::Owned(text)))
            }
            _ => Err(GiveUp),
        }
    }

    fn search(&self, search: Search, place: Value<'_>, wanted: &Value<'_>) -> Result<bool, GiveUp> {
        match (place, wanted) {
            (Value::Text(text), Value::Text(part)) => Ok(match search {
                Search::Contains => text.contains(&**part),
                Search::StartsWith => text.starts_with(&**part),
                Search::EndsWith => text.ends_with(&**part),
            }),
            (Value::List(items), wanted) if search == Search::Contains => {
                let mut found = false;
                for item in items {
                    // What is of another type is left to the interpreter.
                    found |= self.compare(Compare::Eq, item, wanted.clone())?;
                }
                Ok(found)
            }
            _ => Err(GiveUp),
        }
    }

    fn ip_in(&self, ip: &Value<'_>, prefixes: Value<'_>) -> Result<bool, GiveUp> {
        let Value::Text(ip) = ip else { return Err(GiveUp) };
        let under = |prefix: &str| ip_in(ip, prefix).map_err(|_| GiveUp);
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

    fn join(&self, parts: &'a [Expr]) -> Result<String, GiveUp> {
        use std::fmt::Write;
        let mut text = String::new();
        for part in parts {
            let written = match self.value(part)? {
                Value::Text(part) => {
                    text.push_str(&part);
                    Ok(())
                }
                Value::Int(part) => write!(text, "{part}"),
                Value::Bool(part) => write!(text, "{part}"),
                // How the interpreter writes these is its own affair.
                Value::Float(_) | Value::List(_) => return Err(GiveUp),
            };
            written.map_err(|_| GiveUp)?;
        }
        self.limited(text)
    }

    fn limited(&self, text: String) -> Result<String, GiveUp> {
        if text.len() > self.input.max_string { Err(GiveUp) } else { Ok(text) }
    }

    fn effect(&self, ask: &'a Ask) -> Result<Effect, GiveUp> {
        Ok(match ask {
            Ask::Trigger(keys) => Effect::Trigger(self.alert(keys)?),
            Ask::Keep(keys) => Effect::Keep(self.alert(keys)?),
            Ask::Store(keys) => Effect::Store(self.alert(keys)?),
            Ask::Release(None) => Effect::Release(None),
            Ask::Release(Some(kind)) => Effect::Release(Some(self.text(kind)?.into_owned())),
            Ask::SetStatus(bit) => Effect::SetStatus(*bit),
            Ask::ClearStatus(bit) => Effect::ClearStatus(*bit),
            Ask::CheckThreshold(pair) => self.check_threshold(&pair.0, &pair.1)?,
            Ask::Note(gauge, pair) => {
                let value = match self.value(&pair.1)? {
                    Value::Int(value) => value as f64,
                    Value::Float(value) => value,
                    _ => return Err(GiveUp),
                };
                let Value::Text(name) = self.value(&pair.0)? else { return Err(GiveUp) };
                effect::note(&name, *gauge, value).map_err(|_| GiveUp)?
            }
            Ask::Log(level, text) => Effect::Log(*level, self.text(text)?.into_owned()),
        })
    }

    fn alert(&self, keys: &'a [(AlertKey, Expr)]) -> Result<AlertRequest, GiveUp> {
        let mut request = AlertRequest::default();
        let number = |expr| match self.value(expr)? {
            Value::Int(value) => Ok(value as f64),
            Value::Float(value) => Ok(value),
            _ => Err(GiveUp),
        };
        for (key, expr) in keys {
            match key {
                AlertKey::Type => request.alert_type = Some(self.text(expr)?.into_owned()),
                AlertKey::Message => request.message = Some(self.text(expr)?.into_owned()),
                AlertKey::Metric => request.metric = Some(self.text(expr)?.into_owned()),
                AlertKey::Value => request.value = Some(number(expr)?),
                AlertKey::Threshold => request.threshold = Some(number(expr)?),
                AlertKey::Score => match self.value(expr)? {
                    Value::Int(score) => request.score = Some(u32::try_from(score).map_err(|_| GiveUp)?),
                    _ => return Err(GiveUp),
                },
                AlertKey::Severity => {
                    request.severity = Some(Severity::parse(&self.text(expr)?).ok_or(GiveUp)?);
                }
                AlertKey::Category => {
                    request.category = Some(Category::parse(&self.text(expr)?).ok_or(GiveUp)?);
                }
                AlertKey::Attacker => request.attacker = Some(Role::parse(&self.text(expr)?).ok_or(GiveUp)?),
                AlertKey::Victim => request.victim = Some(Role::parse(&self.text(expr)?).ok_or(GiveUp)?),
            }
        }
        Ok(request)
    }
}

fn from_json(value: &Json) -> Result<Value<'_>, GiveUp> {
    Ok(match value {
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Int(whole),
            (None, Some(float)) => Value::Float(float),
            (None, None) => return Err(GiveUp),
        },
        Json::String(text) => Value::Text(Cow::Borrowed(text)),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect::<Result<_, _>>()?),
        Json::Null | Json::Object(_) => return Err(GiveUp),
    })
}
