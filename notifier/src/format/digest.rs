//! Several alerts as one: what became of one thing, or many things at once. Pure.

use shared::model::alert::derive_id;
use shared::model::{Alert, AlertAction};

use super::text::{shown_value, type_label};
use super::{cut, one_line};

/// Most of one alert's message that a digest repeats, in bytes.
const MESSAGE: usize = 160;

/// Type of the alert that stands for several.
pub const DIGEST: &str = "digest";

/// What became of one thing, of its transitions in order; `late` when they could not be told in time.
/// `None` of none.
pub fn chain(alerts: &[Alert], late: bool) -> Option<Alert> {
    let (first, last) = (alerts.first()?, alerts.last()?);
    let why = if late { ", could not be delivered" } else { "" };
    let (from, to) = (first.tstamp.rfc3339_millis(), last.tstamp.rfc3339_millis());
    let message = match (alerts.len(), first.action, last.action) {
        (1, ..) => last.message.clone(),
        (2, AlertAction::Engage, AlertAction::Release) => {
            format!("engaged {from} to {to}{why}: {}", last.message)
        }
        (count, ..) => format!("{} ({} more since {from}{why})", last.message, count - 1),
    };
    Some(Alert { message, ..last.clone() })
}

/// Alerts as one that names at most `most` of them and counts the rest. `None` of none.
pub fn digest(alerts: &[Alert], most: usize) -> Option<Alert> {
    let gravest = alerts.iter().max_by_key(|alert| alert.severity)?;
    if alerts.len() == 1 {
        return Some(gravest.clone());
    }
    let listed: Vec<String> = alerts.iter().take(most.max(1)).map(short).collect();
    let rest = alerts.len() - listed.len();
    let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    let ids: Vec<&str> = alerts.iter().map(|alert| alert.id.as_str()).collect();
    Some(Alert {
        id: derive_id(&ids),
        action: AlertAction::Store,
        alert_type: DIGEST.to_owned(),
        engaged_at: None,
        alert_key: None,
        message: format!("{} alerts: {}{more}", alerts.len(), listed.join("; ")),
        value: None,
        threshold: None,
        client: None,
        server: None,
        flow: None,
        mitre: Vec::new(),
        score: alerts.iter().map(|alert| alert.score).max().unwrap_or_default(),
        ..gravest.clone()
    })
}

fn short(alert: &Alert) -> String {
    let action = match alert.action {
        AlertAction::Engage => " engaged",
        AlertAction::Release => " released",
        AlertAction::Update => " updated",
        AlertAction::Store => "",
    };
    let (kind, value) = (type_label(&alert.alert_type), shown_value(alert));
    let message = cut(&one_line(&alert.message), MESSAGE);
    format!("[{}] {kind}{action}, {} {value}: {message}", alert.severity.label(), alert.entity.label())
}

#[cfg(test)]
mod tests {
    use shared::model::Severity;

    use super::*;
    use crate::testing::alert;

    #[test]
    fn a_chain_tells_what_became_of_it() {
        let engage = alert("a");
        let release =
            Alert { action: AlertAction::Release, tstamp: engage.tstamp.plus_secs(60), ..alert("a") };
        assert_eq!(chain(std::slice::from_ref(&engage), true), Some(engage.clone()));
        let told = chain(&[engage.clone(), release.clone()], true).unwrap();
        assert_eq!(told.action, AlertAction::Release);
        assert!(
            told.message.starts_with(
                "engaged 2018-09-06T15:22:00.000Z to 2018-09-06T15:23:00.000Z, could not be delivered: Minute"
            ),
            "{}",
            told.message
        );
        let many = chain(&[engage.clone(), release.clone(), engage, release], false).unwrap();
        assert!(many.message.ends_with("(3 more since 2018-09-06T15:22:00.000Z)"), "{}", many.message);
        assert_eq!(chain(&[], false), None);
    }

    #[test]
    fn a_digest_lists_some_and_counts_the_rest() {
        let alerts: Vec<Alert> = (0..30)
            .map(|n| Alert {
                entity_value: format!("host{n}"),
                severity: if n == 7 { Severity::Emergency } else { Severity::Warning },
                message: "x\r\ny".repeat(100),
                ..alert(&n.to_string())
            })
            .collect();
        let told = digest(&alerts, 3).unwrap();
        assert_eq!((told.severity, told.alert_type.as_str()), (Severity::Emergency, DIGEST));
        assert!(told.message.starts_with("30 alerts: [Warning] Threshold Cross engaged, Interface host0: x"));
        assert!(told.message.ends_with("; and 27 more") && told.message.len() < 800, "{}", told.message);
        assert!(!told.message.contains('\n'));
        assert_eq!(digest(&alerts[..1], 3).as_ref(), alerts.first());
    }
}
