//! What a stored flow has besides its columns, packed: protobuf, in which a default takes no room. Nobody
//! but this store reads it. Tags are never used again for something else.

use prost::Message;

use crate::model::flow::{DirectionCounters, FlowSide};
use crate::model::{AppCategory, Breed, FlowRecord, L4, Timestamp};
use crate::store::StoreError;
use crate::wire::{WireError, flow_batch::value, proto};

mod info;

use info::Info;

#[derive(Clone, PartialEq, Message)]
pub(super) struct More {
    #[prost(uint32, tag = "1")]
    flags: u32,
    #[prost(uint32, tag = "2")]
    inner_vlan: u32,
    /// Without packets and bytes, which are columns.
    #[prost(message, optional, tag = "3")]
    cli2srv: Option<proto::Direction>,
    #[prost(message, optional, tag = "4")]
    srv2cli: Option<proto::Direction>,
    #[prost(bytes = "vec", tag = "5")]
    client_mac: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    server_mac: Vec<u8>,
    #[prost(uint32, tag = "7")]
    icmp: u32,
    #[prost(uint32, tag = "8")]
    tcp_state: u32,
    #[prost(uint32, tag = "9")]
    rtt_client_us: u32,
    #[prost(uint32, tag = "10")]
    rtt_server_us: u32,
    #[prost(uint32, tag = "11")]
    gap_min_us: u32,
    #[prost(uint32, tag = "12")]
    gap_max_us: u32,
    #[prost(uint32, tag = "13")]
    gap_deviation_us: u32,
    #[prost(uint32, tag = "14")]
    end: u32,
    #[prost(uint32, tag = "15")]
    l7_source: u32,
    #[prost(uint32, tag = "16")]
    reply_us: u32,
    /// Names, empty for what is not known.
    #[prost(string, tag = "17")]
    l7_category: String,
    #[prost(string, tag = "18")]
    l7_breed: String,
    #[prost(uint32, tag = "19")]
    top_score: u32,
    #[prost(uint32, tag = "20")]
    l7_payloads: u32,
    #[prost(uint32, tag = "21")]
    earlier_s: u32,
    #[prost(message, optional, tag = "22")]
    info: Option<Info>,
    /// JSON, empty for none.
    #[prost(string, tag = "23")]
    export: String,
    #[prost(string, tag = "24")]
    geo: String,
}

/// What the columns of a row say.
pub(super) struct Columns {
    pub id: u64,
    pub ifid: u32,
    pub vlan: u16,
    pub l4: L4,
    pub client: (std::net::IpAddr, u16),
    pub server: (std::net::IpAddr, u16),
    /// Packets and bytes.
    pub cli2srv: [u64; 2],
    pub srv2cli: [u64; 2],
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    pub l7: String,
    pub status: u64,
    pub score: u32,
}

impl More {
    /// What `flow` has besides its columns.
    pub fn of(flow: &FlowRecord) -> Result<Self, StoreError> {
        let mac = |side: &FlowSide| side.mac.map_or_else(Vec::new, |mac| mac.to_vec());
        Ok(Self {
            flags: value::flags(flow),
            inner_vlan: flow.inner_vlan.into(),
            cli2srv: direction(&flow.cli2srv),
            srv2cli: direction(&flow.srv2cli),
            client_mac: mac(&flow.client),
            server_mac: mac(&flow.server),
            icmp: value::icmp_to_wire(flow.icmp),
            tcp_state: value::tcp_state_to_wire(flow.tcp_state),
            rtt_client_us: flow.rtt_client_us,
            rtt_server_us: flow.rtt_server_us,
            gap_min_us: flow.gap_min_us,
            gap_max_us: flow.gap_max_us,
            gap_deviation_us: flow.gap_deviation_us,
            end: value::end_to_wire(flow.end),
            l7_source: value::l7_source_to_wire(flow.l7_source),
            reply_us: flow.reply_us,
            l7_category: unless_default(flow.l7_category, flow.l7_category.name()),
            l7_breed: unless_default(flow.l7_breed, flow.l7_breed.name()),
            top_score: flow.top_score,
            l7_payloads: flow.l7_payloads,
            earlier_s: flow.earlier_s,
            info: Info::of(&flow.info),
            export: json(flow.export.as_ref())?,
            geo: json(flow.geo.as_ref())?,
        })
    }

