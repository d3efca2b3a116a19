//! Values of a program under way, and what they make together.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value as Json;

use super::{Arithmetic, Compare, Function, GiveUp, Search};

/// Larger floats, and smaller ones, are written with an exponent, as the interpreter does.
const PLAIN_FLOATS: std::ops::RangeInclusive<f64> = 1e-13_f32 as f64..=1e13;

/// A value under way.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Unit,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Map(BTreeMap<Cow<'a, str>, Value<'a>>),
}

/// A value that a `switch` can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// `()`
    Unit,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(&'a str),
}

impl<'a> Value<'a> {
    pub(super) fn from_json(value: &'a Json) -> Result<Self, GiveUp> {
        Ok(match value {
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, Some(float)) => Self::Float(float),
                (None, None) => return Err(GiveUp),
            },
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(items) => Self::List(items.iter().map(Self::from_json).collect::<Result<_, _>>()?),
            Json::Object(fields) => {
                let field = |(key, value): (&'a String, _)| {
                    Ok((Cow::Borrowed(key.as_str()), Self::from_json(value)?))
                };
                Self::Map(fields.iter().map(field).collect::<Result<_, _>>()?)
            }
            Json::Null => Self::Unit,
        })
    }

    pub(super) fn scalar(&self) -> Result<Scalar<'_>, GiveUp> {
        match self {
            Self::Unit => Ok(Scalar::Unit),
            Self::Bool(value) => Ok(Scalar::Bool(*value)),
            Self::Int(value) => Ok(Scalar::Int(*value)),
            Self::Text(text) => Ok(Scalar::Text(text)),
            Self::Float(_) | Self::List(_) | Self::Map(_) => Err(GiveUp),
        }
    }

    pub(super) fn number(&self) -> Result<f64, GiveUp> {
        match self {
            Self::Int(value) => Ok(*value as f64),
            Self::Float(value) => Ok(*value),
            _ => Err(GiveUp),
        }
    }

    /// Items of lists and maps in it, and bytes of its texts.
    pub(super) fn size(&self) -> (usize, usize) {
        let sum = |(items, bytes): (usize, usize), value: &Self| {
            let (more, text) = value.size();
            (items + 1 + more, bytes + text)
        };
        match self {
            Self::List(items) => items.iter().fold((0, 0), sum),
            Self::Map(map) => map.values().fold((0, 0), sum),
            Self::Text(text) => (0, text.len()),
            _ => (0, 0),
        }
    }

    /// The item of a list by number (from its end when negative), or of a map by key.
    pub(super) fn at(&self, place: &Value<'_>) -> Result<&Self, GiveUp> {
        match (self, place) {
            (Self::List(items), Value::Int(number)) => items.get(index(items.len(), *number)?).ok_or(GiveUp),
            (Self::Map(map), Value::Text(key)) => Ok(map.get::<str>(key).unwrap_or(&Self::Unit)),
            _ => Err(GiveUp),
        }
    }

    /// The same to change; a key that is not there begins as `()`.
    pub(super) fn at_mut(&mut self, place: Value<'a>) -> Result<&mut Self, GiveUp> {
        match (self, place) {
            (Self::List(items), Value::Int(number)) => {
                let number = index(items.len(), number)?;
                items.get_mut(number).ok_or(GiveUp)
            }
            (Self::Map(map), Value::Text(key)) => Ok(map.entry(key).or_insert(Value::Unit)),
            _ => Err(GiveUp),
        }
    }

    pub(super) fn length(&self) -> Result<usize, GiveUp> {
        match self {
            Self::Text(text) => Ok(text.chars().count()),
            Self::List(items) => Ok(items.len()),
            Self::Map(map) => Ok(map.len()),
            _ => Err(GiveUp),
        }
    }

    /// Appends it as the interpreter writes it.
    pub(super) fn write(&self, to: &mut String) -> Result<(), GiveUp> {
        let written = match self {
            Self::Text(text) => {
                to.push_str(text);
                Ok(())
            }
            Self::Int(value) => write!(to, "{value}"),
            Self::Bool(value) => write!(to, "{value}"),
            Self::Float(value) => write_float(*value, to),
            // How the interpreter writes these is its own affair.
            Self::Unit | Self::List(_) | Self::Map(_) => return Err(GiveUp),
        };
        written.map_err(|_| GiveUp)
    }
}

fn index(len: usize, number: i64) -> Result<usize, GiveUp> {
    let back = number.unsigned_abs().try_into().map_err(|_| GiveUp)?;
    if number < 0 { len.checked_sub(back).ok_or(GiveUp) } else { Ok(back) }
}

fn write_float(value: f64, to: &mut String) -> std::fmt::Result {
    if value == 0.0 {
        return to.write_str("0.0");
    }
    if !value.is_nan() && !PLAIN_FLOATS.contains(&value.abs()) {
        return write!(to, "{value:e}");
    }
    write!(to, "{value}")?;
    if value.fract() == 0.0 { to.write_str(".0") } else { Ok(()) }
}

