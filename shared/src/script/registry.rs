//! Which scripts are loaded, which of their hooks are on, and how they are configured.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use regex::Regex;

use serde_json::Value;

use super::engine::{Script, ScriptEngine};
use super::lists::Lists;
use super::settings::{Override, Target};
use super::source::ScriptSource;
use super::{FlowHook, HookName, ScriptError, ScriptKind, ScriptLimits};
use crate::geo::GeoBases;
use crate::model::alert_rule::glob;
use crate::model::status::StatusBits;
use crate::model::{AlertRules, FlowRecord, Granularity, HostPools, L4};

mod info;

pub use info::ScriptInfo;

pub use super::settings::{HookSettings, ScriptSettings};

/// What is needed to load scripts, in a form that can be sent to the thread that runs them.
#[derive(Clone, Debug, Default)]
pub struct ScriptSetup {
    /// Built-in scripts, then the user's.
    pub sources: Vec<ScriptSource>,
    /// The user's settings by script key.
    pub settings: BTreeMap<String, ScriptSettings>,
    /// Limits on each call.
    pub limits: ScriptLimits,
    /// Lists that scripts look things up in.
    pub lists: Lists,
    /// Where addresses are.
    pub geo: GeoBases,
    /// Host pools, by which settings differ.
    pub pools: Arc<HostPools>,
    /// Alerts that are not raised.
    pub exclusions: AlertRules,
    /// Files that were changed and cannot be used as they are; what they held before still runs.
    pub broken: Vec<BrokenScript>,
    /// True while alerts are off: scripts that only raise alerts are not called.
    pub alerts_off: bool,
}

/// A file whose text cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenScript {
    /// Where it is, as [`ScriptInfo::origin`] says it.
    pub origin: String,
    /// What is wrong.
    pub error: ScriptError,
}

/// A loaded script with its settings.
pub struct Entry {
    /// The script.
    pub script: Rc<Script>,
    /// Hooks that are on for all, or for some.
    enabled: BTreeSet<HookName>,
    /// Hooks that are on where no override says otherwise.
    enabled_for_all: BTreeSet<HookName>,
    config: Value,
    hook_config: BTreeMap<HookName, Value>,
    overrides: Vec<Override>,
    /// Names of the interfaces it is meant for.
    scope: Vec<Regex>,
}

impl Entry {
    fn new(script: Rc<Script>, settings: Option<&ScriptSettings>) -> Self {
        let meta = script.meta();
        let on = settings.and_then(|s| s.enabled).unwrap_or(meta.default_enabled);
        let config = settings.and_then(|s| s.config.clone()).unwrap_or_else(|| meta.default_value.clone());
        let of_hook = |hook: &HookName| settings.and_then(|s| s.hooks.get(hook.name()));
        let enabled = |hook: &&HookName| of_hook(hook).and_then(|h| h.enabled).unwrap_or(on);
        let enabled_for_all: BTreeSet<HookName> = meta.hooks.iter().filter(enabled).copied().collect();
        let overrides = settings.map(|s| s.overrides.clone()).unwrap_or_default();
        let on_for_some = |hook: &&HookName| {
            enabled_for_all.contains(*hook)
                || overrides.iter().any(|o| o.enabled == Some(true) && o.is_of(**hook))
        };
        let enabled = meta.hooks.iter().filter(on_for_some).copied().collect();
        let hook_config = meta
            .hooks
            .iter()
            .filter_map(|hook| of_hook(hook).and_then(|h| h.config.clone()).map(|c| (*hook, c)))
            .collect();
        // Patterns that are none were told when the script was read.
        let scope = meta.scope.iter().filter_map(|name| glob(name).ok()).collect();
        Self { script, enabled, enabled_for_all, config, hook_config, overrides, scope }
    }

    /// True when it is the same text under the same settings.
    pub fn is_same(&self, other: &Self) -> bool {
        self.script.meta().key == other.script.meta().key
            && self.script.hash() == other.script.hash()
            && self.enabled == other.enabled
            && self.enabled_for_all == other.enabled_for_all
            && self.overrides == other.overrides
            && self.config == other.config
            && self.hook_config == other.hook_config
    }

    /// Switches off what overrides and settings may have switched on.
    fn switch_off(&mut self) {
        self.enabled.clear();
        self.enabled_for_all.clear();
        self.overrides.clear();
    }

