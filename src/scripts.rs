//! Watches the folder of scripts and their settings: what is changed there is in force soon after, and
//! what is broken leaves in force what was there before.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shared::geo::GeoBases;
use shared::script::engine::ScriptEngine;
use shared::script::lists::Lists;
use shared::script::live::{LiveScripts, ScriptSender};
use shared::script::registry::{BrokenScript, Registry, ScriptSetup};
use shared::script::source::{self, Origin, ScriptSource};
use shared::settings::{LiveSettings, Settings};

use crate::config::Config;

mod lifecycle;

pub use lifecycle::{LastWords, Lifecycle};

/// What a look at the folder shows without reading the files.
type Glance = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// Looks after the folder.
pub struct Watcher {
    config: Config,
    sender: ScriptSender,
    glance: Glance,
    /// The last right text of each file.
    right: BTreeMap<String, ScriptSource>,
    lists: Lists,
    geo: GeoBases,
    broken: Vec<BrokenScript>,
    settings: LiveSettings,
    /// The settings that `setup` was made with.
    in_force: Arc<Settings>,
    /// What is in force.
    setup: Arc<ScriptSetup>,
    /// Carries out what scripts ask for when they come, go or are configured; one process does.
    lifecycle: Option<Lifecycle>,
}

/// The scripts in force, and who looks after them.
pub fn watch(
    config: &Config,
    sources: Vec<ScriptSource>,
    lists: Lists,
    geo: GeoBases,
    mut settings: LiveSettings,
    lifecycle: Option<Lifecycle>,
) -> (LiveScripts, Watcher) {
    let in_force = Arc::clone(&settings.borrow_and_update());
    let setup = setup(config, sources.clone(), lists.clone(), geo.clone(), Vec::new(), &in_force);
    let (sender, mut scripts) = LiveScripts::channel(setup);
    let right = sources.into_iter().map(|source| (source.origin.to_string(), source));
    let right = right.filter(|(_, source)| source.origin != Origin::Builtin).collect();
    let watcher = Watcher {
        config: config.clone(),
        sender,
        glance: look(config),
        right,
        lists,
        geo,
        broken: Vec::new(),
        settings,
        in_force,
        setup: scripts.take(),
        lifecycle,
    };
    (scripts, watcher)
}

/// Compiles the scripts that a process starts with, and tells which they are.
///
/// # Errors
/// Says what is wrong with them or their settings.
pub fn check(config: &Config, sources: &[ScriptSource]) -> Result<(), Vec<String>> {
    let engine = ScriptEngine::new(config.scripts.limits.clone());
    let (registry, errors) = Registry::load(&engine, sources.to_vec(), &config.scripts.settings);
    if !errors.is_empty() {
        return Err(errors.iter().map(ToString::to_string).collect());
    }
    registry.tell_versions();
    Ok(())
}

fn setup(
    config: &Config,
    sources: Vec<ScriptSource>,
    lists: Lists,
    geo: GeoBases,
    broken: Vec<BrokenScript>,
    settings: &Settings,
) -> ScriptSetup {
    ScriptSetup {
        sources,
        settings: settings.scripts.clone(),
        limits: config.scripts.limits.clone(),
        lists,
        geo,
        pools: Arc::clone(&settings.pools),
        exclusions: settings.exclusions.clone(),
        broken,
        alerts_off: !config.scripts.alerts,
    }
}

impl Watcher {
    /// Looks every `scripts.reload_s` seconds, and when settings have changed, for ever.
    pub async fn run(mut self) {
        let scripts = &self.config.scripts;
        let databases = &self.config.geo.databases;
        let nothing = scripts.dir.as_os_str().is_empty() && scripts.lists.is_empty() && databases.is_empty();
        let interval = match scripts.reload_s {
            reload_s if reload_s > 0 && !nothing => Duration::from_secs(reload_s.into()),
            _ => Duration::MAX,
        };
        if let Some(lifecycle) = &self.lifecycle {
            lifecycle.carry_out(lifecycle::first_words(&self.setup)).await;
        }
        loop {
            let edited = async {
                // Who keeps the settings may have ended; then they stay as they are.
                if self.settings.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = edited => {}
            }
            let before = Arc::clone(&self.setup);
            // Reading and compiling take their time, and a folder may be on a slow network.
            let Ok(watcher) = tokio::task::spawn_blocking(move || {
                self.check();
                self
            })
            .await
            else {
                tracing::error!(
                    "the watch over the folder of scripts panicked: changes are not seen any more"
                );
                return;
            };
            self = watcher;
            if let Some(lifecycle) = &self.lifecycle
                && !Arc::ptr_eq(&before, &self.setup)
            {
                lifecycle.tell_broken(&before.broken, &self.setup.broken).await;
                lifecycle.carry_out(lifecycle::words_between(&before, &self.setup)).await;
            }
        }
    }

