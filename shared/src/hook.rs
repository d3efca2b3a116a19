//! A hook: what is done when which events come.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::wire::subject::{EventSubject, check_filter, event_token};

mod check;

pub use check::check_name;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// A Rhai library function by name: `NAME.rhai` in the folder of libraries, which defines
    /// `hook(host, client, item)`.
    Rhai,
    /// A Rhai file that defines `hook(host, client, item)`.
    RhaiFile,
    /// Rhai code that sees the variables `host`, `client` and `item`.
    RhaiCode,
    /// A Python file that defines `hook(host, client, item)`, in a process of its own.
    PythonFile,
    /// A program.
    Exec,
}

impl HookKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Rhai, Self::RhaiFile, Self::RhaiCode, Self::PythonFile, Self::Exec];

    /// The snake-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rhai => "rhai",
            Self::RhaiFile => "rhai_file",
            Self::RhaiCode => "rhai_code",
            Self::PythonFile => "python_file",
            Self::Exec => "exec",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// True for what runs as a process of the system: to make such a hook takes a right of its own.
    pub const fn is_process(self) -> bool {
        matches!(self, Self::PythonFile | Self::Exec)
    }
}

/// Which calls a trigger is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Those that were done and those that were not.
    #[default]
    Any,
    /// Those that were done.
    Success,
    /// Those that were not.
    Failure,
}

/// What a hook waits for, said in words instead of subjects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    /// A call of the control plane.
    Api {
        /// Three words with dots between them, such as `flowhook.hook.create`.
        call: String,
        /// With which end.
        #[serde(default)]
        on: On,
    },
    /// A state of something.
    State {
        /// The kind of thing, such as `INTERFACE`.
        resource: String,
        /// The state; every one when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<String>,
        /// The state more exactly; every one when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        substate: Option<String>,
        /// Which thing; every one when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// An item on a node.
    Item {
        /// Who keeps the node; the profile's own service when empty.
        #[serde(default)]
        service: String,
        /// The node.
        node: String,
    },
}

impl Trigger {
    /// The filter that means the same.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn filter(&self) -> Result<String, String> {
        let any = |token: &Option<String>| token.as_deref().map_or_else(|| "*".to_owned(), event_token);
        match self {
            Self::Api { call, on } => {
                let words: Vec<&str> = call.split('.').collect();
                let [ns, object, verb] = words.as_slice() else {
                    return Err(format!("call: '{call}' must be three words with dots between them"));
                };
                let success = match on {
                    On::Any => "*",
                    On::Success => "1",
                    On::Failure => "0",
                };
                let word = |word: &&str| if *word == "*" { "*".to_owned() } else { event_token(word) };
                Ok(format!("event.api.{}.{}.{}.{success}", word(ns), word(object), word(verb)))
            }
            Self::State { resource, state, substate, id } => Ok(format!(
                "event.state.{}.{}.{}.{}",
                event_token(resource),
                any(state),
                any(substate),
                any(id)
            )),
            Self::Item { service, node } => {
                Ok(EventSubject::Item { service: service.clone(), node: node.clone() }.to_string())
            }
        }
    }
}

/// What a program reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputForm {
    /// The event as JSON.
    #[default]
    Json,
    /// The same in base64, one line.
    JsonBase64,
    /// A HOOK_MESSAGE document, as the ZeroMQ bridge sends it.
    OneXml,
    /// The same in base64, one line.
    OneXmlBase64,
    /// Nothing.
    None,
}

/// Which executions wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// None.
    None,
    /// Those for events of one key.
    #[default]
    Key,
    /// All of the hook.
    Strict,
}

/// When a failed execution is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Tries altogether; 1 never tries again.
    pub attempts: u32,
    /// Bound of the first wait in milliseconds; it doubles with each failure.
    pub base_ms: u64,
    /// Bound of every wait in milliseconds.
    pub cap_ms: u64,
    /// Exit codes after which there is no other try.
    pub never_after: Vec<i32>,
}

impl Default for RetryPolicy {
    /// 5 tries within about half a minute; what a program says about its input (EX_DATAERR) or its
    /// configuration (EX_CONFIG) does not change by waiting.
    fn default() -> Self {
        Self { attempts: 5, base_ms: 1000, cap_ms: 600_000, never_after: vec![65, 78] }
    }
}

impl RetryPolicy {
    /// As the waits are computed.
    pub fn backoff(&self) -> Backoff {
        Backoff { base: Duration::from_millis(self.base_ms), cap: Duration::from_millis(self.cap_ms) }
    }
}