    /// True when the script is meant for this interface.
    pub fn is_for(&self, interface: &str) -> bool {
        self.scope.is_empty() || self.scope.iter().any(|name| name.is_match(interface))
    }

    /// True when the hook is to be called.
    pub fn enabled(&self, hook: HookName) -> bool {
        self.enabled.contains(&hook)
    }

    /// The configuration the hook is called with where no override fits.
    pub fn config(&self, hook: HookName) -> &Value {
        self.hook_config.get(&hook).unwrap_or(&self.config)
    }

    /// The configuration the hook is called with for one element or flow; `None` when it is off there.
    pub fn config_for<'t>(
        &self,
        hook: HookName,
        target: impl FnOnce() -> Target<'t>,
        pools: &HostPools,
    ) -> Option<&Value> {
        if self.overrides.is_empty() {
            return Some(self.config(hook));
        }
        let fitting = self.fitting(hook, &target(), pools);
        let on = fitting.and_then(|o| o.enabled).unwrap_or_else(|| self.enabled_for_all.contains(&hook));
        on.then(|| fitting.and_then(|o| o.config.as_ref()).unwrap_or_else(|| self.config(hook)))
    }

    /// The same for a call on demand, for which nothing is off.
    pub fn config_on_demand<'t>(
        &self,
        hook: HookName,
        target: impl FnOnce() -> Target<'t>,
        pools: &HostPools,
    ) -> &Value {
        let fitting = match self.overrides.is_empty() {
            true => None,
            false => self.fitting(hook, &target(), pools),
        };
        fitting.and_then(|o| o.config.as_ref()).unwrap_or_else(|| self.config(hook))
    }

    fn fitting(&self, hook: HookName, target: &Target<'_>, pools: &HostPools) -> Option<&Override> {
        self.overrides.iter().find(|o| o.is_of(hook) && o.fits(target, pools))
    }

    /// True when the script's attributes let it be called for `flow`; `news` are the status bits that
    /// may be why.
    pub fn accepts_flow(&self, flow: &FlowRecord, news: StatusBits) -> bool {
        let meta = self.script.meta();
        meta.l4_proto.is_none_or(|l4| flow.l4 == l4)
            && meta.l7_proto.as_ref().is_none_or(|l7| flow.speaks(l7))
            && (!meta.local_hosts || flow.client.local || flow.server.local)
            && (!meta.packet_interface_only || !flow.collected)
            && (meta.flow_status == 0 || news & meta.flow_status != 0)
            && (!meta.three_way_handshake_ok || flow.l4 != L4::TCP || flow.handshake_ok)
    }
}

