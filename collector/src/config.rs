//! What the collector can be told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::affinity;
use crate::capture;
use crate::capture::live::{Fanout, Source};
use crate::decode::{DecoderConfig, Tunnels};
use crate::flow::TableConfig;
use crate::ingest;
use crate::ingest::feed::{Feed, FeedConfig};
use crate::l7::apps::AppTable;

/// The `[collector]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorConfig {
    /// A flow without packets for this many seconds ends.
    pub flow_idle_s: u32,
    /// A TCP flow that was closed or reset ends after this many seconds.
    pub flow_closed_s: u32,
    /// A flow of this many seconds ends and its successor goes on; 0 never.
    pub flow_active_s: u32,
    /// Detection of the layer-7 protocol gives up after this many seconds without payload.
    pub detection_silence_s: u32,
    /// Seconds between calls of `periodicUpdate`; 0 never.
    pub periodic_update_s: u32,
    /// Of how many flows one has its hooks told as events, always the same ones; 0 is of none.
    pub flow_events: u32,
    /// Live flows per interface at most; beyond it flows are evicted and counted.
    pub max_flows: usize,
    /// Whether the innermost or the outer packet of a tunnel counts.
    pub tunnels: Tunnels,
    /// Whether the same addresses and ports in two tunnels (VXLAN, GENEVE, GRE, MPLS, …) are two
    /// flows. Leave it off for tunnels whose two directions have different ids (GTP-U, L2TP).
    pub tunnel_parts_flows: bool,
    /// Files with more applications, in the form of the built-in `config/applications.tsv`; their
    /// lines win over its lines.
    pub applications: Vec<PathBuf>,
    /// Seconds of event time between summaries; must divide 60.
    pub summary_interval_s: u32,
    /// MiB of summaries and flow records of each live interface that are kept on disk while NATS is away;
    /// 0 keeps none, and captures wait.
    pub spool_mib: u32,
    /// Compress summaries and flow records (zstd), for narrow lines to NATS.
    pub compress: bool,
    /// Where to capture.
    pub interface: Vec<InterfaceConfig>,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        Self {
            flow_idle_s: 60,
            flow_closed_s: 15,
            flow_active_s: 1800,
            detection_silence_s: 5,
            periodic_update_s: 120,
            flow_events: 0,
            max_flows: 1_000_000,
            tunnels: Tunnels::Inner,
            tunnel_parts_flows: false,
            applications: Vec::new(),
            summary_interval_s: 1,
            spool_mib: 2048,
            compress: false,
            interface: Vec::new(),
        }
    }
}

/// Capture threads of one interface at most.
const MAX_THREADS: usize = 64;

/// Largest kernel ring: libpcap takes its size in bytes as a signed 32-bit number.
const MAX_BUFFER_MIB: u32 = 2047;

/// One `[[collector.interface]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceConfig {
    /// The name people see; for live capture also the device when `device` is absent.
    pub name: String,
    /// Interface id; its place in the list when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Device to capture on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Capture files to read, as one stream ordered by time, instead of a device; `-` is standard
    /// input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// Whether the innermost or the outer packet of a tunnel counts; the collector's setting when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<Tunnels>,
    /// Who reads the device.
    #[serde(default)]
    pub source: Source,
    /// Capture threads, live only; the kernel divides the flows among them.
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// How the kernel divides packets among several threads.
    #[serde(default)]
    pub fanout: Fanout,
    /// Processor cores, one for each thread, on which the threads stay; any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<usize>,
    /// Where to receive flows from exporters, instead of packets: `udp://address:port`, one or
    /// several.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_several")]
    pub listen: Vec<ListenAddress>,
    /// Who may export; everybody when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exporters: Vec<IpNet>,
    /// The packets captured here, or in these files, are export datagrams to these ports: their
    /// flows are collected, as if they had come to `listen`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collect_ports: Vec<u16>,
    /// BPF filter, live only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Bytes captured of each packet, live only.
    #[serde(default = "default_snaplen")]
    pub snaplen: u32,
    /// Also packets for others, live only.
    #[serde(default = "default_true")]
    pub promiscuous: bool,
    /// Kernel ring in MiB, of each thread, live only.
    #[serde(default = "default_buffer")]
    pub buffer_mib: u32,
}

/// A UDP address to listen on, written `udp://0.0.0.0:2055` or `udp://[::]:2055`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl Serialize for ListenAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("udp://{}", self.0))
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let address = text.strip_prefix("udp://").and_then(|rest| rest.parse().ok());
        address.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("'{text}' is no address such as udp://0.0.0.0:2055"))
        })
    }
}

fn one_or_several<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<ListenAddress>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Listen {
        One(ListenAddress),
        Several(Vec<ListenAddress>),
    }
    Ok(match Listen::deserialize(deserializer)? {
        Listen::One(one) => vec![one],
        Listen::Several(several) => several,
    })
}

fn default_snaplen() -> u32 {
    65535
}

fn default_threads() -> usize {
    1
}

fn default_true() -> bool {
    true
}

fn default_buffer() -> u32 {
    64
}

