//! An authority made for one test, with certificates of a server and of a client.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Files in PEM form.
pub struct Certificates {
    /// The authority.
    pub ca: PathBuf,
    /// Certificate of `localhost` and 127.0.0.1.
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// Certificate and key of a client, in one file.
    pub client: PathBuf,
}

impl Certificates {
    /// Makes them in `folder`.
    pub fn new(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name);
        let mut authority = named("flowhook test authority", &[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let server_key = KeyPair::generate().unwrap();
        let server =
            named("localhost", &["localhost", "127.0.0.1"]).signed_by(&server_key, &authority).unwrap();
        let client_key = KeyPair::generate().unwrap();
        let client = named("flowhook", &["flowhook"]).signed_by(&client_key, &authority).unwrap();
        std::fs::write(path("ca.pem"), authority.pem()).unwrap();
        std::fs::write(path("server.pem"), server.pem()).unwrap();
        std::fs::write(path("server.key"), server_key.serialize_pem()).unwrap();
        std::fs::write(path("client.pem"), [client.pem(), client_key.serialize_pem()].concat()).unwrap();
        Self {
            ca: path("ca.pem"),
            server: path("server.pem"),
            server_key: path("server.key"),
            client: path("client.pem"),
        }
    }
}

fn named(name: &str, also: &[&str]) -> CertificateParams {
    let also: Vec<String> = also.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(also).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
