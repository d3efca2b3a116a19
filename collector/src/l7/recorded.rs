//! What real programs said on a wire, and what is made of it. `tests/data/record_l7.py` records it anew;
//! the first line of each file names the program.

use super::tests::{Run, hex, tcp, udp};
use super::*;

/// A conversation: its name here, what was recorded, and the port that was asked.
struct Recording {
    name: &'static str,
    text: &'static str,
    at: (L4, u16),
    /// Recognised by what is said alone, on any port.
    anywhere: bool,
}

const fn on(name: &'static str, at: (L4, u16), text: &'static str) -> Recording {
    Recording { name, text, at, anywhere: true }
}

/// The same for protocols that say too little to be known on a strange port.
const fn at_home(name: &'static str, at: (L4, u16), text: &'static str) -> Recording {
    Recording { name, text, at, anywhere: false }
}

const RECORDINGS: &[Recording] = &[
    on("SSH", (L4::TCP, 22), include_str!("ssh/openssh.txt")),
    on("FTP", (L4::TCP, 21), include_str!("ftp/vsftpd.txt")),
    on("IMAP", (L4::TCP, 143), include_str!("imap/dovecot.txt")),
    on("POP3", (L4::TCP, 110), include_str!("pop3/dovecot.txt")),
    on("SMTP", (L4::TCP, 25), include_str!("smtp/curl.txt")),
    on("MQTT", (L4::TCP, 1883), include_str!("mqtt/mosquitto.txt")),
    on("SNMP", (L4::UDP, 161), include_str!("snmp/net_snmp.txt")),
    on("STUN", (L4::UDP, 3478), include_str!("stun/coturn.txt")),
    on("Telnet", (L4::TCP, 23), include_str!("telnet/inetutils.txt")),
    on("VNC", (L4::TCP, 5900), include_str!("vnc/tigervnc.txt")),
    on("RDP", (L4::TCP, 3389), include_str!("rdp/xrdp.txt")),
    on("SIP", (L4::UDP, 5060), include_str!("sip/sipp.txt")),
    on("RTP", (L4::UDP, 5004), include_str!("rtp/ffmpeg.txt")),
    on("RTCP", (L4::UDP, 5005), include_str!("rtp/ffmpeg_rtcp.txt")),
    on("RADIUS", (L4::UDP, 1812), include_str!("radius/freeradius.txt")),
    on("Syslog", (L4::UDP, 514), include_str!("syslog/logger.txt")),
    on("NTP", (L4::UDP, 123), include_str!("ntp/chrony.txt")),
    on("BGP", (L4::TCP, 179), include_str!("bgp/bird.txt")),
    on("Jabber", (L4::TCP, 5222), include_str!("xmpp/prosody.txt")),
    on("Kafka", (L4::TCP, 9092), include_str!("kafka/kafkacat.txt")),
    on("LDAP", (L4::TCP, 389), include_str!("ldap/openldap.txt")),
    on("SMBv23", (L4::TCP, 445), include_str!("smb/samba.txt")),
    on("WireGuard", (L4::UDP, 51_820), include_str!("wireguard/wireguard_go.txt")),
    on("DHCP", (L4::UDP, 67), include_str!("dhcp/dnsmasq.txt")),
    at_home("DHCPV6", (L4::UDP, 547), include_str!("dhcpv6/dnsmasq.txt")),
    at_home("LLMNR", (L4::UDP, 5355), include_str!("dns/llmnr_scapy.txt")),
    at_home("TFTP", (L4::UDP, 69), include_str!("tftp/curl.txt")),
    on("AMQP", (L4::TCP, 5672), include_str!("amqp/rabbitmq.txt")),
    at_home("BFD", (L4::UDP, 3784), include_str!("bfd/bird.txt")),
    on("COAP", (L4::UDP, 5683), include_str!("coap/libcoap.txt")),
    on("Collectd", (L4::UDP, 25_826), include_str!("collectd/collectd.txt")),
    on("Cassandra", (L4::TCP, 9042), include_str!("cassandra/driver.txt")),
    on("DTLS", (L4::UDP, 4433), include_str!("dtls/openssl.txt")),
    on("Diameter", (L4::TCP, 3868), include_str!("diameter/scapy.txt")),
    at_home("HSRP", (L4::UDP, 1985), include_str!("hsrp/scapy.txt")),
    on("HTTP2", (L4::TCP, 8080), include_str!("http2/nginx.txt")),
    on("IRC", (L4::TCP, 6667), include_str!("irc/ngircd.txt")),
    on("L2TP", (L4::UDP, 1701), include_str!("l2tp/xl2tpd.txt")),
    on("LDP", (L4::UDP, 646), include_str!("ldp/scapy.txt")),
    on("Modbus", (L4::TCP, 502), include_str!("modbus/pymodbus.txt")),
    on("MsSQL-TDS", (L4::TCP, 1433), include_str!("tds/freetds.txt")),
    on("Munin", (L4::TCP, 4949), include_str!("munin/munin_node.txt")),
    on("NetFlow", (L4::UDP, 2055), include_str!("netflow/softflowd.txt")),
    on("sFlow", (L4::UDP, 6343), include_str!("sflow/pmacct.txt")),
    on("NATS", (L4::TCP, 4222), include_str!("nats/nats_server.txt")),
    on("NFS", (L4::TCP, 111), include_str!("onc_rpc/rpcbind.txt")),
    at_home("NetBIOS", (L4::UDP, 137), include_str!("netbios/samba.txt")),
    on("PPTP", (L4::TCP, 1723), include_str!("pptp/scapy.txt")),
    on("Quake", (L4::UDP, 27_960), include_str!("quake/qstat.txt")),
    on("RSYNC", (L4::TCP, 873), include_str!("rsync/rsync.txt")),
    on("RTMP", (L4::TCP, 1935), include_str!("rtmp/ffmpeg.txt")),
    on("RTSP", (L4::TCP, 8554), include_str!("rtsp/ffmpeg.txt")),
    on("SOCKS", (L4::TCP, 1080), include_str!("socks/microsocks.txt")),
    on("SSDP", (L4::UDP, 1900), include_str!("ssdp/minidlna.txt")),
    on("STOMP", (L4::TCP, 61_613), include_str!("stomp/rabbitmq.txt")),
    on("Source_Engine", (L4::UDP, 27_015), include_str!("quake/qstat_source.txt")),
    on("TACACS+", (L4::TCP, 49), include_str!("tacacs/scapy.txt")),
    on("WSD", (L4::UDP, 3702), include_str!("ws_discovery/wsdd.txt")),
    at_home("Whois-DAS", (L4::TCP, 43), include_str!("whois/whois.txt")),
];