    /// The flow of which these are the columns and the rest.
    pub fn with(self, columns: Columns) -> Result<FlowRecord, StoreError> {
        let side = |(ip, port), mac: &[u8], local| {
            let mac = value::mac(mac).map_err(unreadable)?;
            Ok::<_, StoreError>(FlowSide { ip, port, mac, local: self.flags & local != 0 })
        };
        Ok(FlowRecord {
            id: columns.id,
            ifid: columns.ifid,
            vlan: columns.vlan,
            inner_vlan: u16::try_from(self.inner_vlan).map_err(unreadable)?,
            l4: columns.l4,
            client: side(columns.client, &self.client_mac, value::CLIENT_LOCAL)?,
            server: side(columns.server, &self.server_mac, value::SERVER_LOCAL)?,
            cli2srv: counters(self.cli2srv, columns.cli2srv).map_err(unreadable)?,
            srv2cli: counters(self.srv2cli, columns.srv2cli).map_err(unreadable)?,
            first_seen: columns.first_seen,
            last_seen: columns.last_seen,
            icmp: value::icmp_from_wire(self.icmp).map_err(unreadable)?,
            tcp_state: value::tcp_state_from_wire(self.tcp_state),
            handshake_ok: self.flags & value::HANDSHAKE_OK != 0,
            rtt_server_us: self.rtt_server_us,
            rtt_client_us: self.rtt_client_us,
            reply_us: self.reply_us,
            gap_min_us: self.gap_min_us,
            gap_max_us: self.gap_max_us,
            gap_deviation_us: self.gap_deviation_us,
            fragmented: self.flags & value::FRAGMENTED != 0,
            l7: columns.l7.into(),
            l7_category: AppCategory::parse(&self.l7_category).unwrap_or_default(),
            l7_breed: Breed::parse(&self.l7_breed).unwrap_or_default(),
            l7_source: value::l7_source_from_wire(self.l7_source),
            info: self.info.map(Info::unpacked).unwrap_or_default(),
            status: columns.status,
            score: columns.score,
            top_score: self.top_score,
            l7_payloads: self.l7_payloads,
            collected: self.flags & value::COLLECTED != 0,
            export: parsed(&self.export)?,
            earlier_s: self.earlier_s,
            geo: parsed(&self.geo)?,
            end: value::end_from_wire(self.end),
        })
    }
}

/// What is wrong with a stored flow.
pub(super) fn unreadable(cause: impl std::fmt::Display) -> StoreError {
    StoreError::Statement(format!("stored flow: {cause}"))
}

fn unless_default<T: Copy + Default + PartialEq>(kind: T, name: &str) -> String {
    if kind == T::default() { String::new() } else { name.to_owned() }
}

fn json<T: serde::Serialize>(value: Option<&T>) -> Result<String, StoreError> {
    Ok(value.map(serde_json::to_string).transpose()?.unwrap_or_default())
}

fn parsed<T: serde::de::DeserializeOwned>(json: &str) -> Result<Option<T>, StoreError> {
    Ok(if json.is_empty() { None } else { Some(serde_json::from_str(json)?) })
}

/// None where there is nothing but packets and bytes.
fn direction(c: &DirectionCounters) -> Option<proto::Direction> {
    let wire = proto::Direction { packets: 0, bytes: 0, ..value::direction_to_wire(c) };
    (wire != proto::Direction::default()).then_some(wire)
}

fn counters(more: Option<proto::Direction>, columns: [u64; 2]) -> Result<DirectionCounters, WireError> {
    let [packets, bytes] = columns;
    value::direction_from_wire(&proto::Direction { packets, bytes, ..more.unwrap_or_default() })
}
