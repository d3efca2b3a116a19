//! Values on both sides of the script engine's border.

use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{Array, Dynamic, FLOAT, INT, ImmutableString, Map};
use serde_json::Value;

use super::element::Counts;
use crate::model::flow_field::FieldValue;

/// Nesting of values that crosses the border at most.
const MAX_DEPTH: usize = 64;

/// What `params.entity_info` is: it prints, compares and joins as the identifying string, and has
/// fields.
#[derive(Clone, Debug)]
pub struct EntityInfo {
    /// `ip@vlan`, prefix, interface name.
    pub text: ImmutableString,
    /// Fields such as `ip`, `vlan`, `mac`.
    pub fields: Rc<BTreeMap<String, Value>>,
}

/// What `params.stats` and `params.delta` are: they read as maps of counters, and cost nothing until read.
#[derive(Clone, Debug)]
pub struct Counters {
    /// The key of `params` that it is.
    pub of: &'static str,
    /// By name.
    pub counts: Rc<Counts>,
}

impl Counters {
    /// One counter; `()` when there is none of that name, as in a map.
    pub fn get(&self, name: &str) -> Dynamic {
        let found = self.counts.iter().find(|(known, _)| *known == name);
        found.map_or(Dynamic::UNIT, |(_, count)| Dynamic::from(whole(*count)))
    }

    /// A map of all.
    pub fn map(&self) -> Map {
        self.counts.iter().map(|(name, count)| ((*name).into(), Dynamic::from(whole(*count)))).collect()
    }
}

fn whole(count: u64) -> INT {
    INT::try_from(count).unwrap_or(INT::MAX)
}

/// JSON as a script sees it. Numbers that fit are integers; `null` is `()`.
pub fn from_json(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => (i as INT).into(),
            (None, f) => (f.unwrap_or(f64::NAN) as FLOAT).into(),
        },
        Value::String(s) => s.as_str().into(),
        Value::Array(items) => items.iter().map(from_json).collect::<Array>().into(),
        Value::Object(fields) => {
            fields.iter().map(|(k, v)| (k.as_str().into(), from_json(v))).collect::<Map>().into()
        }
    }
}

/// A script's value as JSON, keys in order.
///
/// # Errors
/// Says which kind of value has no JSON form, or that it is nested too deep.
pub fn to_json(value: &Dynamic) -> Result<Value, String> {
    json_at(value, 0)
}

fn json_at(value: &Dynamic, depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("a value is nested deeper than {MAX_DEPTH}"));
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(b) = value.as_bool() {
        return Ok(Value::Bool(b));
    }
    if let Ok(i) = value.as_int() {
        return Ok(i.into());
    }
    if let Ok(f) = value.as_float() {
        return Ok(serde_json::Number::from_f64(f).map_or(Value::Null, Value::Number));
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(Value::String(text.to_string()));
    }
    if let Ok(c) = value.as_char() {
        return Ok(Value::String(c.to_string()));
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(|item| json_at(item, depth + 1)).collect::<Result<_, _>>().map(Value::Array);
    }
    if let Some(fields) = value.read_lock::<Map>() {
        let pairs = fields.iter().map(|(k, v)| json_at(v, depth + 1).map(|v| (k.to_string(), v)));
        return pairs.collect::<Result<_, _>>().map(Value::Object);
    }
    if let Some(counters) = value.read_lock::<Counters>() {
        let pairs = counters.counts.iter().map(|(name, count)| ((*name).to_owned(), whole(*count).into()));
        return Ok(Value::Object(pairs.collect()));
    }
    if let Some(entity) = value.read_lock::<EntityInfo>() {
        return Ok(Value::String(entity.text.to_string()));
    }
    Err(format!("a value of type {} has no JSON form", value.type_name()))
}

/// A flow's field as a script sees it.
pub fn from_field(value: FieldValue<'_>) -> Dynamic {
    match value {
        FieldValue::Bool(b) => b.into(),
        FieldValue::Int(i) => (i as INT).into(),
        FieldValue::Text(text) => text.into_owned().into(),
        FieldValue::List(items) => items.into_iter().map(Dynamic::from).collect::<Array>().into(),
    }
}

/// A number, whole or not.
pub fn number(value: &Dynamic) -> Option<f64> {
    value.as_float().ok().or_else(|| value.as_int().ok().map(|i| i as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_in_and_comes_out_the_same() {
        let value = serde_json::json!({ "a": [1, 2.5, "x", true, null], "b": { "c": -7 } });
        assert_eq!(to_json(&from_json(&value)).unwrap(), value);
    }

    #[test]
    fn endless_nesting_is_refused() {
        let mut value = Dynamic::from(1 as INT);
        for _ in 0..100 {
            value = Dynamic::from(Array::from([value]));
        }
        assert!(to_json(&value).unwrap_err().contains("deeper"));
    }
}
