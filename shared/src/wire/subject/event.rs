//! Subjects of events: `event.<kind>.<token>…`, of fixed depth by kind, so that `*` can stand anywhere.
//!
//! A token keeps letters, digits, `_` and `-`; every other byte is percent-encoded, nothing becomes `_`,
//! and a `_` that stands alone `%5F`. So subject and tokens are one to one.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::model::Severity;

/// What may not stand in a token of an event as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');

/// What an event's subject says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventSubject {
    /// A call of the control plane has ended: `event.api.<ns>.<object>.<verb>.<0 or 1>`.
    Api {
        /// Who offers the call, such as `flowhook`.
        ns: String,
        /// What it is about, such as `hook`.
        object: String,
        /// What was to be done, such as `create`.
        verb: String,
        /// Whether it was done.
        success: bool,
    },
    /// Something is in another state now: `event.state.<resource>.<state>.<sub or _>.<id>`.
    State {
        /// The kind of thing, in capitals.
        resource: String,
        /// Its state, in capitals.
        state: String,
        /// Its state more exactly, where there is that.
        sub: Option<String>,
        /// Which one.
        id: String,
    },
    /// A flow hook was due: `event.flow.<hook>.<interface>`.
    Flow {
        /// Such as `flowEnd`.
        hook: String,
        /// Number of the interface.
        ifid: u32,
    },
    /// A window of elements has closed: `event.timer.<granularity>.<element>`.
    Timer {
        /// Such as `5mins`.
        granularity: String,
        /// Such as `host`.
        element: String,
    },
    /// An alert's transition: `event.alert.<severity>.<type>.<entity>`.
    Alert {
        /// How grave it is.
        severity: Severity,
        /// Its type.
        alert_type: String,
        /// What it is about.
        entity: String,
    },
    /// Somebody has published an item on a node: `event.item.<service>.<node>`.
    Item {
        /// Who keeps the node.
        service: String,
        /// The node.
        node: String,
    },
}

/// Encodes a token.
pub fn token(text: &str) -> String {
    match text {
        "" => "_".to_owned(),
        "_" => "%5F".to_owned(),
        _ => utf8_percent_encode(text, ESCAPED).to_string(),
    }
}

/// Decodes a token.
pub fn untoken(token: &str) -> String {
    match token {
        "_" => String::new(),
        _ => percent_decode_str(token).decode_utf8_lossy().into_owned(),
    }
}

impl fmt::Display for EventSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api { ns, object, verb, success } => {
                let [ns, object, verb] = [ns, object, verb].map(|text| token(text));
                write!(f, "event.api.{ns}.{object}.{verb}.{}", u8::from(*success))
            }
            Self::State { resource, state, sub, id } => {
                let sub = sub.as_deref().unwrap_or_default();
                let [resource, state, sub, id] = [resource, state, sub, id].map(token);
                write!(f, "event.state.{resource}.{state}.{sub}.{id}")
            }
            Self::Flow { hook, ifid } => write!(f, "event.flow.{}.{ifid}", token(hook)),
            Self::Timer { granularity, element } => {
                write!(f, "event.timer.{}.{}", token(granularity), token(element))
            }
            Self::Alert { severity, alert_type, entity } => {
                write!(f, "event.alert.{severity}.{}.{}", token(alert_type), token(entity))
            }
            Self::Item { service, node } => write!(f, "event.item.{}.{}", token(service), token(node)),
        }
    }
}

impl EventSubject {
    /// Reads a subject without the prefix; `None` when it is no event's.
    pub fn parse(subject: &str) -> Option<Self> {
        let tokens: Vec<&str> = subject.strip_prefix("event.")?.split('.').collect();
        if tokens.iter().any(|token| token.is_empty()) {
            return None;
        }
        match tokens.as_slice() {
            ["api", ns, object, verb, success] => {
                let success = match *success {
                    "0" => false,
                    "1" => true,
                    _ => return None,
                };
                Some(Self::Api { ns: untoken(ns), object: untoken(object), verb: untoken(verb), success })
            }
            ["state", resource, state, sub, id] => Some(Self::State {
                resource: untoken(resource),
                state: untoken(state),
                sub: Some(untoken(sub)).filter(|sub| !sub.is_empty()),
                id: untoken(id),
            }),
            ["flow", hook, ifid] => Some(Self::Flow { hook: untoken(hook), ifid: ifid.parse().ok()? }),
            ["timer", granularity, element] => {
                Some(Self::Timer { granularity: untoken(granularity), element: untoken(element) })
            }
            ["alert", severity, alert_type, entity] => Some(Self::Alert {
                severity: Severity::parse(severity)?,
                alert_type: untoken(alert_type),
                entity: untoken(entity),
            }),
            ["item", service, node] => Some(Self::Item { service: untoken(service), node: untoken(node) }),
            _ => None,
        }
    }

