//! Every protocol by number, and which dissectors a payload's first byte can belong to.

use std::collections::HashMap;
use std::sync::LazyLock;

use shared::model::{AppCategory, Breed, L4};

use super::http2;
use super::netbios;
use super::tls::secured;
use super::{Carrier, Dissector, ports};
use super::{
    ads, bacnet, capwap, cotp, diameter, dnp3, ether_s, ethernet_ip, fins, git, gtp, haproxy, hart_ip,
    hp_virtgrp, iec60870, ipp, knx, l2tp, lisp, melsec, miio, modbus, nat_pmp, netflow, nntp, onc_rpc,
    opc_ua, pptp, profinet, ptp, routers, rsync, slp, socks, synchrophasor, tacacs, teredo, tplink, tuya,
    ubiquiti, whois, xdmcp,
};
use super::{afp, citrix, iqiyi, lotus_notes, meraki};
use super::{ajp, corba, drda, fastcgi, gearman, hl7};
use super::{
    among_us, checkmk, cry_network, discord, dropbox, hislip, maple_story, nintendo, oicq, syncthing,
    tailscale, telegram, whatsapp, yojimbo,
};
use super::{
    amqp, coap, fix, h323, irc, kafka, mgcp, nats, rtmp, rtsp, smpp, stomp, thrift, voice_chat, xmpp, zeromq,
};
use super::{anydesk, eaq, radmin, spotify, teamviewer, zoom, zug};
use super::{
    bgp, dcerpc, ipsec, kerberos, ldap, mqtt, openvpn, radius, rdp, rtp, sip, smb, snmp, syslog, tftp, vnc,
    wireguard,
};
use super::{bitcoin, bittorrent, direct_connect, edonkey, ethereum, gnutella, mining, soulseek};
use super::{blizzard, kcp, minecraft, quake, raknet, steam};
use super::{
    cassandra, ceph, collectd, elasticsearch, memcached, mongodb, munin, mysql, oracle, postgresql, raft,
    redis, tds, zabbix,
};
use super::{dhcp, dhcpv6, dns, dtls, ftp, http, imap, ntp, pop3, quic, smtp, ssdp, ssh, stun, telnet, tls};
use super::{dlms, openflow, roughtime, rtps, someip};
use super::{machines, telephony, tinc};

