//! Syslog: one line an alert (seed 002 "Syslog"), by UDP, TCP or TLS, or to this machine's own daemon.
//!
//! The header is RFC 3164's, or RFC 5424's for `text_rfc5424` and `checkmk`; streams are framed as
//! RFC 6587 says, TLS is RFC 5425's. Time in it is that of sending, the
//! alert's own is in the text. UDP says nothing about arrival: sent counts as delivered. Lines have
//! no key to tell a repetition by, so a connection that breaks may show a line twice.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::clock::SharedClock;
use shared::model::{Alert, Severity};
use shared::store::Delivery;

use self::connection::Far;
use self::line::{Format, Header};
use self::transport::{Framing, Transport};
use super::{
    DeliveryError, Endpoint, EndpointDeps, EndpointKind, Manners, NoParams, Repetition, Told, alert_of,
    merged,
};
use crate::http::params::TlsParams;
use crate::params::Within;
use crate::posting::TEST_TEXT;
use crate::tls::Connector;

mod connection;
pub(super) mod line;
mod transport;

/// Longest datagram, in bytes: what every receiver should take (RFC 5424 §6.1).
const UDP_BYTES: usize = 2048;

/// Longest line to a stream or a local socket, in bytes: what common daemons take.
const STREAM_BYTES: usize = 8192;

/// This machine.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The kind `syslog`.
pub struct SyslogKind;

impl EndpointKind for SyslogKind {
    const NAME: &'static str = "syslog";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/syslog.toml");
    type Params = SyslogParams;
    type RecipientParams = NoParams;

    fn build(params: SyslogParams, _: NoParams, deps: &EndpointDeps) -> Result<Arc<dyn Endpoint>, String> {
        let port = params.port.unwrap_or(match params.protocol {
            Protocol::Udp | Protocol::Tcp => 514,
            Protocol::Tls => 6514,
        });
        let framing = params.framing.unwrap_or(match params.protocol {
            Protocol::Udp | Protocol::Tcp => Framing::Newline,
            Protocol::Tls => Framing::OctetCounted,
        });
        let (transport, max) = match (params.host, params.protocol) {
            (None, _) => {
                // Any program of this machine may listen at a path, as on a port of loopback.
                if let (Some(_), Err(refused)) = (&params.path, deps.http.targets().check(LOOPBACK)) {
                    return Err(format!("path: a socket of this machine is as good as loopback: {refused}"));
                }
                (Transport::local(params.path), STREAM_BYTES)
            }
            (Some(_), _) if params.path.is_some() => {
                return Err("path is a socket of this machine, host another machine: give one".to_owned());
            }
            (Some(host), Protocol::Udp) => (Transport::udp(host, port, deps.http.targets()), UDP_BYTES),
            (Some(host), protocol @ (Protocol::Tcp | Protocol::Tls)) => {
                let private = protocol == Protocol::Tls;
                let tls = private.then(|| Connector::new(&params.tls)).transpose()?;
                let targets = deps.http.targets().clone();
                (Transport::tcp(Far { host, port, targets, tls }, framing), STREAM_BYTES)
            }
        };
        if params.structured_data && params.format != Format::TextRfc5424 {
            return Err("'structured_data' needs format 'text_rfc5424'".to_owned());
        }
        let header = Header {
            facility: u8::try_from(params.facility.get()).unwrap_or(14),
            host: line::name(&deps.node, 255),
            pid: std::process::id(),
            zone: TimeZone::system(),
            with_ids: params.structured_data,
        };
        let clock = Arc::clone(&deps.clock);
        Ok(Arc::new(Syslog { header, format: params.format, max, transport, clock, batch: deps.batch }))
    }
}

/// Parameters of a syslog endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogParams {
    /// Name or address of the server; this machine's daemon when absent.
    host: Option<String>,
    /// Port of the server; 514 when absent, 6514 for TLS.
    port: Option<u16>,
    /// How to reach the server.
    #[serde(default)]
    protocol: Protocol,
    /// How lines are parted on TCP and TLS; `newline` on TCP and `octet_counted` on TLS (RFC 5425)
    /// when absent.
    framing: Option<Framing>,
    /// What a line looks like.
    #[serde(default)]
    format: Format,
    /// Lines of `text_rfc5424` carry `[flowhook@32473 id="…"]`, by which a receiver can tell a line that
    /// comes twice.
    #[serde(default)]
    structured_data: bool,
    /// Syslog facility, 0 to 23 (RFC 5424 §6.2.1).
    #[serde(default)]
    facility: Within<0, 23, 14>,
    /// Socket of this machine's daemon, where it is not in the usual places.
    path: Option<PathBuf>,
    /// Certificates.
    #[serde(default)]
    tls: TlsParams,
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Protocol {
    #[default]
    Udp,
    Tcp,
    Tls,
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
        let alert = alert_of(delivery)?;
        Ok(self.header.alert(self.format, &alert, &delivery.event_id, self.clock.now(), self.max))
    }
}

#[async_trait]
impl Endpoint for Syslog {
    fn manners(&self) -> Manners {
        Manners { repetition: Repetition::Harmless, ..Manners::of_batch(self.batch) }
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        self.deliver_told(batch).await.into_iter().map(|result| result.map(drop)).collect()
    }

    async fn deliver_told(&self, batch: &[Delivery]) -> Vec<Told> {
        let lines: Vec<_> = batch.iter().map(|delivery| self.line(delivery)).collect();
        let whole: Vec<String> = lines.iter().flatten().cloned().collect();
        let sent = format!("sent to {}; syslog does not answer", self.transport.target());
        let ended = self.transport.send(whole).await.map(|()| Some(sent));
        merged(&lines, vec![ended; batch.len()])
    }

    /// Sends what an alert would look like, in the format that was chosen.
    async fn test(&self) -> Result<String, DeliveryError> {
        let (id, now) = ("flowhook-test", self.clock.now());
        let alert = Alert::internal(id.to_owned(), "test", Severity::Info, TEST_TEXT.to_owned(), now);
        let alert = Alert { node: self.header.host.clone(), ..alert };
        let line = self.header.alert(self.format, &alert, id, now, self.max);
        self.transport.send(vec![line]).await?;
        Ok(format!("sent one line to {}; syslog does not answer", self.transport.target()))
    }
}

#[cfg(test)]
mod tests;
