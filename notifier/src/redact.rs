//! Keeps secrets out of what people and logs see. Pure.

pub use shared::redact::{HIDDEN, is_secret, text, url};

/// A configuration value as it may be shown: secrets hidden unless they are references
/// (`env:`, `file:`), URLs redacted.
pub fn value(key: &str, value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::String(inside) => toml::Value::String(text(key, inside)),
        toml::Value::Table(inner) if is_secret(key) => {
            let hide = |value: &toml::Value| self::value(key, value);
            toml::Value::Table(inner.iter().map(|(name, value)| (name.clone(), hide(value))).collect())
        }
        _ if is_secret(key) => toml::Value::String(HIDDEN.to_owned()),
        toml::Value::Table(inner) => toml::Value::Table(table(inner)),
        toml::Value::Array(items) => {
            toml::Value::Array(items.iter().map(|item| self::value(key, item)).collect())
        }
        other => other.clone(),
    }
}

/// A table as it may be shown.
pub fn table(table: &toml::Table) -> toml::Table {
    table.iter().map(|(key, v)| (key.clone(), value(key, v))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_parameters_are_hidden_and_references_are_not() {
        let params: toml::Table = toml::from_str(
            "url = \"https://u:hunter2@h/x\"\nshared_secret = \"hunter2\"\napi_key = 7\npassword = \"env:PW\"\n\
             list = [{ token = \"hunter2\" }]\nheaders = { X-Api = \"hunter2\" }\n\
             webhook_url = \"https://h/hunter2\"\n",
        )
        .unwrap();
        let shown = table(&params);
        let text = toml::to_string(&shown).unwrap();
        assert!(!text.contains("hunter2") && !text.contains('7'), "{text}");
        assert!(text.contains("env:PW") && text.contains("X-Api") && text.contains("https://h/x"), "{text}");
    }
}
