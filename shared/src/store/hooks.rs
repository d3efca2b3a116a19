//! What the hook manager keeps: events that came, and every execution of a hook as a record.
//!
//! An execution is one try to run one hook for one event. It is queued, runs, and is done with an
//! outcome; another try is another execution under the same idempotency key. Executions of one hook and
//! order key keep their order: none begins while an earlier one is not done.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::events::Event;
use crate::model::Timestamp;

mod words;

pub use words::{RunOutcome, RunState, RunTrigger};

/// Bytes of an output and of the arguments in a list.
pub(super) const SHORT: usize = 1024;

/// Bytes of events in one page, but for the last one of it.
pub(super) const PAGE_BYTES: i64 = 16 * 1024 * 1024;

/// Dead letters of one hook on record at most.
pub(super) const KEEP_DEAD: i64 = 1000;

/// What was left out of one hook on record at most.
pub(super) const KEEP_SKIPPED: i64 = 100;

/// An execution to be queued.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Name of the hook.
    pub hook: String,
    /// Revision of its definition.
    pub revision: u64,
    /// The event, by source and id; see [`event_key`].
    pub event: String,
    /// Executions of the same hook and order key keep their order.
    pub order_key: String,
    /// The same for every try.
    pub idempotency_key: String,
    /// Why.
    pub trigger: RunTrigger,
    /// Who asked, where that was a person.
    pub by: String,
    /// Not before this.
    pub next_at: Timestamp,
    /// What it is given in place of what the definition makes of the event: a retry with the same
    /// arguments.
    pub input: Option<RunInput>,
    /// Why it is not run at all: it is only put on record.
    pub skipped: Option<String>,
}

/// What a program was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInput {
    /// Arguments.
    pub arguments: Vec<String>,
    /// Standard input, any bytes.
    #[serde(with = "bytes_base64")]
    pub stdin: Vec<u8>,
}

/// Arguments as an answer shows them: `most` bytes together, and each that is cut with a mark that tells
/// how many it had.
pub fn shortened(arguments: &[String], most: usize) -> Vec<String> {
    let (mut left, mut shown) = (most, Vec::new());
    for (place, argument) in arguments.iter().enumerate() {
        if argument.len() <= left {
            left -= argument.len();
            shown.push(argument.clone());
            continue;
        }
        let end = argument.floor_char_boundary(left);
        shown.push(format!("{}… ({} bytes)", &argument[..end], argument.len()));
        let more = arguments.len() - place - 1;
        if more > 0 {
            shown.push(format!("… ({more} more arguments)"));
        }
        break;
    }
    shown
}

/// What names an event among those of all sources.
pub fn event_key(event: &Event) -> String {
    format!("{}#{}", event.source, event.id)
}

/// An execution that may begin now.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedRun {
    /// Its number.
    pub number: u64,
    /// What it was queued with.
    pub run: NewRun,
    /// 1 for the first try.
    pub attempt: u32,
    /// When it was queued first.
    pub queued_at: Timestamp,
    /// The event; `None` when it is kept no longer.
    pub recorded: Option<Event>,
}

/// How an execution went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunResult {
    /// Its outcome.
    pub outcome: Option<RunOutcome>,
    /// The program's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output, any bytes.
    pub stdout: Vec<u8>,
    /// Bytes of standard output altogether; more than are kept when it was cut.
    pub stdout_bytes: u64,
    /// Standard error, any bytes.
    pub stderr: Vec<u8>,
    /// Bytes of standard error altogether.
    pub stderr_bytes: u64,
    /// CPU time in milliseconds, where it is known.
    pub cpu_ms: Option<u64>,
    /// Largest resident memory in KiB, where it is known.
    pub max_rss_kib: Option<u64>,
    /// Why it ended as it did.
    pub reason: String,
    /// What was run, for people.
    pub command: String,
    /// What it was given.
    pub input: RunInput,
}

/// An execution that has ended, and what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct SettledRun {
    /// Its number.
    pub number: u64,
    /// Revision of the definition that was run.
    pub revision: u64,
    /// How it went.
    pub result: RunResult,
    /// When another try is due; nothing when there is none.
    pub again_at: Option<Timestamp>,
    /// It is given up: a dead letter.
    pub dead: bool,
    /// Records of successes of the hook to be kept, and of failures; dead letters and what was left out
    /// are kept apart from both.
    pub keep: (u32, u32),
}

/// An execution as it is on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RunRecord {
    /// Its number, growing over all hooks.
    pub execution: u64,
    /// Name of the hook.
    pub hook: String,
    /// Revision of the definition that ran, or that is to run while it has not.
    pub revision: u64,
    /// The event, by source and id.
    pub event: String,
    /// The event's subject.
    pub subject: String,
    /// Executions of the same hook and order key keep their order.
    pub order_key: String,
    /// The same for every try.
    pub idempotency_key: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// Why it ran.
    pub trigger: RunTrigger,
    /// Who asked for it.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub by: String,
    /// Where it stands.
    pub state: RunState,
    /// How it ended.
    pub outcome: Option<RunOutcome>,
    /// It was given up.
    pub dead: bool,
    /// When it was queued.
    #[schema(value_type = String)]
    pub queued_at: Timestamp,
    /// When it is due.
    #[schema(value_type = String)]
    pub next_at: Timestamp,
    /// When it began.
    #[schema(value_type = Option<String>)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Timestamp>,
    /// The program's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What was run.
    pub command: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Standard output in base64; shortened in lists.
    #[serde(with = "bytes_base64")]
    #[schema(value_type = String)]
    pub stdout: Vec<u8>,
    /// Bytes of standard output altogether.
    pub stdout_bytes: u64,
    /// Standard output was cut.
    pub stdout_truncated: bool,
    /// Standard error in base64.
    #[serde(with = "bytes_base64")]
    #[schema(value_type = String)]
    pub stderr: Vec<u8>,
    /// Bytes of standard error altogether.
    pub stderr_bytes: u64,
    /// Standard error was cut.
    pub stderr_truncated: bool,
    /// CPU time in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Largest resident memory in KiB.
    pub max_rss_kib: Option<u64>,
    /// The node that ran it.
    pub node: String,
    /// Why it ended as it did.
    pub reason: String,
}