    /// What has to be said at the end of the process.
    pub fn last_words(&self) -> Option<LastWords> {
        self.lifecycle.clone().map(|lifecycle| LastWords::new(lifecycle, self.sender.subscribe()))
    }

    /// Takes on what has changed in the folder since the last time.
    pub fn check(&mut self) {
        let glance = look(&self.config);
        let edited = !Arc::ptr_eq(&self.in_force, &self.settings.borrow());
        if glance == self.glance {
            if edited {
                self.publish(&ScriptEngine::new(self.config.scripts.limits.clone()));
            }
            return;
        }
        // What cannot be read now may be so in a moment: it stays news.
        let dir = &self.config.scripts.dir;
        let read = if dir.as_os_str().is_empty() { Ok(Vec::new()) } else { source::load_dir(dir) };
        let sources = match read {
            Ok(sources) => sources,
            Err(error) => return tracing::error!(%error, "scripts are not reloaded"),
        };
        match Lists::load(&self.config.scripts.lists) {
            Ok(lists) => self.lists = lists,
            Err(error) => return tracing::error!(%error, "lists are not reloaded"),
        }
        // They are large: read only when they are what has changed.
        let databases = &self.config.geo.databases;
        if databases.iter().any(|path| glance.get(path) != self.glance.get(path)) {
            match GeoBases::load(databases) {
                Ok(geo) => self.geo = geo,
                Err(error) => return tracing::error!(%error, "databases of places are not reloaded"),
            }
        }
        self.glance = glance;
        let engine = ScriptEngine::new(self.config.scripts.limits.clone());
        let mut right = BTreeMap::new();
        let mut broken = Vec::new();
        for source in sources {
            let origin = source.origin.to_string();
            let before = self.right.remove(&origin);
            if before.as_ref() == Some(&source) {
                right.insert(origin, source);
                continue;
            }
            match engine.compile(&source) {
                Ok(_) => drop(right.insert(origin, source)),
                Err(error) => {
                    let known =
                        self.broken.iter().any(|known| known.origin == origin && known.error == error);
                    if !known {
                        let kept =
                            if before.is_some() { "what it held before stays" } else { "it is left out" };
                        tracing::error!(origin, line = error.line, column = error.column, "{error}; {kept}");
                    }
                    right.extend(before.map(|before| (origin.clone(), before)));
                    broken.push(BrokenScript { origin, error });
                }
            }
        }
        (self.right, self.broken) = (right, broken);
        self.publish(&engine);
    }

    fn publish(&mut self, engine: &ScriptEngine) {
        let scripts = &self.config.scripts;
        let mut sources = if scripts.builtin { source::builtin() } else { Vec::new() };
        sources.extend(self.right.values().cloned());
        let settings = Arc::clone(&self.settings.borrow_and_update());
        // A setting may be for a script that has just been taken away: told, and no more.
        let (registry, errors) = Registry::load(engine, sources.clone(), &settings.scripts);
        for error in errors {
            tracing::warn!("{error}");
        }
        registry.tell_versions();
        tracing::info!(scripts = registry.scripts().len(), broken = self.broken.len(), "scripts reloaded");
        let (lists, geo) = (self.lists.clone(), self.geo.clone());
        let setup = setup(&self.config, sources, lists, geo, self.broken.clone(), &settings);
        self.in_force = settings;
        self.setup = Arc::new(setup);
        self.sender.send_replace(Arc::clone(&self.setup));
    }
}

