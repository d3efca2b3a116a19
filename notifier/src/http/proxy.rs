//! A proxy of the operator's, through which requests leave.
//!
//! The configuration file names it, never an endpoint, so it may be where endpoints may not go. It resolves
//! names itself; a name that leads here to what endpoints may not reach is not even given to it.

use shared::secret::Secret;

use super::HttpUrl;
use super::causes::cause;
use crate::endpoint::DeliveryError;
use crate::target::Targets;

/// A proxy, ready to be used.
#[derive(Clone)]
pub struct Proxy {
    way: reqwest::Proxy,
    host: String,
}

impl Proxy {
    /// By its address, but for hosts and prefixes that are reached without it.
    ///
    /// # Errors
    /// Says what is wrong, without repeating the address, which may hold a password.
    pub fn new(url: &Secret, without: &[String]) -> Result<Self, String> {
        let parsed = HttpUrl::parse(url.reveal())?;
        let (host, _) = parsed.host_and_port().ok_or("it names no host")?;
        let way = reqwest::Proxy::all(url.reveal()).map_err(|error| cause(&error))?;
        Ok(Self { way: way.no_proxy(reqwest::NoProxy::from_string(&without.join(","))), host })
    }

    /// Sends what a client makes through it.
    pub(super) fn in_front_of(&self, client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        client.proxy(self.way.clone())
    }

    /// True of the proxy's own name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.host.eq_ignore_ascii_case(name)
    }

    /// Refuses a name that leads here to what endpoints may not reach.
    pub(super) async fn check(&self, url: &HttpUrl, targets: &Targets) -> Result<(), DeliveryError> {
        let Some((host, port)) = url.host_and_port() else { return Ok(()) };
        targets.check_by_another(&host, port).await
    }
}
