//! Parameters of requests: addresses that may be secret, own headers, certificates.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use shared::secret::Secret;

use super::HttpUrl;
use crate::params::{PemFile, schema_is};

/// Headers that the client sets itself.
const OURS: [&str; 5] = ["content-length", "content-type", "host", "transfer-encoding", "connection"];

/// An address whose path holds a secret, as those of chat services do: `env:` and `file:` are
/// followed, and only the host is ever shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUrl(pub HttpUrl);

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let secret = Secret::deserialize(deserializer)?;
        HttpUrl::secret(secret.reveal()).map(Self).map_err(serde::de::Error::custom)
    }
}

schema_is!(SecretUrl, { "type": "string", "format": "uri", "writeOnly": true });

schema_is!(HttpUrl, { "type": "string", "format": "uri" });

/// Headers of the user's own, their values secret.
#[derive(Clone, Default)]
pub struct OwnHeaders(pub HeaderMap);

impl std::fmt::Debug for OwnHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for OwnHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut headers = HeaderMap::new();
        for (name, value) in BTreeMap::<String, Secret>::deserialize(deserializer)? {
            let wrong = |what: &str| D::Error::custom(format_args!("header {name:?} {what}"));
            let key = HeaderName::try_from(&name).map_err(|_| wrong("is not a header's name"))?;
            if OURS.contains(&key.as_str()) {
                return Err(wrong("is set by flowhook"));
            }
            let mut value = HeaderValue::try_from(value.reveal())
                .map_err(|_| wrong("has a value with characters that no header may have"))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        Ok(Self(headers))
    }
}

schema_is!(OwnHeaders, {
    "type": "object",
    "additionalProperties": { "type": "string", "format": "password", "writeOnly": true },
});

/// Whom a client trusts, and who it says it is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsParams {
    /// Certificates of authorities to trust in place of the machine's.
    pub ca_file: Option<PemFile>,
    /// The client's certificate, followed by those that lead to its authority, and its private key.
    pub client_cert_file: Option<PemFile>,
}

impl TlsParams {
    /// True when nothing is asked for.
    pub fn is_usual(&self) -> bool {
        self.ca_file.is_none() && self.client_cert_file.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_addresses_show_their_host_alone() {
        let url: SecretUrl =
            serde_json::from_str("\"https://hooks.example.com/hunter2/x?y=hunter2\"").unwrap();
        assert_eq!(
            format!("{} {:?}", url.0, url),
            "https://hooks.example.com/*** SecretUrl(https://hooks.example.com/***)"
        );
        assert!(serde_json::from_str::<SecretUrl>("\"hunter2\"").unwrap_err().to_string().contains("URL"));
    }

    #[test]
    fn own_headers_are_checked_and_not_shown() {
        let read = |text: &str| serde_json::from_str::<OwnHeaders>(text);
        let headers = read(r#"{"X-Api":"hunter2","Authorization":"Bearer hunter2"}"#).unwrap();
        assert!(!format!("{headers:?}").contains("hunter2"));
        assert_eq!(headers.0["authorization"], "Bearer hunter2");
        for (bad, word) in [
            (r#"{"a b":"x"}"#, "not a header's name"),
            (r#"{"x":"hunter2\r\ny: z"}"#, "no header may have"),
            (r#"{"Content-Length":"1"}"#, "set by flowhook"),
            (r#"{"Host":"x"}"#, "set by flowhook"),
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("hunter2"), "{bad}: {error}");
        }
    }
}
