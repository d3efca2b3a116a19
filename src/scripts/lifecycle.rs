//! What scripts do when they come, go or are configured: `onLoad`, `onUnload`, `onEnable`,
//! `onDisable`, `onUpdateConfig`. One process calls them, not every thread that runs the scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message as _;
use serde_json::Value;
use shared::model::alert::derive_id;
use shared::model::{Severity, Timestamp};
use shared::script::engine::ScriptEngine;
use shared::script::registry::{BrokenScript, Entry, Registry, ScriptSetup};
use shared::script::{CallResult, Effect, HookName, LogLevel};
use shared::teller::Teller;
use shared::wire::proto::HttpPost;
use tokio::sync::watch;

/// Carries out what scripts ask for.
#[derive(Clone)]
pub struct Lifecycle {
    /// Reaches the bus.
    pub teller: Teller,
}

/// What one call asked for: the script, the function, and the effects.
type Words = Vec<(String, &'static str, CallResult)>;

/// Calls what is said of the scripts in force at the start.
pub fn first_words(setup: &ScriptSetup) -> Words {
    words(None, Some(setup))
}

/// Calls what is said of scripts when `after` comes in place of `before`.
pub fn words_between(before: &ScriptSetup, after: &ScriptSetup) -> Words {
    words(Some(before), Some(after))
}

/// What is to be said when the process ends.
pub struct LastWords {
    lifecycle: Lifecycle,
    setup: watch::Receiver<Arc<ScriptSetup>>,
}

impl LastWords {
    /// About the scripts that are in force then.
    pub fn new(lifecycle: Lifecycle, setup: watch::Receiver<Arc<ScriptSetup>>) -> Self {
        Self { lifecycle, setup }
    }

    /// Says it.
    pub async fn say(self) {
        let words = words(Some(&self.setup.borrow()), None);
        self.lifecycle.carry_out(words).await;
    }
}

/// Hooks that are on, with their configuration.
fn hooks(entry: &Entry) -> BTreeMap<HookName, Value> {
    let on = entry.script.meta().hooks.iter().filter(|hook| entry.enabled(**hook));
    on.map(|hook| (*hook, entry.config(*hook).clone())).collect()
}

fn words(before: Option<&ScriptSetup>, after: Option<&ScriptSetup>) -> Words {
    let Some(limits) = after.or(before).map(|setup| setup.limits.clone()) else { return Vec::new() };
    let engine = ScriptEngine::new(limits);
    let load = |setup: Option<&ScriptSetup>| match setup {
        Some(setup) => {
            engine.set_lists(setup.lists.clone());
            Registry::of_setup(&engine, setup).0
        }
        None => Registry::load(&engine, Vec::new(), &BTreeMap::new()).0,
    };
    let (old, new) = (load(before), load(after));
    let by_key = |registry: &Registry, key: &str| {
        registry.scripts().iter().position(|entry| entry.script.meta().key == key)
    };
    let keys: BTreeSet<String> =
        old.scripts().iter().chain(new.scripts()).map(|entry| entry.script.meta().key.clone()).collect();
    let mut said = Vec::new();
    for key in keys {
        let was = by_key(&old, &key).map(|place| &old.scripts()[place]);
        let is = by_key(&new, &key).map(|place| &new.scripts()[place]);
        let mut call = |entry: &Entry, name: &'static str, hook: HookName, config: &Value| {
            let result = engine.lifecycle(&entry.script, name, hook, config, Timestamp::ZERO);
            said.extend(result.map(|result| (key.clone(), name, result)));
        };
        let same_text = matches!((was, is), (Some(was), Some(is)) if was.script.hash() == is.script.hash());
        let (were, are) = (was.map(hooks).unwrap_or_default(), is.map(hooks).unwrap_or_default());
        if let Some(was) = was.filter(|_| !same_text) {
            were.iter().for_each(|(hook, config)| call(was, "onUnload", *hook, config));
        }
        let Some(is) = is else { continue };
        if !same_text {
            are.iter().for_each(|(hook, config)| call(is, "onLoad", *hook, config));
            continue;
        }
        for (hook, config) in &were {
            match are.get(hook) {
                None => call(is, "onDisable", *hook, config),
                Some(now) if now != config => call(is, "onUpdateConfig", *hook, now),
                Some(_) => {}
            }
        }
        for (hook, config) in are.iter().filter(|(hook, _)| !were.contains_key(hook)) {
            call(is, "onEnable", *hook, config);
        }
    }
    said
}

impl Lifecycle {
    /// Tells of files that have become such as cannot be used.
    pub async fn tell_broken(&self, before: &[BrokenScript], now: &[BrokenScript]) {
        let Self { teller } = self;
        for BrokenScript { origin, error } in now.iter().filter(|broken| !before.contains(broken)) {
            let message = format!("{origin} cannot be used as it is now: {error}");
            let at = teller.clock.now();
            teller.tell(teller.alert("script_broken", "scripts", Severity::Error, message, at)).await;
        }
    }

    /// Posts, publishes and logs what was asked for; an alert or a status concerns nothing here.
    pub async fn carry_out(&self, words: Words) {
        for (script, function, CallResult { effects, error, .. }) in words {
            if let Some(error) = error {
                tracing::error!(script, function, line = error.line, "{error}");
            }
            for (ordinal, effect) in effects.into_iter().enumerate() {
                self.carry_out_one(&script, function, ordinal, effect).await;
            }
        }
    }

