//! Compares what was counted in each capture, name by name.

use std::collections::{BTreeMap, BTreeSet};

use super::expected::Counts;

/// The name of flows without a protocol, on both sides. It counts neither for nor against.
pub const UNKNOWN: &str = "Unknown";

/// The protocols every flow of which is to agree, in our names.
#[rustfmt::skip]
pub const MOST_USED: &[&str] = &[
    "TLS", "QUIC", "HTTP", "HTTP2", "WebSocket", "DNS", "MDNS", "LLMNR", "DoH_DoT", "DTLS", "STUN", "RTP",
    "RTCP", "SIP", "NTP", "DHCP", "DHCPV6", "SSDP", "NetBIOS", "ICMP", "ICMPV6", "IGMP", "SSH", "FTP",
    "FTP_DATA", "SMTP", "SMTPS", "IMAP", "IMAPS", "POP3", "POPS", "SMBv1", "SMBv23", "RPC", "DCE_RPC", "LDAP",
    "LDAPS", "Kerberos", "RDP", "VNC", "Telnet", "SNMP", "Syslog", "RADIUS", "TFTP", "BitTorrent",
    "WireGuard", "OpenVPN", "IPSec", "MySQL", "PostgreSQL", "Redis", "MongoDB", "MQTT", "BGP", "OSPF",
    "Modbus",
];

/// Protocols that carry applications: a flow of ours that has only such a name may be one that the
/// classifier calls by its application.
const CARRIERS: &[&str] = &["TLS", "QUIC", "HTTP", "HTTP2", "DNS", "DTLS", "STUN", "RTP"];

/// One name over all captures.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// What the classifier counted.
    pub expected: Counts,
    /// What both counted, added up by capture.
    pub agreed: Counts,
    /// What we counted.
    pub ours: Counts,
    /// Flows for which we know the carrier and not the application.
    pub master_only: u64,
    /// Captures in which the classifier has none of it: capture, flows, of these by port.
    pub false_in: Vec<(String, u64, u64)>,
    /// Captures in which we have too few, carriers apart.
    pub missing_in: Vec<Missing>,
}

/// Flows of one name that we lack in one capture.
#[derive(Clone, Debug)]
pub struct Missing {
    pub capture: String,
    pub flows: u64,
    /// Names of which we have too many there.
    pub instead: Vec<String>,
}

impl Tally {
    /// Takes another name's tally in.
    pub fn add(&mut self, other: &Self) {
        self.expected.add(other.expected);
        self.agreed.add(other.agreed);
        self.ours.add(other.ours);
        self.master_only += other.master_only;
        self.false_in.extend_from_slice(&other.false_in);
        self.missing_in.extend_from_slice(&other.missing_in);
    }

    /// Flows reported in captures where the classifier has none of them.
    pub fn false_flows(&self) -> u64 {
        self.false_in.iter().map(|(_, flows, _)| flows).sum()
    }
}

/// One name in one capture whose counts are not the same.
#[derive(Debug)]
pub struct Difference {
    pub capture: String,
    pub name: String,
    pub expected: Counts,
    pub ours: Counts,
    /// Flows of `expected` for which we know the carrier alone.
    pub master_only: u64,
}

/// The comparison so far.
#[derive(Default, Debug)]
pub struct Score {
    pub captures: u64,
    /// Captures with the same flows under every name.
    pub right: u64,
    /// Captures with the same packets and bytes as well.
    pub exact: u64,
    /// Captures with the same sum of packets, whatever their names.
    pub same_packets: u64,
    /// Captures the program did not replay to its end, and what it said.
    pub failed: Vec<(String, String)>,
    pub names: BTreeMap<String, Tally>,
    pub differences: Vec<Difference>,
}

impl Score {
    /// Takes in one capture.
    pub fn compare(
        &mut self,
        capture: &str,
        theirs: &BTreeMap<String, Counts>,
        ours: &BTreeMap<String, Counts>,
    ) {
        let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        let of = |side: &BTreeMap<String, Counts>, name: &str| side.get(name).copied().unwrap_or_default();
        let (master_only, carried) = known_by_carrier(theirs, ours);
        let instead: Vec<String> = ours
            .iter()
            .filter(|(name, found)| found.flows > of(theirs, name).flows)
            .map(|(n, _)| n.clone())
            .collect();
        let (mut right, mut exact) = (true, true);
        for name in names {
            let (expected, found) = (of(theirs, name), of(ours, name));
            let tally = self.names.entry(name.clone()).or_default();
            tally.expected.add(expected);
            tally.ours.add(found);
            tally.agreed.add(expected.common(found));
            let by_carrier = master_only.get(name.as_str()).copied().unwrap_or_default();
            tally.master_only += by_carrier;
            let strangers = found.flows - carried.get(name.as_str()).copied().unwrap_or_default();
            if expected.flows == 0 && strangers > 0 && name != UNKNOWN {
                tally.false_in.push((capture.to_owned(), strangers, found.guessed.min(strangers)));
            }
            let missing = expected.flows.saturating_sub(found.flows + by_carrier);
            if missing > 0 && name != UNKNOWN {
                let capture = capture.to_owned();
                tally.missing_in.push(Missing { capture, flows: missing, instead: instead.clone() });
            }
            right &= expected.flows == found.flows;
            exact &= expected.same(found);
            if !expected.same(found) {
                self.differences.push(Difference {
                    capture: capture.to_owned(),
                    name: name.clone(),
                    expected,
                    ours: found,
                    master_only: by_carrier,
                });
            }
        }
        let packets = |side: &BTreeMap<String, Counts>| side.values().map(|c| c.packets).sum::<u64>();
        self.captures += 1;
        self.right += u64::from(right);
        self.exact += u64::from(exact);
        self.same_packets += u64::from(packets(theirs) == packets(ours));
    }
}