fn look(config: &Config) -> Glance {
    let dir = config.scripts.dir.as_path();
    let folders = std::iter::once(dir.to_owned())
        .chain(shared::script::ScriptKind::ALL.map(|kind| dir.join(kind.name())));
    let folders = folders.filter(|_| !dir.as_os_str().is_empty());
    let mut glance = Glance::new();
    for path in config.scripts.lists.values().flatten().chain(&config.geo.databases) {
        if let Ok(meta) = std::fs::metadata(path) {
            glance.insert(path.clone(), (meta.len(), meta.modified().ok()));
        }
    }
    for folder in folders {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, meta) = (entry.path(), entry.metadata());
            if let (Some("rhai"), Ok(meta)) = (path.extension().and_then(|e| e.to_str()), meta) {
                glance.insert(path, (meta.len(), meta.modified().ok()));
            }
        }
    }
    glance
}

#[cfg(test)]
#[path = "../tests/support/mmdb.rs"]
mod mmdb;

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "#{ hooks: #{ min: |p| () } }";

    fn keys(scripts: &mut LiveScripts) -> (Vec<String>, Vec<String>) {
        let setup = scripts.take();
        let names = setup.sources.iter().map(|source| format!("{}:{}", source.name, source.text.len()));
        (names.collect(), setup.broken.iter().map(|broken| broken.error.to_string()).collect())
    }

    #[test]
    fn edited_settings_are_taken_on_once() {
        let mut config = Config::default();
        config.scripts.builtin = false;
        let (edit, settings) = tokio::sync::watch::channel(Arc::default());
        let (mut scripts, mut watcher) =
            watch(&config, Vec::new(), Lists::default(), GeoBases::default(), settings, None);
        edit.send_replace(Arc::default());
        watcher.check();
        assert!(scripts.news().is_some());
        watcher.check();
        assert!(scripts.news().is_none(), "nothing has changed since");
    }

    #[test]
    fn a_database_that_changes_is_read_again_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("place.mmdb");
        std::fs::write(&path, mmdb::asn().bytes()).unwrap();
        let mut config = Config::default();
        config.scripts.builtin = false;
        config.geo.databases = vec![path.clone()];
        let settings = tokio::sync::watch::channel(Arc::default()).1;
        let geo = crate::node::geo_bases(&config).unwrap();
        let (mut scripts, mut watcher) = watch(&config, Vec::new(), Lists::default(), geo, settings, None);
        let country = |scripts: &mut LiveScripts| {
            let place = scripts.take().geo.find("203.0.113.5".parse().unwrap()).unwrap();
            (place.country, place.asn)
        };
        assert_eq!(country(&mut scripts), (String::new(), 64_500));
        std::fs::write(&path, b"no database").unwrap();
        watcher.check();
        assert_eq!(country(&mut scripts), (String::new(), 64_500));
        std::fs::write(&path, mmdb::city().bytes()).unwrap();
        watcher.check();
        assert_eq!(country(&mut scripts), ("NZ".to_owned(), 0));
    }

    #[test]
    fn a_broken_file_leaves_what_it_held_before() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("a.rhai", RIGHT);
        let mut config = Config::default();
        config.scripts.dir = dir.path().to_owned();
        config.scripts.builtin = false;
        let sources = source::load_dir(dir.path()).unwrap();
        let settings = tokio::sync::watch::channel(Arc::default()).1;
        let (mut scripts, mut watcher) =
            watch(&config, sources, Lists::default(), GeoBases::default(), settings, None);
        watcher.check();
        assert!(scripts.news().is_none(), "nothing has changed");

        write("b.rhai", "#{ hooks: #{ min: |p| log(\"b\") } }");
        watcher.check();
        let with_b = vec!["a:28".to_owned(), "b:34".to_owned()];
        assert!(scripts.news().is_some());
        assert_eq!(keys(&mut scripts), (with_b.clone(), vec![]));

        write("b.rhai", "#{ hooks: #{\n  min: |p| { if } } }");
        write("c.rhai", "nonsense");
        watcher.check();
        let (names, wrong) = keys(&mut scripts);
        assert_eq!(names, with_b);
        assert!(wrong[0].contains("script b line 2 column 17"), "{wrong:?}");
        assert!(wrong[1].contains("script c"), "{wrong:?}");

        std::fs::remove_file(dir.path().join("a.rhai")).unwrap();
        std::fs::remove_file(dir.path().join("c.rhai")).unwrap();
        write("b.rhai", RIGHT);
        watcher.check();
        assert_eq!(keys(&mut scripts), (vec!["b:28".to_owned()], vec![]));
    }
}
