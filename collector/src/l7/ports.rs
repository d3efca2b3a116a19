//! Protocols by port (IANA service names) and by layer-4 number, for flows whose payload says nothing.

use std::sync::LazyLock;

use shared::model::{AppCategory, Breed, L4};

use super::{DISSECTORS, ProtocolId, eigrp, igmp, ipsec, ospf, pim, vrrp};

const TCP: L4 = L4::TCP;
const UDP: L4 = L4::UDP;

/// Protocols that own ports. The first entry with a port names it; the first port is the usual one.
#[rustfmt::skip]
const KNOWN: &[(&str, L4, &[u16])] = &[
    ("DNS", UDP, &[53]),
    ("DNS", TCP, &[53]),
    ("HTTP", TCP, &[80, 8080, 8000, 8008, 8081, 8088, 8888, 3128, 591]),
    ("TLS", TCP, &[443, 8443]),
    ("QUIC", UDP, &[443]),
    ("SSH", TCP, &[22]),
    ("SMTP", TCP, &[25, 587, 2525]),
    ("FTP", TCP, &[21]),
    ("FTP_DATA", TCP, &[20]),
    ("Telnet", TCP, &[23]),
    ("NTP", UDP, &[123]),
    ("DHCP", UDP, &[67, 68]),
    ("DHCPV6", UDP, &[546, 547]),
    ("POP3", TCP, &[110]),
    ("IMAP", TCP, &[143]),
    ("SMTPS", TCP, &[465]),
    ("POPS", TCP, &[995]),
    ("IMAPS", TCP, &[993]),
    ("MDNS", UDP, &[5353]),
    ("LLMNR", UDP, &[5355]),
    ("LLMNR", TCP, &[5355]),
    ("SSDP", UDP, &[1900]),
    ("NetBIOS", UDP, &[137, 138]),
    ("NetBIOS", TCP, &[139]),
    ("SMBv23", TCP, &[445]),
    ("SNMP", UDP, &[161, 162]),
    ("Syslog", UDP, &[514]),
    ("TFTP", UDP, &[69]),
    ("RADIUS", UDP, &[1812, 1813, 1645, 1646]),
    ("Kerberos", TCP, &[88]),
    ("Kerberos", UDP, &[88]),
    ("LDAP", TCP, &[389, 3268]),
    ("LDAP", UDP, &[389]),
    ("LDAPS", TCP, &[636, 3269]),
    ("RDP", TCP, &[3389]),
    ("RDP", UDP, &[3389]),
    ("VNC", TCP, &[5900, 5901]),
    ("MySQL", TCP, &[3306]),
    ("PostgreSQL", TCP, &[5432]),
    ("MsSQL-TDS", TCP, &[1433]),
    ("Oracle", TCP, &[1521]),
    ("MongoDB", TCP, &[27017]),
    ("Redis", TCP, &[6379]),
    ("Memcached", TCP, &[11211]),
    ("Memcached", UDP, &[11211]),
    ("Elasticsearch", TCP, &[9200, 9300]),
    ("MQTT", TCP, &[1883]),
    ("AMQP", TCP, &[5672]),
    ("Kafka", TCP, &[9092]),
    ("SIP", UDP, &[5060]),
    ("SIP", TCP, &[5060, 5061]),
    ("RTSP", TCP, &[554]),
    ("STUN", UDP, &[3478]),
    ("STUN", TCP, &[3478]),
    ("IPSec", UDP, &[500, 4500]),
    ("OpenVPN", UDP, &[1194]),
    ("OpenVPN", TCP, &[1194]),
    ("WireGuard", UDP, &[51820]),
    ("PPTP", TCP, &[1723]),
    ("VXLAN", UDP, &[4789]),
    ("GTP", UDP, &[2123, 2152]),
    ("NetFlow", UDP, &[2055, 9995, 9996]),
    ("sFlow", UDP, &[6343]),
    ("BGP", TCP, &[179]),
    ("BFD", UDP, &[3784, 3785]),
    ("HSRP", UDP, &[1985]),
    ("NFS", TCP, &[2049]),
    ("NFS", UDP, &[2049]),
    ("RSYNC", TCP, &[873]),
    ("Git", TCP, &[9418]),
    ("Whois-DAS", TCP, &[43]),
    ("Usenet", TCP, &[119]),
    ("IRC", TCP, &[6667, 6697]),
    ("Jabber", TCP, &[5222, 5269]),
    ("RTMP", TCP, &[1935]),
    ("IPP", TCP, &[631]),
    ("Modbus", TCP, &[502]),
    ("DNP3", TCP, &[20000]),
    ("S7Comm", TCP, &[102]),
    ("BACnet", UDP, &[47808]),
    ("Ceph", TCP, &[3300, 6789]),
    ("ZeroMQ", TCP, &[5556]),
    ("NAT-PMP", UDP, &[5351]),
    ("PTPv2", UDP, &[319, 320]),
    ("Teredo", UDP, &[3544]),
    ("Diameter", TCP, &[3868]),
];