    async fn carry_out_one(&self, script: &str, function: &str, ordinal: usize, effect: Effect) {
        let lost = |error: &dyn std::fmt::Display| tracing::error!(script, function, "lost: {error}");
        match effect {
            Effect::HttpPost { url, body } => {
                let asked_ns = self.teller.clock.now().ns();
                let id = [&self.teller.site, script, function, &asked_ns.to_string(), &ordinal.to_string()];
                let (site, script) = (self.teller.site.clone(), script.to_owned());
                let id = derive_id(&id);
                let post = HttpPost { id, site, script, url, body, asked_ns, traceparent: String::new() };
                let subject = self.teller.subjects.post(&self.teller.site);
                match self.teller.bus.append(&subject, &post.id, post.encode_to_vec().into()).await {
                    Ok(receipt) => {
                        if let Err(error) = receipt.stored().await {
                            lost(&error);
                        }
                    }
                    Err(error) => lost(&error),
                }
            }
            Effect::Publish { subject, payload } => {
                let subject = self.teller.subjects.script(&self.teller.site, &subject);
                if let Err(error) = self.teller.bus.publish(&subject, payload.into()).await {
                    lost(&error);
                }
            }
            Effect::Log(LogLevel::Warn, text) => tracing::warn!(script, function, "{text}"),
            Effect::Log(LogLevel::Info, text) => tracing::info!(script, function, "{text}"),
            Effect::Log(LogLevel::Debug, text) => tracing::debug!(script, function, "{text}"),
            _ => tracing::warn!(script, function, "asks for what concerns a flow or an element: not done"),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::bus::memory::{MemoryBus, MemoryConfig};
    use shared::bus::{SharedBus, Stream};
    use shared::clock::ManualClock;
    use shared::model::Alert;
    use shared::script::ScriptError;
    use shared::wire::subject::Subjects;

    use super::*;
    use shared::script::settings::ScriptSettings;
    use shared::script::source::{Origin, ScriptSource};

    fn setup(version: u32, settings: ScriptSettings) -> ScriptSetup {
        let text = format!(
            "let version = {version};
             #{{ default_value: #{{ n: 1 }}, hooks: #{{ min: |p| (), hour: |p| () }},
                 onLoad: |hook, config| log(`load {{hook}}`), onUnload: |hook, config| log(hook),
                 onEnable: |hook, config| log(hook), onDisable: |hook, config| log(hook),
                 onUpdateConfig: |hook, config| log(`${{config.n}}`) }}"
        );
        let name = "s".to_owned();
        let source = ScriptSource { name, origin: Origin::Inline, folder: None, text };
        let settings = BTreeMap::from([("s".to_owned(), settings)]);
        ScriptSetup { sources: vec![source], settings, ..ScriptSetup::default() }
    }

    fn said(words: Words) -> Vec<String> {
        let one = |(_, function, result): (_, &str, CallResult)| {
            assert_eq!(result.error, None);
            match &result.effects[..] {
                [Effect::Log(_, text)] => format!("{function} {text}"),
                other => panic!("{other:?}"),
            }
        };
        words.into_iter().map(one).collect()
    }

    #[test]
    fn each_function_is_called_when_its_time_comes() {
        let settings = |json: serde_json::Value| serde_json::from_value::<ScriptSettings>(json).unwrap();
        let plain = setup(1, ScriptSettings::default());
        assert_eq!(said(first_words(&plain)).len(), 2);
        let less = setup(1, settings(serde_json::json!({ "hooks": { "hour": { "enabled": false } } })));
        assert_eq!(said(words_between(&plain, &less)), ["onDisable hour"]);
        assert_eq!(said(words_between(&less, &plain)), ["onEnable hour"]);
        let other = setup(1, settings(serde_json::json!({ "config": { "n": 2 } })));
        assert_eq!(said(words_between(&plain, &other)), ["onUpdateConfig 2", "onUpdateConfig 2"]);
        let edited = said(words_between(&plain, &setup(2, ScriptSettings::default())));
        assert_eq!(edited.iter().filter(|word| word.starts_with("onUnload")).count(), 2);
        assert_eq!(edited.iter().filter(|word| word.starts_with("onLoad")).count(), 2);
        assert_eq!(said(words(Some(&plain), None)), ["onUnload min", "onUnload hour"]);
        assert!(said(words_between(&plain, &plain)).is_empty());
    }
    #[tokio::test]
    async fn a_file_that_cannot_be_used_any_more_is_told_once() {
        let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
        let subjects = Subjects::default();
        let mut alerts = bus.consume(Stream::Alert, "test", &subjects.all("al")).await.unwrap();
        let clock = ManualClock::new(Timestamp::from_secs(1_700_000_000));
        let (site, node) = ("s".to_owned(), "n".to_owned());
        let lifecycle = Lifecycle { teller: Teller { bus, subjects, clock, site, node } };
        let broken = |origin: &str| BrokenScript {
            origin: origin.to_owned(),
            error: ScriptError { script: origin.to_owned(), line: 3, column: 5, cause: "no end".to_owned() },
        };
        let now = [broken("a.rhai"), broken("b.rhai")];
        let telling = tokio::spawn(async move { lifecycle.tell_broken(&now[..1], &now).await });
        let told = alerts.next().await.unwrap();
        let alert: Alert = serde_json::from_slice(&told.payload).unwrap();
        told.ack();
        telling.await.unwrap();
        assert_eq!((alert.alert_type.as_str(), alert.node.as_str()), ("script_broken", "n"));
        assert!(alert.message.contains("b.rhai") && alert.message.contains("line 3"), "{}", alert.message);
    }
}
