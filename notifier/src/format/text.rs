//! An alert as one line of text (seed 002 "Syslog", Text), as chats, mail and logs show it.

use shared::model::{Alert, AlertAction, Entity};

use super::{one_line, push_escaped};

/// Words that stay lower-case inside a type's name.
const SMALL_WORDS: [&str; 8] = ["a", "and", "by", "in", "of", "on", "or", "to"];

/// Words that are written in capitals.
const ACRONYMS: [&str; 22] = [
    "arp", "cpu", "dhcp", "dns", "ftp", "http", "https", "icmp", "ids", "ip", "ips", "ldap", "mac", "ntp",
    "smtp", "snmp", "ssh", "ssl", "syn", "tcp", "tls", "udp",
];

/// `[time][severity][type][entity][entity value][action] message`.
///
/// Time is ISO 8601 in UTC with milliseconds; the action is `Engaged` or `Released` and left out
/// for one-shot alerts. A flow has no entity value; its ends and its layer-4 protocol follow the
/// message as `[Flow: a b] [L4 Protocol: UDP]`.
pub fn line(alert: &Alert) -> String {
    let mut line = format!(
        "[{}][{}][{}][{}]",
        alert.tstamp.rfc3339_millis(),
        alert.severity.label(),
        field(&type_label(&alert.alert_type)),
        alert.entity.label()
    );
    let is_flow = alert.entity == Entity::Flow;
    if !is_flow {
        line.push_str(&format!("[{}]", field(shown_value(alert))));
    }
    match alert.action {
        AlertAction::Engage => line.push_str("[Engaged]"),
        AlertAction::Release => line.push_str("[Released]"),
        AlertAction::Update => line.push_str("[Updated]"),
        AlertAction::Store => {}
    }
    line.push(' ');
    line.push_str(&one_line(&alert.message));
    if is_flow {
        line.push_str(&format!(" [Flow: {}]", field(&alert.entity_value)));
        if let Some(flow) = &alert.flow {
            line.push_str(&format!(" [L4 Protocol: {}]", field(&flow.l4)));
        }
    }
    line
}

/// Which one it concerns; VLAN 0 is no VLAN and is not shown.
pub fn shown_value(alert: &Alert) -> &str {
    alert.entity_value.strip_suffix("@0").unwrap_or(&alert.entity_value)
}

/// A snake-case type as a title: `remote_to_remote_flow` becomes `Remote to Remote Flow`.
pub fn type_label(alert_type: &str) -> String {
    let words = alert_type.split('_').filter(|word| !word.is_empty()).enumerate();
    let words: Vec<String> = words
        .map(|(place, word)| {
            if ACRONYMS.contains(&word) {
                return word.to_uppercase();
            }
            if place > 0 && SMALL_WORDS.contains(&word) {
                return word.to_owned();
            }
            let mut chars = word.chars();
            chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
        })
        .collect();
    words.join(" ")
}

/// Text between brackets: unsafe characters and brackets are written out.
fn field(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '[' | ']' | '\\') {
            out.push('\\');
        }
        push_escaped(&mut out, c);
    }
    out
}

/// The bracketed fields that a line begins with, still escaped.
#[cfg(test)]
pub fn leading_fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut chars = line.chars();
    while chars.next() == Some('[') {
        let mut field = String::new();
        while let Some(c) = chars.next() {
            match c {
                '\\' => field.extend([c].into_iter().chain(chars.next())),
                ']' => break,
                c => field.push(c),
            }
        }
        fields.push(field);
    }
    fields
}

#[cfg(test)]
mod tests {
    use shared::model::{Severity, Timestamp};

    use super::*;
    use crate::testing::{alert, flow_alert};

    fn check(alert: &Alert, expected: &str) {
        assert_eq!(line(alert), expected);
    }

    #[test]
    fn a_device_connection_reads_as_in_the_seed() {
        let alert = Alert {
            action: AlertAction::Store,
            severity: Severity::Info,
            alert_type: "device_connection".to_owned(),
            entity: Entity::Mac,
            entity_value: "58:40:4E:CE:28:29".to_owned(),
            tstamp: Timestamp::from_secs(1_536_245_738),
            message: "The device Apple_CE:28:29 has connected to the network.".to_owned(),
            ..alert("a")
        };
        check(
            &alert,
            "[2018-09-06T14:55:38.000Z][Info][Device Connection][Device][58:40:4E:CE:28:29] \
             The device Apple_CE:28:29 has connected to the network.",
        );
    }

    #[test]
    fn a_threshold_cross_engages_and_releases() {
        let text = |label: &str| {
            format!(
                "[2018-09-06T15:22:00.000Z][Error][Threshold Cross][Interface][iface_0][{label}] \
                 Minute traffic crossed by interface eno1 [1.08 MB > 2 Bytes]"
            )
        };
        check(&alert("a"), &text("Engaged"));
        check(&Alert { action: AlertAction::Release, ..alert("a") }, &text("Released"));
        check(&Alert { action: AlertAction::Update, ..alert("a") }, &text("Updated"));
    }

    #[test]
    fn a_flow_has_its_ends_after_the_message() {
        check(
            &flow_alert("a"),
            "[2018-09-06T15:22:00.000Z][Warning][Remote to Remote Flow][Flow] Remote client and remote server \
             [Flow: 192.168.1.100:138 192.168.1.255:138] [L4 Protocol: UDP]",
        );
    }

    #[test]
    fn an_untagged_host_shows_no_vlan() {
        let host = |value: &str| Alert {
            entity: Entity::Host,
            entity_value: value.to_owned(),
            action: AlertAction::Store,
            ..alert("a")
        };
        assert!(line(&host("10.0.0.1@0")).contains("[Host][10.0.0.1] Minute"));
        assert!(line(&host("10.0.0.1@42")).contains("[Host][10.0.0.1@42] Minute"));
    }

    #[test]
    fn brackets_in_a_value_do_not_make_a_field() {
        let alert = Alert { entity_value: "x][Released".to_owned(), ..alert("a") };
        assert!(line(&alert).contains("[Interface][x\\]\\[Released][Engaged] "), "{}", line(&alert));
    }

    #[test]
    fn types_read_as_titles() {
        for (alert_type, label) in [
            ("threshold_cross", "Threshold Cross"),
            ("unexpected_dns", "Unexpected DNS"),
            ("to_a_host", "To a Host"),
            ("syn_scan", "SYN Scan"),
            ("", ""),
            ("__x__", "X"),
        ] {
            assert_eq!(type_label(alert_type), label);
        }
    }
}
