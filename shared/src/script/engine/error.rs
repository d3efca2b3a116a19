//! What went wrong in a script, in words for who wrote it.

use rhai::{EvalAltResult, ParseError, Position};

use super::host;
use crate::script::{ScriptError, ScriptLimits};

/// An error of a call, with the limits it ran under.
pub(super) fn runtime_error(script: &str, limits: &ScriptLimits, error: &EvalAltResult) -> ScriptError {
    let inner = error.unwrap_inner();
    let position = if inner.position().is_none() { error.position() } else { inner.position() };
    let cause = match inner {
        EvalAltResult::ErrorTooManyOperations(_) => {
            format!("more operations than the limit of {}", limits.max_operations)
        }
        EvalAltResult::ErrorStackOverflow(_) => {
            format!("calls are nested deeper than the limit of {}", limits.max_call_depth)
        }
        EvalAltResult::ErrorTerminated(why, _) if why.as_bool() == Ok(host::OUT_OF_OPERATIONS) => {
            format!(
                "more operations than the limit of {}, of which each {} bytes taken are one",
                limits.max_operations,
                host::BYTES_AN_OPERATION
            )
        }
        EvalAltResult::ErrorTerminated(why, _) if why.as_bool() == Ok(host::OUT_OF_MEMORY) => {
            format!("holds more memory than the limit of {} bytes lets it", limits.max_memory_bytes)
        }
        EvalAltResult::ErrorTerminated(..) => {
            format!("ran longer than the limit of {} ms", limits.max_millis)
        }
        EvalAltResult::ErrorDataTooLarge(what, _) => format!("{} beyond the limit", what.to_lowercase()),
        EvalAltResult::ErrorRuntime(value, _) => value.to_string(),
        EvalAltResult::ErrorParsing(kind, _) => kind.to_string(),
        other => {
            let mut other = other.to_string();
            // The position is told apart from the text.
            if let Some(place) = other.rfind(" (line ") {
                other.truncate(place);
            }
            other
        }
    };
    at(script, position, cause)
}

/// An error of a file.
pub(super) fn parse_error(script: &str, error: &ParseError) -> ScriptError {
    at(script, error.position(), error.err_type().to_string())
}

/// An error at a place.
pub(super) fn at(script: &str, position: Position, cause: String) -> ScriptError {
    ScriptError {
        script: script.to_owned(),
        line: position.line().unwrap_or(0),
        column: position.position().unwrap_or(0),
        cause,
    }
}
