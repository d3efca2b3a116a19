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
        json!({
            "source": self.source.to_string(),
            "when": self.when.secs(),
            "facility": self.facility,
            "severity": self.weight().name(),
            "severity_number": self.severity,
            "host": self.host,
            "producer": self.producer,
            "process": self.process,
            "message_id": self.message_id,
            "data": self.data,
            "message": self.message,
        })
    }
}
