//! An HTTP request: up is what answers with a status below 400.

use std::net::Ipv6Addr;

use reqwest::redirect::Policy;
use shared::model::{Measure, MonitorHost};

use super::probe::cause;

/// The clients; each probe has a connection of its own, as a new visitor would.
pub struct Clients {
    strict: reqwest::Client,
    /// Takes any certificate.
    lenient: reqwest::Client,
}

impl Clients {
    /// Clients that follow no redirect and use no proxy. The process must have installed a TLS provider.
    ///
    /// # Errors
    /// Says why TLS cannot be set up.
    pub fn new() -> Result<Self, String> {
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("flowhook/", env!("CARGO_PKG_VERSION")))
                .redirect(Policy::none())
                .no_proxy()
                .pool_max_idle_per_host(0)
        };
        // A small container has no certificates; what needs none shall work there too.
        let strict = builder().build().or_else(|_| builder().tls_certs_only([]).build());
        let lenient = builder().tls_danger_accept_invalid_certs(true).build();
        let wrong = |error: reqwest::Error| cause(&error);
        Ok(Self { strict: strict.map_err(wrong)?, lenient: lenient.map_err(wrong)? })
    }

    /// Asks for the host's path.
    ///
    /// # Errors
    /// Why there is no answer, or the status that is one of failure.
    pub async fn probe(&self, host: &MonitorHost) -> Result<(), String> {
        let scheme = if host.measure == Measure::Https { "https" } else { "http" };
        let name = match host.host.parse::<Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]"),
            Err(_) => host.host.clone(),
        };
        let port = host.port.map(|port| format!(":{port}")).unwrap_or_default();
        let url = format!("{scheme}://{name}{port}{}", host.path.as_deref().unwrap_or("/"));
        let client = if host.insecure { &self.lenient } else { &self.strict };
        let answer = client.get(&url).send().await.map_err(|error| cause(&error.without_url()))?;
        match answer.status() {
            status if status.is_client_error() || status.is_server_error() => {
                Err(format!("the answer is {status}"))
            }
            _ => Ok(()),
        }
    }
}
