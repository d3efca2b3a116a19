//! A host that is probed: when, how its rounds went, and what follows from them. Pure.

use std::collections::VecDeque;
use std::net::IpAddr;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use shared::model::time::NS_PER_S;
use shared::model::{
    Category, Entity, Granularity, MonitorCounters, MonitorHost, Party, Severity, Timestamp,
};
use shared::script::AlertRequest;
use shared::script::element::{Counts, InfoValue};

use super::{Interface, Tally};
use crate::alert::Subject;

/// How bad a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Within its limits.
    Well,
    /// Worth a warning.
    Warning,
    /// An alert.
    Alert,
}

impl Level {
    /// Type of its alerts; of [`Level::Well`] there are none.
    pub const fn alert_type(self) -> &'static str {
        match self {
            Self::Well | Self::Warning => "am_threshold_warning",
            Self::Alert => "am_threshold_cross",
        }
    }
}

/// How one round of probes went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// Probes sent.
    pub sent: u32,
    /// Round-trip times of those answered, in microseconds.
    pub rtts_us: Vec<u64>,
    /// Why the last of the others failed.
    pub reason: Option<String>,
    /// The address that was probed.
    pub address: Option<IpAddr>,
    /// Seconds until the certificate expires; negative when it has.
    pub expires_in_s: Option<i64>,
}

impl Round {
    /// Per cent of the probes lost.
    pub fn loss(&self) -> f64 {
        match self.sent {
            0 => 0.0,
            sent => f64::from(sent.saturating_sub(self.rtts_us.len() as u32)) * 100.0 / f64::from(sent),
        }
    }

    /// Mean round-trip time in milliseconds, when there was an answer.
    pub fn rtt_ms(&self) -> Option<f64> {
        let sum: u64 = self.rtts_us.iter().sum();
        (!self.rtts_us.is_empty()).then(|| sum as f64 / self.rtts_us.len() as f64 / 1000.0)
    }

    /// Days until the certificate expires.
    pub fn days_left(&self) -> Option<f64> {
        self.expires_in_s.map(|seconds| seconds as f64 / 86_400.0)
    }
}

/// Something that is beyond a limit.
#[derive(Clone, Debug, PartialEq)]
struct Finding {
    level: Level,
    metric: &'static str,
    value: f64,
    threshold: f64,
    text: String,
}

/// What is to happen to an alert.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Engage it, or show what is new.
    Trigger(AlertRequest),
    /// Release it, as soon as it has been quiet for long enough.
    Release(Level),
}

/// One host.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What the user says of it.
    pub host: MonitorHost,
    /// Told apart from an earlier host of the same name by this.
    pub number: u64,
    /// What identifies it.
    value: String,
    /// How bad the last rounds were, the newest last.
    recent: VecDeque<Level>,
    /// The last round, and when it ended.
    pub last: Option<(Timestamp, Round)>,
    /// How bad it is, the last rounds together.
    pub level: Level,
    /// What was counted.
    pub tally: Tally<MonitorCounters>,
    next: Timestamp,
    under_way: bool,
}

impl Watch {
    /// A host that is probed as soon as somebody looks. `engaged` is how bad it was before a restart.
    pub fn new(host: MonitorHost, number: u64, engaged: Level) -> Self {
        let recent = std::iter::repeat_n(engaged, if engaged == Level::Well { 0 } else { host.failures.of });
        Self {
            value: host.value(),
            number,
            recent: recent.collect(),
            last: None,
            level: engaged,
            tally: Tally::default(),
            next: Timestamp::ZERO,
            under_way: false,
            host,
        }
    }

    /// What identifies it: `measure@host`.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// True when a round is to begin at `now`, which it then does. The next one begins in the next
    /// period, at a time within it that differs from host to host: not all are probed at once.
    pub fn begin(&mut self, now: Timestamp) -> bool {
        if now < self.next {
            return false;
        }
        let period = self.host.granularity;
        let spread = (period.seconds() / 4).clamp(1, 60) * NS_PER_S;
        let hash = xxhash_rust::xxh3::xxh3_64(self.value.as_bytes());
        let offset = (hash % spread.unsigned_abs()) as i64;
        self.next = period.next_boundary(now, &TimeZone::UTC).plus_ns(offset);
        // A round that takes longer than its period is not overtaken.
        !std::mem::replace(&mut self.under_way, true)
    }

    /// A round has ended: what follows for its alerts.
    ///
    /// The alert of a level is wished for while enough of the last rounds were that bad, and this one
    /// is; a warning gives way to the graver alert.
    pub fn step(&mut self, now: Timestamp, round: Round) -> Vec<Wish> {
        self.under_way = false;
        let found = self.judge(&round);
        let worst = found.iter().map(|finding| finding.level).max().unwrap_or(Level::Well);
        self.recent.push_back(worst);
        while self.recent.len() > self.host.failures.of {
            self.recent.pop_front();
        }
        let often = |level: Level| {
            self.recent.iter().filter(|seen| **seen >= level).count() >= self.host.failures.bad
        };
        self.level = [Level::Alert, Level::Warning].into_iter().find(|l| often(*l)).unwrap_or(Level::Well);
        self.count(&round, worst);
        self.last = Some((now, round));
        let wish = |level: Level| match self.level == level {
            false => Some(Wish::Release(level)),
            true if worst < level => None,
            true => self.request(level, &found).map(Wish::Trigger),
        };
        [Level::Warning, Level::Alert].into_iter().filter_map(wish).collect()
    }

