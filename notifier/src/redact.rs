//! Keeps secrets out of what people and logs see. Pure.

/// Words in a key's name that make its value a secret.
const SECRET_WORDS: [&str; 6] = ["secret", "password", "token", "key", "webhook", "header"];

/// What stands in place of a secret.
pub const HIDDEN: &str = "***";

/// True when the value of a parameter of this name must not be shown.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// A URL without what may be secret in it: user information, query, fragment.
///
/// Works on any text, also on what no URL parser takes. The path stays: without it an operator
/// could not tell one target from another.
pub fn url(url: &str) -> String {
    let visible = url.split(['?', '#']).next().unwrap_or("");
    let hidden_end = if visible.len() < url.len() { "?***" } else { "" };
    // Parsers of URLs take a backslash for a slash, and skip any number of them.
    let Some((scheme, rest)) = visible.split_once(':') else { return format!("{visible}{hidden_end}") };
    let start = rest.len() - rest.trim_start_matches(['/', '\\']).len();
    let (slashes, rest) = rest.split_at(start);
    let (authority, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let shown: String = format!("{scheme}:{slashes}{host}{path}{hidden_end}");
    shown.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A configuration value as it may be shown: secrets hidden unless they are references
/// (`env:`, `file:`), URLs redacted.
pub fn value(key: &str, value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::String(text) if is_secret(key) => {
            let reference = text.starts_with("env:") || text.starts_with("file:");
            toml::Value::String(if reference { text.clone() } else { HIDDEN.to_owned() })
        }
        toml::Value::Table(inner) if is_secret(key) => {
            let hide = |value: &toml::Value| self::value(key, value);
            toml::Value::Table(inner.iter().map(|(name, value)| (name.clone(), hide(value))).collect())
        }
        _ if is_secret(key) => toml::Value::String(HIDDEN.to_owned()),
        toml::Value::String(text) if text.contains("://") => toml::Value::String(url(text)),
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
    fn urls_lose_user_query_and_fragment() {
        for (whole, shown) in [
            ("https://user:hunter2@example.com/a?key=hunter2", "https://example.com/a?***"),
            ("https://example.com/a", "https://example.com/a"),
            ("http://a@b:hunter2@example.com", "http://example.com"),
            ("http:\\\\u:hunter2@example.com\\x", "http:\\\\example.com\\x"),
            ("http:u:hunter2@example.com/", "http:example.com/"),
            ("not a url#hunter2", "not a url?***"),
            ("https://[::1]:80/x", "https://[::1]:80/x"),
        ] {
            assert_eq!(url(whole), shown);
            assert!(!url(whole).contains("hunter2"));
        }
    }

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
