//! How often exclusions and silences have chosen an alert: every process counts by itself, and tells when it
//! is asked.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::bus::{BusError, SharedBus};
use crate::model::AlertRules;
use crate::settings::LiveSettings;
use crate::wire::subject::Subjects;

/// What one process has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleHits {
    /// Tells the process from others: one that plays several roles is asked several times.
    pub process: u64,
    /// Of exclusions, by name.
    pub exclusions: BTreeMap<String, u64>,
    /// Of silences, by name.
    pub silences: BTreeMap<String, u64>,
}

impl RuleHits {
    /// Those of this process.
    pub fn of(process: u64, settings: &Settings) -> Self {
        let counted = |rules: &AlertRules| rules.hits().map(|(name, hits)| (name.to_owned(), hits)).collect();
        Self { process, exclusions: counted(&settings.exclusions), silences: counted(&settings.silences) }
    }
}

/// Answers who asks one role of a node, for as long as the bus is open.
///
/// # Errors
/// The bus is closed.
pub async fn answer(
    bus: SharedBus,
    subjects: &Subjects,
    (role, node): (&str, &str),
    process: u64,
    settings: LiveSettings,
) -> Result<BoxFuture<'static, ()>, BusError> {
    let mut questions = bus.subscribe(&subjects.rule_hits(role, node)).await?;
    let answering = async move {
        while let Some(question) = questions.next().await {
            let hits = RuleHits::of(process, &settings.borrow());
            if let Some(reply) = question.reply {
                // Texts and numbers always become JSON.
                reply.send(serde_json::to_vec(&hits).unwrap_or_default());
            }
        }
    };
    Ok(answering.boxed())
}