/// Of several events within a while, only the first counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Suppress {
    /// How long, in seconds.
    pub seconds: u64,
    /// Events with the same value here are meant: a path in the body such as `object.site`; those of the
    /// same key when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// How many records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Of executions where nothing went wrong.
    pub success: u32,
    /// Of others.
    pub failure: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { success: 20, failure: 100 }
    }
}

/// What a process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// CPU time in seconds.
    pub cpu_s: u64,
    /// Memory of its data in MiB.
    pub memory_mib: u64,
    /// Size of a file it writes in MiB.
    pub file_mib: u64,
    /// Processes of its user; does not bind root.
    pub processes: u64,
    /// Output on record in KiB, of each of the two.
    pub output_kib: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_s: 30, memory_mib: 512, file_mib: 64, processes: 1024, output_kib: 256 }
    }
}

/// A hook's definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Filters of events' subjects; `*` stands for a token, `>` for the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// What is waited for, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Trigger>,
    /// What runs.
    pub kind: HookKind,
    /// The library function, file, code or program.
    pub argument: String,
    /// Arguments of a program. `$EVENT_ID`, `$SUBJECT`, `$KEY`, `$ATTEMPT` and `$EVENT` (the input) are
    /// replaced where they are a whole argument.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The input goes to standard input, else it is the last argument.
    #[serde(default = "yes")]
    pub stdin: bool,
    /// What the input is.
    #[serde(default)]
    pub input: InputForm,
    /// The argument is a line for `/bin/sh`.
    #[serde(default)]
    pub shell: bool,
    /// Environment of a process; nothing is inherited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// A Rhai expression over `event`, `subject` and `data`; only where it is true the hook runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Seconds that an execution may take.
    #[serde(default = "timeout_s")]
    pub timeout_s: u64,
    /// Seconds to end after having been asked to (SIGTERM), before SIGKILL.
    #[serde(default = "grace_s")]
    pub grace_s: u64,
    /// Executions at once.
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    /// Which wait for each other.
    #[serde(default)]
    pub order: Order,
    /// Executions begun in a minute at most; further ones wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_minute: Option<u32>,
    /// Which events are left out because there was one like it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppress: Option<Suppress>,
    /// Seconds after which an event is too old to run for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_s: Option<u64>,
    /// When it is tried again.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// How many records are kept.
    #[serde(default)]
    pub keep: Retention,
    /// What a process may use.
    #[serde(default)]
    pub limits: Limits,
    /// The profile whose session it lives as long as; persistent when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The node that keeps this session, and alone ends what lives as long as it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_at: Option<String>,
    /// It runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Nobody may change or delete it before it is unlocked. It runs all the same.
    #[serde(default)]
    pub locked: bool,
    /// Words of the owner's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

const fn yes() -> bool {
    true
}

const fn timeout_s() -> u64 {
    30
}

const fn grace_s() -> u64 {
    5
}

const fn concurrency() -> u32 {
    4
}

impl Hook {
    /// A hook of this kind with everything else as usual.
    pub fn new(kind: HookKind, argument: &str) -> Self {
        Self {
            subjects: Vec::new(),
            triggers: Vec::new(),
            kind,
            argument: argument.to_owned(),
            arguments: Vec::new(),
            stdin: true,
            input: InputForm::Json,
            shell: false,
            environment: BTreeMap::new(),
            when: None,
            timeout_s: timeout_s(),
            grace_s: grace_s(),
            concurrency: concurrency(),
            order: Order::Key,
            max_per_minute: None,
            suppress: None,
            expire_s: None,
            retry: RetryPolicy::default(),
            keep: Retention::default(),
            limits: Limits::default(),
            session: None,
            session_at: None,
            enabled: true,
            locked: false,
            labels: BTreeMap::new(),
        }
    }

    /// Filters of everything it is for.
    ///
    /// # Errors
    /// Says which trigger is wrong.
    pub fn filters(&self) -> Result<Vec<String>, String> {
        let mut filters = self.subjects.clone();
        for (place, trigger) in self.triggers.iter().enumerate() {
            filters.push(trigger.filter().map_err(|cause| format!("triggers[{place}].{cause}"))?);
        }
        for filter in &filters {
            check_filter(filter).map_err(|cause| format!("subjects: {cause}"))?;
        }
        Ok(filters)
    }
}
