//! What far ends say may repeat what they were sent: no secret of an endpoint gets into a reason, an answer
//! or a test's result, whatever its kind makes of the answer.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use shared::redact::HIDDEN;
use shared::secret::Secret;
use shared::store::Delivery;

use super::{DeliveryError, Endpoint, Manners, Told};
use crate::format::CUT_MARK;
use crate::redact;

/// Text shorter than this is not looked for: it would be found everywhere.
const SHORTEST: usize = 4;

/// Parts of a secret address shorter than this name a place rather than a secret.
const SHORTEST_PART: usize = 8;

/// An endpoint whose secrets are looked for in all that it says.
pub(super) struct Quiet {
    inner: Arc<dyn Endpoint>,
    /// Longest first, so that of one that holds another nothing is left.
    secrets: Arc<[String]>,
}

impl std::fmt::Debug for Quiet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

/// The endpoint with the secrets of its parameters and its recipient's kept out of what it says.
pub(super) fn quiet(
    inner: Arc<dyn Endpoint>,
    endpoint: &toml::Table,
    recipient: &toml::Table,
) -> Arc<dyn Endpoint> {
    let mut secrets = Vec::new();
    for params in [endpoint, recipient] {
        collect(params, false, &mut secrets);
    }
    secrets.retain(|secret| secret.len() >= SHORTEST);
    secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    secrets.dedup();
    match secrets.is_empty() {
        true => inner,
        false => Arc::new(Quiet { inner, secrets: secrets.into() }),
    }
}

/// Puts what is secret in a table of parameters into `secrets`.
fn collect(params: &toml::Table, all: bool, secrets: &mut Vec<String>) {
    for (key, value) in params {
        let secret = all || redact::is_secret(key);
        match value {
            toml::Value::String(text) => {
                // What cannot be resolved is refused when the endpoint is built.
                let Ok(text) = Secret::resolve(text) else { continue };
                let text = text.reveal();
                if text.contains("://") {
                    of_url(text, secret, secrets);
                }
                if secret {
                    secrets.push(text.to_owned());
                }
            }
            toml::Value::Table(inner) => collect(inner, secret, secrets),
            _ => {}
        }
    }
    let text = |key: &str| {
        let text = params.get(key).and_then(toml::Value::as_str)?;
        Some(Secret::resolve(text).ok()?.reveal().to_owned())
    };
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        secrets.push(STANDARD.encode(format!("{user}:{password}")));
    }
}

/// What is secret in an address: user information, query and fragment; of one that is secret as a whole
/// every part of its path that is long.
fn of_url(url: &str, whole: bool, secrets: &mut Vec<String>) {
    let (visible, hidden) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    let (_, rest) = visible.split_once("://").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut parts: Vec<&str> = Vec::new();
    if let Some((user, _)) = authority.rsplit_once('@') {
        parts.extend(user.split(':').skip(1));
        secrets.extend([
            STANDARD.encode(user),
            STANDARD.encode(percent_decode_str(user).decode_utf8_lossy().as_bytes()),
        ]);
    }
    for pair in hidden.split(['?', '#', '&']) {
        parts.push(pair.split_once('=').map_or(pair, |(_, value)| value));
    }
    if whole {
        parts.push(path);
        parts.extend(path.split('/').filter(|part| part.len() >= SHORTEST_PART));
    }
    for part in parts {
        secrets.push(part.to_owned());
        secrets.push(percent_decode_str(part).decode_utf8_lossy().into_owned());
    }
}

