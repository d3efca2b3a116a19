//! Layer 7: which protocol a flow speaks, and what its first messages tell.
//!
//! One file a protocol, each a [`Dissector`]: a probe that says whether a payload is its own, and a
//! reader that fills [`L7Info`] and status bits. [`L7State`] asks them in turn while a flow is
//! young; the [`registry`] lists them all and knows which of them a first byte can belong to.
//! Payloads are hostile: nothing here panics, allocates without bound or trusts a length.

#![forbid(unsafe_code)]

mod ads;
mod afp;
mod ajp;
mod all;
mod among_us;
mod amqp;
mod anydesk;
pub mod apps;
mod armagetron;
mod atg;
mod avast;
mod bacnet;
mod ber;
mod bfcp;
mod bfd;
mod bgp;
mod bitcoin;
mod bittorrent;
mod bjnp;
mod blizzard;
mod c1222;
mod capwap;
mod cassandra;
mod ceph;
mod checkmk;
mod cisco_vpn;
mod citrix;
mod clickhouse;
mod cnp_ip;
mod coap;
mod collectd;
mod corba;
#[cfg(test)]
mod corpus;
mod cotp;
mod cpha;
mod crossfire;
mod cry_network;
mod dcerpc;
mod dga;
mod dhcp;
mod dhcpv6;
mod diameter;
mod dicom;
mod direct_connect;
mod discord;
mod dlep;
mod dlms;
mod dnp3;
mod dns;
mod dnscrypt;
mod drda;
mod dropbox;
mod dtls;
mod eaq;
mod edonkey;
mod egd;
mod eigrp;
mod elasticsearch;
pub(crate) mod entropy;
mod ether_s;
mod ethereum;
mod ethernet_ip;
mod fastcgi;
mod fins;
mod fix;
mod flute;
mod frames;
mod ftp;
mod ftp_data;
mod gearman;
mod git;
mod glbp;
mod gnutella;
mod gtp;
mod guild_wars;
mod h323;
mod haproxy;
mod hart_ip;
mod hislip;
mod hl7;
mod host;
mod hp_virtgrp;
mod hsrp;
mod http;
mod http2;
mod iax;
mod icecast;
mod iec60870;
mod igmp;
mod imap;
mod ipp;
mod ipsec;
mod iqiyi;
mod irc;
mod jrmi;
mod json_rpc;
mod kafka;
mod kcp;
mod kept;
mod kerberos;
mod kismet;
mod knx;
mod l2tp;
mod ldap;
mod ldp;
mod lisp;
mod lotus_notes;
mod lustre;
mod maple_story;
mod matter;
mod megaco;
mod melsec;
mod memcached;
mod memo;
mod meraki;
mod mgcp;
mod miio;
mod minecraft;
mod mining;
mod mms;
mod mndp;
mod modbus;
mod monero;
mod mongodb;
mod mpeg_ts;
mod mqtt;
mod msdo;
mod mumble;
mod munin;
mod mysql;
mod nano;
mod nat_pmp;
mod nats;
mod netbios;
mod netflow;
mod nintendo;
mod nntp;
mod noe;
mod ntp;
mod numbers;
mod oicq;
mod onc_rpc;
mod ookla;
mod opc_ua;
mod openflow;
mod openvpn;
mod openwire;
mod oracle;
mod ospf;
#[cfg(test)]
mod other_parsers;
mod pieces;
mod pim;
mod pop3;
mod ports;
mod postgresql;
mod pptp;
mod profinet;
mod ptp;
mod quake;
mod quic;
mod radius;
mod radmin;
mod raft;
mod raknet;
mod rdp;
#[cfg(test)]
mod recorded;
mod redis;
pub mod registry;
mod rip;
mod ripe_atlas;
mod rlogin;
mod rmcp;
mod roughtime;
mod rsh;
mod rsync;
mod rtmp;
mod rtp;
mod rtps;
mod rtsp;
mod rx;
mod s7comm;
mod sap;
mod sdp;
mod sflow;
mod sip;
mod skinny;
mod slp;
mod smb;
mod smpp;
mod smtp;
mod snmp;
mod socks;
mod softether;
mod someip;
mod soulseek;
mod spotify;
mod ssdp;
mod ssh;
mod state;
mod steam;
mod stomp;
mod stun;
mod synchrophasor;
mod syncthing;
mod syslog;
mod tacacs;
mod tailscale;
mod tds;
mod teamspeak;
mod teamviewer;
mod telegram;
mod telnet;
mod teredo;
#[cfg(test)]
mod tests;
mod text;
mod tftp;
mod thrift;
mod tinc;
mod tivo;
mod tls;
mod tplink;
mod trdp;
mod tristation;
mod tuya;
mod ubiquiti;
mod uftp;
mod viber;
mod vmware;
mod vnc;
mod vrrp;
mod wake_on_lan;
mod wechat;
mod whatsapp;
mod whois;
mod wireguard;
mod ws_discovery;
mod xdmcp;
mod xmpp;
mod yojimbo;
mod z3950;
mod zabbix;
mod zeromq;
mod zoom;
mod zug;

