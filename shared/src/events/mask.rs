//! Keeps secrets out of events.

use serde_json::Value;

/// What stands in place of a secret.
pub const HIDDEN: &str = "****";

/// Words in a key's name that make its value a secret.
const SECRET_WORDS: [&str; 8] =
    ["secret", "password", "passwd", "token", "credential", "api_key", "private_key", "authorization"];

/// Words that make it one where the key is nothing else.
const SECRET_KEYS: [&str; 4] = ["key", "webhook", "webhook_url", "headers"];

/// True when the value of this key must not be shown.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| key.contains(word)) || SECRET_KEYS.contains(&key.as_str())
}

/// The value with its secrets hidden, at whatever depth.
pub fn masked(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| match value {
                Value::Null => (key, Value::Null),
                // Whatever a program is given this way may be a secret, under any name.
                Value::Object(given) if key == "environment" => {
                    let hidden = given.into_iter().map(|(name, _)| (name, Value::from(HIDDEN)));
                    (key, Value::Object(hidden.collect()))
                }
                _ if is_secret(&key) => (key, Value::from(HIDDEN)),
                value => (key, masked(value)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::String(text) => Value::String(without_credentials(text)),
        other => other,
    }
}

/// An address without the user and password in it.
fn without_credentials(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}{tail}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let value = json!({
            "name": "ops", "params": { "shared_secret": "hunter2", "url": "https://u:hunter2@h/in", "list": [{ "token": 7 }] },
            "password": null, "key": "k", "order_key": "shown", "x-api-key": "k",
            "environment": { "DB_PASS": "k", "LANG": "C" },
        });
        let right = json!({
            "name": "ops",
            "params": { "shared_secret": "****", "url": "https://****@h/in", "list": [{ "token": "****" }] },
            "password": null, "key": "****", "order_key": "shown", "x-api-key": "****",
            "environment": { "DB_PASS": "****", "LANG": "****" },
        });
        assert_eq!(masked(value), right);
    }
}
