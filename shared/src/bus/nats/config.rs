//! What a configuration says of NATS.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bus::Stream;
use crate::secret::Secret;

/// How to reach NATS and what its streams keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsConfig {
    /// Servers of one cluster, as `nats://host:port` or `tls://host:port`.
    pub servers: Vec<String>,
    /// Prefix of every subject and stream, so that tests and tenants never meet. In a node's
    /// configuration it is `bus.prefix`.
    #[serde(skip)]
    pub prefix: String,
    /// File with a user's JWT and NKey seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PathBuf>,
    /// User name; goes with `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password; goes with `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Token, instead of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Seed of an NKey (`SU…`), instead of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey: Option<Secret>,
    /// First tokens of the subjects on which answers come back, so that permissions can keep nodes from
    /// each other's answers.
    pub inbox_prefix: String,
    /// Refuse a connection without TLS.
    pub tls_required: bool,
    /// File with the certificate authority of the servers, in PEM; else the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// Create and update the streams; where nothing is said, whoever plays the aggregator does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_streams: Option<bool>,
    /// Copies of every stream in the cluster: 1, 3 or 5.
    pub replicas: usize,
    /// Limits of the stream of summaries.
    pub delta: StreamLimits,
    /// Limits of the stream of flow records.
    pub flow: StreamLimits,
    /// Limits of the stream of alerts.
    pub alert: StreamLimits,
    /// Limits of the stream of scripts' posts.
    pub post: StreamLimits,
    /// Limits of the stream of events.
    pub event: StreamLimits,
    /// Sites with a server of their own, which a hub takes streams from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteServer>,
}

/// A site's own NATS server: a leaf node of the hub's, with a JetStream domain of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteServer {
    /// Its JetStream domain: letters, digits, `-` and `_`.
    pub domain: String,
    /// The site has an aggregator, which alone runs its hooks: its alerts and flow records come to the
    /// hub. Otherwise everything comes, and the hub's aggregators work for the site.
    #[serde(default = "yes")]
    pub own_aggregator: bool,
}

fn yes() -> bool {
    true
}

impl SiteServer {
    /// Whether the hub takes this stream from the site. Posts are made where scripts run.
    pub(super) fn gives(&self, stream: Stream) -> bool {
        !self.own_aggregator || matches!(stream, Stream::Alert | Stream::Flow)
    }
}

impl NatsConfig {
    /// What is wrong with the sites, each with its key below `bus.nats`.
    pub fn check_sites(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (place, site) in self.sites.iter().enumerate() {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if site.domain.is_empty() || !site.domain.chars().all(fits) {
                wrong.push(format!("sites[{place}].domain: letters, digits, - and _ only"));
            }
            if self.sites.iter().take(place).any(|other| other.domain == site.domain) {
                wrong.push(format!("sites[{place}].domain: {} is there already", site.domain));
            }
        }
        wrong
    }
}

/// How much a stream keeps; whichever limit is met first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamLimits {
    /// Hours; default 24 for summaries and events, 6 for flow records, 168 for alerts and posts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_hours: Option<u64>,
    /// Bytes; default 1 GiB. The server refuses to create a stream that its disk cannot hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

impl Default for NatsConfig {
    /// A server on this machine, no authentication.
    fn default() -> Self {
        Self {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            prefix: String::new(),
            credentials: None,
            user: None,
            password: None,
            token: None,
            nkey: None,
            inbox_prefix: "_INBOX".to_owned(),
            tls_required: false,
            tls_ca: None,
            create_streams: None,
            replicas: 1,
            delta: StreamLimits::default(),
            flow: StreamLimits::default(),
            alert: StreamLimits::default(),
            post: StreamLimits::default(),
            event: StreamLimits::default(),
            sites: Vec::new(),
        }
    }
}