/// All dissectors. Of several that are equally sure the first one wins.
pub const DISSECTORS: &[&Dissector] = &[
    // The most frequent.
    &tls::TLS,
    &dns::DNS,
    &http::HTTP,
    &http2::HTTP2,
    &http2::GRPC,
    &http::HTTP_CONNECT,
    &http::HTTP_PROXY,
    &http::WEBSOCKET,
    &quic::QUIC,
    &secured::DOH_DOT,
    &secured::FTPS,
    &secured::IMAPS,
    &secured::LDAPS,
    &secured::POPS,
    &secured::SMTPS,
    // Names and the web.
    &dns::MDNS,
    &dns::LLMNR,
    &netbios::NETBIOS,
    &ssdp::SSDP,
    &ssdp::WSD,
    &stun::STUN,
    &dtls::DTLS,
    // Infrastructure.
    &ssh::SSH,
    &ntp::NTP,
    &dhcp::DHCP,
    &dhcpv6::DHCPV6,
    &ftp::FTP,
    &telnet::TELNET,
    &snmp::SNMP,
    &syslog::SYSLOG,
    &smb::SMB2,
    &smb::SMB1,
    &ldap::LDAP,
    &kerberos::KERBEROS,
    &radius::RADIUS,
    &dcerpc::DCERPC,
    &rdp::RDP,
    &ipsec::IPSEC,
    &wireguard::WIREGUARD,
    &openvpn::OPENVPN,
    &vnc::VNC,
    &tftp::TFTP,
    &bgp::BGP,
    &onc_rpc::NFS,
    &netflow::NETFLOW,
    &netflow::SFLOW,
    &gtp::GTP,
    &gtp::PFCP,
    &socks::SOCKS,
    &rsync::RSYNC,
    &diameter::DIAMETER,
    &tacacs::TACACS,
    &l2tp::L2TP,
    &pptp::PPTP,
    &tinc::TINC,
    &routers::HSRP,
    &routers::GLBP,
    &routers::BFD,
    &routers::RIP,
    &routers::LDP,
    &capwap::CAPWAP,
    &teredo::TEREDO,
    &nat_pmp::NAT_PMP,
    &ptp::PTP,
    &lisp::LISP,
    &slp::SLP,
    &ipp::IPP,
    &git::GIT,
    &haproxy::HAPROXY,
    &xdmcp::XDMCP,
    &hp_virtgrp::HP_VIRTGRP,
    &machines::RMCP,
    &machines::BJNP,
    &machines::DICOM,
    &machines::JRMI,
    &machines::RX,
    &machines::CPHA,
    &machines::MPEG_TS,
    &whois::WHOIS,
    // Mail and messaging.
    &smtp::SMTP,
    &pop3::POP3,
    &imap::IMAP,
    &sip::SIP,
    &rtp::RTP,
    &rtp::RTCP,
    &mqtt::MQTT,
    &rtsp::RTSP,
    &rtmp::RTMP,
    &irc::IRC,
    &xmpp::XMPP,
    &amqp::AMQP,
    &nats::NATS,
    &kafka::KAFKA,
    &stomp::STOMP,
    &coap::COAP,
    &h323::H323,
    &telephony::IAX,
    &telephony::MEGACO,
    &telephony::SKINNY,
    &mgcp::MGCP,
    &voice_chat::MUMBLE,
    &voice_chat::TEAMSPEAK,
    &zeromq::ZEROMQ,
    &thrift::THRIFT,
    &smpp::SMPP,
    &fix::FIX,
    &nntp::NNTP,
    // Data.
    &postgresql::POSTGRESQL,
    &mysql::MYSQL,
    &tds::TDS,
    &oracle::ORACLE,
    &mongodb::MONGODB,
    &redis::REDIS,
    &memcached::MEMCACHED,
    &cassandra::CASSANDRA,
    &elasticsearch::ELASTICSEARCH,
    &ceph::CEPH,
    &zabbix::ZABBIX,
    &collectd::COLLECTD,
    &munin::MUNIN,
    &raft::RAFT,
    &drda::DRDA,
    &gearman::GEARMAN,
    &fastcgi::FASTCGI,
    &corba::CORBA,
    &ajp::AJP,
    &hl7::HL7,
    // Industrial.
    &modbus::MODBUS,
    &modbus::UMAS,
    &dnp3::DNP3,
    &cotp::S7COMM,
    &cotp::S7COMM_PLUS,
    &cotp::MMS,
    &iec60870::IEC60870,
    &ethernet_ip::ETHERNET_IP,
    &ethernet_ip::CIP,
    &opc_ua::OPC_UA,
    &bacnet::BACNET,
    &profinet::PROFINET_IO,
    &knx::KNX,
    &fins::FINS,
    &hart_ip::HART_IP,
    &ether_s::ETHER_S_BUS,
    &ether_s::ETHER_S_IO,
    &ads::ADS,
    &synchrophasor::SYNCHROPHASOR,
    &melsec::MELSEC,
    &tplink::TPLINK_SHP,
    &tuya::TUYA,
    &miio::XIAOMI,
    &ubiquiti::UBNTAC2,
    &openflow::OPENFLOW,
    &roughtime::ROUGHTIME,
    &rtps::RTPS,
    &someip::SOMEIP,
    &dlms::DLMS,
    // Peer to peer, games, remote access.
    &bittorrent::BITTORRENT,
    &edonkey::EDONKEY_NETWORK,
    &gnutella::GNUTELLA,
    &soulseek::SOULSEEK,
    &direct_connect::DIRECT_CONNECT,
    &bitcoin::BITCOIN,
    &bitcoin::MONERO,
    &ethereum::ETHEREUM,
    &mining::MINING,
    &steam::STEAM,
    &quake::QUAKE,
    &quake::SOURCE_ENGINE,
    &quake::HALF_LIFE_2,
    &raknet::RAKNET,
    &minecraft::MINECRAFT,
    &blizzard::WORLD_OF_WARCRAFT,
    &blizzard::STARCRAFT,
    &blizzard::WARCRAFT3,
    &kcp::KCP,
    &kcp::GENSHIN_IMPACT,
    &anydesk::ANYDESK,
    &teamviewer::TEAMVIEWER,
    &radmin::RADMIN,
    &radmin::NOMACHINE,
    &zoom::ZOOM,
    &eaq::EAQ,
    &zug::ZUG,
    &spotify::SPOTIFY,
    &afp::AFP,
    &citrix::CITRIX,
    &meraki::MERAKI,
    &iqiyi::IQIYI,
    &lotus_notes::LOTUS_NOTES,
    &whatsapp::WHATSAPP,
    &telegram::TELEGRAM,
    &oicq::OICQ,
    &discord::DISCORD,
    &maple_story::MAPLE_STORY,
    &among_us::AMONG_US,
    &cry_network::CRY_NETWORK,
    &yojimbo::YOJIMBO,
    &dropbox::DROPBOX,
    &syncthing::SYNCTHING,
    &checkmk::CHECKMK,
    &tailscale::TAILSCALE,
    &nintendo::NINTENDO,
    &hislip::HISLIP,
];

/// Words of a [`Set`]; enough for every dissector, which a test checks.
const WORDS: usize = 4;

/// A set of dissectors by their place in [`DISSECTORS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set([u64; WORDS]);

impl Set {
    pub(super) fn insert(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    pub(super) fn common(&self, other: &Self) -> Self {
        let mut common = *self;
        for (word, more) in common.0.iter_mut().zip(other.0) {
            *word &= more;
        }
        common
    }

    /// Places in ascending order.
    pub(super) fn places(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, word)| {
            let rest = std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
            rest.take_while(|word| *word != 0).map(move |word| at * 64 + word.trailing_zeros() as usize)
        })
    }
}

