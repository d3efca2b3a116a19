//! The attribute `when`: a condition that is looked at before a script is called.

use std::rc::Rc;

use rhai::{AST, Dynamic, Engine, FnPtr};

use super::host::{FlowHandle, Host};
use super::lower;
use crate::model::Granularity;
use crate::model::flow_field::{FLOW_FIELDS, Read};
use crate::script::lowered::{Compare, Expr, Gate, Program, Stmt, Whole};
use crate::script::{FlowHook, HookName, ScriptKind};

/// What `params` has, under the names that a condition may use as they are.
const PARAMS: [&str; 14] = [
    "granularity",
    "alert_entity",
    "entity_info",
    "cur_alerts",
    "user_script_config",
    "when",
    "seconds",
    "first_run",
    "ts_enabled",
    "ifid",
    "stats",
    "delta",
    "categories",
    "l7",
];

/// Reads a condition on flows (`bytes > 1000 && l7 == 'TLS'`) or on elements (`delta.bytes > 1000`).
///
/// # Errors
/// Why it is none, or what it does that no condition can.
pub fn compile(engine: &Engine, host: &Rc<Host>, text: &str, kind: ScriptKind) -> Result<Expr, String> {
    let (parameters, hook) = match kind {
        ScriptKind::Flow => ("now, script_config", HookName::Flow(FlowHook::FlowEnd)),
        _ => ("params", HookName::Element(Granularity::Min)),
    };
    let condition = qualified(text, kind);
    let function = format!("fn condition({parameters}) {{ if {condition} {{ return; }} }}");
    // A flow is a captured variable of the file; here it is a parameter.
    let function = match kind {
        ScriptKind::Flow => function.replace("condition(now", "condition(flow, now"),
        _ => function,
    };
    let ast: AST = engine.compile(&function).map_err(|e| e.err_type().to_string())?;
    let mut pointer = FnPtr::new("condition").map_err(|e| e.to_string())?;
    if kind == ScriptKind::Flow {
        pointer.add_curry(Dynamic::from(FlowHandle::new(host)));
    }
    let Program { body, gap, .. } = lower::lower(&ast, &pointer, hook)?;
    match (gap, body.into_iter().next()) {
        (None, Some(Stmt::If(condition, ..))) => Ok(condition),
        (Some(reason), _) => Err(reason),
        _ => Err("is no condition".to_owned()),
    }
}

/// A comparison that a condition demands of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// The field with a whole number stands so to a constant.
    Number(&'static str, Compare, i64),
    /// The field with a text is this one.
    Text(&'static str, &'a str),
}

/// The comparisons of a condition that all have to hold; there may be more to it.
pub fn needs(condition: &Expr) -> Vec<Need<'_>> {
    match condition {
        Expr::And(parts) => parts.iter().flat_map(needs).collect(),
        one => need(one, true).into_iter().collect(),
    }
}

/// The comparisons without which a hook does nothing: those of the `if … { return; }` that it begins with,
/// and of the `if` that is all there is to it, one within the other. None stands behind something that might
/// fail.
pub fn needs_of(program: &Program) -> Vec<Need<'_>> {
    let mut needs = Vec::new();
    let mut rest = program.body.as_slice();
    while let [Stmt::If(condition, then, otherwise), after @ ..] = rest {
        let leaves = matches!(then.as_slice(), [Stmt::Return]);
        if !otherwise.is_empty() || !(leaves || after.is_empty()) {
            break;
        }
        let parts = match condition {
            Expr::Or(parts) if leaves => parts.as_slice(),
            Expr::And(parts) if !leaves => parts.as_slice(),
            one => std::slice::from_ref(one),
        };
        let known: Vec<Need<'_>> = parts.iter().map_while(|part| need(part, !leaves)).collect();
        let whole = known.len() == parts.len();
        needs.extend(known);
        if !whole {
            break;
        }
        rest = if leaves { after } else { then };
    }
    needs
}

/// Those of the comparisons that look at whole numbers.
pub fn gate_of(program: &Program) -> Gate {
    let number = |need: Need<'_>| match need {
        Need::Number(name, compare, constant) => {
            let place = FLOW_FIELDS.iter().position(|field| field.name == name)?;
            let Read::Int(read) = FLOW_FIELDS.get(place)?.read else { return None };
            Some((Whole { place, read }, compare, constant))
        }
        Need::Text(..) => None,
    };
    Gate(needs_of(program).into_iter().filter_map(number).collect())
}

/// What has to be so for a comparison to hold, or not to hold; nothing when that is not known without a
/// record, or when it might fail.
fn need(comparison: &Expr, holds: bool) -> Option<Need<'_>> {
    let name = |place: usize| FLOW_FIELDS.get(place).map(|field| field.name);
    match comparison {
        Expr::FieldIs(field, compare, constant) => {
            let compare = if holds { *compare } else { compare.opposite() };
            name(field.place).map(|name| Need::Number(name, compare, *constant))
        }
        Expr::Compare(compare, pair)
            if (*compare, holds) == (Compare::Eq, true) || (*compare, holds) == (Compare::Ne, false) =>
        {
            match &**pair {
                (Expr::Field(place), Expr::Text(text)) | (Expr::Text(text), Expr::Field(place)) => {
                    name(*place).map(|name| Need::Text(name, text))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The condition with its names as a hook would write them.
fn qualified(text: &str, kind: ScriptKind) -> String {
    let known = |name: &str| match kind {
        ScriptKind::Flow => FLOW_FIELDS.iter().any(|field| field.name == name).then_some("flow."),
        _ => PARAMS.contains(&name).then_some("params."),
    };
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\'' || c == '"' {
            out.push('"');
            for inner in rest.by_ref().take_while(|inner| *inner != c) {
                match inner {
                    '"' | '\\' => out.extend(['\\', inner]),
                    inner => out.push(inner),
                }
            }
            out.push('"');
        } else if c.is_ascii_alphabetic() || c == '_' {
            let mut name = String::from(c);
            while let Some(next) = rest.next_if(|next| next.is_ascii_alphanumeric() || *next == '_') {
                name.push(next);
            }
            let inner = out.trim_end().ends_with('.');
            out.push_str(known(&name).filter(|_| !inner).unwrap_or_default());
            out.push_str(&name);
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_a_hook_would_write_them() {
        let of = |text: &str, kind| qualified(text, kind);
        assert_eq!(
            of("bytes > 1000 && l7 == 'TLS'", ScriptKind::Flow),
            "flow.bytes > 1000 && flow.l7 == \"TLS\""
        );
        assert_eq!(
            of("name.contains(\"l7\") || other", ScriptKind::Flow),
            "flow.name.contains(\"l7\") || other"
        );
        assert_eq!(
            of("delta.bytes > stats . bytes", ScriptKind::Host),
            "params.delta.bytes > params.stats . bytes"
        );
        assert_eq!(of("l7 == 'it\"s'", ScriptKind::Flow), "flow.l7 == \"it\\\"s\"");
    }
}
