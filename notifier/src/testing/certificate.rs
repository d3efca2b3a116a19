//! A certificate of `localhost` for a test's server.

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};

use super::tls;

/// What a server shows, and what its clients are to trust.
pub struct Certificate {
    /// For the server.
    pub config: rustls::ServerConfig,
    /// The certificate in PEM form, signed by itself; gone with this value.
    pub ca_file: PathBuf,
    _dir: tempfile::TempDir,
}

/// A certificate that is valid from the first day of a year to the first day of another.
pub fn certificate(from: i32, to: i32) -> Certificate {
    tls();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, certificate.pem()).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    Certificate { config, ca_file, _dir: dir }
}
