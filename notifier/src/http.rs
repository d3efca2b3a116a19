//! The one HTTP client: sends a request, says what was answered.
//!
//! No redirects, no proxy but the configured one, no unpacking of answers, one time limit for the
//! whole exchange. Where a target may be is checked when connecting, after the name is resolved, so
//! that a name cannot first resolve to one address and then to another ([`crate::target`]). No secret part
//! of a URL gets into an error.

use std::net::IpAddr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use shared::clock::SharedClock;
use shared::secret::Secret;

pub use self::answer::Answer;
use self::causes::{cause, find};
use self::params::{OwnHeaders, TlsParams};
use self::proxy::Proxy;
use self::resolver::CheckedResolver;
use crate::endpoint::DeliveryError;
use crate::redact;
use crate::target::{Refused, Targets};

pub mod answer;
mod causes;
pub mod params;
pub mod proxy;
mod resolver;

/// How much of an answer is read when its status says everything, so that the connection can be
/// used again, in bytes.
const ANSWER_LIMIT: usize = 16 * 1024;

/// How long the rest of such an answer is waited for once its status is there.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// Connections to one far end that are kept for the next requests: as many as a lane may use at once.
const IDLE_CONNECTIONS: usize = 64;

/// An absolute `http` or `https` URL with a host. Prints without what may be secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    url: reqwest::Url,
    path_is_secret: bool,
}

impl HttpUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// Says what is wrong, without repeating the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = reqwest::Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
        match (url.scheme(), url.has_host()) {
            ("http" | "https", true) => Ok(Self { url, path_is_secret: false }),
            _ => Err("not an http or https URL".to_owned()),
        }
    }

    /// Reads a URL whose path is not to be shown.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn secret(text: &str) -> Result<Self, String> {
        Self::parse(text).map(|url| Self { path_is_secret: true, ..url })
    }

    /// This URL with more path segments; what is in them stays in them.
    pub fn with_segments(&self, segments: &[&str]) -> Self {
        let mut longer = self.clone();
        // Fails for URLs that have no path at all, which http has always.
        if let Ok(mut path) = longer.url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        longer
    }

    /// This URL, its path not to be shown.
    pub fn hiding_path(self) -> Self {
        Self { path_is_secret: true, ..self }
    }

    /// This URL with this query.
    pub fn with_query(mut self, query: &str) -> Self {
        self.url.set_query(Some(query));
        self
    }

    /// This URL with `more` added to its query.
    pub fn adding_query(mut self, more: &str) -> Self {
        let query = self.url.query().map_or_else(|| more.to_owned(), |query| format!("{query}&{more}"));
        self.url.set_query(Some(&query));
        self
    }

    /// Host and port, for those who connect themselves.
    pub fn host_and_port(&self) -> Option<(String, u16)> {
        let host = self.url.host_str()?.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), self.url.port_or_known_default()?))
    }

    /// User and password in it, with a colon between them.
    pub fn login(&self) -> Option<Secret> {
        let read = |text| percent_decode_str(text).decode_utf8_lossy();
        let (user, password) = (self.url.username(), self.url.password());
        let both = || format!("{}:{}", read(user), read(password.unwrap_or_default()));
        (!user.is_empty() || password.is_some()).then(|| Secret::new(both()))
    }

    /// The host when it is an address.
    fn literal_ip(&self) -> Option<IpAddr> {
        let host = self.url.host_str()?;
        host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

impl std::fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path_is_secret {
            true => write!(f, "{}/***", redact::url(&self.url.origin().ascii_serialization())),
            false => f.write_str(&redact::url(self.url.as_str())),
        }
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

/// How a request says who sends it.
#[derive(Clone, Copy, Default)]
pub enum Auth<'a> {
    /// It does not.
    #[default]
    None,
    /// User and password (RFC 7617).
    Basic(&'a str, Option<&'a Secret>),
    /// A scheme and its token, such as `Bearer` (RFC 6750).
    Token(&'static str, &'a Secret),
}

/// What a request with a body does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    /// Makes something.
    #[default]
    Post,
    /// Puts something in place of what there is.
    Put,
    /// Changes a part of what there is (RFC 5789).
    Patch,
}

/// A request, a POST unless its body is absent. Not to be printed: it may hold a secret.
pub struct Post<'a> {
    /// Where.
    pub url: &'a HttpUrl,
    /// Content type of the body.
    pub content_type: &'static str,
    /// More headers; values are made safe by [`header_value`].
    pub headers: Vec<(&'static str, String)>,
    /// Headers of the user's own.
    pub own: Option<&'a OwnHeaders>,
    /// Who sends it.
    pub auth: Auth<'a>,
    /// Body; `None` makes it a GET.
    pub body: Option<Vec<u8>>,
    /// What it does with a body.
    pub verb: Verb,
}

impl<'a> Post<'a> {
    /// A GET with nothing but its address.
    pub fn to(url: &'a HttpUrl) -> Self {
        let (headers, own, auth) = (Vec::new(), None, Auth::None);
        Self { url, content_type: "application/json", headers, own, auth, body: None, verb: Verb::Post }
    }

    /// A POST of JSON with no more than that.
    pub fn json(url: &'a HttpUrl, body: &impl serde::Serialize) -> Self {
        // Plain structs and maps with text keys always serialize.
        Self { body: Some(serde_json::to_vec(body).unwrap_or_default()), ..Self::to(url) }
    }
}

/// The client; clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    targets: Targets,
    timeout: Duration,
    clock: SharedClock,
    proxy: Option<Proxy>,
}

