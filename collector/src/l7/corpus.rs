//! The whole path over real captures, checked against what other programs found in them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::*;
use crate::capture::{Batch, SourceState, file};
use crate::decode::{Decoded, Decoder, DecoderConfig, Packet};

/// The folder of captures, which is not part of the repository.
fn corpus() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    if folder.join("expected.tsv").is_file() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no captures in {}", folder.display());
    None
}

/// Protocol, packets, flows: one row of `expected.tsv`.
type Row = (String, u64, u64);

fn expected(folder: &Path) -> BTreeMap<String, Vec<Row>> {
    let text = std::fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| fields[at].parse().unwrap();
        rows.entry(fields[0].to_owned()).or_default().push((fields[1].to_owned(), number(2), number(4)));
    }
    rows
}

#[derive(Default)]
struct Summary {
    frames: u64,
    packets: u64,
    not_ip: u64,
    errors: BTreeMap<&'static str, u64>,
    /// Flows by protocol; those not recognised under an empty name.
    flows: BTreeMap<&'static str, u64>,
    infos: Vec<L7Info>,
}

#[derive(Default)]
struct TestFlow {
    client: Option<(IpAddr, u16)>,
    state: L7State,
    payloads: u32,
    next: [Option<u32>; 2],
    name: &'static str,
    info: L7Info,
    status: StatusBits,
}

impl TestFlow {
    fn feed(&mut self, packet: &Packet<'_>) {
        let source = (packet.src, packet.src_port);
        let client = *self.client.get_or_insert(source);
        let from_client = client == source;
        if let Some(name) = by_l4(packet.l4) {
            self.name = name.name();
        }
        let side = usize::from(!from_client);
        if let Some(tcp) = packet.tcp {
            let end = tcp.seq.wrapping_add(packet.payload_len);
            let again = self.next[side].is_some_and(|next| end.wrapping_sub(next).cast_signed() <= 0);
            if packet.payload_len == 0 || again {
                return;
            }
            self.next[side] = Some(end);
        }
        if packet.payload.is_empty() || self.payloads >= MAX_PAYLOADS {
            return;
        }
        self.payloads += 1;
        let server_port = if from_client { packet.dst_port } else { packet.src_port };
        let cx = L7Context {
            l4: packet.l4,
            client: client.0,
            server: if from_client { packet.dst } else { packet.src },
            at_s: packet.ts.secs(),
            before: Head::default(),
            client_port: client.1,
            server_port,
            from_client,
            packets_seen: self.payloads,
        };
        if let Verdict::Decided(name) =
            self.state.on_payload(packet.payload, &cx, &mut self.info, &mut self.status)
        {
            self.name = name;
        }
    }
}

fn read(path: &Path) -> Summary {
    let mut source = file::open(path).unwrap();
    let mut summary = Summary::default();
    let mut flows: HashMap<_, TestFlow> = HashMap::new();
    let mut decoder = Decoder::new(DecoderConfig::default());
    let mut batch = Batch::default();
    loop {
        let state = source.next_batch(&mut batch).unwrap();
        for (desc, frame) in batch.iter() {
            summary.frames += 1;
            match decoder.decode(desc, frame) {
                Ok(Decoded::Packet(packet)) => {
                    summary.packets += 1;
                    let (a, b) = ((packet.src, packet.src_port), (packet.dst, packet.dst_port));
                    let key = (packet.l4, packet.vlan, a.min(b), a.max(b));
                    flows.entry(key).or_default().feed(&packet);
                }
                Ok(Decoded::NotIp(_) | Decoded::Waits) => summary.not_ip += 1,
                Err(error) => *summary.errors.entry(error.name()).or_default() += 1,
            }
        }
        if state == SourceState::End {
            break;
        }
    }
    for flow in flows.into_values() {
        *summary.flows.entry(flow.name).or_default() += 1;
        summary.infos.push(flow.info);
    }
    summary
}

/// Protocols of which both sides speak the same name: the classifier's and ours.
const EXACT: &[(&str, &str)] = &[
    ("NTP", "NTP"),
    ("Ceph", "Ceph"),
    ("Oracle", "Oracle"),
    ("Memcached", "Memcached"),
    ("Elasticsearch", "Elasticsearch"),
    ("Raft", "Raft"),
    ("FINS", "FINS"),
    ("AFP", "AFP"),
    ("Citrix", "Citrix"),
    ("MerakiCloud", "MerakiCloud"),
    ("KNXnet_IP", "KNXnet_IP"),
    ("TPLINK_SHP", "TPLINK_SHP"),
    ("UBNTAC2", "UBNTAC2"),
    ("UMAS", "UMAS"),
    ("Source_Engine", "Source_Engine"),
    ("AmongUs", "AmongUs"),
    ("KCP", "KCP"),
    ("CryNetwork", "CryNetwork"),
    ("PROFINET_IO", "PROFINET_IO"),
    ("ISO9506-1-MMS", "ISO9506-1-MMS"),
    ("SSH", "SSH"),
    ("SMTP", "SMTP"),
    ("FTP_CONTROL", "FTP"),
    ("MDNS", "MDNS"),
    ("SSDP", "SSDP"),
    ("DHCP", "DHCP"),
    ("DHCPV6", "DHCPV6"),
    ("ICMP", "ICMP"),
    ("ICMPV6", "ICMPV6"),
    ("IGMP", "IGMP"),
    ("OSPF", "OSPF"),
    ("SCTP", "SCTP"),
    ("BFD", "BFD"),
    ("BGP", "BGP"),
    ("FIX", "FIX"),
    ("Git", "Git"),
    ("HAProxy", "HAProxy"),
    ("IPP", "IPP"),
    ("HP_VIRTGRP", "HP_VIRTGRP"),
    ("LISP", "LISP"),
    ("MGCP", "MGCP"),
    ("MQTT", "MQTT"),
    ("NAT-PMP", "NAT-PMP"),
    ("NetFlow", "NetFlow"),
    ("OpenVPN", "OpenVPN"),
    ("PFCP", "PFCP"),
    ("PTPv2", "PTPv2"),
    ("RSYNC", "RSYNC"),
    ("RTMP", "RTMP"),
    ("SMBv1", "SMBv1"),
    ("SMBv23", "SMBv23"),
    ("SMPP", "SMPP"),
    ("Service_Location_Protocol", "Service_Location_Protocol"),
    ("TFTP", "TFTP"),
    ("TeamSpeak", "TeamSpeak"),
    ("Thrift", "Thrift"),
    ("Usenet", "Usenet"),
];

