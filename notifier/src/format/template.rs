//! Text with places for an alert's fields, such as `${severity} on ${interface}`. Pure.

use schemars::JsonSchema;
use serde::Deserialize;
use shared::model::{Alert, Party};

use super::{one_line, text};

/// A field of an alert by its name.
pub type Field = (&'static str, fn(&Alert) -> String);

/// Every place there is.
pub const FIELDS: [Field; 25] = [
    ("action", |a| a.action.name().to_owned()),
    ("alert_key", |a| a.alert_key.clone().unwrap_or_default()),
    ("category", |a| a.category.name().to_owned()),
    ("client_ip", |a| ip(a.client.as_ref())),
    ("client_port", |a| port(a.client.as_ref())),
    ("entity", |a| a.entity.name().to_owned()),
    ("entity_value", |a| a.entity_value.clone()),
    ("id", |a| a.id.clone()),
    ("ifid", |a| a.ifid.to_string()),
    ("interface", |a| a.interface.clone()),
    ("l4", |a| a.flow.as_ref().map_or_else(String::new, |f| f.l4.clone())),
    ("l7", |a| a.flow.as_ref().map_or_else(String::new, |f| f.l7.clone())),
    ("line", text::line),
    ("message", |a| a.message.clone()),
    ("name", |a| a.flow.as_ref().map_or_else(String::new, |f| f.name.clone())),
    ("node", |a| a.node.clone()),
    ("score", |a| a.score.to_string()),
    ("script", |a| a.script.clone()),
    ("server_ip", |a| ip(a.server.as_ref())),
    ("server_port", |a| port(a.server.as_ref())),
    ("severity", |a| a.severity.name().to_owned()),
    ("site", |a| a.site.clone()),
    ("tstamp", |a| a.tstamp.to_string()),
    ("type", |a| a.alert_type.clone()),
    ("type_label", |a| text::type_label(&a.alert_type)),
];

fn ip(party: Option<&Party>) -> String {
    party.map_or_else(String::new, |party| party.ip.to_string())
}

fn port(party: Option<&Party>) -> String {
    party.map_or_else(String::new, |party| party.port.to_string())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Place of a field in [`FIELDS`].
    Field(usize),
}

/// Text with places. `$$` is a dollar sign.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Template(Vec<Part>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Names the place that is none.
    pub fn parse(source: &str) -> Result<Self, String> {
        let (mut parts, mut text, mut rest) = (Vec::new(), String::new(), source);
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                text.push('$');
                rest = after;
                continue;
            }
            let place = after.strip_prefix('{').and_then(|after| after.split_once('}'));
            let Some((name, after)) = place else {
                return Err("a $ must begin ${field}, or be written $$".to_owned());
            };
            let Some(field) = FIELDS.iter().position(|(known, _)| *known == name) else {
                let known: Vec<_> = FIELDS.iter().map(|(known, _)| *known).collect();
                return Err(format!("there is no field {name:?}; fields are: {}", known.join(", ")));
            };
            parts.push(Part::Text(std::mem::take(&mut text)));
            parts.push(Part::Field(field));
            rest = after;
        }
        parts.push(Part::Text(text + rest));
        Ok(Self(parts))
    }

    /// The text, with what `escape` makes of the fields.
    pub fn fill(&self, alert: &Alert, escape: impl Fn(&str) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(field) => {
                FIELDS.get(*field).map_or_else(String::new, |(_, read)| escape(&read(alert)))
            }
        };
        self.0.iter().map(part).collect()
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(source: String) -> Result<Self, String> {
        Self::parse(&source)
    }
}

/// Text as it stands inside a JSON string, without the quotes.
pub fn json_inside(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    one_line(quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alert, flow_alert};

    #[test]
    fn places_are_filled_and_dollars_stay() {
        let fill = |source: &str| Template::parse(source).unwrap().fill(&flow_alert("a"), one_line);
        assert_eq!(
            fill("$$5: ${severity} ${client_ip}:${client_port} ${l4}"),
            "$5: warning 192.168.1.100:138 UDP"
        );
        assert_eq!(fill(""), "");
        assert_eq!(fill("${type_label}"), "Remote to Remote Flow");
        for (name, read) in FIELDS {
            assert_eq!(fill(&format!("<${{{name}}}>")), format!("<{}>", read(&flow_alert("a"))));
        }
    }

    #[test]
    fn what_is_no_place_is_named() {
        assert!(Template::parse("${colour}").unwrap_err().contains("colour"));
        assert!(Template::parse("5$").unwrap_err().contains("$$"));
        assert!(Template::parse("${severity").unwrap_err().contains("$$"));
    }

    #[test]
    fn fields_do_not_leave_a_json_string() {
        let hostile = Alert { message: "\"},{\"x\":\"\\\u{2028}\n".to_owned(), ..alert("a") };
        let template = Template::parse("{\"text\":\"${message}\"}").unwrap();
        let json: serde_json::Value = serde_json::from_str(&template.fill(&hostile, json_inside)).unwrap();
        assert_eq!(json["text"], hostile.message);
        assert_eq!(json_inside("\"\""), "\\\"\\\"");
    }
}
