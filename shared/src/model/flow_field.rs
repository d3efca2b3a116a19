//! The fields of a flow that scripts, filters and documentation name.
//!
//! One table: script getters, the reference in the manual and the lowered programs follow it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use super::flow::{DirectionCounters, ExportInfo, FlowRecord, L4};
use super::pool::mac_text;
use super::status;

/// The value of one field; text that the flow holds is lent.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(Cow<'a, str>),
    /// A list of texts.
    List(Vec<String>),
}

/// One readable field of a flow.
pub struct FlowField {
    /// Name in scripts, as in `flow.bytes`.
    pub name: &'static str,
    /// What it holds, with its unit.
    pub doc: &'static str,
    /// Reads it.
    pub read: Read,
}

/// How a field is read, by what it holds.
#[derive(Clone, Copy, Debug)]
pub enum Read {
    /// A truth value.
    Bool(fn(&FlowRecord) -> bool),
    /// A whole number.
    Int(fn(&FlowRecord) -> i64),
    /// Text that the flow holds.
    Text(for<'a> fn(&'a FlowRecord) -> &'a str),
    /// Text that is made when it is asked for.
    Made(fn(&FlowRecord) -> String),
    /// A list of texts.
    List(fn(&FlowRecord) -> Vec<String>),
}

impl FlowField {
    /// The field's value of a flow.
    pub fn of<'a>(&self, flow: &'a FlowRecord) -> FieldValue<'a> {
        match self.read {
            Read::Bool(read) => FieldValue::Bool(read(flow)),
            Read::Int(read) => FieldValue::Int(read(flow)),
            Read::Text(read) => FieldValue::Text(Cow::Borrowed(read(flow))),
            Read::Made(read) => FieldValue::Text(Cow::Owned(read(flow))),
            Read::List(read) => FieldValue::List(read(flow)),
        }
    }
}

/// A counter as scripts see it.
fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

macro_rules! fields {
    ($($name:literal, $doc:literal, $kind:ident($read:expr);)+) => {
        /// Every field, in order of the manual.
        pub const FLOW_FIELDS: &[FlowField] =
            &[$(FlowField { name: $name, doc: $doc, read: Read::$kind($read) }),+];
    };
}