/// Which records are wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunQuery {
    /// Of this hook.
    pub hook: Option<String>,
    /// For this event.
    pub event: Option<String>,
    /// With this outcome.
    pub outcome: Option<RunOutcome>,
    /// Only those where nothing, or something, went wrong.
    pub good: Option<bool>,
    /// Only dead letters.
    pub dead: Option<bool>,
    /// In this state.
    pub state: Option<RunState>,
    /// Queued then or later.
    pub since: Option<Timestamp>,
    /// Queued before.
    pub until: Option<Timestamp>,
    /// Numbers below this.
    pub before: Option<u64>,
    /// How many at most.
    pub limit: usize,
}

/// What a hook has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HookCounts {
    /// Name of the hook.
    pub hook: String,
    /// Executions that wait.
    pub queued: u64,
    /// Executions that run.
    pub running: u64,
    /// Successes since it was made.
    pub success: u64,
    /// Failures, timeouts and kills since it was made.
    pub failure: u64,
    /// Left out since it was made.
    pub skipped: u64,
    /// Dead letters on record.
    pub dead: u64,
}

/// The hook manager's records.
#[async_trait]
pub trait HookStore: Send + Sync + 'static {
    /// Records events and queues executions for them, in one transaction. An event that is on record
    /// already is left alone with its executions; returns how many events were new.
    async fn accept_events(
        &self,
        events: Vec<(Event, Vec<NewRun>)>,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Queues executions for events on record; returns their numbers.
    async fn queue_runs(&self, runs: Vec<NewRun>, now: Timestamp) -> Result<Vec<u64>, StoreError>;

    /// Says that `node` runs executions, for `lease` from now on at least. False when another one has said so
    /// of itself, and that has not run out: then nothing is changed. A store that several machines share goes
    /// by its own clock, and not by `now`: theirs differ.
    async fn hold_runs(&self, node: &str, now: Timestamp, lease: Duration) -> Result<bool, StoreError>;

    /// Takes back that `node` runs executions, so that another one may at once.
    async fn let_runs_go(&self, node: &str) -> Result<(), StoreError>;

    /// Hooks with executions that are due at `now`, and when the next one is due otherwise.
    async fn due_hooks(&self, now: Timestamp) -> Result<(Vec<String>, Option<Timestamp>), StoreError>;

    /// Begins executions that are due: of each hook as many as are said, oldest first, in the order of the
    /// hooks, and `most` altogether. [`StoreError::HooksElsewhere`] when another one runs executions.
    async fn claim_runs(
        &self,
        room: Vec<(String, usize)>,
        most: usize,
        node: &str,
        now: Timestamp,
    ) -> Result<Vec<ClaimedRun>, StoreError>;

    /// Ends executions, queues what follows, and forgets old records of their hooks.
    async fn settle_runs(&self, settled: Vec<SettledRun>, now: Timestamp) -> Result<(), StoreError>;

    /// Ends executions that whoever ran them before `node` has begun and not ended, and queues each again
    /// as its next try; returns how many. [`StoreError::HooksElsewhere`] when another one runs executions.
    async fn release_runs(&self, node: &str, now: Timestamp) -> Result<u64, StoreError>;

    /// Records, newest first; each output and the arguments together shortened to 1 KiB.
    async fn runs(&self, query: RunQuery) -> Result<Vec<RunRecord>, StoreError>;

    /// One record, whole, with what it was given.
    async fn one_run(&self, hook: &str, execution: u64) -> Result<Option<(RunRecord, RunInput)>, StoreError>;

    /// What hooks have done, by name.
    async fn hook_counts(&self) -> Result<Vec<HookCounts>, StoreError>;

    /// Events on record in `since..until`, oldest first, from `after` on in the order of their coming;
    /// with the place to go on from. Fewer than `limit` where they are large, and none at the end alone.
    async fn recorded_events(
        &self,
        since: Timestamp,
        until: Timestamp,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Event)>, StoreError>;

    /// The newest events on record that came before the place `before`, newest first, with their places;
    /// fewer than `limit` where they are large.
    async fn newest_events(&self, before: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError>;

    /// One event on record.
    async fn recorded_event(&self, key: &str) -> Result<Option<Event>, StoreError>;

    /// Gives dead letters of a hook back to be tried again as retries, for whom `retry` says, or forgets
    /// them where it is nobody; of one number or all. A letter whose event is kept no longer stays. Returns
    /// how many.
    async fn dead_runs(
        &self,
        hook: &str,
        execution: Option<u64>,
        retry: Option<&str>,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Forgets everything of a hook that is no more, except what runs.
    async fn forget_hook(&self, hook: &str) -> Result<(), StoreError>;

    /// Forgets events that came before `before` or are not among the newest `keep`, unless an execution
    /// still waits for them or one on record did not succeed, which may be asked for again; returns how
    /// many.
    async fn prune_recorded(&self, before: Timestamp, keep: u64) -> Result<u64, StoreError>;
}

/// Bytes as base64 text.
mod bytes_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
