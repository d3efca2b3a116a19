//! Rhai's own functions that would do something at one stroke that no limit is looked at for: make something
//! large, or wait.

use std::rc::Rc;

use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Position};

use super::host::{Answer, Host};

/// Why `sleep` fails.
const NO_SLEEP: &str = "there is no function 'sleep': whoever calls a hook waits for it";

/// Puts bounded functions in the place of Rhai's.
pub fn register(engine: &mut Engine, host: &Rc<Host>) {
    let longest = host.limits().max_string;
    engine.register_fn("replace", move |text: &mut ImmutableString, what: &str, by: &str| {
        replace(text, what, by, longest)
    });
    engine.register_fn("replace", move |text: &mut ImmutableString, what: char, by: &str| {
        replace(text, what.encode_utf8(&mut [0; 4]), by, longest)
    });
    engine.register_fn("sleep", |_: i64| -> Answer<()> { Err(NO_SLEEP.into()) });
    engine.register_fn("sleep", |_: f64| -> Answer<()> { Err(NO_SLEEP.into()) });
    let most = host.limits().max_array;
    engine.register_fn("split", move |text: &mut ImmutableString, at: &str| split(text, at, most));
    engine.register_fn("split", move |text: &mut ImmutableString, at: char| {
        split(text, at.encode_utf8(&mut [0; 4]), most)
    });
    engine.register_fn("split_rev", move |text: &mut ImmutableString, at: &str| reversed(text, at, most));
    engine.register_fn("split_rev", move |text: &mut ImmutableString, at: char| {
        reversed(text, at.encode_utf8(&mut [0; 4]), most)
    });
}

fn too_large(what: &str) -> Box<EvalAltResult> {
    EvalAltResult::ErrorDataTooLarge(what.to_owned(), Position::NONE).into()
}

fn replace(text: &mut ImmutableString, what: &str, by: &str, longest: usize) -> Answer<()> {
    if text.is_empty() {
        return Ok(());
    }
    let times = text.matches(what).count();
    let left = text.len() - times * what.len();
    if times.saturating_mul(by.len()).saturating_add(left) > longest {
        return Err(too_large("Length of string"));
    }
    *text = text.replace(what, by).into();
    Ok(())
}

fn split(text: &str, at: &str, most: usize) -> Answer<Array> {
    if text.matches(at).count() >= most {
        return Err(too_large("Size of array"));
    }
    Ok(text.split(at).map(|piece| Dynamic::from(ImmutableString::from(piece))).collect())
}

fn reversed(text: &str, at: &str, most: usize) -> Answer<Array> {
    let mut pieces = split(text, at, most)?;
    pieces.reverse();
    Ok(pieces)
}