fields! {
    "id", "Number of the flow on its interface, from 1.", Int(|f| count(f.id));
    "ifid", "Interface id.", Int(|f| count(f.ifid.into()));
    "vlan", "Outermost VLAN id, 0 when untagged.", Int(|f| count(f.vlan.into()));
    "inner_vlan", "The VLAN id inside that one, 0 when there is none.", Int(|f| count(f.inner_vlan.into()));
    "cli", "Client address as text.", Made(|f| f.client.ip.to_string());
    "srv", "Server address as text.", Made(|f| f.server.ip.to_string());
    "cli_port", "Client port, 0 where there is none.", Int(|f| count(f.client.port.into()));
    "srv_port", "Server port, 0 where there is none.", Int(|f| count(f.server.port.into()));
    "cli_local", "True when the client is in a local network.", Bool(|f| f.client.local);
    "srv_local", "True when the server is in a local network.", Bool(|f| f.server.local);
    "cli_mac", "Hardware address seen with the client, `02:00:00:00:00:01`; empty when unknown.",
        Made(|f| f.client.mac.as_ref().map(mac_text).unwrap_or_default());
    "srv_mac", "Hardware address seen with the server: that of a router when the server is behind one.",
        Made(|f| f.server.mac.as_ref().map(mac_text).unwrap_or_default());
    "l4", "Layer-4 protocol: `tcp`, `udp`, `icmp`, …", Made(|f| f.l4.name());
    "protocol", "Layer-4 protocol number (IANA).", Int(|f| count(f.l4.0.into()));
    "l7", "Layer-7 protocol, such as `DNS`, with the application where known: `TLS.YouTube`; `Unknown` when not found.", Text(|f| &f.l7);
    "l7_master", "Layer-7 protocol without the application.", Text(|f| f.l7_master());
    "l7_app", "Application, such as `YouTube`; empty when none is known.", Text(|f| f.l7_app());
    "l7_guessed", "True when only the port suggests the protocol.",
        Bool(|f| f.l7_source == super::flow::L7Source::PortGuess);
    "first_seen", "Time of the first packet, seconds since the epoch.", Int(|f| f.first_seen.secs());
    "last_seen", "Time of the last packet, seconds since the epoch.", Int(|f| f.last_seen.secs());
    "duration", "Seconds between first and last packet.",
        Int(|f| f.last_seen.since(f.first_seen) / super::time::NS_PER_S);
    "age", "Seconds between first and last packet of the conversation, parts that the active timeout cut off included.",
        Int(|f| i64::from(f.earlier_s) + f.last_seen.since(f.first_seen) / super::time::NS_PER_S);
    "bytes", "Bytes on the wire, both directions.", Int(|f| count(f.bytes()));
    "cli2srv_bytes", "Bytes from client to server.", Int(|f| count(f.cli2srv.bytes));
    "srv2cli_bytes", "Bytes from server to client.", Int(|f| count(f.srv2cli.bytes));
    "packets", "Packets, both directions.", Int(|f| count(f.packets()));
    "cli2srv_packets", "Packets from client to server.", Int(|f| count(f.cli2srv.packets));
    "srv2cli_packets", "Packets from server to client.", Int(|f| count(f.srv2cli.packets));
    "goodput_bytes", "Bytes of layer-4 payload, both directions.",
        Int(|f| count(f.cli2srv.goodput_bytes + f.srv2cli.goodput_bytes));
    "cli2srv_goodput_bytes", "Bytes of layer-4 payload from client to server.", Int(|f| count(f.cli2srv.goodput_bytes));
    "srv2cli_goodput_bytes", "Bytes of layer-4 payload from server to client.", Int(|f| count(f.srv2cli.goodput_bytes));
    "is_unicast", "True when both sides are one host each: neither a multicast group nor broadcast.",
        Bool(|f| is_unicast(f.client.ip) && is_unicast(f.server.ip));
    "is_multicast", "True when a side is a multicast group (224.0.0.0/4, ff00::/8).",
        Bool(|f| f.client.ip.is_multicast() || f.server.ip.is_multicast());
    "is_broadcast", "True when a side is 255.255.255.255; of a network's own broadcast address nothing is known.",
        Bool(|f| is_broadcast(f.client.ip) || is_broadcast(f.server.ip));
    "bidirectional", "True when both sides have sent something.",
        Bool(|f| f.cli2srv.packets > 0 && f.srv2cli.packets > 0);
    "icmp_type", "Type of the first ICMP or ICMPv6 packet, -1 when there was none.",
        Int(|f| f.icmp.map_or(-1, |(kind, _)| kind.into()));
    "icmp_code", "Code of the first ICMP or ICMPv6 packet, -1 when there was none.",
        Int(|f| f.icmp.map_or(-1, |(_, code)| code.into()));
    "tcp_state", "TCP state in snake case, `none` when not TCP.",
        Made(|f| format!("{:?}", f.tcp_state).chars().fold(String::new(), snake));
    "handshake_ok", "True when the TCP three-way handshake was seen.", Bool(|f| f.handshake_ok);
    "cli2srv_flags", "TCP flags of the client, or-ed.", Int(|f| count(f.cli2srv.tcp_flags.into()));
    "srv2cli_flags", "TCP flags of the server, or-ed.", Int(|f| count(f.srv2cli.tcp_flags.into()));
    "retransmissions", "TCP segments sent again, both directions.",
        Int(|f| count(u64::from(f.cli2srv.retransmissions) + u64::from(f.srv2cli.retransmissions)));
    "out_of_order", "TCP segments out of order, both directions.",
        Int(|f| count(u64::from(f.cli2srv.out_of_order) + u64::from(f.srv2cli.out_of_order)));
    "lost", "TCP segments that are missing for good, both directions: others behind them were seen, and they never were.",
        Int(|f| count(u64::from(f.cli2srv.lost) + u64::from(f.srv2cli.lost)));
    "zero_windows", "Announcements of a zero TCP window, both directions.",
        Int(|f| count(u64::from(f.cli2srv.zero_windows) + u64::from(f.srv2cli.zero_windows)));
    "cli2srv_retransmissions", "TCP segments sent again by the client.", Int(|f| count(f.cli2srv.retransmissions.into()));
    "srv2cli_retransmissions", "TCP segments sent again by the server.", Int(|f| count(f.srv2cli.retransmissions.into()));
    "cli2srv_out_of_order", "TCP segments of the client out of order.", Int(|f| count(f.cli2srv.out_of_order.into()));
    "srv2cli_out_of_order", "TCP segments of the server out of order.", Int(|f| count(f.srv2cli.out_of_order.into()));
    "cli2srv_lost", "TCP segments of the client that are missing for good.", Int(|f| count(f.cli2srv.lost.into()));
    "srv2cli_lost", "TCP segments of the server that are missing for good.", Int(|f| count(f.srv2cli.lost.into()));
    "cli2srv_zero_windows", "Announcements of a zero TCP window by the client.", Int(|f| count(f.cli2srv.zero_windows.into()));
    "srv2cli_zero_windows", "Announcements of a zero TCP window by the server.", Int(|f| count(f.srv2cli.zero_windows.into()));
    "cli2srv_resets", "TCP resets by the client.", Int(|f| count(f.cli2srv.resets.into()));
    "srv2cli_resets", "TCP resets by the server.", Int(|f| count(f.srv2cli.resets.into()));
    "cli2srv_tos", "Type of service or traffic class of the client's first packet.", Int(|f| count(f.cli2srv.tos.into()));
    "srv2cli_tos", "Type of service or traffic class of the server's first packet.", Int(|f| count(f.srv2cli.tos.into()));
    "cli2srv_ip_flags", "IP flags of the client, or-ed: 2 do not fragment, 1 more fragments.",
        Int(|f| count(f.cli2srv.ip_flags.into()));
    "srv2cli_ip_flags", "IP flags of the server, or-ed: 2 do not fragment, 1 more fragments.",
        Int(|f| count(f.srv2cli.ip_flags.into()));
    "reply_us", "Time from the client's first packet to the server's first in microseconds, 0 when unknown and for TCP.",
        Int(|f| count(f.reply_us.into()));
    "cli2srv_retransmission_percent", "Share of the client's TCP packets that were sent again, in percent.",
        Int(|f| percent(&f.cli2srv));
    "srv2cli_retransmission_percent", "Share of the server's TCP packets that were sent again, in percent.",
        Int(|f| percent(&f.srv2cli));
    "rtt_client_us", "Round trip between here and the client by the handshake in microseconds, 0 when unknown.",
        Int(|f| count(f.rtt_client_us.into()));
    "rtt_server_us", "Round trip between here and the server by the handshake in microseconds, 0 when unknown.",
        Int(|f| count(f.rtt_server_us.into()));
    "rtt_us", "Network round trip by the handshake in microseconds, 0 when unknown.",
        Int(|f| count(u64::from(f.rtt_client_us) + u64::from(f.rtt_server_us)));
    "gap_min_us", "Shortest time between two packets in microseconds.", Int(|f| count(f.gap_min_us.into()));
    "gap_max_us", "Longest time between two packets in microseconds.", Int(|f| count(f.gap_max_us.into()));
    "gap_mean_us", "Mean time between packets in microseconds.", Int(|f| count(f.gap_mean_us()));
    "gap_deviation_us", "Standard deviation of the time between packets in microseconds.",
        Int(|f| count(f.gap_deviation_us.into()));
    "fragmented", "True when some packet was an IP fragment.", Bool(|f| f.fragmented);
    "l7_category", "What the protocol or application is for, in snake case.", Text(|f| f.l7_category.name());
    "l7_breed", "How far the protocol or application is to be trusted, in snake case.", Text(|f| f.l7_breed.name());
    "name", "SNI, HTTP host or DNS question, whichever is known.", Text(|f| f.info.name());
    "sni", "TLS server name.", Text(|f| f.info.tls.as_ref().map_or("", |t| &t.sni));
    "alpn", "First ALPN protocol the client offers.", Text(|f| f.info.tls.as_ref().map_or("", |t| &t.alpn));
    "tls_version", "TLS version number (0x0303 is TLS 1.2), 0 when not TLS.",
        Int(|f| count(f.info.tls.as_ref().map_or(0, |t| t.version.into())));
    "tls_cipher", "Cipher suite number that the server chose, 0 when unknown.",
        Int(|f| count(f.info.tls.as_ref().map_or(0, |t| t.cipher.into())));
    "alpn_chosen", "ALPN protocol that the server chose.",
        Text(|f| f.info.tls.as_ref().map_or("", |t| &t.alpn_chosen));
    "ja3", "JA3 of the TLS client's hello, in hexadecimal.", Text(|f| f.info.tls.as_ref().map_or("", |t| &t.ja3));
    "ja3s", "JA3S of the TLS server's hello, in hexadecimal.", Text(|f| f.info.tls.as_ref().map_or("", |t| &t.ja3s));
    "ja4", "JA4 of the TLS client's hello.", Text(|f| f.info.tls.as_ref().map_or("", |t| &t.ja4));
    "certificate_subject", "Subject of the TLS server's certificate, empty when it was not seen.",
        Text(|f| certificate(f).map_or("", |c| &c.subject));
    "certificate_issuer", "Issuer of the TLS server's certificate.",
        Text(|f| certificate(f).map_or("", |c| &c.issuer));
    "certificate_names", "Host names and addresses that the TLS server's certificate is for.",
        List(|f| certificate(f).map_or(Vec::new(), |c| c.names.iter().map(ToString::to_string).collect()));
    "certificate_not_before", "Begin of the certificate's validity, seconds since the epoch; 0 when it was not seen.",
        Int(|f| certificate(f).map_or(0, |c| c.not_before));
    "certificate_not_after", "End of the certificate's validity, seconds since the epoch; 0 when it was not seen.",
        Int(|f| certificate(f).map_or(0, |c| c.not_after));
    "certificate_self_signed", "True when the certificate's subject and issuer are the same.",
        Bool(|f| certificate(f).is_some_and(|c| c.self_signed));
    "certificate_sha1", "SHA-1 of the certificate, in hexadecimal.",
        Text(|f| certificate(f).map_or("", |c| &c.fingerprint));
    "http_method", "HTTP request method.", Text(|f| f.info.http.as_ref().map_or("", |h| &h.method));
    "http_host", "HTTP `Host` header.", Text(|f| f.info.http.as_ref().map_or("", |h| &h.host));
    "http_url", "HTTP request target.", Text(|f| f.info.http.as_ref().map_or("", |h| &h.url));
    "http_status", "HTTP status code, 0 before the answer.",
        Int(|f| count(f.info.http.as_ref().map_or(0, |h| h.status.into())));
    "http_user_agent", "HTTP `User-Agent` header.", Text(|f| f.info.http.as_ref().map_or("", |h| &h.user_agent));
    "http_content_type", "`Content-Type` of the HTTP answer.",
        Text(|f| f.info.http.as_ref().map_or("", |h| &h.content_type));
    "http_server", "HTTP `Server` header.", Text(|f| f.info.http.as_ref().map_or("", |h| &h.server));
    "dns_query", "Last DNS question.", Text(|f| f.info.dns.as_ref().map_or("", |d| &d.query));
    "dns_query_type", "Type number of the last DNS question.",
        Int(|f| count(f.info.dns.as_ref().map_or(0, |d| d.query_type.into())));
    "dns_queries", "DNS questions seen.", Int(|f| count(f.info.dns.as_ref().map_or(0, |d| d.queries.into())));
    "dns_errors", "DNS answers with an error code seen.", Int(|f| count(f.info.dns.as_ref().map_or(0, |d| d.errors.into())));
    "dns_reply_code", "Last DNS answer code, 0 is no error.",
        Int(|f| count(f.info.dns.as_ref().map_or(0, |d| d.reply_code.into())));
    "ssh_client", "SSH client identification.", Text(|f| f.info.ssh.as_ref().map_or("", |s| &s.client));
    "ssh_server", "SSH server identification.", Text(|f| f.info.ssh.as_ref().map_or("", |s| &s.server));
    "hassh", "HASSH of the SSH client's offer, in hexadecimal.", Text(|f| f.info.ssh.as_ref().map_or("", |s| &s.hassh));
    "hassh_server", "HASSH of the SSH server's offer, in hexadecimal.",
        Text(|f| f.info.ssh.as_ref().map_or("", |s| &s.hassh_server));
    "status", "Status bits as a number.", Int(|f| f.status as i64);
    "status_names", "Names of the status bits set.", List(|f| status::names(f.status));
    "score", "Sum of the scores of alerts on the flow.", Int(|f| count(f.score.into()));
    "top_score", "Score of the weightiest alert on the flow, 0 when there is none.", Int(|f| count(f.top_score.into()));
    "l7_payloads", "Packets with payload that were looked at for the layer-7 protocol, up to 255.",
        Int(|f| count(f.l7_payloads.into()));
    "collected", "True when an exporter reported the flow.", Bool(|f| f.collected);
    "exporter", "Address of the exporter as text, empty when the flow was not collected.",
        Made(|f| f.export.as_ref().map_or_else(String::new, |e| e.exporter.to_string()));
    "input_interface", "SNMP index of the exporter's interface that the client's packets came in by, 0 when unknown.",
        Int(|f| count(f.export.as_ref().map_or(0, |e| e.input.into())));
    "output_interface", "SNMP index of the exporter's interface that they left by, 0 when unknown.",
        Int(|f| count(f.export.as_ref().map_or(0, |e| e.output.into())));
    "sampling", "The exporter looked at one packet of this many; counters are multiplied by it.",
        Int(|f| count(f.export.as_ref().map_or(1, |e| e.sampling.into())));
    "exporter_application", "What the exporter calls the application, empty when it does not say.",
        Text(|f| f.export.as_ref().map_or("", |e| &e.application));
    "end_reason", "Why the flow ended, in snake case (`idle`, `closed`, `evicted`, …); empty while it lives.",
        Made(|f| f.end.map_or_else(String::new, |end| format!("{end:?}").chars().fold(String::new(), snake)));
    "client_country", "Country of the client by its two letters (ISO 3166-1); empty when unknown, as without databases (`geo.databases`).",
        Text(|f| f.client_place().map_or("", |p| &p.country));
    "client_continent", "Continent of the client by its two letters.", Text(|f| f.client_place().map_or("", |p| &p.continent));
    "client_city", "City of the client.", Text(|f| f.client_place().map_or("", |p| &p.city));
    "client_latitude", "Latitude of the client in millionths of a degree, 0 when unknown.",
        Int(|f| degrees(f.client_place().and_then(|p| p.latitude)));
    "client_longitude", "Longitude of the client in millionths of a degree, 0 when unknown.",
        Int(|f| degrees(f.client_place().and_then(|p| p.longitude)));
    "client_asn", "Autonomous system of the client, by databases or the exporter; 0 when unknown.",
        Int(|f| count(f.client_place().map_or(0, |p| p.asn).max(exported_as(f, |e| e.client_as)).into()));
    "client_as_name", "Who runs the autonomous system of the client.", Text(|f| f.client_place().map_or("", |p| &p.as_name));
    "server_country", "Country of the server by its two letters (ISO 3166-1); empty when unknown, as without databases (`geo.databases`).",
        Text(|f| f.server_place().map_or("", |p| &p.country));
    "server_continent", "Continent of the server by its two letters.", Text(|f| f.server_place().map_or("", |p| &p.continent));
    "server_city", "City of the server.", Text(|f| f.server_place().map_or("", |p| &p.city));
    "server_latitude", "Latitude of the server in millionths of a degree, 0 when unknown.",
        Int(|f| degrees(f.server_place().and_then(|p| p.latitude)));
    "server_longitude", "Longitude of the server in millionths of a degree, 0 when unknown.",
        Int(|f| degrees(f.server_place().and_then(|p| p.longitude)));
    "server_asn", "Autonomous system of the server, by databases or the exporter; 0 when unknown.",
        Int(|f| count(f.server_place().map_or(0, |p| p.asn).max(exported_as(f, |e| e.server_as)).into()));
    "server_as_name", "Who runs the autonomous system of the server.", Text(|f| f.server_place().map_or("", |p| &p.as_name));
    "control_codes", "What was asked for in an industrial protocol: functions of Modbus, type ids of IEC 60870-5-104.",
        List(|f| f.info.control.as_ref().map_or(Vec::new(), |c| c.codes()));
    "control_transitions", "Which of them came after which, `100>45`, the first 64 different ones.",
        List(|f| f.info.control.as_ref().map_or(Vec::new(), |c| c.transitions()));
    "control_messages", "Messages of an industrial protocol read.",
        Int(|f| count(f.info.control.as_ref().map_or(0, |c| c.messages.into())));
    "control_exceptions", "Of these, answers that refuse.",
        Int(|f| count(f.info.control.as_ref().map_or(0, |c| c.exceptions.into())));
    "is_tcp", "True for TCP.", Bool(|f| f.l4 == L4::TCP);
    "is_udp", "True for UDP.", Bool(|f| f.l4 == L4::UDP);
    "label", "`client:port server:port`.", Made(|f| f.label());
    "community_id", "Community ID version 1.", Made(|f| f.community_id());
}

fn certificate(flow: &FlowRecord) -> Option<&super::flow::TlsCertificate> {
    flow.info.tls.as_ref()?.certificate.as_deref()
}

fn is_broadcast(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn is_unicast(ip: IpAddr) -> bool {
    !ip.is_multicast() && !is_broadcast(ip)
}

/// How many of a side's packets were TCP segments sent again.
fn percent(side: &DirectionCounters) -> i64 {
    match side.packets {
        0 => 0,
        packets => count(u64::from(side.retransmissions).saturating_mul(100) / packets).min(100),
    }
}

fn degrees(degrees: Option<f64>) -> i64 {
    (degrees.unwrap_or(0.0) * 1e6).round() as i64
}

fn exported_as(flow: &FlowRecord, side: impl Fn(&ExportInfo) -> u32) -> u32 {
    flow.export.as_deref().map_or(0, side)
}

fn snake(mut out: String, c: char) -> String {
    if c.is_ascii_uppercase() && !out.is_empty() {
        out.push('_');
    }
    out.push(c.to_ascii_lowercase());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_documented() {
        let mut names: Vec<_> = FLOW_FIELDS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(FLOW_FIELDS.iter().all(|f| f.doc.ends_with(['.', '…'])));
    }
}
