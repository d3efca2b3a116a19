//! A log line that somebody sent, as scripts of kind `syslog` see it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::settings::Target;
use crate::model::{Severity, Timestamp};

/// One log line (RFC 5424, or RFC 3164 as far as it tells).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Who sent it.
    pub source: IpAddr,
    /// When it came.
    pub when: Timestamp,
    /// Facility, 0 to 23 (RFC 5424 §6.2.1).
    pub facility: u8,
    /// Severity, 0 (emergency) to 7 (debug).
    pub severity: u8,
    /// The host that it names; empty when it names none.
    pub host: String,
    /// The program that wrote it: APP-NAME or TAG; empty when it does not say.
    pub producer: String,
    /// Process id; empty when it does not say.
    pub process: String,
    /// MSGID; empty when it does not say.
    pub message_id: String,
    /// Structured data: parameters by name, by element.
    pub data: BTreeMap<String, BTreeMap<String, String>>,
    /// The message.
    pub message: String,
}

impl LogEvent {
    /// The severity on our scale.
    pub const fn weight(&self) -> Severity {
        match self.severity {
            0 => Severity::Emergency,
            1 | 2 => Severity::Critical,
            3 => Severity::Error,
            4 => Severity::Warning,
            5 => Severity::Notice,
            6 => Severity::Info,
            _ => Severity::Debug,
        }
    }

    /// Which host it is from, for settings that differ.
    pub fn target(&self) -> Target<'_> {
        Target { value: &self.host, hosts: [Some((self.source, 0, None)), None] }
    }

    /// Who says it, in few words.
    pub fn label(&self) -> String {
        format!("{} {}", self.source, self.producer)
    }

    /// What the hook is called with.
    pub fn json(&self) -> Value {
        EVENT_FIELDS.iter().map(|field| (field.name.to_owned(), (field.read)(self))).collect()
    }
}

/// One field of a line.
pub struct EventField {
    /// Name in scripts, as in `event.source`.
    pub name: &'static str,
    /// Its type in scripts.
    pub kind: &'static str,
    /// What it holds.
    pub doc: &'static str,
    /// Reads it.
    read: fn(&LogEvent) -> Value,
}

const fn field(
    name: &'static str,
    kind: &'static str,
    doc: &'static str,
    read: fn(&LogEvent) -> Value,
) -> EventField {
    EventField { name, kind, doc, read }
}

/// Every field of a line.
pub const EVENT_FIELDS: [EventField; 11] = [
    field("source", "text", "Address that sent it.", |e| e.source.to_string().into()),
    field("when", "int", "Time at which it came, seconds since the epoch.", |e| e.when.secs().into()),
    field("facility", "int", "Facility, 0 to 23 (RFC 5424, section 6.2.1).", |e| e.facility.into()),
    field("severity", "text", "Severity by our names: `emergency`, `critical`, `error`, …", |e| {
        e.weight().name().into()
    }),
    field("severity_number", "int", "Severity, 0 (emergency) to 7 (debug).", |e| e.severity.into()),
    field("host", "text", "Host that it names; empty when it names none.", |e| e.host.clone().into()),
    field("producer", "text", "Program that wrote it (APP-NAME or TAG); empty when it does not say.", |e| {
        e.producer.clone().into()
    }),
    field("process", "text", "Process id; empty when it does not say.", |e| e.process.clone().into()),
    field("message_id", "text", "MSGID; empty when it does not say.", |e| e.message_id.clone().into()),
    field("data", "map of maps", "Structured data: parameters by name, by element.", |e| json!(e.data)),
    field("message", "text", "The message.", |e| e.message.clone().into()),
];
