//! Reads query strings: every parameter is known, or the error names it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use actix_web::HttpRequest;
use actix_web::web::Query;
use serde_json::Value;
use shared::model::Timestamp;
use shared::model::query::{DEFAULT_LIMIT, MAX_LIMIT};

use super::ApiDeps;
use super::error::ApiError;

/// The parameters of one request.
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads them.
    ///
    /// # Errors
    /// A parameter that is not `known`.
    pub fn read(request: &HttpRequest, known: &[&str]) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|e| ApiError::bad_field("query", e.to_string()))?;
        let mut parameters = BTreeMap::new();
        for (name, value) in query.into_inner() {
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(ApiError::bad_field(
                    &name,
                    format!("unknown parameter '{name}'; there are {known}"),
                ));
            }
            if parameters.insert(name.clone(), value).is_some() {
                return Err(ApiError::bad_field(&name, format!("parameter '{name}' is given twice")));
            }
        }
        Ok(Self(parameters))
    }

    /// Makes sure that there are none.
    ///
    /// # Errors
    /// Names the first that is there.
    pub fn none(request: &HttpRequest) -> Result<(), ApiError> {
        Self::read(request, &[]).map(drop)
    }

    /// A parameter as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|text| !text.is_empty()).cloned()
    }

    /// A parameter read with its type's own parser.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.with(name, |text| text.parse().map_err(|e: T::Err| e.to_string()))
    }

    /// A parameter that is one of a set of names.
    pub fn named<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ApiError> {
        self.with(name, |text| parse(text).ok_or_else(|| "unknown value".to_owned()))
    }

    fn with<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, ApiError> {
        let Some(text) = self.0.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let wrong =
            |cause: String| ApiError::bad_field(name, format!("parameter '{name}': '{text}': {cause}"));
        parse(text).map(Some).map_err(wrong)
    }

    /// Rows of a page.
    pub fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.parsed::<usize>("limit")?.unwrap_or(DEFAULT_LIMIT);
        match limit {
            1..=MAX_LIMIT => Ok(limit),
            _ => Err(ApiError::bad_field("limit", format!("limit must be between 1 and {MAX_LIMIT}"))),
        }
    }
}

/// A parameter that is a time: RFC 3339, or how long ago (`90s`, `15m`, `2h`, `7d`).
pub fn time(asked: &Parameters, name: &str, deps: &ApiDeps) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = asked.text(name) else { return Ok(None) };
    let wrong = || {
        ApiError::bad_field(
            name,
            format!("parameter '{name}': '{text}' is no time (RFC 3339) and no 2h or 7d"),
        )
    };
    if let Ok(at) = serde_json::from_value(Value::String(text.clone())) {
        return Ok(Some(at));
    }
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: i64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    Ok(Some(deps.clock.now().plus_secs(-number.saturating_mul(seconds))))
}
