//! An alert as Checkmk's event console reads it (seed 002 "Syslog", Checkmk): structured data of
//! RFC 5424 and a sentence.

use std::net::SocketAddr;

use shared::model::{Alert, AlertAction, Entity, Party};

use super::{cut, one_line, text};

/// `[Checkmk@18662 sl="…" comment="…" severity="…"] message`, at most `max` bytes as far as cutting
/// comment and message helps.
///
/// `sl` is the number of the category, which Checkmk maps to a service level. The comment holds
/// interface, severity, entity, type, value and action in parentheses, in the order of the seed's
/// example, and the message.
pub fn line(alert: &Alert, max: usize) -> String {
    let severity = alert.severity.label();
    let frame =
        format!("[Checkmk@18662 sl=\"{}\" comment=\"\" severity=\"{severity}\"] ", alert.category.id());
    // Escaping at most doubles the comment.
    let room = max.saturating_sub(frame.len());
    let comment = value(&cut(&comment(alert), room / 4));
    let message = cut(&one_line(&alert.message), room.saturating_sub(comment.len()));
    format!(
        "[Checkmk@18662 sl=\"{}\" comment=\"{comment}\" severity=\"{severity}\"] {message}",
        alert.category.id()
    )
}

fn comment(alert: &Alert) -> String {
    let action = match alert.action {
        AlertAction::Engage => " (Engaged)",
        AlertAction::Release => " (Released)",
        AlertAction::Update => " (Updated)",
        AlertAction::Store => "",
    };
    one_line(&format!(
        " (Interface: {}) (Severity: {}) ({}) ({}) ({}){action} {}",
        alert.interface,
        alert.severity.label(),
        alert.entity.label(),
        text::type_label(&alert.alert_type),
        entity_value(alert),
        alert.message
    ))
}

fn entity_value(alert: &Alert) -> String {
    let end = |party: &Party| SocketAddr::new(party.ip, party.port).to_string();
    match (&alert.client, &alert.server) {
        (Some(client), Some(server)) if alert.entity == Entity::Flow => {
            format!("{} -> {}", end(client), end(server))
        }
        _ => text::shown_value(alert).to_owned(),
    }
}

/// The value of a parameter of structured data (RFC 5424 §6.3.3).
pub fn value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use shared::model::Category;

    use super::*;
    use crate::testing::{alert, flow_alert};

    #[test]
    fn a_flow_reads_as_the_seeds_example() {
        let mut alert = Alert {
            interface: "enp0s3".to_owned(),
            alert_type: "binary_file_data_transfer".to_owned(),
            message: "Binary file/data transfer (attempt)".to_owned(),
            category: Category::System,
            ..flow_alert("a")
        };
        alert.client.as_mut().unwrap().port = 43972;
        assert_eq!(
            line(&alert, 2048),
            "[Checkmk@18662 sl=\"4\" comment=\" (Interface: enp0s3) (Severity: Warning) (Flow) \
             (Binary File Data Transfer) (192.168.1.100:43972 -> 192.168.1.255:138) \
             Binary file/data transfer (attempt)\" severity=\"Warning\"] Binary file/data transfer (attempt)"
        );
    }

    #[test]
    fn an_engaged_alert_says_so_and_hostile_text_stays_inside() {
        let alert = Alert { message: "x\"] y\\\n[Checkmk@1 sl=\"0\"]".to_owned(), ..alert("a") };
        let line = line(&alert, 2048);
        assert!(
            line.contains("(Interface) (Threshold Cross) (iface_0) (Engaged) x\\\"\\] y\\\\\\\\n"),
            "{line}"
        );
        let (data, message) = line.split_once("severity=\"Error\"] ").unwrap();
        assert_eq!(message, "x\"] y\\\\n[Checkmk@1 sl=\"0\"]");
        assert!(!data.contains('\n'));
    }

    #[test]
    fn long_texts_are_cut() {
        let long = Alert { message: "\"".repeat(9000), ..alert("a") };
        let line = line(&long, 2048);
        assert!(line.len() <= 2048 && line.contains('…'), "{}", line.len());
    }
}
