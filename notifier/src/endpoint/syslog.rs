//! Syslog: one line an alert (seed 002 "Syslog"), by UDP, by TCP, or to this machine's own daemon.
//!
//! The header is RFC 3164's, or RFC 5424's for `text_rfc5424`; time in it is that of sending, the
//! alert's own is in the text. UDP says nothing about arrival: sent counts as delivered. Lines have
//! no key to tell a repetition by, so a connection that breaks may show a line twice.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use serde::Deserialize;
use shared::clock::SharedClock;
use shared::model::{Alert, Severity};
use shared::store::Delivery;

use self::line::{Format, Header};
use self::transport::{Framing, Transport};
use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Manners, NoParams, same_for_all};

mod line;
mod transport;

/// Longest datagram, in bytes: what every receiver should take (RFC 5424 §6.1).
const UDP_BYTES: usize = 2048;

/// Longest line to a stream or a local socket, in bytes: what common daemons take.
const STREAM_BYTES: usize = 8192;

/// The kind `syslog`.
pub struct SyslogKind;

impl EndpointKind for SyslogKind {
    const NAME: &'static str = "syslog";
    const SAMPLE: &'static str = r#"
[endpoint]
host = "logs.example.com"
port = 514
protocol = "tcp"
framing = "octet_counted"
format = "text_rfc5424"
facility = 14
[recipient]
"#;
    type Params = SyslogParams;
    type RecipientParams = NoParams;

    fn build(params: SyslogParams, _: NoParams, deps: &EndpointDeps) -> Arc<dyn Endpoint> {
        let (transport, max) = match (params.host, params.protocol) {
            (None, _) => (Transport::local(params.path), STREAM_BYTES),
            (Some(host), Protocol::Udp) => (Transport::udp(host, params.port), UDP_BYTES),
            (Some(host), Protocol::Tcp) => (Transport::tcp(host, params.port, params.framing), STREAM_BYTES),
        };
        let header = Header {
            facility: params.facility.0,
            host: line::name(&deps.node, 255),
            pid: std::process::id(),
            zone: TimeZone::system(),
        };
        let clock = Arc::clone(&deps.clock);
        Arc::new(Syslog { header, format: params.format, max, transport, clock, batch: deps.batch })
    }
}

/// Parameters of a syslog endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogParams {
    /// Name or address of the server; this machine's daemon when absent.
    host: Option<String>,
    /// Port of the server.
    #[serde(default = "default_port")]
    port: u16,
    /// How to reach the server.
    #[serde(default)]
    protocol: Protocol,
    /// How lines are parted on TCP.
    #[serde(default)]
    framing: Framing,
    /// What a line looks like.
    #[serde(default)]
    format: Format,
    /// Syslog facility, 0 to 23 (RFC 5424 §6.2.1).
    #[serde(default)]
    facility: Facility,
    /// Socket of this machine's daemon, where it is not in the usual places.
    path: Option<PathBuf>,
}

fn default_port() -> u16 {
    514
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Protocol {
    #[default]
    Udp,
    Tcp,
}

/// 0 to 23; 14 is "log alert".
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "i64")]
struct Facility(u8);

impl Default for Facility {
    fn default() -> Self {
        Self(14)
    }
}

impl TryFrom<i64> for Facility {
    type Error = String;

    fn try_from(facility: i64) -> Result<Self, String> {
        match u8::try_from(facility) {
            Ok(facility @ 0..=23) => Ok(Self(facility)),
            _ => Err(format!("facility must be 0 to 23, not {facility}")),
        }
    }
}

struct Syslog {
    header: Header,
    format: Format,
    max: usize,
    transport: Transport,
    clock: SharedClock,
    batch: usize,
}

impl std::fmt::Debug for Syslog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syslog").field("format", &self.format).field("to", &self.transport.target()).finish()
    }
}

impl Syslog {
    fn line(&self, delivery: &Delivery) -> Result<String, DeliveryError> {
        let alert: Alert = serde_json::from_str(&delivery.payload)
            .map_err(|_| DeliveryError::permanent("the ledger's payload is not an alert"))?;
        Ok(self.header.alert(self.format, &alert, self.clock.now(), self.max))
    }
}

#[async_trait]
impl Endpoint for Syslog {
    fn manners(&self) -> Manners {
        Manners::of_batch(self.batch)
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        let lines: Vec<_> = batch.iter().map(|delivery| self.line(delivery)).collect();
        let mut results: Vec<_> =
            lines.iter().map(|line| line.as_ref().map(|_| ()).map_err(Clone::clone)).collect();
        let sent = self.transport.send(lines.into_iter().flatten().collect()).await;
        let answers = same_for_all(batch, &sent.map_err(DeliveryError::retry));
        for (result, answer) in results.iter_mut().zip(answers) {
            if result.is_ok() {
                *result = answer;
            }
        }
        results
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        let text = "Test message of flowhook";
        let line = self.header.line(self.format, Severity::Info, self.clock.now(), text);
        self.transport.send(vec![line]).await.map_err(DeliveryError::retry)?;
        Ok(format!("sent one line to {}; syslog does not answer", self.transport.target()))
    }
}

#[cfg(test)]
mod tests;
