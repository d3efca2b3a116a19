//! Every subject on the bus is built and parsed here.
//!
//! Shape: `[<prefix>.]<kind>.v1.<token>…`. Tokens come from users (an interface may be called
//! `eth0.100`), so they are percent-encoded: no `.`, `*`, `>`, blank or control character survives.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::model::{AlertAction, Entity, Severity};

mod event;
mod filters;

pub use event::{EventSubject, token as event_token};
pub use filters::{Filters, check_filter, overlap};

/// What may not stand in a token as it is.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'.').add(b'*').add(b'>').add(b' ').add(b'%').add(b'/').add(b'\\');

/// Builds subjects under one prefix, so that tests and tenants never meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    prefix: String,
}

/// Encodes a token; an empty one becomes `_`.
pub fn token(text: &str) -> String {
    match text {
        "" => "_".to_owned(),
        _ => utf8_percent_encode(text, ESCAPED).to_string(),
    }
}

/// Decodes a token.
pub fn untoken(token: &str) -> String {
    percent_decode_str(token).decode_utf8_lossy().into_owned()
}

impl Subjects {
    /// Subjects under `prefix`; an empty prefix adds nothing.
    pub fn new(prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
        Self { prefix }
    }

    /// Deltas of one interface: `dl.v1.<site>.<partition>.<node>.<ifid>`.
    pub fn delta(&self, site: &str, partition: u32, node: &str, ifid: u32) -> String {
        format!("{}dl.v1.{}.{partition}.{}.{ifid}", self.prefix, token(site), token(node))
    }

    /// All deltas of one partition.
    pub fn deltas_of_partition(&self, partition: u32) -> String {
        format!("{}dl.v1.*.{partition}.>", self.prefix)
    }

    /// The same of one site.
    pub fn deltas_at(&self, site: &str, partition: u32) -> String {
        format!("{}dl.v1.{}.{partition}.>", self.prefix, token(site))
    }

    /// Flow records of one interface: `fr.v1.<site>.<node>.<ifid>`.
    pub fn flows(&self, site: &str, node: &str, ifid: u32) -> String {
        format!("{}fr.v1.{}.{}.{ifid}", self.prefix, token(site), token(node))
    }

    /// An alert transition: `al.v1.<site>.<entity>.<severity>.<action>`.
    pub fn alert(&self, site: &str, entity: Entity, severity: Severity, action: AlertAction) -> String {
        format!("{}al.v1.{}.{entity}.{severity}.{action}", self.prefix, token(site))
    }

    /// A script's HTTP post, for the notifier: `po.v1.<site>`.
    pub fn post(&self, site: &str) -> String {
        format!("{}po.v1.{}", self.prefix, token(site))
    }

    /// A script's own message: `sc.v1.<site>.<what the script said>`; its dots part tokens.
    pub fn script(&self, site: &str, subject: &str) -> String {
        let tokens: Vec<String> = subject.split('.').map(token).collect();
        format!("{}sc.v1.{}.{}", self.prefix, token(site), tokens.join("."))
    }

    /// A question to one node: `rq.v1.<node>.<verb>`.
    pub fn request(&self, node: &str, verb: &str) -> String {
        format!("{}rq.v1.{}.{}", self.prefix, token(node), token(verb))
    }

    /// A question to whoever plays a role: `rq.v1._role.<role>.<verb>`.
    pub fn request_role(&self, role: &str, verb: &str) -> String {
        format!("{}rq.v1._role.{}.{}", self.prefix, token(role), token(verb))
    }

    /// A question to one role of a node, how often rules have chosen an alert: `rq.v1.<node>.<role>-hits`.
    pub fn rule_hits(&self, role: &str, node: &str) -> String {
        self.request(node, &format!("{role}-hits"))
    }

    /// A question to one aggregator about live elements: `rq.v1._live.<node>`.
    pub fn live(&self, node: &str) -> String {
        format!("{}rq.v1._live.{}", self.prefix, token(node))
    }

    /// Says that somebody has edited settings: `cf.v1.edited`.
    pub fn settings_edited(&self) -> String {
        format!("{}cf.v1.edited", self.prefix)
    }

    /// An aggregator of a site says that it could probe hosts: `mo.v1.<site>.<node>`.
    pub fn monitor(&self, site: &str, node: &str) -> String {
        format!("{}mo.v1.{}.{}", self.prefix, token(site), token(node))
    }

    /// All of them at a site.
    pub fn monitors(&self, site: &str) -> String {
        format!("{}mo.v1.{}.*", self.prefix, token(site))
    }