pub(super) fn compare(compare: Compare, a: &Value<'_>, b: &Value<'_>) -> Result<bool, GiveUp> {
    let only_equality = matches!(compare, Compare::Eq | Compare::Ne);
    Ok(match (a, b) {
        (Value::Int(a), Value::Int(b)) => compare.holds(a, b),
        (Value::Float(a), Value::Float(b)) => compare_floats(compare, *a, *b)?,
        (Value::Int(a), Value::Float(b)) => compare_floats(compare, *a as f64, *b)?,
        (Value::Float(a), Value::Int(b)) => compare_floats(compare, *a, *b as f64)?,
        (Value::Text(a), Value::Text(b)) => compare.holds(a, b),
        (Value::Bool(a), Value::Bool(b)) if only_equality => compare.holds(a, b),
        (Value::Unit, Value::Unit) if only_equality => compare == Compare::Eq,
        (Value::Unit, Value::Bool(_) | Value::Int(_) | Value::Text(_))
        | (Value::Bool(_) | Value::Int(_) | Value::Text(_), Value::Unit)
            if only_equality =>
        {
            compare == Compare::Ne
        }
        _ => return Err(GiveUp),
    })
}

/// Floats that differ by rounding alone are the same to Rhai; of what is no number it has its own idea.
fn compare_floats(compare: Compare, a: f64, b: f64) -> Result<bool, GiveUp> {
    if a.is_nan() || b.is_nan() {
        return Err(GiveUp);
    }
    let scale = if a * b == 0.0 { 1.0 } else { a.abs().max(b.abs()) };
    let more = (a - b) / scale;
    Ok(match compare {
        Compare::Eq => more.abs() <= f64::EPSILON,
        Compare::Ne => more.abs() > f64::EPSILON,
        Compare::Gt => more > f64::EPSILON,
        Compare::Ge => more > -f64::EPSILON,
        Compare::Lt => -more > f64::EPSILON,
        Compare::Le => -more > -f64::EPSILON,
    })
}

pub(super) fn arithmetic<'a>(
    operation: Arithmetic,
    a: Value<'a>,
    b: &Value<'a>,
) -> Result<Value<'a>, GiveUp> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => {
            let result = match operation {
                Arithmetic::Add => a.checked_add(*b),
                Arithmetic::Subtract => a.checked_sub(*b),
                Arithmetic::Multiply => a.checked_mul(*b),
                Arithmetic::Divide => a.checked_div(*b),
                Arithmetic::Remainder => a.checked_rem(*b),
            };
            result.map(Value::Int).ok_or(GiveUp)
        }
        (a @ (Value::Int(_) | Value::Float(_)), b @ (Value::Int(_) | Value::Float(_))) => {
            let (a, b) = (a.number()?, b.number()?);
            Ok(Value::Float(match operation {
                Arithmetic::Add => a + b,
                Arithmetic::Subtract => a - b,
                Arithmetic::Multiply => a * b,
                Arithmetic::Divide => a / b,
                Arithmetic::Remainder => a % b,
            }))
        }
        (Value::Text(a), b) if operation == Arithmetic::Add => {
            let mut text = a.into_owned();
            b.write(&mut text)?;
            Ok(Value::Text(Cow::Owned(text)))
        }
        (a @ (Value::Int(_) | Value::Bool(_)), Value::Text(b)) if operation == Arithmetic::Add => {
            let mut text = String::new();
            a.write(&mut text)?;
            text.push_str(b);
            Ok(Value::Text(Cow::Owned(text)))
        }
        (Value::List(mut a), Value::List(b)) if operation == Arithmetic::Add => {
            a.extend_from_slice(b);
            Ok(Value::List(a))
        }
        _ => Err(GiveUp),
    }
}

pub(super) fn search(search: Search, place: &Value<'_>, wanted: &Value<'_>) -> Result<bool, GiveUp> {
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
                found |= compare(Compare::Eq, item, wanted)?;
            }
            Ok(found)
        }
        (Value::Map(map), Value::Text(key)) if search == Search::Contains => Ok(map.contains_key(&**key)),
        _ => Err(GiveUp),
    }
}

pub(super) fn function<'a>(function: Function, arguments: &[Value<'a>]) -> Result<Value<'a>, GiveUp> {
    Ok(match (function, arguments) {
        (Function::Negate, [Value::Int(value)]) => Value::Int(value.checked_neg().ok_or(GiveUp)?),
        (Function::Negate, [Value::Float(value)]) => Value::Float(-value),
        (Function::Abs, [Value::Int(value)]) => Value::Int(value.checked_abs().ok_or(GiveUp)?),
        (Function::Abs, [Value::Float(value)]) => Value::Float(value.abs()),
        (Function::Min, [Value::Int(a), Value::Int(b)]) => Value::Int(*a.min(b)),
        (Function::Max, [Value::Int(a), Value::Int(b)]) => Value::Int(*a.max(b)),
        (Function::ToFloat, [Value::Int(value)]) => Value::Float(*value as f64),
        (Function::ToInt, [Value::Float(value)]) if value.abs() < 9e18 => Value::Int(*value as i64),
        (Function::ParseInt, [Value::Text(text)]) => Value::Int(text.trim().parse().map_err(|_| GiveUp)?),
        (Function::ToText, [value]) => {
            let mut text = String::new();
            value.write(&mut text)?;
            Value::Text(Cow::Owned(text))
        }
        (Function::ToLower, [Value::Text(text)]) => Value::Text(Cow::Owned(text.to_lowercase())),
        (Function::ToUpper, [Value::Text(text)]) => Value::Text(Cow::Owned(text.to_uppercase())),
        _ => return Err(GiveUp),
    })
}