    /// The second token: `api`, `state`, `flow`, `timer`, `alert`, `item`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Api { .. } => "api",
            Self::State { .. } => "state",
            Self::Flow { .. } => "flow",
            Self::Timer { .. } => "timer",
            Self::Alert { .. } => "alert",
            Self::Item { .. } => "item",
        }
    }

    /// Events of the same key keep their order and are numbered in one sequence.
    pub fn key(&self) -> String {
        match self {
            Self::Api { ns, object, .. } => format!("{ns}.{object}"),
            Self::State { resource, id, .. } => format!("{resource}/{id}"),
            Self::Flow { ifid, .. } => format!("flow/{ifid}"),
            Self::Timer { element, .. } => format!("timer/{element}"),
            Self::Alert { alert_type, entity, .. } => format!("alert/{alert_type}/{entity}"),
            Self::Item { service, node } => format!("{service}/{node}"),
        }
    }

    /// For people: the tokens with slashes between them.
    pub fn shown(&self) -> String {
        match self {
            Self::Api { ns, object, verb, success } => {
                format!("{ns}.{object}.{verb} {}", u8::from(*success))
            }
            Self::State { resource, state, sub, id } => {
                format!("{resource}/{state}/{}/{id}", sub.as_deref().unwrap_or_default())
            }
            Self::Flow { hook, ifid } => format!("{hook}/{ifid}"),
            Self::Timer { granularity, element } => format!("{granularity}/{element}"),
            Self::Alert { severity, alert_type, entity } => format!("{severity}/{alert_type}/{entity}"),
            Self::Item { service, node } => format!("{service}/{node}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_have_the_subjects_of_the_plan() {
        let api = EventSubject::Api {
            ns: "one".to_owned(),
            object: "vm".to_owned(),
            verb: "allocate".to_owned(),
            success: true,
        };
        assert_eq!(api.to_string(), "event.api.one.vm.allocate.1");
        let state = |sub: Option<&str>| EventSubject::State {
            resource: "VM".to_owned(),
            state: "ACTIVE".to_owned(),
            sub: sub.map(str::to_owned),
            id: "12".to_owned(),
        };
        assert_eq!(state(Some("RUNNING")).to_string(), "event.state.VM.ACTIVE.RUNNING.12");
        assert_eq!(state(None).to_string(), "event.state.VM.ACTIVE._.12");
        let item = EventSubject::Item { service: String::new(), node: "urn:xmpp:microblog:0".to_owned() };
        assert_eq!(item.to_string(), "event.item._.urn%3Axmpp%3Amicroblog%3A0");
    }

    #[test]
    fn what_is_no_event_is_not_read() {
        for subject in
            ["event.api.a.b.c.2", "event.api.a.b.1", "event.state.a.b.c", "event.item.a.", "ev", ""]
        {
            assert_eq!(EventSubject::parse(subject), None, "{subject}");
        }
    }

    proptest! {
        #[test]
        fn subject_and_tokens_are_one_to_one(
            a in ".*", b in ".*", c in ".*", sub in proptest::option::of(".+"),
        ) {
            for subject in [
                EventSubject::Api { ns: a.clone(), object: b.clone(), verb: c.clone(), success: false },
                EventSubject::State { resource: a.clone(), state: b.clone(), sub: sub.clone(), id: c.clone() },
                EventSubject::Item { service: a.clone(), node: b.clone() },
            ] {
                let text = subject.to_string();
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>'), "{}", text);
                prop_assert_eq!(EventSubject::parse(&text), Some(subject));
            }
        }
    }
}
