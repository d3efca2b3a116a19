//! Text from the network, chosen by an attacker, over every kind: what is sent keeps its structure and
//! calls nobody. 10,000 alerts, each as text that a chat, a log, a mail, a card or a script gets.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use super::*;
use crate::endpoint::email::message;
use crate::endpoint::syslog::line::{Format, Header};
use crate::format::{chat, checkmk, ecs, json, mail, template, text};

mod delivered;

/// Alerts that are tried in every format.
const CASES: u32 = 10_000;

/// Alerts that are delivered by every kind. Each has four hostile strings, and each of them is looked for:
/// 10,000 strings a kind.
pub const DELIVERED: usize = 2500;

/// Text as an attacker would choose it.
fn hostile() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "\r\n",
        "\n\n",
        "\r\nBcc: all@example.com\r\n\r\n",
        "\r\n<14>1 - - - - - forged",
        "\u{202e}",
        "\0",
        "\u{1b}[2J",
        "\"",
        "\\",
        "'",
        "`",
        "```",
        "*",
        "_",
        "~",
        "|",
        "||",
        ">",
        "# ",
        "- ",
        "1. ",
        "}{",
        "]",
        "[x](http://evil.example)",
        "![x](http://evil.example/x.png)",
        "<http://evil.example|x>",
        "<@U1>",
        "<!channel>",
        "<!here>",
        "<@&1>",
        "@everyone",
        "@here",
        "@all",
        "@channel",
        "<at>x</at>",
        "&lt;",
        "&",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "</p></body>",
        "]]>",
        "\u{2028}",
        "\u{7f}",
        "\u{9b}",
        "é\u{1f4a5}",
        "%00",
        "%0d%0a",
        "${x}",
        "${message}",
        "$(id)",
        "`id`",
        "; id",
        "=cmd|' /C calc'!A0",
        "\\\"",
        "\",\"x\":\"",
        "{\"create\":{}}\n",
        "-- ",
        ".\r\n",
        "x",
    ]);
    prop::collection::vec(prop_oneof![nasty.prop_map(str::to_owned), any::<String>()], 0..5)
        .prop_map(|parts| parts.concat())
}

fn hostile_alert() -> impl Strategy<Value = Alert> {
    (hostile(), hostile(), hostile(), hostile(), any::<bool>()).prop_map(
        |(message, value, kind, name, flow)| {
            let mut alert = if flow { flow_alert("a") } else { alert("a") };
            if let Some(flow) = &mut alert.flow {
                (flow.name, flow.l4, flow.l7) = (name.clone(), name.clone(), name.clone());
            }
            Alert {
                message,
                entity_value: value,
                alert_type: kind,
                interface: name.clone(),
                site: name,
                ..alert
            }
        },
    )
}

/// No end of a line, no control character, nothing that turns the direction of writing. The character
/// that keeps mentions apart is ours.
fn one_clean_line(text: &str) -> bool {
    !text.chars().any(|c| crate::format::is_unsafe(c) && c != '\u{200b}')
}

/// Every special character of Markdown stands behind a backslash of its own.
fn no_markdown(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '<' | '>' | '~' | '|' => return false,
            _ => {}
        }
    }
    true
}

/// No name stands behind an `@`.
fn no_mention(text: &str) -> bool {
    text.split('@').skip(1).all(|after| after.starts_with('\u{200b}') || after.is_empty())
}

/// Every `&` begins one of the few references that are written here, and there is no `<` or `>`.
fn no_html(text: &str) -> bool {
    let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
    let ampersands = text.match_indices('&');
    !text.contains(['<', '>'])
        && ampersands.into_iter().all(|(at, _)| known.iter().any(|k| text[at..].starts_with(k)))
}

fn check(alert: &Alert) -> Result<(), TestCaseError> {
    let plain = text::line(alert);
    prop_assert!(one_clean_line(&plain));
    let sink = |escape, unit| chat::Sink { max: 2000, unit, escape, line_end: "\n" };
    let markdown = sink(chat::markdown, chat::Unit::Utf16).line(&plain);
    prop_assert!(one_clean_line(&markdown) && no_mention(&markdown), "{markdown}");
    prop_assert!(no_markdown(markdown.trim_end_matches('…')), "{markdown}");
    let slack = sink(chat::slack, chat::Unit::Utf16).line(&plain);
    prop_assert!(one_clean_line(&slack) && !slack.contains(['<', '>']), "{slack}");
    let html = sink(chat::html, chat::Unit::Bytes).line(&plain);
    prop_assert!(no_html(&html) && !html.contains(['"', '\'']), "{html}");
    let unmentioned = sink(chat::unmentioned, chat::Unit::Bytes).line(&plain);
    prop_assert!(no_mention(&unmentioned) && unmentioned.len() <= 2000, "{unmentioned}");

    for max in [400, 2048] {
        let checkmk = checkmk::line(alert, max);
        prop_assert!(one_clean_line(&checkmk), "{checkmk}");
        prop_assert_eq!(structured_data(&checkmk), ["comment", "severity", "sl"], "{}", checkmk);
    }
    for line in [json::syslog(alert, 2048), ecs::line(alert, 4096), json::full(alert, 4096)] {
        prop_assert!(one_clean_line(&line), "{line}");
        prop_assert!(serde_json::from_str::<Value>(&line).unwrap().is_object());
    }
    prop_assert_eq!(&ecs::document(alert)["message"], &alert.message);

    let letter = mail::mail(std::slice::from_ref(alert), None, None, &alert.site);
    prop_assert!(one_clean_line(&letter.subject) && letter.subject.len() <= 200, "{}", letter.subject);
    prop_assert_eq!(
        (letter.text.lines().count(), letter.html.matches('<').count()),
        (1, 7),
        "{}",
        letter.html
    );

    mail_keeps_its_parts(alert, letter)?;
    syslog_keeps_its_header(alert)?;

    let own = template::Template::parse("{\"a\":\"${message}\",\"b\":\"${name}\"}").unwrap();
    let body: Value = serde_json::from_str(&own.fill(alert, template::json_inside)).unwrap();
    prop_assert_eq!(&body["a"], &alert.message);
    prop_assert_eq!(body.as_object().unwrap().len(), 2);
    let header = crate::http::header_value(&alert.message);
    prop_assert!(header.bytes().all(|b| (0x21..0x7f).contains(&b)));
    Ok(())
}

