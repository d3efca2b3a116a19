//! Rounds of probes: what each measure has in common.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use shared::clock::{Clock, Stopwatch};
use shared::model::monitor::PAUSE_MS;
use shared::model::{Measure, MonitorHost, Timestamp};
use tokio::sync::Semaphore;

use super::{dns, http, icmp, tcp, tls};
use crate::element::watch::Round;

/// What an answered probe tells beside its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// When the certificate expires.
    pub not_after: Option<Timestamp>,
}

/// Sends probes.
#[derive(Default)]
pub struct Prober {
    /// Made with the first probe that needs it: reading the machine's certificates takes a while.
    http: OnceLock<Result<http::Clients, String>>,
}

impl Prober {
    /// One round. A probe that hangs is cut at its timeout; one that fails says why.
    pub async fn round(&self, host: &MonitorHost, permits: &Semaphore, clock: &dyn Clock) -> Round {
        let timeout = Duration::from_millis(host.timeout_ms.into());
        let mut round = Round::default();
        for number in 0..host.probes {
            if number > 0 {
                tokio::time::sleep(Duration::from_millis(PAUSE_MS.into())).await;
            }
            // They are never closed.
            let Ok(_permit) = permits.acquire().await else { return round };
            round.sent += 1;
            let probe = self.probe(host, &mut round.address);
            let outcome = match tokio::time::timeout(timeout, probe).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no answer within {} ms", host.timeout_ms)),
            };
            match outcome {
                Ok((took, answer)) => {
                    round.rtts_us.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                    let left = answer.not_after.map(|at| at.secs() - clock.now().secs());
                    round.expires_in_s = left.or(round.expires_in_s);
                }
                Err(reason) => round.reason = Some(reason),
            }
        }
        round
    }

    /// One probe: how long it took from the first packet on, the look-up of the name aside.
    async fn probe(
        &self,
        host: &MonitorHost,
        address: &mut Option<IpAddr>,
    ) -> Result<(Duration, Answer), String> {
        let port = host.port.or(host.measure.default_port()).unwrap_or(0);
        let to = resolve(&host.host, port).await?;
        *address = Some(to.ip());
        let watch = Stopwatch::start();
        let answer = match host.measure {
            Measure::Icmp => return Ok((icmp::probe(to.ip()).await?, Answer::default())),
            Measure::Tcp => tcp::probe(to).await.map(|()| Answer::default()),
            Measure::Dns => {
                dns::probe(to, host.query.as_deref().unwrap_or_default()).await.map(|()| Answer::default())
            }
            Measure::Tls => tls::probe(&host.host, to).await,
            Measure::Http | Measure::Https => {
                let clients = self.http.get_or_init(http::Clients::new).as_ref().map_err(Clone::clone)?;
                // Not the time that making them took.
                let watch = Stopwatch::start();
                clients.probe(host).await?;
                return Ok((watch.elapsed(), Answer::default()));
            }
        }?;
        Ok((watch.elapsed(), answer))
    }
}

/// The first address of a name.
async fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let found = tokio::net::lookup_host((host, port)).await;
    let mut found = found.map_err(|error| format!("{host} does not resolve: {error}"))?;
    found.next().ok_or_else(|| format!("{host} does not resolve: it has no address"))
}

/// An error with what is behind it, in one line.
pub fn cause(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        let more = error.to_string();
        // Many repeat what is behind them.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        behind = error.source();
    }
    text
}
