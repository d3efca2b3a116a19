//! How questions on `rq.v1._role.notifier.<verb>` are answered: JSON in and out, and where there is no
//! answer `{"error": {"code", "message"}}`. What the questions are is told by those who answer.

use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::bus::{BusError, SharedBus, Subscription};
use shared::store::StoreError;
use shared::wire::subject::Subjects;
use tokio::task::JoinSet;

use crate::metrics;

/// The role's name in subjects.
const ROLE: &str = "notifier";

/// Questions of one verb under way at once.
const AT_ONCE: usize = 16;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// What it is about is not there.
    #[error("{0}")]
    NotFound(String),
    /// Too many are asked at once.
    #[error("too many questions at once")]
    Busy,
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    /// As the asker gets it.
    pub fn to_json(&self) -> Value {
        let code = match self {
            Self::BadRequest(_) => "bad_request",
            Self::NotFound(_) => "not_found",
            Self::Busy => "busy",
            Self::Store(_) => "unavailable",
        };
        json!({ "error": { "code": code, "message": self.to_string() } })
    }
}

/// Knows the answers to some questions.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// Every question there is.
    const VERBS: &'static [&'static str];

    /// The answer to one.
    async fn answer(&self, verb: &str, question: &[u8]) -> Result<Value, Refusal>;
}

/// Answers questions from the bus until the returned set is dropped: of the notifiers of a site one answers
/// each question, and does what it asks for once.
///
/// # Errors
/// [`BusError`] when a subscription fails.
pub async fn listen<A: Answers>(
    bus: &SharedBus,
    subjects: &Subjects,
    site: &str,
    answers: A,
) -> Result<JoinSet<()>, BusError> {
    let answers = Arc::new(answers);
    let mut listeners = JoinSet::new();
    for verb in A::VERBS {
        let subject = subjects.request_role(ROLE, verb);
        let questions = bus.subscribe_in(&format!("{ROLE}/{site}"), &subject).await?;
        listeners.spawn(pump(verb, questions, Arc::clone(&answers)));
    }
    Ok(listeners)
}

async fn pump(verb: &'static str, mut questions: Subscription, answers: Arc<impl Answers>) {
    let mut under_way = JoinSet::new();
    while let Some(question) = questions.next().await {
        let Some(reply) = question.reply else { continue };
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= AT_ONCE {
            metrics::busy(verb);
            reply.send(Refusal::Busy.to_json().to_string());
            continue;
        }
        let answers = Arc::clone(&answers);
        under_way.spawn(async move {
            let answer = answers.answer(verb, &question.payload).await;
            metrics::answered(verb);
            reply.send(answer.unwrap_or_else(|refusal| refusal.to_json()).to_string());
        });
    }
}

/// Reads a question; an empty one is that of no fields.
pub fn read<T: DeserializeOwned>(question: &[u8]) -> Result<T, Refusal> {
    let question = if question.trim_ascii().is_empty() { b"{}" } else { question };
    serde_json::from_slice(question).map_err(|e| Refusal::BadRequest(e.to_string()))
}