/// Ports on which TLS is at home besides its own: the secured forms of other protocols.
const OVER_TLS: &[u16] =
    &[443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 3269, 5061, 5223, 5671, 6697, 8443, 8883];

/// Names of layer-4 protocols that are their own application (IANA protocol numbers).
const BY_L4: &[(&str, &[u8])] = &[
    ("ICMP", &[1]),
    ("IGMP", &[2]),
    ("IP_in_IP", &[4, 41]),
    ("EGP", &[8]),
    ("RSVP", &[46]),
    ("GRE", &[47]),
    ("IPSec", &[50, 51]),
    ("ICMPV6", &[58]),
    ("EIGRP", &[88]),
    ("OSPF", &[89]),
    ("PIM", &[103]),
    ("PGM", &[113]),
    ("L2TP", &[115]),
    ("VRRP", &[112]),
    ("SCTP", &[132]),
];

/// Says whether a message has the form it should have.
type Check = fn(&[u8]) -> bool;

/// Those of layer-4 protocols, by number.
const CHECKS: &[(u8, Check)] = &[
    (2, igmp::is_valid),
    (50, ipsec::is_esp),
    (51, ipsec::is_ah),
    (88, eigrp::is_valid),
    (89, ospf::is_valid),
    (103, pim::is_valid),
    (112, vrrp::is_valid),
];

/// Names that ports and layer-4 numbers tell, for the registry.
pub(super) fn names() -> impl Iterator<Item = (&'static str, AppCategory, Breed)> {
    let by_l4 = BY_L4.iter().map(|(name, _)| (*name, AppCategory::Network, Breed::Acceptable));
    let by_port = KNOWN.iter().map(|(name, ..)| (*name, AppCategory::Unspecified, Breed::Unrated));
    by_l4.chain(by_port)
}

struct Tables {
    tcp: Vec<ProtocolId>,
    udp: Vec<ProtocolId>,
    l4: [ProtocolId; 256],
    /// Ports of each protocol by its number.
    own: Vec<Vec<(L4, u16)>>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let unknown = ProtocolId::UNKNOWN;
    let mut tables = Tables {
        tcp: vec![unknown; 65_536],
        udp: vec![unknown; 65_536],
        l4: [unknown; 256],
        own: vec![Vec::new(); ProtocolId::all().count()],
    };
    let known = KNOWN.iter().flat_map(|(name, l4, ports)| ports.iter().map(move |port| (*name, *l4, *port)));
    let dissected = DISSECTORS.iter().flat_map(|d| d.ports.iter().map(|(l4, port)| (d.name, *l4, *port)));
    for (name, l4, port) in known.chain(dissected) {
        let Some(id) = ProtocolId::by_name(name) else { continue };
        let by_port = if l4 == TCP { &mut tables.tcp } else { &mut tables.udp };
        if let Some(slot) = by_port.get_mut(usize::from(port)).filter(|slot| **slot == unknown) {
            *slot = id;
        }
        if let Some(own) = tables.own.get_mut(usize::from(id.number())) {
            own.push((l4, port));
        }
    }
    if let Some(own) =
        ProtocolId::by_name("TLS").and_then(|tls| tables.own.get_mut(usize::from(tls.number())))
    {
        own.extend(OVER_TLS.iter().map(|port| (TCP, *port)));
    }
    for (name, numbers) in BY_L4 {
        for number in *numbers {
            tables.l4[usize::from(*number)] = ProtocolId::by_name(name).unwrap_or_default();
        }
    }
    tables
});

