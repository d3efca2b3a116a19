//! The one map that the hooks of elements are called with.

use std::cell::Cell;

use super::Reason;
use crate::model::AppCategory;
use crate::script::lowered::{Expr, Span};

/// Maps within `params`: a name for one of them is no value.
const INNER: [&[&str]; 7] = [
    &[],
    &["delta"],
    &["stats"],
    &["categories"],
    &["user_script_config"],
    &["entity_info"],
    &["alert_entity"],
];

/// What `params` and these keys, one in the other, stand for.
pub(super) fn read(path: &[String]) -> Result<Expr, Reason> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let counter = |span, name: &str| Expr::Counter(span, name.to_owned(), Cell::new(0));
    Ok(match path[..] {
        ["delta", name] => counter(Span::Delta, name),
        ["stats", name] => counter(Span::Stats, name),
        ["categories", name] => match AppCategory::parse(name) {
            Some(category) => Expr::Category(category),
            None => return Err(format!("asks for the category '{name}'")),
        },
        ["user_script_config", ref rest @ ..] if !rest.is_empty() => {
            Expr::Config(rest.iter().map(|key| (*key).to_owned()).collect())
        }
        ["entity_info", name] => Expr::Info(name.to_owned()),
        ["alert_entity", "value"] => Expr::EntityValue,
        ["granularity"] => Expr::Period,
        ["seconds"] => Expr::PeriodSeconds,
        ["first_run"] => Expr::FirstRun,
        ["when"] => Expr::Now,
        ["ts_enabled"] => Expr::KeepsSeries,
        ["ifid"] => Expr::InterfaceId,
        _ => {
            return Err(format!(
                "uses params{}",
                path.iter().map(|key| format!(".{key}")).collect::<String>()
            ));
        }
    })
}

/// True when the keys lead to a map that may get a name of its own.
pub(super) fn is_inner(path: &[String]) -> bool {
    INNER.iter().any(|inner| inner.iter().eq(path.iter()))
}
