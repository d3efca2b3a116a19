//! The one HTTP client: posts a body, says what became of it.
//!
//! No redirects, no proxy from the environment, one time limit for the whole exchange. Where a
//! target may be is checked when connecting, after the name is resolved, so that a name cannot
//! first resolve to one address and then to another ([`target`]). Nothing from the answer's body
//! and no secret part of a URL gets into an error.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::Deserialize;
use shared::clock::SharedClock;
use shared::secret::Secret;

use crate::endpoint::DeliveryError;
use crate::redact;

pub mod answer;
pub mod target;

/// How much of an answer is read, so that the connection can be used again, in bytes.
const ANSWER_LIMIT: usize = 16 * 1024;

/// How long the rest of an answer is waited for once its status is there.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// An absolute `http` or `https` URL with a host. Prints without what may be secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(reqwest::Url);

impl HttpUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// Says what is wrong, without repeating the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = reqwest::Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
        match (url.scheme(), url.has_host()) {
            ("http" | "https", true) => Ok(Self(url)),
            _ => Err("not an http or https URL".to_owned()),
        }
    }

    /// The host when it is an address.
    fn literal_ip(&self) -> Option<IpAddr> {
        let host = self.0.host_str()?;
        host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

impl std::fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&redact::url(self.0.as_str()))
    }
}

impl std::fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// What to post. Not to be printed: the body may hold a secret.
pub struct Post<'a> {
    /// Where.
    pub url: &'a HttpUrl,
    /// Content type of the body.
    pub content_type: &'static str,
    /// More headers; values are made safe by [`header_value`].
    pub headers: Vec<(&'static str, String)>,
    /// User and password of HTTP basic authentication.
    pub basic: Option<(&'a str, Option<&'a Secret>)>,
    /// Body.
    pub body: Vec<u8>,
}

/// The client; clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    allow_private: bool,
    timeout: Duration,
    clock: SharedClock,
}

impl HttpClient {
    /// A client whose exchanges take at most `timeout`. The process must have installed a TLS
    /// provider.
    ///
    /// # Errors
    /// Says why TLS cannot be set up.
    pub fn new(timeout: Duration, allow_private: bool, clock: SharedClock) -> Result<Self, String> {
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("flowhook/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .timeout(timeout)
                .pool_max_idle_per_host(4)
                .dns_resolver(CheckedResolver { allow_private })
        };
        let client = builder().build().or_else(|error| {
            // A small container has no certificates; what needs none shall work there too.
            tracing::warn!(cause = cause(&error), "no certificates to trust: https targets will fail");
            builder().tls_certs_only([]).build().map_err(|e| cause(&e))
        })?;
        Ok(Self { client, allow_private, timeout, clock })
    }

    /// Posts, and reads the answer as [`answer::classify`] does. Gives the status on success.
    ///
    /// # Errors
    /// [`DeliveryError`]; what could not be sent or was not answered is to be tried again, a
    /// target that is not allowed is not.
    pub async fn post(&self, post: Post<'_>) -> Result<u16, DeliveryError> {
        if !self.allow_private
            && let Some(ip) = post.url.literal_ip()
        {
            Refused::check(ip).map_err(|refused| DeliveryError::Permanent { reason: refused.to_string() })?;
        }
        let mut request =
            self.client.post(post.url.0.clone()).header("content-type", post.content_type).body(post.body);
        for (name, value) in &post.headers {
            request = request.header(*name, header_value(value));
        }
        if let Some((user, password)) = post.basic {
            request = request.basic_auth(user, password.map(Secret::reveal));
        }
        let mut response = request.send().await.map_err(|error| self.failure(&error))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let result = answer::classify(status, retry_after, self.clock.now());
        // The status has decided; a body that ends badly, or not at all, changes nothing.
        let rest = async {
            let mut read = 0;
            while read < ANSWER_LIMIT
                && let Ok(Some(chunk)) = response.chunk().await
            {
                read += chunk.len();
            }
        };
        let _ = tokio::time::timeout(ANSWER_PATIENCE, rest).await;
        result.map(|()| status)
    }

    fn failure(&self, error: &reqwest::Error) -> DeliveryError {
        if let Some(refused) = find::<Refused>(error) {
            return DeliveryError::Permanent { reason: refused.to_string() };
        }
        if error.is_builder() {
            return DeliveryError::Permanent { reason: format!("request cannot be built: {}", cause(error)) };
        }
        let reason = match error.is_timeout() {
            true => format!("no answer within {:?}", self.timeout),
            false => cause(error),
        };
        DeliveryError::Retry { after: None, reason }
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Text as a header value: everything but visible ASCII is percent-encoded.
pub fn header_value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => out.push_str("%25"),
            0x21..=0x7e => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// An address that a target must not have.
#[derive(Debug, thiserror::Error)]
#[error("target address {ip} is {why}; notifier.allow_private_targets allows such targets")]
struct Refused {
    ip: IpAddr,
    why: &'static str,
}

impl Refused {
    fn check(ip: IpAddr) -> Result<(), Self> {
        target::refusal(ip).map_or(Ok(()), |why| Err(Self { ip, why }))
    }
}

/// Resolves names and leaves out addresses that are refused.
struct CheckedResolver {
    allow_private: bool,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut allowed = Vec::new();
            let mut refused = None;
            for address in found {
                match Refused::check(address.ip()) {
                    Err(refusal) if !allow_private => refused = Some(refusal),
                    _ => allowed.push(address),
                }
            }
            match (allowed.is_empty(), refused) {
                (true, Some(refusal)) => Err(refusal.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// The first error of type `T` in a chain of sources.
fn find<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The innermost causes of an error, which name no URL: reqwest's own layer does.
fn cause(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    match texts.len() {
        0 => "request failed".to_owned(),
        len => texts.split_off(len.saturating_sub(2)).join(": "),
    }
}

#[cfg(test)]
mod tests;
