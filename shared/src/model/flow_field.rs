//! The fields of a flow that scripts, filters and documentation name.
//!
//! One table: script getters, the reference in the manual and later the lowered programs follow it.

use std::borrow::Cow;

use super::flow::{ExportInfo, FlowRecord, L4};
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
    pub read: for<'a> fn(&'a FlowRecord) -> FieldValue<'a>,
}

fn int<'a>(value: u64) -> FieldValue<'a> {
    FieldValue::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn text(value: &str) -> FieldValue<'_> {
    FieldValue::Text(Cow::Borrowed(value))
}

fn made<'a>(value: String) -> FieldValue<'a> {
    FieldValue::Text(Cow::Owned(value))
}

macro_rules! fields {
    ($($name:literal, $doc:literal, $read:expr;)+) => {
        /// Every field, in order of the manual.
        pub const FLOW_FIELDS: &[FlowField] = &[$(FlowField { name: $name, doc: $doc, read: $read }),+];
    };
}

fields! {
    "id", "Number of the flow on its interface, from 1.", |f| int(f.id);
    "ifid", "Interface id.", |f| int(f.ifid.into());
    "vlan", "Outermost VLAN id, 0 when untagged.", |f| int(f.vlan.into());
    "cli", "Client address as text.", |f| made(f.client.ip.to_string());
    "srv", "Server address as text.", |f| made(f.server.ip.to_string());
    "cli_port", "Client port, 0 where there is none.", |f| int(f.client.port.into());
    "srv_port", "Server port, 0 where there is none.", |f| int(f.server.port.into());
    "cli_local", "True when the client is in a local network.", |f| FieldValue::Bool(f.client.local);
    "srv_local", "True when the server is in a local network.", |f| FieldValue::Bool(f.server.local);
    "cli_mac", "Hardware address seen with the client, `02:00:00:00:00:01`; empty when unknown.",
        |f| made(f.client.mac.as_ref().map(mac_text).unwrap_or_default());
    "srv_mac", "Hardware address seen with the server: that of a router when the server is behind one.",
        |f| made(f.server.mac.as_ref().map(mac_text).unwrap_or_default());
    "l4", "Layer-4 protocol: `tcp`, `udp`, `icmp`, …", |f| made(f.l4.name());
    "protocol", "Layer-4 protocol number (IANA).", |f| int(f.l4.0.into());
    "l7", "Layer-7 protocol, such as `DNS`, with the application where known: `TLS.YouTube`; `Unknown` when not found.", |f| text(&f.l7);
    "l7_master", "Layer-7 protocol without the application.", |f| text(f.l7_master());
    "l7_app", "Application, such as `YouTube`; empty when none is known.", |f| text(f.l7_app());
    "l7_guessed", "True when only the port suggests the protocol.",
        |f| FieldValue::Bool(f.l7_source == super::flow::L7Source::PortGuess);
    "first_seen", "Time of the first packet, seconds since the epoch.", |f| FieldValue::Int(f.first_seen.secs());
    "last_seen", "Time of the last packet, seconds since the epoch.", |f| FieldValue::Int(f.last_seen.secs());
    "duration", "Seconds between first and last packet.",
        |f| FieldValue::Int(f.last_seen.since(f.first_seen) / super::time::NS_PER_S);
    "age", "Seconds between first and last packet of the conversation, parts that the active timeout cut off included.",
        |f| FieldValue::Int(i64::from(f.earlier_s) + f.last_seen.since(f.first_seen) / super::time::NS_PER_S);
    "bytes", "Bytes on the wire, both directions.", |f| int(f.bytes());
    "cli2srv_bytes", "Bytes from client to server.", |f| int(f.cli2srv.bytes);
    "srv2cli_bytes", "Bytes from server to client.", |f| int(f.srv2cli.bytes);
    "packets", "Packets, both directions.", |f| int(f.packets());
    "cli2srv_packets", "Packets from client to server.", |f| int(f.cli2srv.packets);
    "srv2cli_packets", "Packets from server to client.", |f| int(f.srv2cli.packets);
    "goodput_bytes", "Bytes of layer-4 payload, both directions.",
        |f| int(f.cli2srv.goodput_bytes + f.srv2cli.goodput_bytes);
    "tcp_state", "TCP state in snake case, `none` when not TCP.",
        |f| made(format!("{:?}", f.tcp_state).chars().fold(String::new(), snake));
    "handshake_ok", "True when the TCP three-way handshake was seen.", |f| FieldValue::Bool(f.handshake_ok);
    "cli2srv_flags", "TCP flags of the client, or-ed.", |f| int(f.cli2srv.tcp_flags.into());
    "srv2cli_flags", "TCP flags of the server, or-ed.", |f| int(f.srv2cli.tcp_flags.into());
    "retransmissions", "TCP segments sent again, both directions.",
        |f| int(u64::from(f.cli2srv.retransmissions) + u64::from(f.srv2cli.retransmissions));
    "out_of_order", "TCP segments out of order, both directions.",
        |f| int(u64::from(f.cli2srv.out_of_order) + u64::from(f.srv2cli.out_of_order));
    "zero_windows", "Announcements of a zero TCP window, both directions.",
        |f| int(u64::from(f.cli2srv.zero_windows) + u64::from(f.srv2cli.zero_windows));
    "rtt_client_us", "Round trip between here and the client by the handshake in microseconds, 0 when unknown.",
        |f| int(f.rtt_client_us.into());
    "rtt_server_us", "Round trip between here and the server by the handshake in microseconds, 0 when unknown.",
        |f| int(f.rtt_server_us.into());
    "rtt_us", "Network round trip by the handshake in microseconds, 0 when unknown.",
        |f| int(u64::from(f.rtt_client_us) + u64::from(f.rtt_server_us));
    "gap_min_us", "Shortest time between two packets in microseconds.", |f| int(f.gap_min_us.into());
    "gap_max_us", "Longest time between two packets in microseconds.", |f| int(f.gap_max_us.into());
    "gap_mean_us", "Mean time between packets in microseconds.", |f| int(f.gap_mean_us());
    "gap_deviation_us", "Standard deviation of the time between packets in microseconds.",
        |f| int(f.gap_deviation_us.into());
    "fragmented", "True when some packet was an IP fragment.", |f| FieldValue::Bool(f.fragmented);
    "l7_category", "What the protocol or application is for, in snake case.", |f| text(f.l7_category.name());
    "l7_breed", "How far the protocol or application is to be trusted, in snake case.", |f| text(f.l7_breed.name());
    "name", "SNI, HTTP host or DNS question, whichever is known.", |f| text(f.info.name());
    "sni", "TLS server name.", |f| text(f.info.tls.as_ref().map_or("", |t| &t.sni));
    "alpn", "First ALPN protocol the client offers.", |f| text(f.info.tls.as_ref().map_or("", |t| &t.alpn));
    "tls_version", "TLS version number (0x0303 is TLS 1.2), 0 when not TLS.",
        |f| int(f.info.tls.as_ref().map_or(0, |t| t.version.into()));
    "tls_cipher", "Cipher suite number that the server chose, 0 when unknown.",
        |f| int(f.info.tls.as_ref().map_or(0, |t| t.cipher.into()));
    "alpn_chosen", "ALPN protocol that the server chose.",
        |f| text(f.info.tls.as_ref().map_or("", |t| &t.alpn_chosen));
    "ja3", "JA3 of the TLS client's hello, in hexadecimal.", |f| text(f.info.tls.as_ref().map_or("", |t| &t.ja3));
    "ja3s", "JA3S of the TLS server's hello, in hexadecimal.", |f| text(f.info.tls.as_ref().map_or("", |t| &t.ja3s));
    "ja4", "JA4 of the TLS client's hello.", |f| text(f.info.tls.as_ref().map_or("", |t| &t.ja4));
    "certificate_subject", "Subject of the TLS server's certificate, empty when it was not seen.",
        |f| text(certificate(f).map_or("", |c| &c.subject));
    "certificate_issuer", "Issuer of the TLS server's certificate.",
        |f| text(certificate(f).map_or("", |c| &c.issuer));
    "certificate_names", "Host names and addresses that the TLS server's certificate is for.",
        |f| FieldValue::List(certificate(f).map_or(Vec::new(), |c| c.names.iter().map(ToString::to_string).collect()));
    "certificate_not_before", "Begin of the certificate's validity, seconds since the epoch; 0 when it was not seen.",
        |f| FieldValue::Int(certificate(f).map_or(0, |c| c.not_before));
    "certificate_not_after", "End of the certificate's validity, seconds since the epoch; 0 when it was not seen.",
        |f| FieldValue::Int(certificate(f).map_or(0, |c| c.not_after));
    "certificate_self_signed", "True when the certificate's subject and issuer are the same.",
        |f| FieldValue::Bool(certificate(f).is_some_and(|c| c.self_signed));
    "certificate_sha1", "SHA-1 of the certificate, in hexadecimal.",
        |f| text(certificate(f).map_or("", |c| &c.fingerprint));
    "http_method", "HTTP request method.", |f| text(f.info.http.as_ref().map_or("", |h| &h.method));
    "http_host", "HTTP `Host` header.", |f| text(f.info.http.as_ref().map_or("", |h| &h.host));
    "http_url", "HTTP request target.", |f| text(f.info.http.as_ref().map_or("", |h| &h.url));
    "http_status", "HTTP status code, 0 before the answer.",
        |f| int(f.info.http.as_ref().map_or(0, |h| h.status.into()));
    "http_user_agent", "HTTP `User-Agent` header.", |f| text(f.info.http.as_ref().map_or("", |h| &h.user_agent));
    "http_content_type", "`Content-Type` of the HTTP answer.",
        |f| text(f.info.http.as_ref().map_or("", |h| &h.content_type));
    "http_server", "HTTP `Server` header.", |f| text(f.info.http.as_ref().map_or("", |h| &h.server));
    "dns_query", "Last DNS question.", |f| text(f.info.dns.as_ref().map_or("", |d| &d.query));
    "dns_query_type", "Type number of the last DNS question.",
        |f| int(f.info.dns.as_ref().map_or(0, |d| d.query_type.into()));
    "dns_queries", "DNS questions seen.", |f| int(f.info.dns.as_ref().map_or(0, |d| d.queries.into()));
    "dns_errors", "DNS answers with an error code seen.", |f| int(f.info.dns.as_ref().map_or(0, |d| d.errors.into()));
    "dns_reply_code", "Last DNS answer code, 0 is no error.",
        |f| int(f.info.dns.as_ref().map_or(0, |d| d.reply_code.into()));
    "ssh_client", "SSH client identification.", |f| text(f.info.ssh.as_ref().map_or("", |s| &s.client));
    "ssh_server", "SSH server identification.", |f| text(f.info.ssh.as_ref().map_or("", |s| &s.server));
    "hassh", "HASSH of the SSH client's offer, in hexadecimal.", |f| text(f.info.ssh.as_ref().map_or("", |s| &s.hassh));
    "hassh_server", "HASSH of the SSH server's offer, in hexadecimal.",
        |f| text(f.info.ssh.as_ref().map_or("", |s| &s.hassh_server));
    "status", "Status bits as a number.", |f| FieldValue::Int(f.status as i64);
    "status_names", "Names of the status bits set.", |f| FieldValue::List(status::names(f.status));
    "score", "Sum of the scores of alerts on the flow.", |f| int(f.score.into());
    "collected", "True when an exporter reported the flow.", |f| FieldValue::Bool(f.collected);
    "exporter", "Address of the exporter as text, empty when the flow was not collected.",
        |f| made(f.export.as_ref().map_or_else(String::new, |e| e.exporter.to_string()));
    "input_interface", "SNMP index of the exporter's interface that the client's packets came in by, 0 when unknown.",
        |f| int(f.export.as_ref().map_or(0, |e| e.input.into()));
    "output_interface", "SNMP index of the exporter's interface that they left by, 0 when unknown.",
        |f| int(f.export.as_ref().map_or(0, |e| e.output.into()));
    "sampling", "The exporter looked at one packet of this many; counters are multiplied by it.",
        |f| int(f.export.as_ref().map_or(1, |e| e.sampling.into()));
    "exporter_application", "What the exporter calls the application, empty when it does not say.",
        |f| text(f.export.as_ref().map_or("", |e| &e.application));
    "client_country", "Country of the client by its two letters (ISO 3166-1); empty when unknown, as without databases (`geo.databases`).",
        |f| text(f.client_place().map_or("", |p| &p.country));
    "client_continent", "Continent of the client by its two letters.", |f| text(f.client_place().map_or("", |p| &p.continent));
    "client_city", "City of the client.", |f| text(f.client_place().map_or("", |p| &p.city));
    "client_latitude", "Latitude of the client in millionths of a degree, 0 when unknown.",
        |f| degrees(f.client_place().and_then(|p| p.latitude));
    "client_longitude", "Longitude of the client in millionths of a degree, 0 when unknown.",
        |f| degrees(f.client_place().and_then(|p| p.longitude));
    "client_asn", "Autonomous system of the client, by databases or the exporter; 0 when unknown.",
        |f| int(f.client_place().map_or(0, |p| p.asn).max(exported_as(f, |e| e.client_as)).into());
    "client_as_name", "Who runs the autonomous system of the client.", |f| text(f.client_place().map_or("", |p| &p.as_name));
    "server_country", "Country of the server by its two letters (ISO 3166-1); empty when unknown, as without databases (`geo.databases`).",
        |f| text(f.server_place().map_or("", |p| &p.country));
    "server_continent", "Continent of the server by its two letters.", |f| text(f.server_place().map_or("", |p| &p.continent));
    "server_city", "City of the server.", |f| text(f.server_place().map_or("", |p| &p.city));
    "server_latitude", "Latitude of the server in millionths of a degree, 0 when unknown.",
        |f| degrees(f.server_place().and_then(|p| p.latitude));
    "server_longitude", "Longitude of the server in millionths of a degree, 0 when unknown.",
        |f| degrees(f.server_place().and_then(|p| p.longitude));
    "server_asn", "Autonomous system of the server, by databases or the exporter; 0 when unknown.",
        |f| int(f.server_place().map_or(0, |p| p.asn).max(exported_as(f, |e| e.server_as)).into());
    "server_as_name", "Who runs the autonomous system of the server.", |f| text(f.server_place().map_or("", |p| &p.as_name));
    "control_codes", "What was asked for in an industrial protocol: functions of Modbus, type ids of IEC 60870-5-104.",
        |f| FieldValue::List(f.info.control.as_ref().map_or(Vec::new(), |c| c.codes()));
    "control_transitions", "Which of them came after which, `100>45`, the first 64 different ones.",
        |f| FieldValue::List(f.info.control.as_ref().map_or(Vec::new(), |c| c.transitions()));
    "control_messages", "Messages of an industrial protocol read.",
        |f| int(f.info.control.as_ref().map_or(0, |c| c.messages.into()));
    "control_exceptions", "Of these, answers that refuse.",
        |f| int(f.info.control.as_ref().map_or(0, |c| c.exceptions.into()));
    "is_tcp", "True for TCP.", |f| FieldValue::Bool(f.l4 == L4::TCP);
    "is_udp", "True for UDP.", |f| FieldValue::Bool(f.l4 == L4::UDP);
    "label", "`client:port server:port`.", |f| made(f.label());
    "community_id", "Community ID version 1.", |f| made(f.community_id());
}

fn certificate(flow: &FlowRecord) -> Option<&super::flow::TlsCertificate> {
    flow.info.tls.as_ref()?.certificate.as_deref()
}

fn degrees<'a>(degrees: Option<f64>) -> FieldValue<'a> {
    FieldValue::Int((degrees.unwrap_or(0.0) * 1e6).round() as i64)
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
