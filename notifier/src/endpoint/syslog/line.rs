//! One syslog line: header and text. Pure.

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::model::{Alert, Severity, Timestamp};

use crate::format::{checkmk, cut, ecs, json, one_line, text};

/// What calls itself by this name in logs (`TAG`, `APP-NAME`).
const APP_NAME: &str = "flowhook";

/// Name of our structured data; the number is the one that RFC 5612 sets aside for such uses.
const DATA_ID: &str = "flowhook@32473";

/// Longest id in structured data, in bytes.
const MAX_ID: usize = 256;

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Fields in brackets and a sentence, under an RFC 3164 header.
    #[default]
    Text,
    /// The same under an RFC 5424 header.
    #[serde(rename = "text_rfc5424")]
    TextRfc5424,
    /// Seed 002's JSON object.
    Json,
    /// The whole alert as JSON.
    JsonFull,
    /// A document of the Elastic Common Schema.
    Ecs,
    /// Checkmk's structured data and a sentence, under an RFC 5424 header.
    Checkmk,
}

/// What headers say about this process.
#[derive(Clone, Debug)]
pub struct Header {
    /// Facility, 0 to 23.
    pub facility: u8,
    /// Host name; see [`name`].
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Zone of RFC 3164's time, which names none.
    pub zone: TimeZone,
    /// [`Format::TextRfc5424`] has the line's id as structured data.
    pub with_ids: bool,
}

impl Header {
    /// The line of an alert, known by `id`, sent at `now`: at most `max` bytes as far as cutting its texts
    /// helps.
    pub fn alert(&self, format: Format, alert: &Alert, id: &str, now: Timestamp, max: usize) -> String {
        let head = self.head(format, alert.severity, id, now);
        let room = max.saturating_sub(head.len());
        let body = match format {
            Format::Text | Format::TextRfc5424 => cut(&text::line(alert), room),
            Format::Json => json::syslog(alert, room),
            Format::JsonFull => json::full(alert, room),
            Format::Ecs => ecs::line(alert, room),
            Format::Checkmk => checkmk::line(alert, room),
        };
        head + body.as_str()
    }

    fn head(&self, format: Format, severity: Severity, id: &str, now: Timestamp) -> String {
        let priority = u32::from(self.facility) * 8 + u32::from(severity.syslog());
        let (host, pid) = (&self.host, self.pid);
        match format {
            // Version, time, host, app name, process id, no message id, structured data.
            Format::TextRfc5424 => {
                let data = match self.with_ids {
                    true => format!("[{DATA_ID} id=\"{}\"]", checkmk::value(&cut(&one_line(id), MAX_ID))),
                    false => "-".to_owned(),
                };
                format!("<{priority}>1 {} {host} {APP_NAME} {pid} - {data} ", now.rfc3339_millis())
            }
            // The same up to the structured data, which the line begins with.
            Format::Checkmk => {
                format!("<{priority}>1 {} {host} {APP_NAME} {pid} - ", now.rfc3339_millis())
            }
            _ => format!("<{priority}>{} {host} {APP_NAME}[{pid}]: ", now.bsd(&self.zone)),
        }
    }
}

