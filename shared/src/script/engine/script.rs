//! A compiled script, as others see it.

use std::rc::Rc;

use rhai::AST;

use super::when::{self, Need};
use crate::model::Granularity;
use crate::script::lowered::{Expr, Program};
use crate::script::schema::Schema;
use crate::script::source::{Origin, ScriptSource};
use crate::script::{FlowHook, HookName, ScriptMeta};

/// A compiled script.
pub struct Script {
    pub(super) meta: Rc<ScriptMeta>,
    pub(super) ast: AST,
    pub(super) hash: String,
    /// Name of its source, from which its key may come.
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) programs: Rc<Programs>,
    pub(super) schema: Rc<Schema>,
}

/// The hooks of a script that are lowered.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub(super) flow: [Option<Program>; FlowHook::ALL.len()],
    pub(super) element: [Option<Program>; Granularity::PERIODS.len()],
    /// What has to be so for any hook to be called.
    pub(super) when: Option<Expr>,
    /// Every hook is, and a run needs nothing else: what a run begins with may wait until it is needed.
    pub(super) suffice: bool,
}

impl Script {
    /// What the script declares.
    pub fn meta(&self) -> &ScriptMeta {
        &self.meta
    }

    /// The same, to keep while the registry changes.
    pub fn shared_meta(&self) -> Rc<ScriptMeta> {
        Rc::clone(&self.meta)
    }

    /// XXH3-64 of its text in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Name of its source.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when it is what this source compiles to.
    pub fn is_of(&self, source: &ScriptSource) -> bool {
        self.name == source.name && self.origin == source.origin && self.hash == source.hash()
    }

    /// What its configuration may be.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Comparisons that all have to hold for a flow hook to be called, so that somebody who knows a
    /// field without a record may spare making one.
    pub fn needs(&self) -> Vec<Need<'_>> {
        let mut needs = self.programs.when.as_ref().map(when::needs).unwrap_or_default();
        let hooks = FlowHook::ALL.into_iter().filter(|hook| self.meta.hooks.contains(&HookName::Flow(*hook)));
        let of_hook = |hook: FlowHook| {
            self.programs.flow[hook as usize].as_ref().map(when::needs_of).unwrap_or_default()
        };
        // One filter is for all hooks of a script.
        let shared = hooks.map(of_hook).reduce(|mut all, more| {
            all.retain(|need| more.contains(need));
            all
        });
        needs.extend(shared.unwrap_or_default());
        needs
    }
}
