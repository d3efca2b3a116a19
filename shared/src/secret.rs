//! Text that must never be shown.

pub mod mark;

use serde::Deserialize;

/// A secret: never printed, never serialized as itself.
///
/// In configuration it is the text itself, `env:NAME`, or `file:PATH` (first line of the file).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Resolves `env:` and `file:` references; other text is the secret itself.
    ///
    /// # Errors
    /// Names the variable or file that cannot be read, never its content.
    pub fn resolve(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("env:") {
            return std::env::var(name)
                .map(Self)
                .map_err(|_| format!("environment variable '{name}' is not set or not UTF-8"));
        }
        if let Some(path) = text.strip_prefix("file:") {
            let content = std::fs::read_to_string(path)
                .map_err(|e| format!("cannot read secret file '{path}': {e}"))?;
            return Ok(Self(content.lines().next().unwrap_or("").to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::resolve(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&secret).unwrap().contains("hunter2"));
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn a_missing_reference_is_named() {
        let err = Secret::resolve("file:/nonexistent/token").unwrap_err();
        assert!(err.contains("/nonexistent/token"), "{err}");
    }
}
