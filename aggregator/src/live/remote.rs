//! Questions to other aggregators, over the bus.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::bus::{MAX_MESSAGE, SharedBus};
use shared::wire::subject::Subjects;

use super::{Answers, HostQuery, PATIENCE};

/// How long another aggregator may take: longer than its shards may.
const FAR_PATIENCE: Duration = Duration::from_secs(PATIENCE.as_secs() + 1);

/// What one aggregator asks of another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    /// Its interfaces.
    Interfaces,
    /// Its hosts.
    Hosts(HostQuery),
    /// Its networks.
    Networks,
    /// The hosts that it probes.
    Monitored,
}

impl Question {
    /// Whether who asks can ask for what comes after the last row.
    fn has_pages(&self) -> bool {
        matches!(self, Self::Hosts(_))
    }
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answer<T> {
    rows: Vec<T>,
    /// There are more rows than fit into a message.
    #[serde(default)]
    cut: bool,
    /// Partitions that it holds.
    held: BTreeSet<u32>,
    missing: Vec<String>,
}

/// What all of them answer.
pub(super) struct FarAnswers<T> {
    pub rows: Vec<T>,
    /// The last row of each answer that was cut.
    pub cuts: Vec<T>,
    pub held: BTreeSet<u32>,
    pub missing: Vec<String>,
}

/// Other aggregators.
#[derive(Clone)]
pub(super) struct Others {
    bus: SharedBus,
    subjects: Subjects,
    node: String,
    members: Arc<RwLock<Vec<String>>>,
}

impl Others {
    pub(super) fn new(bus: SharedBus, subjects: Subjects, node: String) -> Self {
        Self { bus, subjects, node, members: Arc::default() }
    }

    /// From now on these share the partitions.
    pub(super) fn set(&self, names: Vec<String>) {
        if let Ok(mut kept) = self.members.write()
            && *kept != names
        {
            *kept = names;
        }
    }

    /// All but this one.
    pub(super) fn names(&self) -> Vec<String> {
        let members = self.members.read().map(|members| members.clone()).unwrap_or_default();
        members.into_iter().filter(|name| *name != self.node).collect()
    }

    /// Asks all of them at once.
    pub(super) async fn ask<T: DeserializeOwned>(&self, question: &Question) -> FarAnswers<T> {
        let has_pages = question.has_pages();
        // A question is made of what JSON takes.
        let question = bytes::Bytes::from(serde_json::to_vec(question).unwrap_or_default());
        let ask = |name: String| {
            let (subject, question) = (self.subjects.live(&name), question.clone());
            async move {
                let answer = self.bus.request(&subject, question, FAR_PATIENCE).await;
                let answer = answer.map_err(|error| error.to_string());
                let read = |bytes: bytes::Bytes| serde_json::from_slice::<Answer<T>>(&bytes);
                (name, answer.and_then(|bytes| read(bytes).map_err(|error| error.to_string())))
            }
        };
        let mut all =
            FarAnswers { rows: Vec::new(), cuts: Vec::new(), held: BTreeSet::new(), missing: Vec::new() };
        for (name, answer) in futures::future::join_all(self.names().into_iter().map(ask)).await {
            match answer {
                Ok(mut answer) => {
                    if answer.cut && !has_pages {
                        tracing::warn!(aggregator = name, "an answer about live elements was too long");
                        all.missing.push(format!("aggregator {name}, in part"));
                    } else if answer.cut {
                        all.cuts.extend(answer.rows.pop());
                    }
                    all.rows.extend(answer.rows);
                    all.held.extend(answer.held);
                    all.missing.extend(answer.missing);
                }
                Err(cause) => {
                    tracing::warn!(aggregator = name, cause, "no answer to a question about live elements");
                    all.missing.push(format!("aggregator {name}"));
                }
            }
        }
        all
    }
}

/// The message of an answer; of rows that do not fit the first ones, in their order.
pub(super) fn answer<T: Serialize>(answers: Answers<T>, held: Vec<u32>) -> Vec<u8> {
    let Answers { rows, missing } = answers;
    let mut answer = Answer { rows, cut: false, held: held.into_iter().collect(), missing };
    loop {
        let bytes = serde_json::to_vec(&answer).unwrap_or_default();
        if bytes.len() <= MAX_MESSAGE || answer.rows.is_empty() {
            return bytes;
        }
        answer.cut = true;
        answer.rows.truncate(answer.rows.len() / 2);
    }
}

/// The answer to what is no question.
pub(super) fn refuse(cause: &str) -> Vec<u8> {
    serde_json::json!({ "error": { "code": "bad_request", "message": cause } }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_too_long_is_cut_and_says_so() {
        let rows: Vec<String> = (0..3000).map(|n| format!("{n:01000}")).collect();
        let bytes = answer(Answers { rows: rows.clone(), missing: Vec::new() }, vec![3]);
        assert!(bytes.len() <= MAX_MESSAGE);
        let read: Answer<String> = serde_json::from_slice(&bytes).unwrap();
        assert!(read.cut && !read.rows.is_empty() && rows.starts_with(&read.rows));
        assert_eq!(read.held, BTreeSet::from([3]));
    }
}
