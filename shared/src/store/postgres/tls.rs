//! Makes connections to the server private, over rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresConfig;

/// A connector that trusts, and shows, the configured certificates.
///
/// # Errors
/// Names the key and the file that cannot be used.
pub(super) fn connector(config: &PostgresConfig) -> Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    match &config.tls_ca {
        Some(file) => {
            for certificate in certificates("tls_ca", file)? {
                roots.add(certificate).map_err(|e| wrong("tls_ca", file, &e))?;
            }
        }
        // What the machine trusts, less what cannot be read.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?
        .with_root_certificates(roots);
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(chain), Some(key)) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong("tls_key", key, &e))?;
            let chain = certificates("tls_cert", chain)?;
            tls.with_client_auth_cert(chain, secret).map_err(|e| wrong("tls_key", key, &e))?
        }
        _ => tls.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(tls))
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(file).map_err(|e| wrong(key, file, &e))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|e| wrong(key, file, &e))?;
    if all.is_empty() {
        return Err(wrong(key, file, &"holds no certificate"));
    }
    Ok(all)
}

fn wrong(key: &str, file: &Path, cause: &dyn std::fmt::Display) -> String {
    format!("store.postgres.{key} '{}': {cause}", file.display())
}