/// Feeds a recording and gives what was decided with it.
fn play(recording: &Recording, port: u16) -> (Run, Option<&'static str>) {
    assert!(recording.text.starts_with("# "), "the first line says where the bytes are from");
    let mut run = Run::new(if recording.at.0 == L4::TCP { tcp(50_000, port) } else { udp(50_000, port) });
    let mut decided = None;
    for line in recording.text.lines().skip(1) {
        let (who, message) = line.split_once(' ').unwrap();
        let message = hex(message);
        let verdict = if who == "client" { run.client(&message) } else { run.server(&message) };
        if let Verdict::Decided(name) = verdict {
            decided = Some(name);
        }
    }
    (run, decided)
}

/// One recording's flow, on its own port.
fn played(name: &str) -> Run {
    let recording = RECORDINGS.iter().find(|recording| recording.name == name).unwrap();
    play(recording, recording.at.1).0
}

#[test]
fn programs_are_recognised_on_their_port_and_on_another() {
    let mut wrong = Vec::new();
    for recording in RECORDINGS {
        for port in [recording.at.1, 47_123].into_iter().take(1 + usize::from(recording.anywhere)) {
            let (_, decided) = play(recording, port);
            if decided != Some(recording.name) {
                wrong.push(format!("{} on port {port} is {decided:?}", recording.name));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn what_programs_say_of_themselves_is_kept() {
    let ssh = played("SSH").info.ssh.unwrap();
    assert!(ssh.client.starts_with("SSH-2.0-OpenSSH_9.2") && ssh.server == ssh.client, "{ssh:?}");
    assert_eq!((ssh.hassh.len(), ssh.hassh_server.len()), (32, 32));
    let dtls = played("DTLS").info.tls.unwrap();
    assert_eq!((&*dtls.sni, dtls.version), ("dtls.example.org", 0xfefd));
    let certificate = dtls.certificate.unwrap();
    assert_eq!(&*certificate.subject, "CN=dtls.example.org");
}

#[test]
fn what_programs_say_is_well_formed_and_what_breaks_a_known_grammar_is_not() {
    use shared::model::status::FlowStatus;
    let malformed = FlowStatus::MalformedPacket.bit();
    for recording in RECORDINGS {
        assert_eq!(play(recording, recording.at.1).0.status & malformed, 0, "{}", recording.name);
    }
    let marker = [0xff; 16];
    let bad_kind = [&marker[..], &[0, 19, 9]].concat();
    let broken: [(&str, &[u8]); 5] = [
        ("SNMP", &[0x30, 3, 2, 1, 9]),
        ("RADIUS", &[1, 1, 0, 4]),
        ("COAP", &[0x4f, 1, 0, 1]),
        ("BGP", &bad_kind),
        ("TFTP", &[0, 9]),
    ];
    for (name, message) in broken {
        let mut run = played(name);
        run.client(message);
        assert_ne!(run.status & malformed, 0, "{name}");
    }
}

#[test]
fn passwords_that_programs_send_in_the_clear_are_seen() {
    use shared::model::status::FlowStatus;
    for name in ["AMQP", "HTTP2", "SOCKS", "STOMP"] {
        assert_ne!(played(name).status & FlowStatus::ClearTextCredentials.bit(), 0, "{name}");
    }
}
