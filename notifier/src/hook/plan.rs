//! Which hooks an event is for. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use shared::events::Event;
use shared::hook::{Hook, Order};
use shared::model::Timestamp;
use shared::store::hooks::{NewRun, RunTrigger, event_key};
use shared::wire::subject::{Filters, matches, overlap};

/// Windows of suppression that are remembered at most.
const MAX_WINDOWS: usize = 100_000;

/// The hooks in force.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    hooks: BTreeMap<String, (u64, Arc<Hook>)>,
    filters: Filters<String>,
    /// Filters of subjects that hooks may be for.
    allowed: Vec<String>,
}

/// A hook that an event is for.
#[derive(Clone, Debug)]
pub struct Match {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: u64,
    /// Its definition.
    pub hook: Arc<Hook>,
}

impl Plan {
    /// A plan of these hooks, on subjects that are `allowed`.
    pub fn new(hooks: &BTreeMap<String, (u64, Hook)>, allowed: &[String]) -> Self {
        let mut plan = Self { allowed: allowed.to_vec(), ..Self::default() };
        for (name, (revision, hook)) in hooks {
            plan.hooks.insert(name.clone(), (*revision, Arc::new(hook.clone())));
            // What cannot be read was told when the settings were.
            for filter in hook.filters().unwrap_or_default() {
                if hook.enabled {
                    plan.filters.add(&filter, name.clone());
                }
            }
        }
        plan
    }

    /// The hook of this name.
    pub fn hook(&self, name: &str) -> Option<Match> {
        let (revision, hook) = self.hooks.get(name)?;
        Some(Match { name: name.to_owned(), revision: *revision, hook: Arc::clone(hook) })
    }

    /// Every hook, by name.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.hooks.keys()
    }

    /// Enabled hooks that an event of this subject is for, by name.
    pub fn matching(&self, subject: &str) -> Vec<Match> {
        match self.is_allowed(subject) {
            true => self.filters.matching(subject).iter().filter_map(|name| self.hook(name)).collect(),
            false => Vec::new(),
        }
    }

    /// True when an event of this subject is one for this hook, enabled or not.
    pub fn is_for(&self, hook: &Hook, subject: &str) -> bool {
        let filters = hook.filters().unwrap_or_default();
        self.is_allowed(subject) && filters.iter().any(|filter| matches(filter, subject))
    }

    /// The first of these filters that no allowed subject matches: nothing could ever come of it.
    pub fn not_allowed<'a>(&self, filters: &'a [String]) -> Option<&'a String> {
        filters.iter().find(|filter| !self.allowed.iter().any(|allowed| overlap(allowed, filter)))
    }

    fn is_allowed(&self, subject: &str) -> bool {
        self.allowed.iter().any(|filter| matches(filter, subject))
    }
}

/// What the conditions of hooks and arguments of functions see of an event.
pub fn event_json(event: &Event) -> Value {
    serde_json::json!({
        "id": event.id,
        "source": event.source,
        "subject": event.subject,
        "key": event.key,
        "sequence": event.sequence,
        "at": event.at,
        "depth": event.depth,
        "data": event.body,
    })
}

/// The execution of a hook for an event, before anything is left out.
pub fn run_for(found: &Match, event: &Event, trigger: RunTrigger, by: &str, now: Timestamp) -> NewRun {
    let key = event_key(event);
    NewRun {
        hook: found.name.clone(),
        revision: found.revision,
        order_key: match found.hook.order {
            Order::None => key.clone(),
            Order::Key => event.key.clone(),
            Order::Strict => String::new(),
        },
        idempotency_key: format!("{key}/{}", found.name),
        event: key,
        trigger,
        by: by.to_owned(),
        next_at: now,
        input: None,
        skipped: None,
    }
}

/// Leaves out what comes too often or was caused by too many hooks.
#[derive(Debug, Default)]
pub struct Admission {
    /// Until when events of a hook and value are left out.
    windows: HashMap<(String, String), Timestamp>,
}

impl Admission {
    /// Why this event is left out for the hook; nothing when it is not.
    pub fn refuses(
        &mut self,
        found: &Match,
        event: &Event,
        max_depth: u32,
        now: Timestamp,
    ) -> Option<String> {
        if event.depth > max_depth {
            return Some(format!("caused by {} hooks in a row; the limit is {max_depth}", event.depth));
        }
        let suppress = found.hook.suppress.as_ref()?;
        let value = match &suppress.by {
            None => event.key.clone(),
            Some(path) => at(&event.body, path).to_string(),
        };
        let place = (found.name.clone(), value);
        if let Some(until) = self.windows.get(&place)
            && now < *until
        {
            return Some(format!("suppressed: another one came within {} s", suppress.seconds));
        }
        if self.windows.len() >= MAX_WINDOWS {
            self.windows.retain(|_, until| now < *until);
        }
        if self.windows.len() < MAX_WINDOWS {
            let seconds = i64::try_from(suppress.seconds).unwrap_or(i64::MAX);
            self.windows.insert(place, now.plus_secs(seconds));
        }
        None
    }
}

