//! Protocols by port (IANA service names) and by layer-4 number, for flows whose payload says nothing.

use shared::model::L4;

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

/// The protocol that a port suggests; the server's port goes first.
pub fn guess_by_port(l4: L4, client_port: u16, server_port: u16) -> Option<&'static str> {
    let by_port = |port: u16| {
        KNOWN.iter().find(|(_, owner, ports)| *owner == l4 && ports.contains(&port)).map(|(name, ..)| *name)
    };
    by_port(server_port).or_else(|| by_port(client_port))
}

/// The protocol that a layer-4 number alone tells; `None` for carriers such as TCP.
pub fn by_l4(l4: L4) -> Option<&'static str> {
    Some(match l4.0 {
        1 => "ICMP",
        2 => "IGMP",
        8 => "EGP",
        4 | 41 => "IP_in_IP",
        47 => "GRE",
        50 | 51 => "IPSec",
        58 => "ICMPV6",
        88 => "EIGRP",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP",
        132 => "SCTP",
        _ => return None,
    })
}

/// Whether `port` is one of the protocol's own; `None` for a protocol without own ports.
pub fn is_standard_port(protocol: &str, l4: L4, port: u16) -> Option<bool> {
    if protocol == "TLS" && l4 == TCP {
        return Some(OVER_TLS.contains(&port));
    }
    let mut owned = KNOWN.iter().filter(|(name, owner, _)| *name == protocol && *owner == l4).peekable();
    owned.peek()?;
    Some(owned.any(|(.., ports)| ports.contains(&port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::DISSECTORS;

    #[test]
    fn the_servers_port_goes_first() {
        assert_eq!(guess_by_port(TCP, 22, 443), Some("TLS"));
        assert_eq!(guess_by_port(UDP, 53, 40_000), Some("DNS"));
        assert_eq!(guess_by_port(UDP, 40_000, 22), None);
        assert_eq!(guess_by_port(UDP, 40_000, 443), Some("QUIC"));
    }

    #[test]
    fn own_ports_are_standard() {
        assert_eq!(is_standard_port("TLS", TCP, 993), Some(true));
        assert_eq!(is_standard_port("TLS", TCP, 80), Some(false));
        assert_eq!(is_standard_port("SSH", TCP, 2222), Some(false));
        assert_eq!(is_standard_port("SSH", UDP, 22), None);
        assert_eq!(is_standard_port("BitTorrent", TCP, 6881), None);
    }

    #[test]
    fn a_dissectors_usual_ports_are_standard_ports_of_its_protocol() {
        for dissector in DISSECTORS {
            for (l4, port) in dissector.ports {
                assert_eq!(
                    is_standard_port(dissector.name, *l4, *port),
                    Some(true),
                    "{} {port}",
                    dissector.name
                );
            }
        }
    }

    #[test]
    fn numbers_that_are_protocols_themselves() {
        assert_eq!((by_l4(L4::ICMP), by_l4(L4(89)), by_l4(L4::TCP)), (Some("ICMP"), Some("OSPF"), None));
    }
}
