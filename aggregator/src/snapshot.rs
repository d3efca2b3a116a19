//! The state of a partition as it is kept in the store: private to aggregators, but read by those of
//! other versions, so fields are only ever added.
//!
//! Everything that decides what a later delta causes is in it, with one exception: the variables of
//! scripts that live from load to unload cannot be written down; such a script begins anew wherever its
//! partition goes, and keeps what it must with `remember`.

#![allow(missing_docs, reason = "each field is the one of the same name in the state")]

use prost::Message;

/// The version that this program writes. It reads earlier ones and, as far as it knows their fields,
/// later ones.
pub const VERSION: u32 = 1;

/// Tag of [`State::hosts`], which are written one by one: a million at once would take as much again.
pub const HOSTS: u32 = 20;

#[derive(Clone, PartialEq, Message)]
pub struct State {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(message, repeated, tag = "2")]
    pub interfaces: Vec<Interface>,
    #[prost(message, repeated, tag = "3")]
    pub producers: Vec<Producer>,
    #[prost(uint64, tag = "4")]
    pub lost: u64,
    #[prost(uint64, tag = "5")]
    pub duplicates: u64,
    #[prost(message, optional, tag = "6")]
    pub alerts: Option<Alerts>,
    #[prost(message, repeated, tag = "7")]
    pub failing: Vec<Failing>,
    #[prost(message, repeated, tag = "8")]
    pub memories: Vec<Memory>,
    #[prost(message, repeated, tag = "9")]
    pub noted: Vec<Noted>,
    #[prost(uint64, tag = "10")]
    pub stale: u64,
    #[prost(message, repeated, tag = "20")]
    pub hosts: Vec<Host>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Tally {
    #[prost(bytes = "vec", tag = "1")]
    pub total: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub at_run: Vec<Vec<u8>>,
    #[prost(uint32, tag = "3")]
    pub reached: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub missed: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub sampled: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(bool, tag = "2")]
    pub gauge: bool,
    #[prost(double, tag = "3")]
    pub sum: f64,
    #[prost(uint64, tag = "4")]
    pub count: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Interface {
    #[prost(uint32, tag = "1")]
    pub id: u32,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub site: String,
    #[prost(string, tag = "4")]
    pub node: String,
    #[prost(bool, tag = "5")]
    pub collected: bool,
    #[prost(uint64, tag = "6")]
    pub live_flows: u64,
    #[prost(sfixed64, tag = "7")]
    pub watermark: i64,
    #[prost(message, optional, tag = "8")]
    pub tally: Option<Tally>,
    #[prost(message, repeated, tag = "9")]
    pub l7: Vec<L7>,
    #[prost(message, repeated, tag = "10")]
    pub networks: Vec<Network>,
    #[prost(message, optional, tag = "11")]
    pub health: Option<Tally>,
    #[prost(message, repeated, tag = "12")]
    pub named: Vec<Metric>,
    #[prost(message, repeated, tag = "13")]
    pub windows: Vec<Window>,
    #[prost(uint64, tag = "14")]
    pub jumped: u64,
    #[prost(bool, tag = "15")]
    pub orphans_released: bool,
    #[prost(message, repeated, tag = "16")]
    pub resume: Vec<Resume>,
    #[prost(int64, tag = "17")]
    pub asked: i64,
    #[prost(uint64, tag = "18")]
    pub hosts_evicted: u64,
    #[prost(uint64, tag = "19")]
    pub epoch: u64,
    #[prost(bool, tag = "20")]
    pub ended: bool,
    #[prost(message, repeated, tag = "21")]
    pub batches: Vec<Batches>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Batches {
    #[prost(string, tag = "1")]
    pub node: String,
    #[prost(uint64, tag = "2")]
    pub received: u64,
    #[prost(uint64, tag = "3")]
    pub missing: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct L7 {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint64, tag = "2")]
    pub flows: u64,
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    #[prost(uint32, tag = "4")]
    pub category: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Network {
    #[prost(string, tag = "1")]
    pub prefix: String,
    #[prost(message, optional, tag = "2")]
    pub tally: Option<Tally>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Window {
    #[prost(sfixed64, tag = "1")]
    pub from: i64,
    #[prost(sfixed64, tag = "2")]
    pub end: i64,
    #[prost(bool, tag = "3")]
    pub data: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Resume {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub period: String,
    #[prost(string, tag = "3")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Host {
    /// Place of its interface in [`State::interfaces`].
    #[prost(uint32, tag = "1")]
    pub interface: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub ip: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub vlan: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub mac: Vec<u8>,
    #[prost(bool, tag = "5")]
    pub local: bool,
    #[prost(bool, tag = "6")]
    pub idle: bool,
    #[prost(sfixed64, tag = "7")]
    pub first_seen: i64,
    #[prost(sfixed64, tag = "8")]
    pub last_seen: i64,
    #[prost(sfixed64, tag = "9")]
    pub last_counted: i64,
    #[prost(message, optional, tag = "10")]
    pub tally: Option<Tally>,
    #[prost(message, optional, tag = "11")]
    pub facts: Option<Facts>,
    /// Estimators of how many others it got in touch with, by kind, as JSON.
    #[prost(string, repeated, tag = "12")]
    pub contacts: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Facts {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub os: String,
    #[prost(string, repeated, tag = "4")]
    pub earlier: Vec<String>,
    #[prost(bytes = "vec", tag = "3")]
    pub categories: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Producer {
    #[prost(string, tag = "1")]
    pub site: String,
    #[prost(string, tag = "2")]
    pub node: String,
    #[prost(uint32, tag = "3")]
    pub ifid: u32,
    #[prost(uint64, tag = "4")]
    pub epoch: u64,
    #[prost(uint64, tag = "5")]
    pub last: u64,
    #[prost(uint64, repeated, tag = "6")]
    pub missing: Vec<u64>,
    #[prost(uint64, tag = "7")]
    pub before: u64,
    #[prost(uint64, tag = "8")]
    pub stale: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Alerts {
    #[prost(message, repeated, tag = "1")]
    pub engaged: Vec<Engaged>,
    #[prost(message, repeated, tag = "2")]
    pub pending: Vec<Pending>,
    #[prost(message, repeated, tag = "3")]
    pub flaps: Vec<Flaps>,
    #[prost(message, repeated, tag = "4")]
    pub restored: Vec<Key>,
    #[prost(uint64, tag = "5")]
    pub refused: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Engaged {
    /// The alert as JSON.
    #[prost(string, tag = "1")]
    pub alert: String,
    #[prost(int64, tag = "2")]
    pub hold_s: i64,
    #[prost(sfixed64, optional, tag = "3")]
    pub quiet_since: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Key {
    #[prost(string, tag = "1")]
    pub site: String,
    #[prost(uint32, tag = "2")]
    pub ifid: u32,
    #[prost(string, tag = "3")]
    pub entity: String,
    #[prost(string, tag = "4")]
    pub value: String,
    #[prost(string, tag = "5")]
    pub alert_type: String,
    #[prost(string, tag = "6")]
    pub script: String,
    #[prost(string, tag = "7")]
    pub granularity: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Pending {
    #[prost(message, optional, tag = "1")]
    pub key: Option<Key>,
    #[prost(uint32, tag = "2")]
    pub runs: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Flaps {
    #[prost(message, optional, tag = "1")]
    pub key: Option<Key>,
    #[prost(sfixed64, repeated, tag = "2")]
    pub times: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Failing {
    #[prost(string, tag = "1")]
    pub script: String,
    #[prost(uint32, tag = "2")]
    pub in_a_row: u32,
    #[prost(uint32, tag = "3")]
    pub times: u32,
    #[prost(sfixed64, optional, tag = "4")]
    pub until: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Memory {
    #[prost(string, tag = "1")]
    pub script: String,
    #[prost(string, tag = "2")]
    pub site: String,
    #[prost(uint32, tag = "3")]
    pub ifid: u32,
    #[prost(string, tag = "4")]
    pub key: String,
    /// JSON.
    #[prost(string, tag = "5")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Noted {
    #[prost(string, tag = "1")]
    pub site: String,
    #[prost(uint32, tag = "2")]
    pub ifid: u32,
    #[prost(string, tag = "3")]
    pub entity: String,
    #[prost(string, tag = "4")]
    pub value: String,
    #[prost(message, repeated, tag = "5")]
    pub metrics: Vec<Metric>,
}
