//! Plain values that operators speak about: flow, host, network, interface, alert, severity.
//!
//! Nothing here does I/O, reads a clock or draws a random number.

pub mod alert;
pub mod alert_rule;
pub mod alert_schema;
pub mod app;
pub mod calendar;
pub mod category;
pub mod contact;
pub mod counters;
pub mod entity;
pub mod entity_field;
pub mod flow;
pub mod flow_field;
pub mod geo;
pub mod host;
pub mod host_fact;
pub mod l7_info;
pub mod metric;
pub mod monitor;
pub mod network;
pub mod packed;
pub mod pool;
pub mod position;
pub mod query;
pub mod severity;
pub mod status;
pub mod time;

pub use alert::{Alert, AlertAction, Party};
pub use alert_rule::{AlertRule, AlertRules};
pub use app::{AppCategory, Breed};
pub use category::Category;
pub use contact::{Contact, ContactKind};
pub use counters::{HostCounters, InterfaceCounters, MonitorCounters, NetworkCounters, SystemCounters};
pub use entity::Entity;
pub use flow::{FlowEnd, FlowRecord, L4, L7Source, TcpState};
pub use geo::{FlowGeo, GeoPlace};
pub use host::HostKey;
pub use host_fact::{CategoryBytes, FactKind, HostFact};
pub use monitor::{Measure, MonitorHost};
pub use network::LocalNetworks;
pub use pool::{HostPools, PoolMember};
pub use position::Position;
pub use severity::Severity;
pub use time::{Granularity, Timestamp};
