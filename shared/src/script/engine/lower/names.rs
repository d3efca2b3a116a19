//! What the names of operators, methods and keys mean.

use crate::script::lowered::{AlertKey, Arithmetic, Compare, Function, Search};

pub(super) fn compare(name: &str) -> Option<Compare> {
    Some(match name {
        "==" => Compare::Eq,
        "!=" => Compare::Ne,
        "<" => Compare::Lt,
        "<=" => Compare::Le,
        ">" => Compare::Gt,
        ">=" => Compare::Ge,
        _ => return None,
    })
}

pub(super) fn arithmetic(name: &str) -> Option<Arithmetic> {
    Some(match name {
        "+" => Arithmetic::Add,
        "-" => Arithmetic::Subtract,
        "*" => Arithmetic::Multiply,
        "/" => Arithmetic::Divide,
        "%" => Arithmetic::Remainder,
        _ => return None,
    })
}

pub(super) fn search(name: &str) -> Option<Search> {
    Some(match name {
        "contains" => Search::Contains,
        "starts_with" => Search::StartsWith,
        "ends_with" => Search::EndsWith,
        _ => return None,
    })
}

/// A function by name and number of arguments.
pub(super) fn function(name: &str, arguments: usize) -> Option<Function> {
    Some(match (name, arguments) {
        ("-", 1) => Function::Negate,
        ("abs", 1) => Function::Abs,
        ("min", 2) => Function::Min,
        ("max", 2) => Function::Max,
        ("to_int", 1) => Function::ToInt,
        ("parse_int", 1) => Function::ParseInt,
        ("to_float", 1) => Function::ToFloat,
        ("to_string", 1) => Function::ToText,
        ("to_lower", 1) => Function::ToLower,
        ("to_upper", 1) => Function::ToUpper,
        _ => return None,
    })
}

pub(super) fn alert_key(name: &str) -> Option<AlertKey> {
    Some(match name {
        "type" => AlertKey::Type,
        "severity" => AlertKey::Severity,
        "category" => AlertKey::Category,
        "score" => AlertKey::Score,
        "message" => AlertKey::Message,
        "value" => AlertKey::Value,
        "threshold" => AlertKey::Threshold,
        "metric" => AlertKey::Metric,
        "attacker" => AlertKey::Attacker,
        "victim" => AlertKey::Victim,
        _ => return None,
    })
}
