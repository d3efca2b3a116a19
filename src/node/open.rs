//! What a node is made of before it plays a role: scripts, lists, databases, store, keys.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use shared::geo::GeoBases;
use shared::script::lists::Lists;
use shared::script::source::{self, ScriptSource};
use shared::seal::Sealer;
use shared::store::Store;
use shared::store::postgres::PostgresStore;
use shared::store::sqlite::SqliteStore;

use super::{NodeError, Roles};
use crate::config::{Config, StoreKind};

/// Built-in scripts and the user's, in this order.
///
/// # Errors
/// A [`ScriptError`](shared::script::ScriptError) names the folder or file that cannot be read.
pub fn script_sources(config: &Config) -> Result<Vec<ScriptSource>, shared::script::ScriptError> {
    let mut sources = if config.scripts.builtin { source::builtin() } else { Vec::new() };
    if !config.scripts.dir.as_os_str().is_empty() {
        sources.extend(source::load_dir(&config.scripts.dir)?);
    }
    Ok(sources)
}

/// The lists that scripts look things up in.
///
/// # Errors
/// Names the file that cannot be read.
pub fn script_lists(config: &Config) -> Result<Lists, NodeError> {
    Lists::load(&config.scripts.lists).map_err(|wrong| NodeError::Config(vec![wrong]))
}

/// The databases that tell where addresses are.
///
/// # Errors
/// Names the file that cannot be read.
pub fn geo_bases(config: &Config) -> Result<GeoBases, NodeError> {
    GeoBases::load(&config.geo.databases).map_err(|wrong| NodeError::Config(vec![wrong]))
}

/// What a process keeps things in.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) lock: Option<File>,
    /// Tells this node from another of its name.
    pub(super) instance: String,
}

/// Opens the store, and the folder that is of this process alone with the lock that keeps others from it:
/// with a server, roles of one node may run beside each other. Same `seed`, same name of the instance, where
/// the files are new.
pub(super) async fn open_store(config: &Config, roles: Roles, seed: u64) -> Result<Opened, NodeError> {
    let dir = &config.node.state_dir;
    if config.store.kind == StoreKind::Sqlite {
        let lock = lock(dir)?;
        let files = SqliteStore::open(dir)?;
        let instance = instance(dir, seed)?;
        return Ok(Opened { store: Some(Arc::new(files)), lock: Some(lock), instance });
    }
    let own = dir.join(format!("{}-{}", config.node_name(), roles.process()));
    let lock = lock(&own)?;
    let store = PostgresStore::open(&config.store.postgres).await?;
    let instance = instance(&own, seed)?;
    Ok(Opened { store: Some(Arc::new(store)), lock: Some(lock), instance })
}

/// What seals the secrets of edited settings.
pub(super) fn sealer(config: &Config) -> Result<Arc<Sealer>, NodeError> {
    let loaded = Sealer::load(&config.node.secret_key, &config.node.state_dir);
    loaded.map(Arc::new).map_err(|cause| NodeError::Config(vec![format!("node.secret_key: {cause}")]))
}

/// What tells whoever uses these files from everybody else of its name; made once, and kept among them.
fn instance(dir: &Path, seed: u64) -> Result<String, NodeError> {
    let path = dir.join("instance");
    let wrong =
        |e: std::io::Error| NodeError::StateDir { path: path.display().to_string(), cause: e.to_string() };
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(wrong(error)),
        _ => {}
    }
    let made = format!("{seed:016x}");
    std::fs::write(&path, &made).map_err(wrong)?;
    Ok(made)
}

/// Makes sure that one process alone uses the state directory.
fn lock(dir: &Path) -> Result<File, NodeError> {
    let wrong = |cause: String| NodeError::StateDir { path: dir.display().to_string(), cause };
    std::fs::create_dir_all(dir).map_err(|e| wrong(e.to_string()))?;
    let file = File::create(dir.join("flowhook.lock")).map_err(|e| wrong(e.to_string()))?;
    file.try_lock().map_err(|e| wrong(e.to_string()))?;
    Ok(file)
}
