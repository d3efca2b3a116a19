//! An alert as one line of JSON.

use serde::Serialize;
use shared::model::Alert;

use super::{cut, is_unsafe, push_escaped};

/// Longest texts that are tried, in bytes, until the whole fits.
const CUTS: [usize; 8] = [4096, 2048, 1024, 512, 256, 128, 64, 16];

/// The keys of seed 002 "Syslog", JSON.
#[derive(Serialize)]
struct SyslogAlert<'a> {
    entity_type: &'a str,
    entity_value: &'a str,
    action: &'a str,
    tstamp: i64,
    severity: &'a str,
    #[serde(rename = "type")]
    alert_type: &'a str,
    message: &'a str,
    ifid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert_key: Option<&'a str>,
}

/// Seed 002's object: `entity_type`, `entity_value`, `action` (engage, release, store), `tstamp`
/// (whole seconds), `severity`, `type`, `message`, `ifid`, and `alert_key` for threshold alerts.
/// Its texts are cut until it fits into `max` bytes, or no further cut helps.
pub fn syslog(alert: &Alert, max: usize) -> String {
    fit_line(alert, max, |alert| {
        to_line(&SyslogAlert {
            entity_type: alert.entity.name(),
            entity_value: &alert.entity_value,
            action: alert.action.name(),
            tstamp: alert.tstamp.secs(),
            severity: alert.severity.name(),
            alert_type: &alert.alert_type,
            message: &alert.message,
            ifid: alert.ifid,
            alert_key: alert.alert_key.as_deref(),
        })
    })
}

/// The whole alert in its public form; its texts are cut until it fits into `max` bytes, or no
/// further cut helps.
pub fn full(alert: &Alert, max: usize) -> String {
    fit_line(alert, max, to_line)
}

/// What `write` makes of an alert, as JSON on one line; the alert's texts are cut until it fits into
/// `max` bytes, or no further cut helps.
pub fn fit<T: Serialize>(alert: &Alert, max: usize, write: impl Fn(&Alert) -> T) -> String {
    fit_line(alert, max, |alert| to_line(&write(alert)))
}

fn fit_line(alert: &Alert, max: usize, line: impl Fn(&Alert) -> String) -> String {
    let mut whole = line(alert);
    for longest in CUTS {
        if whole.len() <= max {
            break;
        }
        whole = line(&with_texts_cut(alert, longest));
    }
    whole
}

fn with_texts_cut(alert: &Alert, max: usize) -> Alert {
    let mut alert = alert.clone();
    let texts = [
        &mut alert.message,
        &mut alert.entity_value,
        &mut alert.alert_type,
        &mut alert.script,
        &mut alert.interface,
        &mut alert.site,
        &mut alert.node,
    ];
    for text in texts {
        *text = cut(text, max);
    }
    if let Some(key) = &mut alert.alert_key {
        *key = cut(key, max);
    }
    if let Some(flow) = &mut alert.flow {
        flow.name = cut(&flow.name, max);
        flow.l4 = cut(&flow.l4, max);
        flow.l7 = cut(&flow.l7, max);
    }
    alert
}

/// JSON without characters that a log's reader could take for more than text. They can only stand
/// inside strings, where an escape means the same.
pub fn to_line(value: &impl Serialize) -> String {
    // Plain structs always serialize; should one not, an empty object says nothing wrong.
    let json = serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned());
    if !json.contains(is_unsafe) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        push_escaped(&mut out, c);
    }
    out
}

#[cfg(test)]
mod tests {
    use shared::model::{AlertAction, Entity, Severity, Timestamp};

    use super::*;
    use crate::testing::{alert, flow_alert};

    #[test]
    fn a_threshold_alert_has_the_seeds_keys() {
        let alert = Alert {
            tstamp: Timestamp::from_secs(1_536_247_320),
            message: "Minute traffic crossed by interface eno1 [891.58 KB > 1 Byte]".to_owned(),
            ..alert("a")
        };
        assert_eq!(
            syslog(&alert, 2048),
            "{\"entity_type\":\"interface\",\"entity_value\":\"iface_0\",\"action\":\"engage\",\
             \"tstamp\":1536247320,\"severity\":\"error\",\"type\":\"threshold_cross\",\
             \"message\":\"Minute traffic crossed by interface eno1 [891.58 KB > 1 Byte]\",\"ifid\":0,\
             \"alert_key\":\"min_bytes\"}"
        );
    }

    #[test]
    fn a_process_notification_has_the_seeds_keys() {
        let alert = Alert {
            action: AlertAction::Store,
            entity: Entity::Host,
            entity_value: "ntopng".to_owned(),
            severity: Severity::Info,
            alert_type: "process_notification".to_owned(),
            tstamp: Timestamp::from_secs(1_536_245_738),
            ifid: 1,
            alert_key: None,
            message: "[Process] Stopped [options: --interface \"eno1\" ]".to_owned(),
            ..alert("a")
        };
        assert_eq!(
            syslog(&alert, 2048),
            "{\"entity_type\":\"host\",\"entity_value\":\"ntopng\",\"action\":\"store\",\"tstamp\":1536245738,\
             \"severity\":\"info\",\"type\":\"process_notification\",\
             \"message\":\"[Process] Stopped [options: --interface \\\"eno1\\\" ]\",\"ifid\":1}"
        );
    }

    #[test]
    fn long_texts_are_cut_and_the_json_stays_whole() {
        let alert =
            Alert { message: "ü\n\"".repeat(5000), entity_value: "v".repeat(5000), ..flow_alert("a") };
        for max in [600, 2048, 8192] {
            let short = syslog(&alert, max);
            assert!(short.len() <= max, "{}", short.len());
            let read: serde_json::Value = serde_json::from_str(&short).unwrap();
            assert!(read["message"].as_str().unwrap().ends_with('…'));
        }
        let whole = full(&alert, 2048);
        assert!(whole.len() <= 2048, "{}", whole.len());
        assert!(serde_json::from_str::<Alert>(&whole).is_ok());
    }

    #[test]
    fn the_full_form_reads_back_as_the_same_alert() {
        let alert = flow_alert("a");
        assert_eq!(serde_json::from_str::<Alert>(&full(&alert, usize::MAX)).unwrap(), alert);
    }
}
