//! Says what is secret in a configuration, and what may be shown instead. Pure.

/// Words in a key's name that make its value a secret.
const SECRET_WORDS: [&str; 6] = ["secret", "password", "token", "key", "webhook", "header"];

/// What stands in place of a secret.
pub const HIDDEN: &str = "****";

/// True when the value of a parameter of this name must not be shown.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// True when a text says where a secret is, and is none itself.
pub fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
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

/// What may be shown of the text of a parameter; the text itself when nothing in it is secret.
pub fn text(key: &str, text: &str) -> String {
    match text {
        text if is_reference(text) => text.to_owned(),
        _ if is_secret(key) => HIDDEN.to_owned(),
        text if text.contains("://") => url(text),
        text => text.to_owned(),
    }
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
}