impl InterfaceConfig {
    /// An interface that reads `files`.
    pub fn of_files(name: &str, files: Vec<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            id: None,
            device: None,
            files,
            tunnels: None,
            source: Source::default(),
            threads: default_threads(),
            fanout: Fanout::default(),
            cores: Vec::new(),
            listen: Vec::new(),
            exporters: Vec::new(),
            collect_ports: Vec::new(),
            filter: None,
            snaplen: default_snaplen(),
            promiscuous: true,
            buffer_mib: default_buffer(),
        }
    }

    /// Says what is wrong with how to capture.
    fn check(&self, say: &mut dyn FnMut(&str)) {
        if self.threads == 0 || self.threads > MAX_THREADS {
            say(&format!("threads: must be between 1 and {MAX_THREADS}"));
        }
        if !self.cores.is_empty() && self.cores.len() != self.threads {
            say(&format!("cores: {} are named for {} threads", self.cores.len(), self.threads));
        }
        if let Some(core) = self.cores.iter().find(|core| !affinity::exists(**core)) {
            say(&format!("cores: there is no core {core} here"));
        }
        if self.threads > 1 && !self.files.is_empty() {
            say("threads: files are read by one thread");
        }
        if self.files.is_empty() {
            if self.snaplen == 0 {
                say("snaplen: must be at least 1");
            }
            if self.buffer_mib == 0 || self.buffer_mib > MAX_BUFFER_MIB {
                say(&format!("buffer_mib: must be between 1 and {MAX_BUFFER_MIB}"));
            }
            let any = self.live().name == capture::live::ANY;
            if any && self.source == Source::AfPacket {
                say("source: af_packet takes one device, not any");
            }
            if any && self.threads > 1 {
                say("threads: any is read by one thread");
            }
        }
    }

    /// How to listen for exporters, when the interface does.
    pub fn udp(&self) -> Option<ingest::udp::UdpConfig> {
        (!self.listen.is_empty()).then(|| ingest::udp::UdpConfig {
            name: self.name.clone(),
            listen: self.listen.iter().map(|address| address.0).collect(),
            buffer_bytes: self.buffer_mib as usize * 1024 * 1024,
        })
    }

    /// How to open the device.
    pub fn live(&self) -> capture::live::LiveConfig {
        capture::live::LiveConfig {
            name: self.device.clone().unwrap_or_else(|| self.name.clone()),
            source: self.source,
            snaplen: self.snaplen,
            promiscuous: self.promiscuous,
            buffer_bytes: self.buffer_mib.saturating_mul(1024 * 1024),
            filter: self.filter.clone(),
            fanout: self.fanout,
        }
    }
}

impl CollectorConfig {
    /// What is wrong with the section, each with its key; empty when nothing is.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut positive = |key: &str, value: u64| {
            if value == 0 {
                wrong.push(format!("collector.{key}: must be at least 1"));
            }
        };
        positive("flow_idle_s", self.flow_idle_s.into());
        positive("max_flows", self.max_flows as u64);
        if self.summary_interval_s == 0 || 60 % self.summary_interval_s != 0 {
            wrong.push("collector.summary_interval_s: must divide 60".to_owned());
        }
        wrong.extend(self.app_table().err());
        let mut names = std::collections::BTreeSet::new();
        let mut ids = std::collections::BTreeSet::new();
        for (place, interface) in self.interface.iter().enumerate() {
            let key = format!("collector.interface[{place}] '{}'", interface.name);
            if interface.name.is_empty() {
                wrong.push(format!("{key}: name: must not be empty"));
            }
            if !names.insert(&interface.name) {
                wrong.push(format!("{key}: name: used twice"));
            }
            if !ids.insert(interface.id.unwrap_or(place as u32)) {
                wrong.push(format!("{key}: id: used twice"));
            }
            if interface.device.is_some() && !interface.files.is_empty() {
                wrong.push(format!("{key}: either device or files, not both"));
            }
            interface.check(&mut |cause| wrong.push(format!("{key}: {cause}")));
            if !interface.listen.is_empty() && (interface.device.is_some() || !interface.files.is_empty()) {
                wrong.push(format!("{key}: either listen or device or files, not both"));
            }
            if interface.listen.is_empty()
                && interface.collect_ports.is_empty()
                && !interface.exporters.is_empty()
            {
                wrong.push(format!("{key}: exporters: goes with listen or collect_ports"));
            }
            if let Some(filter) = &interface.filter
                && let Err(error) = capture::live::check_filter(filter)
            {
                wrong.push(format!("{key}: filter: {error}"));
            }
        }
        wrong
    }

    /// The applications, built in and the user's.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn app_table(&self) -> Result<Arc<AppTable>, String> {
        let mut table = AppTable::built_in();
        for path in &self.applications {
            let wrong = |cause: &dyn std::fmt::Display| {
                format!("collector.applications: {}: {cause}", path.display())
            };
            let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
            Arc::make_mut(&mut table).read(&text).map_err(|error| wrong(&error))?;
        }
        Ok(table)
    }

    /// The decoder's part for one interface.
    pub fn decoder(&self, interface: &InterfaceConfig, seed: u64) -> DecoderConfig {
        let tunnels = interface.tunnels.unwrap_or(self.tunnels);
        DecoderConfig { tunnels, seed, patient: true, ..DecoderConfig::default() }
    }

    /// What makes flows of export datagrams, when the interface collects them.
    pub fn feed(&self, interface: &InterfaceConfig, seed: u64) -> Option<Feed> {
        if interface.listen.is_empty() && interface.collect_ports.is_empty() {
            return None;
        }
        let config = FeedConfig {
            ports: interface.collect_ports.clone(),
            exporters: interface.exporters.clone(),
            ..FeedConfig::default()
        };
        Some(Feed::new(config, self.decoder(interface, seed)))
    }

    /// The flow table's part.
    pub fn table(&self, periodic_s: u32, seed: u64) -> TableConfig {
        TableConfig {
            idle_s: self.flow_idle_s,
            closed_s: self.flow_closed_s,
            active_s: self.flow_active_s,
            silence_s: self.detection_silence_s,
            periodic_s,
            max_flows: self.max_flows,
            tunnel_parts_flows: self.tunnel_parts_flows,
            seed,
        }
    }
}

#[cfg(test)]
mod tests;
