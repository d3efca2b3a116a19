//! Reads query strings: every parameter is known, or the error names it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use actix_web::HttpRequest;
use actix_web::web::Query;
use shared::model::query::{DEFAULT_LIMIT, MAX_LIMIT};

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