/// The headers of a mail are those of any other, and so are its parts.
fn mail_keeps_its_parts(alert: &Alert, mail: mail::Mail) -> Result<(), TestCaseError> {
    let sender = "Flowhook <flowhook@example.com>".parse().unwrap();
    let keys = [alert.message.clone()];
    let draft = message::draft(&message::Parts {
        sender: &sender,
        to: vec!["ops@example.org".parse().unwrap()],
        cc: Vec::new(),
        mail,
        date: alert.tstamp,
        keys: &keys,
        thread: Some(&alert.entity_value),
    });
    let text = String::from_utf8(draft.unwrap().bytes).unwrap();
    prop_assert!(text.is_ascii(), "{text}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let names: Vec<&str> = head
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split(':').next().unwrap())
        .collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let expected = [
        "Auto-Submitted",
        "Content-Type",
        "Date",
        "From",
        "In-Reply-To",
        "MIME-Version",
        "Message-ID",
        "References",
        "Subject",
        "To",
    ];
    prop_assert_eq!(sorted, expected, "{}", head);
    let (_, rest) = head.split_once("boundary=\"").unwrap();
    let boundary = format!("--{}", rest.split('"').next().unwrap());
    prop_assert_eq!(body.lines().filter(|line| line.starts_with(&boundary)).count(), 3, "{}", body);
    prop_assert!(!body.contains("\n.\r\n") && !body.replace("\r\n", "").contains(['\r', '\n']), "{body}");
    Ok(())
}

/// One line, its header the same as of any other alert, in every format.
fn syslog_keeps_its_header(alert: &Alert) -> Result<(), TestCaseError> {
    let header =
        Header { facility: 14, host: "n1".to_owned(), pid: 7, zone: jiff::tz::TimeZone::UTC, with_ids: true };
    let priority = 112 + u32::from(alert.severity.syslog());
    let old = format!("<{priority}>Jan  1 00:00:00 n1 flowhook[7]: ");
    let new = format!("<{priority}>1 1970-01-01T00:00:00.000Z n1 flowhook 7 - ");
    for format in
        [Format::Text, Format::TextRfc5424, Format::Json, Format::JsonFull, Format::Ecs, Format::Checkmk]
    {
        let line = header.alert(format, alert, &alert.message, Timestamp::ZERO, 2048);
        prop_assert!(one_clean_line(&line), "{line}");
        let start = if matches!(format, Format::TextRfc5424 | Format::Checkmk) { &new } else { &old };
        let Some(rest) = line.strip_prefix(start.as_str()) else {
            return Err(TestCaseError::fail(format!("{format:?}: {line}")));
        };
        match format {
            Format::TextRfc5424 => {
                prop_assert_eq!(parameters(rest, "[flowhook@32473"), ["id"], "{}", rest);
            }
            Format::Json | Format::JsonFull | Format::Ecs => {
                prop_assert!(serde_json::from_str::<Value>(rest).unwrap().is_object());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Names of the parameters of Checkmk's structured data.
fn structured_data(line: &str) -> Vec<String> {
    parameters(line, "[Checkmk@18662")
}

/// Names of the parameters of one element of structured data, sorted (RFC 5424 §6.3).
fn parameters(line: &str, element: &str) -> Vec<String> {
    let mut names = Vec::new();
    let Some(mut rest) = line.strip_prefix(element) else { return names };
    while let Some(after) = rest.strip_prefix(' ') {
        let Some((name, value)) = after.split_once("=\"") else { return Vec::new() };
        names.push(name.to_owned());
        let mut end = None;
        let mut chars = value.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => drop(chars.next()),
                ']' => return Vec::new(),
                '"' => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else { return Vec::new() };
        rest = &value[end + 1..];
    }
    names.sort();
    if rest.starts_with("] ") { names } else { Vec::new() }
}

#[test]
fn hostile_text_never_leaves_its_place_in_any_format() {
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    runner.run(&hostile_alert(), |alert| check(&alert)).unwrap();
}

/// So many alerts of an attacker's text.
pub fn hostile_alerts(count: usize) -> Vec<Alert> {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    (0..count).map(|_| hostile_alert().new_tree(&mut runner).unwrap().current()).collect()
}