/// The value at a path of keys with dots between them.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, key| &value[key])
}

/// Executions of one hook that may still begin in this minute: a bucket that fills with time.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f64,
    filled_at: Timestamp,
}

impl Bucket {
    /// A full bucket.
    pub fn full(per_minute: u32, now: Timestamp) -> Self {
        Self { tokens: f64::from(per_minute), filled_at: now }
    }

    /// How many may begin now.
    pub fn room(&mut self, per_minute: u32, now: Timestamp) -> usize {
        let most = f64::from(per_minute);
        let seconds = now.since(self.filled_at).max(0) as f64 / 1e9;
        self.tokens = (self.tokens + seconds * most / 60.0).min(most);
        self.filled_at = now;
        self.tokens as usize
    }

    /// Some have begun.
    pub fn take(&mut self, begun: usize) {
        self.tokens -= begun as f64;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::hook::{HookKind, Suppress};

    use super::*;

    fn event(subject: &str, site: &str) -> Event {
        Event {
            id: "1".to_owned(),
            subject: subject.to_owned(),
            key: "k".to_owned(),
            sequence: 1,
            at: Timestamp::ZERO,
            source: "/s/n".to_owned(),
            depth: 0,
            traceparent: None,
            body: json!({ "object": { "site": site } }),
        }
    }

    fn hook(subjects: &[&str]) -> Hook {
        let subjects = subjects.iter().map(|s| (*s).to_owned()).collect();
        Hook { subjects, ..Hook::new(HookKind::RhaiCode, "1") }
    }

    #[test]
    fn an_event_goes_to_each_enabled_hook_once() {
        let off = Hook { enabled: false, ..hook(&["event.>"]) };
        let hooks = [
            ("a", hook(&["event.state.HOST.*.*.3", "event.state.>"])),
            ("b", hook(&["event.api.*.*.*.0"])),
            ("off", off),
        ];
        let hooks = hooks.into_iter().map(|(name, hook)| (name.to_owned(), (1, hook))).collect();
        let plan = Plan::new(&hooks, &["event.state.>".to_owned()]);
        let names = |subject: &str| plan.matching(subject).into_iter().map(|m| m.name).collect::<Vec<_>>();
        assert_eq!(names("event.state.HOST.ERROR._.3"), ["a"]);
        assert!(names("event.api.one.vm.create.0").is_empty(), "not an allowed subject");
        assert!(plan.is_for(&hooks["off"].1, "event.state.X.Y._.z") && plan.hook("off").is_some());
        let filters = ["event.*.HOST.>", "event.item.>"].map(str::to_owned);
        assert_eq!(plan.not_allowed(&filters), Some(&filters[1]));
    }

    #[test]
    fn of_events_alike_within_a_while_only_the_first_counts() {
        let suppress = Suppress { seconds: 60, by: Some("object.site".to_owned()) };
        let hook = Arc::new(Hook { suppress: Some(suppress), ..hook(&["event.>"]) });
        let found = Match { name: "h".to_owned(), revision: 1, hook };
        let mut admission = Admission::default();
        let mut refused = |site: &str, secs: i64| {
            admission.refuses(&found, &event("event.item.a.b", site), 3, Timestamp::from_secs(secs)).is_some()
        };
        assert_eq!(
            [
                refused("mad", 0),
                refused("mad", 59),
                refused("ber", 59),
                refused("mad", 60),
                refused("mad", 61)
            ],
            [false, true, false, false, true]
        );
        let deep = Event { depth: 4, ..event("event.item.a.b", "x") };
        assert!(Admission::default().refuses(&found, &deep, 3, Timestamp::ZERO).unwrap().contains("4 hooks"));
    }

    #[test]
    fn a_bucket_lets_as_many_through_as_a_minute_may_have() {
        let mut bucket = Bucket::full(60, Timestamp::ZERO);
        assert_eq!(bucket.room(60, Timestamp::ZERO), 60);
        bucket.take(60);
        assert_eq!(bucket.room(60, Timestamp::from_secs(5)), 5);
        assert_eq!(bucket.room(60, Timestamp::from_secs(500)), 60);
    }
}