/// Pairs the classifier's applications that we lack with our flows that carry no application.
///
/// Returns the flows so explained by the classifier's name, and by ours.
fn known_by_carrier<'n>(
    theirs: &'n BTreeMap<String, Counts>,
    ours: &'n BTreeMap<String, Counts>,
) -> (BTreeMap<&'n str, u64>, BTreeMap<&'n str, u64>) {
    let surplus = |name: &str, a: &BTreeMap<String, Counts>, b: &BTreeMap<String, Counts>| {
        let flows = |side: &BTreeMap<String, Counts>| side.get(name).map_or(0, |c| c.flows);
        flows(a).saturating_sub(flows(b))
    };
    let mut spare: Vec<(&str, u64)> = CARRIERS
        .iter()
        .filter_map(|name| ours.get_key_value(*name))
        .map(|(name, _)| (name.as_str(), surplus(name, ours, theirs)))
        .collect();
    let (mut explained, mut carried) = (BTreeMap::new(), BTreeMap::new());
    let mut names: Vec<&String> =
        theirs.keys().filter(|n| !MOST_USED.contains(&n.as_str()) && *n != UNKNOWN).collect();
    // First the names whose packets and bytes are exactly those that a carrier of ours has too many.
    let none = Counts::default();
    let is_one = |name: &String| {
        CARRIERS.iter().any(|carrier| {
            let counts = |side: &BTreeMap<String, Counts>| side.get(*carrier).copied().unwrap_or(none);
            counts(ours).less(counts(theirs)).same(theirs[name])
        })
    };
    names.sort_by_key(|name| !is_one(name));
    for name in names {
        let mut missing = surplus(name, theirs, ours);
        for (carrier, left) in &mut spare {
            let taken = missing.min(*left);
            if taken > 0 {
                missing -= taken;
                *left -= taken;
                *explained.entry(name.as_str()).or_default() += taken;
                *carried.entry(*carrier).or_default() += taken;
            }
        }
    }
    (explained, carried)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(rows: &[(&str, u64, u64)]) -> BTreeMap<String, Counts> {
        rows.iter()
            .map(|&(name, flows, packets)| {
                (name.to_owned(), Counts { flows, packets, bytes: packets * 100, guessed: 0 })
            })
            .collect()
    }

    fn compared(theirs: &[(&str, u64, u64)], ours: &[(&str, u64, u64)]) -> Score {
        let mut score = Score::default();
        score.compare("a.pcap", &side(theirs), &side(ours));
        score
    }

    #[test]
    fn the_same_counts_are_a_right_capture() {
        let score = compared(&[("DNS", 2, 4), ("TLS", 1, 9)], &[("DNS", 2, 4), ("TLS", 1, 9)]);
        assert_eq!((score.right, score.exact, score.differences.len()), (1, 1, 0));
        assert_eq!(score.names["DNS"].agreed.packets, 4);
    }

    #[test]
    fn what_agrees_is_the_smaller_count() {
        let score = compared(&[("SSH", 3, 30), ("Unknown", 0, 0)], &[("SSH", 2, 20), ("Unknown", 1, 10)]);
        assert_eq!((score.right, score.same_packets), (0, 1));
        assert_eq!(score.names["SSH"].agreed.flows, 2);
        assert_eq!(score.names["Unknown"].false_flows(), 0);
    }

    #[test]
    fn a_protocol_that_is_not_there_is_false() {
        let score = compared(&[("Unknown", 1, 5)], &[("MQTT", 1, 5)]);
        assert_eq!(score.names["MQTT"].false_in, [("a.pcap".to_owned(), 1, 0)]);
    }

    #[test]
    fn a_carrier_without_its_application_neither_agrees_nor_is_false() {
        let score = compared(&[("Google", 2, 8), ("Zoom", 1, 3)], &[("TLS", 2, 8), ("Zoom", 1, 3)]);
        assert_eq!(score.names["Google"].master_only, 2);
        assert_eq!(score.names["Google"].agreed.flows, 0);
        assert_eq!(score.names["TLS"].false_flows(), 0);
        // A flow of a protocol of its own is not excused by one of TLS.
        let score = compared(&[("SSH", 1, 8)], &[("TLS", 1, 8)]);
        assert_eq!(score.names["SSH"].master_only, 0);
        assert_eq!(score.names["TLS"].false_flows(), 1);
    }

    #[test]
    fn a_carrier_goes_to_the_application_with_the_same_packets() {
        let score = compared(&[("Aardvark", 1, 5), ("Google", 1, 8)], &[("HTTP", 1, 8), ("Unknown", 1, 5)]);
        assert_eq!((score.names["Aardvark"].master_only, score.names["Google"].master_only), (0, 1));
    }
}