    /// Heartbeat of a node: `hb.v1.<node>`.
    pub fn heartbeat(&self, node: &str) -> String {
        format!("{}hb.v1.{}", self.prefix, token(node))
    }

    /// An event's subject; see [`EventSubject`].
    pub fn event(&self, event: &EventSubject) -> String {
        format!("{}{event}", self.prefix)
    }

    /// A part of a content that is larger than a message: `ob.v1.<hash>.<number>`.
    pub fn object_part(&self, digest: &str, number: usize) -> String {
        format!("{}ob.v1.{digest}.{number}", self.prefix)
    }

    /// A subject that users know without the prefix.
    pub fn prefixed(&self, subject: &str) -> String {
        format!("{}{subject}", self.prefix)
    }

    /// A subject as users know it; `None` when it is under another prefix.
    pub fn unprefixed<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.prefix)
    }

    /// Asks for a hook's execution to be done again: `hook.retry.<hook>`.
    pub fn hook_retry(&self, hook: &str) -> String {
        format!("{}hook.retry.{}", self.prefix, event::token(hook))
    }

    /// The hook of such a subject.
    pub fn parse_hook_retry(&self, subject: &str) -> Option<String> {
        let hook = self.unprefixed(subject)?.strip_prefix("hook.retry.")?;
        (!hook.contains('.')).then(|| event::untoken(hook))
    }

    /// Tells that an execution was queued again, with what it had been given: `hook.retried.<hook>`.
    pub fn hook_retried(&self, hook: &str) -> String {
        format!("{}hook.retried.{}", self.prefix, event::token(hook))
    }

    /// The hook of such a subject.
    pub fn parse_hook_retried(&self, subject: &str) -> Option<String> {
        let hook = self.unprefixed(subject)?.strip_prefix("hook.retried.")?;
        (!hook.contains('.')).then(|| event::untoken(hook))
    }

    /// Tells how an execution stands: `hook.exec.<hook>.<started, success, failure, …>`.
    pub fn hook_exec(&self, hook: &str, outcome: &str) -> String {
        format!("{}hook.exec.{}.{}", self.prefix, event::token(hook), event::token(outcome))
    }

    /// What the stream of events keeps: every kind of event but those of flows, and retries.
    pub fn kept_events(&self) -> Vec<String> {
        let events = KEPT_EVENTS.iter().map(|kind| format!("{}event.{kind}.>", self.prefix));
        events.chain([format!("{}hook.retry.>", self.prefix)]).collect()
    }

    /// Everything of one kind (`dl`, `fr`, `al`, `po`, `sc`, `rq`, `hb`).
    pub fn all(&self, kind: &str) -> String {
        format!("{}{kind}.v1.>", self.prefix)
    }

    /// The tokens after `<prefix><kind>.v1.`, decoded; `None` when the subject is of another kind.
    pub fn parse(&self, kind: &str, subject: &str) -> Option<Vec<String>> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(kind)?.strip_prefix(".v1.")?;
        Some(rest.split('.').map(untoken).collect())
    }
}

/// Kinds of events that are kept until every hook has had them.
const KEPT_EVENTS: [&str; 5] = ["api", "state", "alert", "timer", "item"];

/// True for two neighbouring tokens that the subject of a kept event begins with, after its prefix.
pub fn is_kept_event(token: &str, next: &str) -> bool {
    match token {
        "event" => KEPT_EVENTS.contains(&next),
        "hook" => next == "retry",
        _ => false,
    }
}

/// True when `filter` (`*` one token, `>` one or more at the end) matches `subject`.
pub fn matches(filter: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for part in filter.split('.') {
        match (part, subject.next()) {
            (">", rest) => return rest.is_some(),
            (_, None) => return false,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_stay_one_token() {
        let subjects = Subjects::new("t1");
        let subject = subjects.delta("Zürich HQ", 7, "eth0.100>*", 3);
        assert_eq!(subject.split('.').count(), 7, "{subject}");
        assert_eq!(subjects.parse("dl", &subject).unwrap(), ["Zürich HQ", "7", "eth0.100>*", "3"]);
        assert!(matches(&subjects.deltas_of_partition(7), &subject));
        assert!(!matches(&subjects.deltas_of_partition(8), &subject));
    }

    #[test]
    fn wildcards_follow_nats() {
        for (filter, subject, expected) in [
            ("a.*.c", "a.b.c", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.*", "a.b.c", false),
            ("a", "a", true),
            (">", "a.b", true),
            ("a.b", "a", false),
        ] {
            assert_eq!(matches(filter, subject), expected, "{filter} {subject}");
        }
    }
}