/// Text as a header field: visible ASCII, at most `max` characters, `-` when nothing is left
/// (RFC 5424 §6).
pub fn name(text: &str, max: usize) -> String {
    let visible: String = text.chars().filter(char::is_ascii_graphic).take(max).collect();
    if visible.is_empty() { "-".to_owned() } else { visible }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alert, flow_alert};

    fn header() -> Header {
        Header { facility: 14, host: "devel".to_owned(), pid: 4783, zone: TimeZone::UTC, with_ids: false }
    }

    fn line(format: Format, alert: &Alert) -> String {
        header().alert(format, alert, &alert.transition_id(), Timestamp::from_secs(1_536_247_325), 2048)
    }

    #[test]
    fn structured_data_has_the_id_where_it_is_asked_for() {
        let header = Header { with_ids: true, ..header() };
        let line = |id: &str| header.alert(Format::TextRfc5424, &alert("a"), id, Timestamp::ZERO, 2048);
        let told = line("a/engage");
        assert!(told.contains(" flowhook 4783 - [flowhook@32473 id=\"a/engage\"] [2018-"), "{told}");
        let hostile = line("a\"] x=\\\r\n");
        assert!(hostile.contains("[flowhook@32473 id=\"a\\\"\\] x=\\\\\\\\r\\\\n\"] [2018-"), "{hostile}");
    }

    #[test]
    fn text_has_an_rfc_3164_header() {
        assert_eq!(
            line(Format::Text, &alert("a")),
            "<115>Sep  6 15:22:05 devel flowhook[4783]: [2018-09-06T15:22:00.000Z][Error][Threshold Cross]\
             [Interface][iface_0][Engaged] Minute traffic crossed by interface eno1 [1.08 MB > 2 Bytes]"
        );
    }

    #[test]
    fn rfc_5424_text_has_its_header() {
        assert_eq!(
            line(Format::TextRfc5424, &flow_alert("a")),
            "<116>1 2018-09-06T15:22:05.000Z devel flowhook 4783 - - [2018-09-06T15:22:00.000Z][Warning]\
             [Remote to Remote Flow][Flow] Remote client and remote server \
             [Flow: 192.168.1.100:138 192.168.1.255:138] [L4 Protocol: UDP]"
        );
    }

    #[test]
    fn json_stands_behind_an_rfc_3164_header() {
        let line = line(Format::Json, &alert("a"));
        let (head, json) = line.split_at(line.find('{').unwrap());
        assert_eq!(head, "<115>Sep  6 15:22:05 devel flowhook[4783]: ");
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            (json["type"].as_str(), json["alert_key"].as_str()),
            (Some("threshold_cross"), Some("min_bytes"))
        );
    }

    #[test]
    fn checkmk_has_structured_data_and_ecs_a_document() {
        let checkmk = line(Format::Checkmk, &alert("a"));
        let start =
            "<115>1 2018-09-06T15:22:05.000Z devel flowhook 4783 - [Checkmk@18662 sl=\"3\" comment=\"";
        assert!(checkmk.starts_with(start), "{checkmk}");
        let ecs = line(Format::Ecs, &flow_alert("a"));
        let (_, json) = ecs.split_once("]: ").unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(json["network"]["transport"], "udp");
    }

    #[test]
    fn priority_is_facility_and_severity() {
        for (severity, priority) in [
            (Severity::Emergency, 112),
            (Severity::Critical, 114),
            (Severity::Error, 115),
            (Severity::Warning, 116),
            (Severity::Notice, 117),
            (Severity::Info, 118),
            (Severity::Debug, 119),
        ] {
            let line =
                header().alert(Format::Text, &Alert { severity, ..alert("a") }, "a", Timestamp::ZERO, 2048);
            assert!(line.starts_with(&format!("<{priority}>Jan  1 00:00:00 ")), "{line}");
        }
    }

    #[test]
    fn long_lines_are_cut_and_json_stays_whole() {
        let long = Alert { message: "ü".repeat(4000), ..alert("a") };
        for format in
            [Format::Text, Format::TextRfc5424, Format::Json, Format::JsonFull, Format::Ecs, Format::Checkmk]
        {
            let line = line(format, &long);
            assert!(line.len() <= 2048, "{format:?} {}", line.len());
            assert!(line.contains('…'), "{format:?}");
            if let Some((_, json)) = line.split_once(": {") {
                serde_json::from_str::<serde_json::Value>(&format!("{{{json}")).unwrap();
            }
        }
    }

    #[test]
    fn odd_names_stay_one_field() {
        assert_eq!(name("node 1\r\n<0>", 255), "node1<0>");
        assert_eq!(name("ü", 255), "-");
        assert_eq!(name("abc", 2), "ab");
    }
}