/// Protocols without a dissector that carry none of ours: each of their flows must stay undecided.
const STRANGERS: &[&str] = &["Protobuf", "Unknown"];

#[test]
fn every_frame_is_read_and_every_ip_packet_decoded() {
    let Some(folder) = corpus() else { return };
    let rows = expected(&folder);
    assert!(rows.len() > 100);
    for (capture, rows) in rows {
        let summary = read(&folder.join(&capture));
        let failed: u64 = summary.errors.values().sum();
        assert_eq!(summary.frames, summary.packets + summary.not_ip + failed, "{capture}");
        let packets: u64 = rows.iter().map(|(_, packets, _)| packets).sum();
        assert_eq!((summary.packets, failed), (packets, 0), "{capture}");
    }
}

#[test]
fn frames_are_as_many_as_another_reader_counts() {
    let Some(folder) = corpus() else { return };
    let captures: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap"))
        .collect();
    let Ok(output) =
        std::process::Command::new("capinfos").args(["-c", "-M", "-T", "-r"]).args(&captures).output()
    else {
        eprintln!("SKIPPED: capinfos is not installed");
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), captures.len());
    for line in text.lines() {
        let (path, count) = line.split_once('\t').unwrap();
        assert_eq!(read(Path::new(path)).frames, count.trim().parse::<u64>().unwrap(), "{path}");
    }
}

#[test]
fn protocols_are_found_where_they_are_and_nowhere_else() {
    let Some(folder) = corpus() else { return };
    for (capture, rows) in expected(&folder) {
        let summary = read(&folder.join(&capture));
        for (theirs, ours) in EXACT {
            let wanted: u64 = rows.iter().filter(|(name, ..)| name == theirs).map(|(.., flows)| flows).sum();
            assert_eq!(summary.flows.get(ours).copied().unwrap_or_default(), wanted, "{ours} in {capture}");
        }
        if rows.iter().all(|(name, ..)| STRANGERS.contains(&name.as_str())) {
            let decided: Vec<_> = summary.flows.keys().filter(|name| !name.is_empty()).collect();
            assert!(decided.is_empty(), "{decided:?} in {capture}");
        }
    }
}

#[test]
fn names_come_out_of_real_hellos_heads_and_questions() {
    let Some(folder) = corpus() else { return };
    let names = |capture: &str| {
        let mut names: Vec<String> =
            read(&folder.join(capture)).infos.iter().map(|info| info.name().to_owned()).collect();
        names.retain(|name| !name.is_empty());
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(names("443-git.pcap"), ["github.com"]);
    assert_eq!(names("tls_ech.pcapng"), ["performance.radar.cloudflare.com"]);
    // QUIC of the drafts and of Google; tshark finds the same.
    assert_eq!(names("quic-23.pcap"), ["quic.aiortc.org"]);
    assert_eq!(names("quic-29.pcap"), ["localhost"]);
    assert_eq!(names("quic_frags_different_dcid.pcapng"), ["cdnjs.cloudflare.com"]);
    assert_eq!(names("quic046.pcap"), ["i.ytimg.com"]);
    assert_eq!(names("quic_q43.pcap"), ["dns.google.com"]);
    let google = [
        "fonts.gstatic.com",
        "i.ytimg.com",
        "mail.google.com",
        "s.ytimg.com",
        "www.google.com",
        "www.youtube.com",
        "yt3.ggpht.com",
    ];
    assert_eq!(names("quic.pcap"), google);
    assert_eq!(names("http.pcapng"), ["google.com"]);
    assert_eq!(names("http-lines-split.pcap"), ["toni.lan:31337"]);
    assert_eq!(names("dns_exfiltration.pcap"), ["dnscat.63c201f5005fd02ca5a1bc00047015f3d3"]);
    let mut servers: Vec<String> = read(&folder.join("ssh.pcap"))
        .infos
        .into_iter()
        .map(|info| info.ssh.unwrap().server.to_string())
        .collect();
    servers.sort();
    assert_eq!(servers, ["SSH-2.0-APACHE-SSHD-2.5.0", "SSH-2.0-OpenSSH_5.3"]);
}
