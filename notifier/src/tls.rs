//! TLS for endpoints that speak it themselves, over rustls; HTTP has its own client ([`crate::http`]).

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::http::params::TlsParams;

/// Makes connections private.
#[derive(Clone)]
pub struct Connector(tokio_rustls::TlsConnector);

impl Connector {
    /// A connector that trusts, and shows, these certificates. The process must have installed a TLS
    /// provider.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn new(tls: &TlsParams) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match &tls.ca_file {
            Some(file) => {
                let wrong = |e: &dyn std::fmt::Display| format!("ca_file '{}': {e}", file.path().display());
                for certificate in CertificateDer::pem_slice_iter(file.bytes()) {
                    roots.add(certificate.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
                }
            }
            // What the machine trusts, less what cannot be read.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match &tls.client_cert_file {
            None => config.with_no_client_auth(),
            Some(file) => {
                let wrong =
                    |e: &dyn std::fmt::Display| format!("client_cert_file '{}': {e}", file.path().display());
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.bytes()).collect();
                let key = PrivateKeyDer::from_pem_slice(file.bytes()).map_err(|e| wrong(&e))?;
                config.with_client_auth_cert(chain.map_err(|e| wrong(&e))?, key).map_err(|e| wrong(&e))?
            }
        };
        Ok(Self(Arc::new(config).into()))
    }

    /// Shakes hands with `host`, whose certificate must name it.
    ///
    /// # Errors
    /// Says what is wrong with the name or the certificate.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|e| format!("'{host}': {e}"))?;
        self.0.connect(name, stream).await.map_err(|e| format!("TLS: {e}"))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}