impl Quiet {
    /// A text without the secrets, also without the begin of one that it is cut in.
    fn hide(&self, text: String) -> String {
        let mut text = text;
        for secret in &*self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), HIDDEN);
            }
        }
        let Some(kept) = text.strip_suffix(CUT_MARK) else { return text };
        for secret in &*self.secrets {
            let begins = secret.char_indices().map(|(at, _)| at).skip_while(|at| *at < SHORTEST);
            let mut begins = begins.map(|at| &secret[..at]).collect::<Vec<_>>().into_iter().rev();
            if let Some(begin) = begins.find(|begin| kept.ends_with(begin)) {
                return format!("{}{HIDDEN}{CUT_MARK}", &kept[..kept.len() - begin.len()]);
            }
        }
        text
    }

    fn hide_error(&self, error: DeliveryError) -> DeliveryError {
        match error {
            DeliveryError::Retry { after, reason } => {
                DeliveryError::Retry { after, reason: self.hide(reason) }
            }
            error @ DeliveryError::NoRoom { .. } => error,
            DeliveryError::Unknown { reason } => DeliveryError::Unknown { reason: self.hide(reason) },
            DeliveryError::Refused { reason } => DeliveryError::Refused { reason: self.hide(reason) },
            DeliveryError::Permanent { reason } => DeliveryError::Permanent { reason: self.hide(reason) },
        }
    }
}

#[async_trait]
impl Endpoint for Quiet {
    fn manners(&self) -> Manners {
        self.inner.manners()
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        let ends = self.inner.deliver(batch).await.into_iter();
        ends.map(|end| end.map_err(|error| self.hide_error(error))).collect()
    }

    async fn deliver_told(&self, batch: &[Delivery]) -> Vec<Told> {
        let ends = self.inner.deliver_told(batch).await.into_iter();
        let hidden = |end: Told| {
            end.map(|told| told.map(|text| self.hide(text))).map_err(|error| self.hide_error(error))
        };
        ends.map(hidden).collect()
    }

    fn requests(&self) -> Option<u64> {
        self.inner.requests()
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        self.inner.test().await.map(|text| self.hide(text)).map_err(|error| self.hide_error(error))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Gone;
    use super::*;

    fn hidden(params: &str, text: &str) -> String {
        let mut secrets = Vec::new();
        collect(&toml::from_str(params).unwrap(), false, &mut secrets);
        secrets.retain(|secret| secret.len() >= SHORTEST);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Quiet { inner: Arc::new(Gone { reason: "x" }), secrets: secrets.into() }.hide(text.to_owned())
    }

    #[test]
    fn what_a_far_end_repeats_is_hidden_wherever_it_stands() {
        let params = "url = \"https://u:hunter2%20word@h/api/x?key=query-key&b=1\"\nusername = \"ann\"\n\
                      password = \"hunter2\"\ntoken = \"hunter2-and-more\"\nheaders = { X-A = \"in-header\" }\n";
        for (said, shown) in [
            ("wrong password hunter2!", "wrong password ****!"),
            ("hunter2-and-more", "****"),
            ("X-A: in-header", "X-A: ****"),
            ("GET /api/x?key=query-key", "GET /api/x?key=****"),
            ("hunter2 word or hunter2%20word", "**** or ****"),
            ("Basic YW5uOmh1bnRlcjI=", "Basic ****"),
            ("ann at h is not known", "ann at h is not known"),
        ] {
            assert_eq!(hidden(params, said), shown);
        }
    }

    #[test]
    fn of_a_secret_address_its_path_is_hidden_too() {
        let params = "webhook_url = \"https://discord.com/api/webhooks/1234/hunter2-EfGhIjKl\"";
        assert_eq!(hidden(params, "no hook hunter2-EfGhIjKl"), "no hook ****");
        assert_eq!(hidden(params, "POST /api/webhooks/1234/hunter2-EfGhIjKl: 404"), "POST ****: 404");
    }

    #[test]
    fn a_secret_that_is_cut_is_hidden_as_far_as_it_goes() {
        let params = "token = \"hunter2789abcdef\"";
        assert_eq!(hidden(params, &format!("wrong: hunter2789{CUT_MARK}")), format!("wrong: ****{CUT_MARK}"));
        assert_eq!(hidden(params, "wrong: hunter2789"), "wrong: hunter2789", "nothing was cut");
        assert_eq!(hidden(params, &format!("wrong: hun{CUT_MARK}")), format!("wrong: hun{CUT_MARK}"));
    }
}
