//! What a script asks for.

use std::net::IpAddr;

use serde::Serialize;

use crate::model::metric::is_name;
use crate::model::{Category, Severity};

/// An alert as a script asks for it; what it leaves out comes from the script's attributes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AlertRequest {
    /// Snake-case type; the script's key when left out.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub alert_type: Option<String>,
    /// Severity; by score, then by the script's attribute, then `warning`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Category; the script's when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Score; the severity's when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<u32>,
    /// One sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Measured value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Threshold crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Metric of a threshold alert, such as `bytes`; makes `alert_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Who attacks: `client`, `server`, `host` or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attacker: Option<Role>,
    /// Who is attacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub victim: Option<Role>,
    /// Whom it is about, where that is not the element or flow of the call (syslog scripts).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<Box<About>>,
}

/// Hosts that a log line speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// The host, or the client of a flow.
    pub client: Option<IpAddr>,
    /// Its port, 0 where there is none.
    pub client_port: u16,
    /// The server of a flow.
    pub server: Option<IpAddr>,
    /// Its port.
    pub server_port: u16,
    /// Layer-4 protocol of the flow, in lower case.
    pub l4: String,
    /// Layer-7 protocol of the flow.
    pub l7: String,
}

/// A part somebody plays in an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The flow's client, or the host of a host script.
    Client,
    /// The flow's server.
    Server,
}

impl Role {
    /// Reads a part: `client` (or `host`), `server`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "client" | "host" => Some(Self::Client),
            "server" => Some(Self::Server),
            _ => None,
        }
    }
}

/// How grave a log line of a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Detail.
    Debug,
    /// State.
    Info,
    /// Needs a look.
    Warn,
}

/// One thing a script asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Engage an alert (element scripts), or store one (flow scripts).
    Trigger(AlertRequest),
    /// Update an alert while it is engaged; engages nothing (element scripts).
    Keep(AlertRequest),
    /// Release the script's alert of this type (its key when left out).
    Release(Option<String>),
    /// A one-shot alert.
    Store(AlertRequest),
    /// Set a status bit of the flow.
    SetStatus(u8),
    /// Clear a status bit of the flow.
    ClearStatus(u8),
    /// Send an HTTP POST; durable, with retries.
    HttpPost {
        /// Where.
        url: String,
        /// What.
        body: String,
    },
    /// Publish on the bus under `sc.v1.<site>.`.
    Publish {
        /// The rest of the subject.
        subject: String,
        /// What.
        payload: String,
    },
    /// Write a log line.
    Log(LogLevel, String),
    /// Note a number under a name of the script's own: a count, or a level.
    Note {
        /// What it is called, without the script.
        name: String,
        /// True for a level.
        gauge: bool,
        /// How many, or how high.
        value: f64,
    },
    /// Remember a value under a key, or forget it; survives restarts (element scripts).
    Remember {
        /// The script's key.
        key: String,
        /// JSON; nothing forgets it.
        value: Option<String>,
    },
}

/// A number noted under a name of the script's own.
///
/// # Errors
/// The name is none, or the number is not finite.
pub fn note(name: &str, gauge: bool, value: f64) -> Result<Effect, String> {
    if !is_name(name) {
        return Err(format!("'{name}' is no name: 1 to 64 letters, digits, '_', '-' and '.'"));
    }
    if !value.is_finite() {
        return Err(format!("{name} must be finite"));
    }
    Ok(Effect::Note { name: name.to_owned(), gauge, value })
}