/// All loaded scripts, by `prio` (higher first), then key.
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// Compiles `sources` and applies `settings` by script key. Scripts that do not compile are left
    /// out and told; of two scripts with one key the later replaces the earlier.
    pub fn load(
        engine: &ScriptEngine,
        sources: Vec<ScriptSource>,
        settings: &BTreeMap<String, ScriptSettings>,
    ) -> (Self, Vec<ScriptError>) {
        Self::load_again(engine, sources, settings, &Self { entries: Vec::new() })
    }

    /// The same; what has not changed since `before` is taken from there. The engine is the same.
    fn load_again(
        engine: &ScriptEngine,
        sources: Vec<ScriptSource>,
        settings: &BTreeMap<String, ScriptSettings>,
        before: &Self,
    ) -> (Self, Vec<ScriptError>) {
        let by_name = |entry: &Entry| {
            let script = Rc::clone(&entry.script);
            ((script.origin().to_string(), script.name().to_owned()), script)
        };
        let known: HashMap<(String, String), Rc<Script>> = before.entries.iter().map(by_name).collect();
        let compile = |source: &ScriptSource| {
            let known = known.get(&(source.origin.to_string(), source.name.clone()));
            match known.filter(|script| script.is_of(source)) {
                Some(script) => Ok(Rc::clone(script)),
                None => engine.compile(source).map(Rc::new),
            }
        };
        let mut scripts: BTreeMap<String, Rc<Script>> = BTreeMap::new();
        let mut errors = Vec::new();
        for source in sources {
            match compile(&source) {
                Ok(script) => drop(scripts.insert(script.meta().key.clone(), script)),
                Err(error) => errors.push(error),
            }
        }
        let broken: BTreeSet<String> = errors.iter().map(|e: &ScriptError| e.script.clone()).collect();
        for (key, setting) in settings {
            errors.extend(wrong_setting(key, setting, scripts.get(key).map(|s| &**s), broken.contains(key)));
        }
        let with_settings = |script: Rc<Script>| {
            let settings = settings.get(&script.meta().key);
            let right = |settings: &&ScriptSettings| wrong_config(&script, settings).is_empty();
            let settings = settings.filter(right);
            Entry::new(script, settings)
        };
        let mut entries: Vec<Entry> = scripts.into_values().map(with_settings).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.script.meta().prio));
        (Self { entries }, errors)
    }

    /// The scripts of a set-up; while alerts are off, those that only raise alerts are off.
    pub fn of_setup(engine: &ScriptEngine, setup: &ScriptSetup) -> (Self, Vec<ScriptError>) {
        Self::of_setup_again(engine, setup, &Self { entries: Vec::new() })
    }

    /// The same after a change: only texts that are new since `before`, made with the same engine, are
    /// compiled.
    pub fn of_setup_again(
        engine: &ScriptEngine,
        setup: &ScriptSetup,
        before: &Self,
    ) -> (Self, Vec<ScriptError>) {
        let (mut registry, errors) = Self::load_again(engine, setup.sources.clone(), &setup.settings, before);
        if setup.alerts_off {
            let alerting = |entry: &&mut Entry| entry.script.meta().is_alert;
            registry.entries.iter_mut().filter(alerting).for_each(Entry::switch_off);
        }
        (registry, errors)
    }

    /// All scripts, whether on or off.
    pub fn scripts(&self) -> &[Entry] {
        &self.entries
    }

    /// Flow scripts that have `hook` on.
    pub fn for_flow(&self, hook: FlowHook) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.enabled(HookName::Flow(hook)))
    }

    /// Scripts of an element kind that have this period on.
    pub fn for_element(&self, kind: ScriptKind, granularity: Granularity) -> impl Iterator<Item = &Entry> {
        let wanted = move |entry: &&Entry| {
            entry.script.meta().kind == kind && entry.enabled(HookName::Element(granularity))
        };
        self.entries.iter().filter(wanted)
    }
}

/// What is wrong with the settings of one script.
fn wrong_setting(
    key: &str,
    settings: &ScriptSettings,
    script: Option<&Script>,
    broken: bool,
) -> Vec<ScriptError> {
    let wrong = |cause: String| ScriptError { script: key.to_owned(), line: 0, column: 0, cause };
    let Some(script) = script else {
        let cause = format!("scripts.settings.{key}: there is no such script");
        return if broken { Vec::new() } else { vec![wrong(cause)] };
    };
    wrong_config(script, settings)
        .into_iter()
        .map(|(place, cause)| wrong(format!("scripts.settings.{key}{place}: {cause}")))
        .collect()
}

/// Which settings cannot be, each with its place and what is wrong; such settings are not taken at all.
pub fn wrong_config(script: &Script, settings: &ScriptSettings) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    let mut check = |place: String, config: &Option<Value>| {
        if let Some(Err(cause)) = config.as_ref().map(|config| script.schema().check(config)) {
            wrong.push((format!("{place}.config"), cause));
        }
    };
    check(String::new(), &settings.config);
    for (name, hook) in &settings.hooks {
        check(format!(".hooks.{name}"), &hook.config);
    }
    for (place, setting) in settings.overrides.iter().enumerate() {
        check(format!(".overrides[{place}]"), &setting.config);
    }
    let has = |name: &&String| HookName::parse(name).is_some_and(|hook| script.meta().hooks.contains(&hook));
    let no_hook = |place: String, name: &String| (place, format!("it has no hook '{name}'"));
    for (place, setting) in settings.overrides.iter().enumerate() {
        wrong.extend(setting.check().err().map(|cause| (format!(".overrides[{place}]"), cause)));
    }
    for (place, setting) in settings.overrides.iter().enumerate() {
        let unknown = setting.hooks.iter().filter(|name| !has(name));
        wrong.extend(unknown.map(|name| no_hook(format!(".overrides[{place}].hooks"), name)));
    }
    let unknown = settings.hooks.keys().filter(|name| !has(name));
    wrong.extend(unknown.map(|name| no_hook(".hooks".to_owned(), name)));
    wrong
}

#[cfg(test)]
mod tests;
