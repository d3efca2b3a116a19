//! Alerts as subject and bodies of a mail. Pure.

use shared::model::Alert;

use super::chat::{Sink, Unit, html, plain};
use super::template::Template;
use super::{cut, one_line, text};

/// Longest subject, in bytes.
const SUBJECT: usize = 200;

/// Most of a node's name in a subject, in bytes.
const NODE: usize = 60;

/// Longest line of a body, in bytes.
const LINE: usize = 8192;

/// The subject of a mail about one alert where the recipient has none of its own.
const SUBJECT_TEMPLATE: &str = "[${severity}] ${type_label}: ${entity_value}";

/// What a mail says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// One line.
    pub subject: String,
    /// The body as text.
    pub text: String,
    /// The body as HTML.
    pub html: String,
}

/// A mail about these alerts, in their order; the subject is that of the gravest, says how many there
/// are besides, and ends with the program and its node as ntopng's does.
pub fn mail(alerts: &[Alert], subject: Option<&Template>, body: Option<&Template>, node: &str) -> Mail {
    let usual = Template::parse(SUBJECT_TEMPLATE).ok();
    // The first of the gravest: `max_by_key` would take the last.
    let gravest = alerts.iter().rev().max_by_key(|alert| alert.severity);
    let title = match (subject.or(usual.as_ref()), gravest) {
        (Some(template), Some(alert)) => template.fill(alert, one_line),
        _ => String::new(),
    };
    let more = if alerts.len() > 1 { format!(" and {} more", alerts.len() - 1) } else { String::new() };
    let line = |alert: &Alert| match body {
        Some(template) => template.fill(alert, one_line),
        None => text::line(alert),
    };
    of_lines(&format!("{title}{more}"), &alerts.iter().map(line).collect::<Vec<_>>(), node)
}

/// A mail of these lines.
pub fn of_lines(title: &str, lines: &[String], node: &str) -> Mail {
    let end = format!(" - flowhook @ {}", cut(&one_line(node), NODE));
    let sink = Sink { max: LINE, unit: Unit::Bytes, escape: plain, line_end: "\n" };
    let room = SUBJECT.saturating_sub(end.len());
    // What a template wrote may hold line ends of its own; each stays a line.
    let lines: Vec<&str> = lines.iter().flat_map(|text| text.split('\n')).collect();
    let plain_lines: Vec<String> = lines.iter().map(|line| sink.line(line) + "\n").collect();
    let markup = Sink { escape: html, ..sink };
    let html_lines: Vec<String> =
        lines.iter().map(|line| format!("<p>{}</p>\n", markup.line(line))).collect();
    Mail {
        subject: format!("{}{end}", sink.line_within(title, room)),
        text: plain_lines.concat(),
        html: format!("<!DOCTYPE html>\n<html><body>\n{}</body></html>\n", html_lines.concat()),
    }
}

#[cfg(test)]
mod tests {
    use shared::model::Severity;

    use super::*;
    use crate::testing::{alert, flow_alert};

    #[test]
    fn one_alert_has_its_own_subject_and_the_seeds_line() {
        let mail = mail(&[alert("a")], None, None, "n1");
        assert_eq!(mail.subject, "[error] Threshold Cross: iface_0 - flowhook @ n1");
        assert!(
            mail.text.starts_with("[2018-09-06T15:22:00.000Z][Error][Threshold Cross][Interface][iface_0]")
        );
        assert!(mail.html.contains("[1.08 MB &gt; 2 Bytes]</p>\n</body>"), "{}", mail.html);
    }

    #[test]
    fn several_alerts_are_counted_under_the_gravest() {
        let grave = Alert { severity: Severity::Critical, ..flow_alert("b") };
        let mail = mail(&[alert("a"), grave, alert("c")], None, None, "n1");
        assert!(mail.subject.starts_with("[critical] Remote to Remote Flow: "), "{}", mail.subject);
        assert!(mail.subject.contains(" and 2 more - "));
        assert_eq!((mail.text.lines().count(), mail.html.matches("<p>").count()), (3, 3));
    }

    #[test]
    fn templates_give_subject_and_text_and_hostile_text_stays_text() {
        let hostile = Alert { message: "x\r\nBcc: all@example.com\r\n\r\n<script>".to_owned(), ..alert("a") };
        let template = |text| Template::parse(text).unwrap();
        let (subject, body) = (template("${message}"), template("Site ${site}\n${message}"));
        let mail = mail(&[hostile], Some(&subject), Some(&body), "n1");
        assert!(!mail.subject.contains(['\r', '\n']), "{}", mail.subject);
        assert_eq!(mail.text.lines().next(), Some("Site main"));
        assert_eq!(mail.text.lines().count(), 2);
        assert!(mail.html.contains("&lt;script&gt;") && !mail.html.contains("<script"));
    }

    #[test]
    fn subjects_are_cut() {
        let long = Alert { entity_value: "ü".repeat(300), ..alert("a") };
        let subject = mail(&[long], None, None, "n1").subject;
        assert!(subject.len() <= SUBJECT && subject.contains("… - flowhook"), "{subject}");
    }
}
