//! Alerts as text and JSON for people and programs. Pure.
//!
//! Alerts hold text from the network. Whatever it says, a format keeps its structure: no line ends,
//! no control characters, nothing that changes the direction of writing, no forged fields.

pub mod chat;
pub mod checkmk;
pub mod digest;
pub mod ecs;
pub mod json;
pub mod mail;
pub mod template;
pub mod text;

/// Stands where text was cut.
pub const CUT_MARK: &str = "…";

/// True for characters that never reach the wire as they are: controls, line and paragraph
/// separators, and what reorders or hides text on a screen (Unicode TR 36 §3.3).
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Appends `c` in a form that is safe both in plain text and inside a JSON string.
fn push_escaped(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_unsafe(c) => {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
        c => out.push(c),
    }
}

/// Text on one line, unsafe characters written as `\n`, `\u202e` and so on.
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_escaped(&mut out, c);
    }
    out
}

/// At most `max` bytes of `text`, cut at a character boundary, with [`CUT_MARK`] where it was cut.
pub fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let Some(room) = max.checked_sub(CUT_MARK.len()) else { return String::new() };
    format!("{}{CUT_MARK}", &text[..text.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::model::Alert;

    use super::*;
    use crate::testing::{alert, flow_alert};

    #[test]
    fn unsafe_characters_are_written_out() {
        for (text, expected) in [
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\0\u{1b}[31m", "\\u0000\\u001b[31m"),
            ("\u{202e}gpj.exe", "\\u202egpj.exe"),
            ("\u{85}\u{2028}", "\\u0085\\u2028"),
            ("Zürich \u{1f4a5}", "Zürich \u{1f4a5}"),
        ] {
            assert_eq!(one_line(text), expected);
        }
    }

    #[test]
    fn text_is_cut_between_characters_and_marked() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc…");
        assert_eq!(cut("aüüüü", 6), "aü…");
        assert_eq!(cut("abcdef", 2), "");
    }

    /// Text as an attacker would choose it.
    fn hostile() -> impl Strategy<Value = String> {
        let nasty = prop::sample::select(vec![
            "\r\n<14>1 - - - - - forged",
            "\u{202e}",
            "\0",
            "\u{1b}[2J",
            "\"",
            "\\",
            "}{",
            "]",
            "[Released] ",
            "@everyone",
            "\u{2028}",
            "\u{7f}",
            "\u{9b}",
            "é\u{1f4a5}",
            "%00",
            "${x}",
            "\\\"",
            "x",
        ]);
        prop::collection::vec(prop_oneof![nasty.prop_map(str::to_owned), any::<String>()], 0..12)
            .prop_map(|parts| parts.concat())
    }

    fn hostile_alert() -> impl Strategy<Value = Alert> {
        (hostile(), hostile(), hostile(), hostile(), any::<bool>()).prop_map(
            |(message, value, kind, name, flow)| {
                let mut alert = if flow { flow_alert("a") } else { alert("a") };
                if let Some(flow) = &mut alert.flow {
                    flow.name.clone_from(&name);
                    flow.l4 = name.clone();
                }
                Alert { message, entity_value: value, alert_type: kind, interface: name, ..alert }
            },
        )
    }

    fn is_clean(line: &str) -> bool {
        !line.chars().any(is_unsafe)
    }

    proptest! {
        #[test]
        fn hostile_text_never_leaves_its_place(alert in hostile_alert(), max in 300usize..4000) {
            let line = text::line(&alert);
            prop_assert!(is_clean(&line), "{line:?}");
            // Time, severity, type, entity, then value and action where they belong.
            let fields = text::leading_fields(&line);
            let expected = 4 + usize::from(alert.flow.is_none()) * 2;
            prop_assert_eq!(fields.len(), expected, "{:?} in {:?}", fields, line);

            let json = json::syslog(&alert, max);
            prop_assert!(is_clean(&json), "{json:?}");
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read.as_object().unwrap().len(), if alert.alert_key.is_some() { 9 } else { 8 });
            if max > 3000 && json.len() < max {
                prop_assert_eq!(read["message"].as_str().unwrap(), alert.message.as_str());
            }

            let full = json::full(&alert, usize::MAX);
            prop_assert!(is_clean(&full), "{full:?}");
            let read: Alert = serde_json::from_str(&full).unwrap();
            prop_assert_eq!(read, alert);
        }

        #[test]
        fn cuts_are_never_longer_than_asked(text in hostile(), max in 0usize..64) {
            prop_assert!(cut(&text, max).len() <= max.max(text.len().min(max)));
        }
    }
}
