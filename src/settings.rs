//! Keeps the settings in force: what the configuration file says, and over it what users have edited.
//!
//! Every process has one keeper. It looks when it is told that something was edited, and from time to
//! time, because such a message may be lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shared::bus::{SharedBus, Subscription};
use shared::settings::{FileSettings, LiveSettings, Settings};
use shared::store::documents::{Document, DocumentStore};
use shared::wire::subject::Subjects;
use tokio::sync::watch;

use crate::config::Config;

/// How often it looks without being told.
const EVERY: Duration = Duration::from_secs(30);

/// How long an aggregator may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a configuration file says of settings that users may edit.
pub fn of_file(config: &Config) -> FileSettings {
    FileSettings {
        scripts: config.scripts.settings.clone(),
        pools: config.pool.clone(),
        exclusions: config.exclusions.clone(),
        silences: config.silences.clone(),
        monitor: config.aggregator.monitor.hosts(),
        hooks: config.hooks.clone(),
        ..FileSettings::default()
    }
}

/// Looks after the settings of this process.
pub struct Keeper {
    files: FileSettings,
    /// The store where this process has it, else an aggregator is asked.
    store: Option<Arc<dyn DocumentStore>>,
    bus: SharedBus,
    subjects: Subjects,
    edited: Subscription,
    sender: watch::Sender<Arc<Settings>>,
    /// What was in force the last time; `None` as long as it is not known.
    known: Option<Vec<Document>>,
    /// What was wrong the last time, which need not be told again.
    told: Vec<String>,
}

impl Keeper {
    /// The settings as they are now, and who looks after them.
    ///
    /// # Errors
    /// The bus is closed.
    pub async fn start(
        files: FileSettings,
        store: Option<Arc<dyn DocumentStore>>,
        bus: SharedBus,
        subjects: Subjects,
    ) -> Result<(LiveSettings, Self), shared::bus::BusError> {
        let edited = bus.subscribe(&subjects.settings_edited()).await?;
        let (sender, receiver) = watch::channel(Arc::new(files.alone()));
        let mut keeper = Self { files, store, bus, subjects, edited, sender, known: None, told: Vec::new() };
        keeper.look().await;
        Ok((receiver, keeper))
    }

    /// Keeps them, for ever.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                message = self.edited.next() => if message.is_none() { return },
                () = tokio::time::sleep(EVERY) => {}
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let documents = match &self.store {
            Some(store) => store.documents(None).await.map_err(|e| e.to_string()),
            None => self.ask().await,
        };
        match documents {
            Ok(documents) if self.known.as_ref() == Some(&documents) => {}
            Ok(documents) => {
                self.apply(&documents);
                self.known = Some(documents);
            }
            Err(cause) => tracing::warn!(cause, "edited settings cannot be read; those known stay in force"),
        }
    }

    async fn ask(&self) -> Result<Vec<Document>, String> {
        let subject = self.subjects.request_role("aggregator", "documents");
        let answer = self.bus.request(&subject, Bytes::new(), PATIENCE).await.map_err(|e| e.to_string())?;
        serde_json::from_slice(&answer).map_err(|e| e.to_string())
    }

    fn apply(&mut self, documents: &[Document]) {
        let before = Arc::clone(&self.sender.borrow());
        let (settings, wrong) = self.files.with(documents, &before);
        for cause in wrong.iter().filter(|cause| !self.told.contains(cause)) {
            tracing::error!("settings: {cause}; it is left out");
        }
        self.told = wrong;
        self.sender.send_replace(Arc::new(settings));
    }
}