    fn count(&mut self, round: &Round, worst: Level) {
        let (probes, replies) = (u64::from(round.sent), round.rtts_us.len() as u64);
        self.tally.add(&MonitorCounters {
            rounds: 1,
            rounds_failed: u64::from(worst == Level::Alert),
            probes,
            replies,
            lost: probes.saturating_sub(replies),
            rtt_us: round.rtts_us.iter().sum(),
        });
    }

    /// Everything that is beyond a limit.
    fn judge(&self, round: &Round) -> Vec<Finding> {
        let limits = &self.host.threshold;
        let mut found = Vec::new();
        let mut over = |metric, value: f64, [warn, alert]: [Option<f64>; 2], text: &dyn Fn(f64) -> String| {
            let beyond = |limit: &f64| if metric == "days_left" { value <= *limit } else { value >= *limit };
            let crossed = [(Level::Warning, warn), (Level::Alert, alert)];
            found.extend(crossed.into_iter().filter_map(|(level, limit)| {
                let threshold = limit.filter(beyond)?;
                Some(Finding { level, metric, value, threshold, text: text(threshold) })
            }));
        };
        let lost = round.sent as usize - round.rtts_us.len().min(round.sent as usize);
        let reason = round.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let loss = [limits.warn_loss, limits.alert_loss.or(Some(100.0))];
        over("loss", round.loss(), loss, &|_| format!("{lost} of {} probes failed{reason}", round.sent));
        if let Some(ms) = round.rtt_ms() {
            let text = |limit| format!("mean latency is {ms:.1} ms, the limit {limit} ms");
            over("rtt", ms, [limits.warn_ms, limits.alert_ms], &text);
        }
        if let Some(days) = round.days_left() {
            let text = |limit| match days < 0.0 {
                true => format!("certificate expired {:.1} days ago", -days),
                false => format!("certificate expires in {days:.1} days, the limit is {limit} days"),
            };
            let limits = [limits.warn_days.or(Some(30.0)), limits.alert_days.or(Some(7.0))];
            over("days_left", days, limits, &text);
        }
        found
    }

    /// The alert of a level, by the first finding that is so grave.
    fn request(&self, level: Level, found: &[Finding]) -> Option<AlertRequest> {
        let Finding { metric, value, threshold, text, .. } = found.iter().find(|f| f.level >= level)?;
        Some(AlertRequest {
            alert_type: Some(level.alert_type().to_owned()),
            severity: Some(if level == Level::Alert { Severity::Error } else { Severity::Warning }),
            category: Some(Category::ActiveMonitoring),
            message: Some(format!("{}: {text}", self.value)),
            value: Some(*value),
            threshold: Some(*threshold),
            metric: Some((*metric).to_owned()),
            ..AlertRequest::default()
        })
    }

    /// How the last round went, as counters that are levels: `up`, `last_rtt_us`, `last_loss_percent`
    /// and `days_left`.
    pub fn levels(&self) -> Counts {
        let round = self.last.as_ref().map(|(_, round)| round);
        let up = round.is_some_and(|round| !round.rtts_us.is_empty());
        let rtt = round.and_then(Round::rtt_ms).map_or(0, |ms| (ms * 1000.0) as u64);
        let loss = round.map_or(0, |round| round.loss() as u64);
        let days = round.and_then(Round::days_left).map_or(0, |days| days.max(0.0) as u64);
        vec![("up", up.into()), ("last_rtt_us", rtt), ("last_loss_percent", loss), ("days_left", days)]
    }

    /// The address, when it is known.
    fn address(&self) -> Option<IpAddr> {
        let probed = self.last.as_ref().and_then(|(_, round)| round.address);
        probed.or_else(|| self.host.host.parse().ok())
    }

    /// Fields of `entity_info`.
    pub fn info(&self) -> Vec<(&'static str, InfoValue)> {
        let text = |text: &str| InfoValue::Text(text.to_owned());
        let mut info = vec![
            ("host", text(&self.host.host)),
            ("measure", text(self.host.measure.name())),
            ("granularity", text(self.host.granularity.name())),
            ("port", InfoValue::Int(self.host.port.or(self.host.measure.default_port()).unwrap_or(0).into())),
        ];
        info.extend(self.address().map(|ip| ("ip", InfoValue::Ip(ip))));
        info
    }

    /// Whom its alerts are about.
    pub fn subject(&self, interface: &Interface) -> Subject {
        let party = self.address().map(|ip| Party {
            ip,
            port: self.host.port.unwrap_or(0),
            vlan: 0,
            mac: None,
            local: false,
            pool: String::new(),
            geo: None,
            is_attacker: false,
            is_victim: false,
            other: Default::default(),
        });
        Subject {
            entity: Entity::AmHost,
            value: self.value.clone(),
            site: interface.site.clone(),
            node: interface.node.clone(),
            ifid: interface.id,
            interface: interface.name.clone(),
            party,
            flow: None,
        }
    }

    /// Another description of the same host: what is known of it stays.
    pub fn describe(&mut self, host: MonitorHost) {
        self.host = host;
    }

    /// True when it is probed in the same way and as often.
    pub fn is_same(&self, host: &MonitorHost) -> bool {
        self.host.granularity == host.granularity && self.host.measure == host.measure
    }

    /// How often it is probed.
    pub fn granularity(&self) -> Granularity {
        self.host.granularity
    }
}

#[cfg(test)]
mod tests;