/// The protocol that a port suggests; the server's port goes first.
pub fn guess_by_port(l4: L4, client_port: u16, server_port: u16) -> Option<ProtocolId> {
    let by_port = match l4 {
        L4::TCP => &TABLES.tcp,
        L4::UDP => &TABLES.udp,
        _ => return None,
    };
    let known = |port: u16| {
        by_port.get(usize::from(port)).copied().filter(|protocol| *protocol != ProtocolId::UNKNOWN)
    };
    // A client's port is any number; only one that needs privileges can be a service's, whose flow
    // began before the capture.
    known(server_port).or_else(|| known(client_port).filter(|_| client_port < 1024))
}

/// The protocol that a layer-4 number alone tells; `None` for carriers such as TCP.
pub fn by_l4(l4: L4) -> Option<ProtocolId> {
    Some(TABLES.l4[usize::from(l4.0)]).filter(|protocol| *protocol != ProtocolId::UNKNOWN)
}

/// Whether a whole `message` that a layer-4 number names has that protocol's form; `None` for those that
/// are not looked at.
pub fn is_well_formed(l4: L4, message: &[u8]) -> Option<bool> {
    CHECKS.iter().find(|(number, _)| *number == l4.0).map(|(_, check)| check(message))
}

/// Whether `port` is one of the protocol's own; `None` for a protocol without own ports.
pub fn is_standard_port(protocol: ProtocolId, l4: L4, port: u16) -> Option<bool> {
    let own = TABLES.own.get(usize::from(protocol.number()))?;
    let mut owned = own.iter().filter(|(owner, _)| *owner == l4).peekable();
    owned.peek()?;
    Some(owned.any(|(_, own)| *own == port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(l4: L4, client: u16, server: u16) -> Option<&'static str> {
        guess_by_port(l4, client, server).map(ProtocolId::name)
    }

    fn standard(name: &str, l4: L4, port: u16) -> Option<bool> {
        is_standard_port(ProtocolId::by_name(name).unwrap(), l4, port)
    }

    #[test]
    fn the_servers_port_goes_first() {
        assert_eq!(guess(TCP, 22, 443), Some("TLS"));
        assert_eq!(guess(UDP, 53, 40_000), Some("DNS"));
        assert_eq!(guess(UDP, 40_000, 22), None);
        assert_eq!(guess(UDP, 40_000, 443), Some("QUIC"));
    }

    #[test]
    fn own_ports_are_standard() {
        assert_eq!(standard("TLS", TCP, 993), Some(true));
        assert_eq!(standard("TLS", TCP, 80), Some(false));
        assert_eq!(standard("SSH", TCP, 2222), Some(false));
        assert_eq!(standard("SSH", UDP, 22), None);
        assert_eq!(standard("Unknown", TCP, 6881), None);
    }

    #[test]
    fn a_dissectors_usual_ports_are_standard_ports_of_its_protocol() {
        for dissector in DISSECTORS {
            for (l4, port) in dissector.ports {
                assert_eq!(standard(dissector.name, *l4, *port), Some(true), "{} {port}", dissector.name);
            }
        }
    }

    #[test]
    fn numbers_that_are_protocols_themselves() {
        let name = |l4| by_l4(l4).map(ProtocolId::name);
        assert_eq!((name(L4::ICMP), name(L4(89)), name(L4::TCP)), (Some("ICMP"), Some("OSPF"), None));
    }

    #[test]
    fn every_number_that_is_checked_has_a_name() {
        for (number, _) in CHECKS {
            assert!(by_l4(L4(*number)).is_some(), "{number}");
        }
        assert_eq!((is_well_formed(L4(89), b"no"), is_well_formed(L4::ICMP, b"any")), (Some(false), None));
    }

    proptest::proptest! {
        #[test]
        fn checks_take_any_bytes(message in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            for (number, _) in CHECKS {
                is_well_formed(L4(*number), &message);
            }
        }
    }
}