/// Dissectors by carrier (TCP, UDP) and first byte.
static CANDIDATES: LazyLock<[[Set; 256]; 2]> = LazyLock::new(|| {
    let mut table = [[Set::default(); 256]; 2];
    for (place, dissector) in DISSECTORS.iter().enumerate() {
        let carried = [dissector.carrier != Carrier::Udp, dissector.carrier != Carrier::Tcp];
        for (row, _) in table.iter_mut().zip(carried).filter(|(_, carried)| *carried) {
            for (byte, set) in (0..=u8::MAX).zip(row).filter(|(byte, _)| (dissector.first)(*byte)) {
                let _ = byte;
                set.insert(place);
            }
        }
    }
    table
});

/// The dissectors whose payloads may begin with `byte` on `l4`.
pub(super) fn candidates(l4: L4, byte: u8) -> Set {
    let row = match l4 {
        L4::TCP => &CANDIDATES[0],
        L4::UDP => &CANDIDATES[1],
        _ => return Set::default(),
    };
    row[usize::from(byte)]
}

/// A layer-7 protocol by number, valid within one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProtocolId(u16);

struct Named {
    name: &'static str,
    category: AppCategory,
    breed: Breed,
}

struct Names {
    all: Vec<Named>,
    by_name: HashMap<&'static str, ProtocolId>,
}

/// Unknown, the dissectors, then what only a port or a layer-4 number tells.
static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let unknown = Named { name: "Unknown", category: AppCategory::Unspecified, breed: Breed::Unrated };
    let dissectors = DISSECTORS.iter().map(|d| Named { name: d.name, category: d.category, breed: d.breed });
    let mut names =
        Names { all: std::iter::once(unknown).chain(dissectors).collect(), by_name: HashMap::new() };
    for (number, named) in names.all.iter().enumerate() {
        names.by_name.entry(named.name).or_insert(ProtocolId(number as u16));
    }
    for (name, category, breed) in ports::names() {
        let next = ProtocolId(names.all.len() as u16);
        names.by_name.entry(name).or_insert_with(|| {
            names.all.push(Named { name, category, breed });
            next
        });
    }
    names
});

impl ProtocolId {
    /// No protocol known.
    pub const UNKNOWN: Self = Self(0);

    /// The protocol of the dissector at `place` in [`DISSECTORS`].
    pub(super) fn of_dissector(place: usize) -> Self {
        Self(place as u16 + 1)
    }

    /// Its dissector; `None` when only a port or a layer-4 number tells it.
    pub fn dissector(self) -> Option<&'static Dissector> {
        DISSECTORS.get(usize::from(self.0).checked_sub(1)?).copied()
    }

    /// The protocol with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        NAMES.by_name.get(name).copied()
    }

    /// Every protocol with a name.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.all.len() as u16).map(Self)
    }

    /// Its number, below the count of [`all`](Self::all).
    pub fn number(self) -> u16 {
        self.0
    }

    /// Its name as ntopng spells it; `Unknown` for [`UNKNOWN`](Self::UNKNOWN).
    pub fn name(self) -> &'static str {
        self.named().name
    }

    /// What it is for.
    pub fn category(self) -> AppCategory {
        self.named().category
    }

    /// How far it is to be trusted.
    pub fn breed(self) -> Breed {
        self.named().breed
    }

    fn named(self) -> &'static Named {
        NAMES.all.get(usize::from(self.0)).unwrap_or(&NAMES.all[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_every_dissector() {
        assert!(DISSECTORS.len() <= WORDS * 64);
        let mut set = Set::default();
        assert!(set.is_empty());
        for place in [0, 63, 64, 200] {
            set.insert(place);
        }
        assert_eq!(set.places().collect::<Vec<_>>(), [0, 63, 64, 200]);
        assert_eq!(set.common(&Set::default()), Set::default());
    }

    #[test]
    fn protocols_have_numbers_and_names() {
        assert_eq!(ProtocolId::UNKNOWN.name(), "Unknown");
        for id in ProtocolId::all() {
            assert_eq!(ProtocolId::by_name(id.name()).map(ProtocolId::name), Some(id.name()));
        }
        for (place, dissector) in DISSECTORS.iter().enumerate() {
            assert_eq!(ProtocolId::of_dissector(place).name(), dissector.name);
        }
    }

    #[test]
    fn ports_belong_to_the_carrier() {
        for dissector in DISSECTORS {
            for (l4, port) in dissector.ports {
                let fits = match dissector.carrier {
                    Carrier::Tcp => *l4 == L4::TCP,
                    Carrier::Udp => *l4 == L4::UDP,
                    Carrier::Either => matches!(*l4, L4::TCP | L4::UDP),
                };
                assert!(fits, "{} port {port}", dissector.name);
            }
        }
    }
}