use std::net::IpAddr;

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use numbers::{be16, be32, le16, le32};

pub use all::DISSECTORS;
pub use ports::{by_l4, guess_by_port, is_standard_port, is_well_formed};
pub use registry::ProtocolId;
pub use state::{L7State, Verdict};

/// Payload-bearing packets that detection looks at before it gives up, and that a decided flow's
/// dissector reads at most unless it wants the whole flow.
pub const MAX_PAYLOADS: u32 = 12;

/// What is known about a payload besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L7Context {
    /// Layer-4 protocol.
    pub l4: L4,
    /// Address of the side that opened the flow.
    pub client: IpAddr,
    /// Address of the side that was asked.
    pub server: IpAddr,
    /// Port of the side that opened the flow.
    pub client_port: u16,
    /// Port of the side that was asked.
    pub server_port: u16,
    /// Whether the client sent this payload.
    pub from_client: bool,
    /// Payload-bearing packets of the flow so far, this one included.
    pub packets_seen: u32,
    /// Time of capture, seconds since the epoch.
    pub at_s: i64,
    /// How the payload before began that came the same way, while the flow is undecided; for
    /// protocols whose datagrams tell only by their sequence. Zeros when there was none.
    pub before: Head,
}

/// The first bytes of a datagram; zeros behind a short one.
pub type Head = [u8; 12];

impl L7Context {
    fn has_port(&self, port: u16) -> bool {
        self.server_port == port || self.client_port == port
    }
}

/// What a dissector thinks of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Mine.
    Certain,
    /// Plausible, or too short to tell. Decides with a usual port, or once both directions are
    /// plausible.
    Maybe,
    /// Not mine.
    No,
}

/// What a dissector wants to read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The same bytes again with the next ones of that direction behind them; over UDP the datagrams
    /// that came so far, as `kept` joins them.
    Longer,
    /// The next payload, but no more than [`MAX_PAYLOADS`] in all.
    Next,
    /// Every payload of the flow.
    Always,
    /// The flow turned into another protocol (an upgrade, STARTTLS, a tunnel that opened): the flow
    /// is named after this one from now on, and it reads the next payload.
    Become(&'static Dissector),
    /// Nothing.
    Nothing,
}

/// What carries a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TCP alone.
    Tcp,
    /// UDP alone.
    Udp,
    /// Both.
    Either,
}

/// One protocol.
#[derive(Debug)]
pub struct Dissector {
    /// Protocol name as ntopng spells it.
    pub name: &'static str,
    /// What it is for.
    pub category: AppCategory,
    /// How far it is to be trusted.
    pub breed: Breed,
    /// What carries it.
    pub carrier: Carrier,
    /// Its usual ports.
    pub ports: &'static [(L4, u16)],
    /// Whether a payload may begin with this byte; spares the probe. Asked once, at the start.
    pub first: fn(u8) -> bool,
    /// Judges a payload, or a direction's first payloads joined. The payload is not empty, its first
    /// byte passed `first`, and the carrier is the dissector's.
    pub probe: fn(&[u8], &L7Context) -> Probe,
    /// Reads a payload of a flow that is known to speak the protocol.
    pub dissect: fn(&[u8], &L7Context, &mut L7Info, &mut StatusBits) -> Want,
}

impl PartialEq for Dissector {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Dissector {}

/// For protocols whose payloads may begin with any byte.
fn any_byte(_: u8) -> bool {
    true
}

/// Notes whether a whole message of a flow that is known to speak a protocol has that protocol's form.
fn judge(well_formed: bool, status: &mut StatusBits) {
    if !well_formed {
        *status |= FlowStatus::MalformedPacket.bit();
    }
}

/// Nothing to read beyond the protocol's name.
fn name_only(_: &[u8], _: &L7Context, _: &mut L7Info, _: &mut StatusBits) -> Want {
    Want::Nothing
}