impl HttpClient {
    /// A client whose exchanges take at most `timeout`. The process must have installed a TLS
    /// provider.
    ///
    /// # Errors
    /// Says why TLS cannot be set up.
    pub fn new(timeout: Duration, targets: Targets, clock: SharedClock) -> Result<Self, String> {
        Self::through(None, timeout, targets, clock)
    }

    /// A client whose requests leave through a proxy, where there is one.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn through(
        proxy: Option<Proxy>,
        timeout: Duration,
        targets: Targets,
        clock: SharedClock,
    ) -> Result<Self, String> {
        let builder = || builder(timeout, &targets, proxy.as_ref());
        let client = builder().build().or_else(|error| {
            // A small container has no certificates; what needs none shall work there too.
            tracing::warn!(cause = cause(&error), "no certificates to trust: https targets will fail");
            builder().tls_certs_only([]).build().map_err(|e| cause(&e))
        })?;
        Ok(Self { client, targets, timeout, clock, proxy })
    }

    /// Where it may go.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// A client like this one that trusts, and shows, these certificates.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn with_tls(&self, tls: &TlsParams) -> Result<Self, String> {
        if tls.is_usual() {
            return Ok(self.clone());
        }
        let mut builder = builder(self.timeout, &self.targets, self.proxy.as_ref());
        if let Some(file) = &tls.ca_file {
            let wrong = |e: reqwest::Error| format!("ca_file '{}': {}", file.path().display(), cause(&e));
            builder =
                builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(file.bytes()).map_err(wrong)?);
        }
        if let Some(file) = &tls.client_cert_file {
            let wrong =
                |e: reqwest::Error| format!("client_cert_file '{}': {}", file.path().display(), cause(&e));
            builder = builder.identity(reqwest::Identity::from_pem(file.bytes()).map_err(wrong)?);
        }
        let client = builder.build().map_err(|e| format!("certificates cannot be used: {}", cause(&e)))?;
        Ok(Self { client, ..self.clone() })
    }

    /// Posts, and reads the answer's status as [`answer::classify`] does. Gives the status on success.
    ///
    /// # Errors
    /// [`DeliveryError`]; what could not be sent is to be tried again, whether what was not answered
    /// arrived is unknown, a target that is not allowed is not tried again.
    pub async fn post(&self, post: Post<'_>) -> Result<u16, DeliveryError> {
        let answer = self.exchange(post, None).await?;
        answer.classify().map(|()| answer.status)
    }

    /// Sends, and gives the answer with at most `most` bytes of its body. `None` is for those to whom
    /// the status says everything: a body that ends badly, or not at all, then changes nothing.
    ///
    /// # Errors
    /// As [`Self::post`], but every status is an answer.
    pub async fn exchange(&self, post: Post<'_>, most: Option<usize>) -> Result<Answer, DeliveryError> {
        // No name, so nobody is asked to resolve it.
        let ip = post.url.literal_ip();
        ip.map_or(Ok(()), |ip| self.targets.check(ip)).map_err(DeliveryError::permanent)?;
        let port = post.url.url.port_or_known_default().unwrap_or_default();
        self.targets.check_http_port(ip, port).map_err(DeliveryError::permanent)?;
        if let (Some(proxy), None) = (&self.proxy, ip) {
            proxy.check(post.url, &self.targets).await?;
        }
        let url = post.url.url.clone();
        let mut request = match post.body {
            Some(body) => {
                let request = match post.verb {
                    Verb::Post => self.client.post(url),
                    Verb::Put => self.client.put(url),
                    Verb::Patch => self.client.patch(url),
                };
                request.header("content-type", post.content_type).body(body)
            }
            None => self.client.get(url),
        };
        for (name, value) in &post.headers {
            request = request.header(*name, header_value(value));
        }
        request = match post.auth {
            Auth::None => request,
            Auth::Basic(user, password) => request.basic_auth(user, password.map(Secret::reveal)),
            Auth::Token(scheme, token) => {
                let value = reqwest::header::HeaderValue::try_from(format!("{scheme} {}", token.reveal()));
                let mut value = value.map_err(|_| {
                    DeliveryError::permanent("the token has characters that no header may have")
                })?;
                value.set_sensitive(true);
                request.header("authorization", value)
            }
        };
        if let Some(own) = post.own {
            request = request.headers(own.0.clone());
        }
        let mut response = request.send().await.map_err(|error| self.failure(&error))?;
        let mut answer =
            Answer::new(response.status().as_u16(), response.headers().clone(), self.clock.now());
        let limit = most.unwrap_or(ANSWER_LIMIT);
        let rest = async {
            loop {
                match response.chunk().await {
                    Ok(None) => return true,
                    Err(_) => return false,
                    Ok(Some(chunk)) => answer.body.extend_from_slice(&chunk),
                }
                if answer.body.len() > limit {
                    return false;
                }
            }
        };
        // Who reads the body waits for it as long as for the rest: the client's limit ends it.
        let patience = if most.is_some() { self.timeout } else { ANSWER_PATIENCE };
        let whole = tokio::time::timeout(patience, rest).await.unwrap_or(false);
        answer.whole = whole;
        answer.body.truncate(limit);
        Ok(answer)
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
        match error.is_connect() {
            true => DeliveryError::retry(reason),
            // Something was sent, or may have been.
            false => DeliveryError::Unknown { reason },
        }
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn builder(timeout: Duration, targets: &Targets, proxy: Option<&Proxy>) -> reqwest::ClientBuilder {
    let client = reqwest::Client::builder()
        .user_agent(concat!("flowhook/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .dns_resolver(CheckedResolver { targets: targets.clone(), proxy: proxy.cloned() });
    match proxy {
        Some(proxy) => proxy.in_front_of(client),
        None => client,
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

#[cfg(test)]
mod tests;
