//! Credentials files: a user's JWT and the seed of his NKey, as `nsc` writes them.
//!
//! The file is read at every try to connect, so that one that is renewed before or after it has expired
//! is used without a restart.

use std::path::Path;

use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;

use super::other;
use crate::bus::BusError;

/// Options that log in with what the file holds at that moment.
///
/// # Errors
/// Names the file that cannot be read, or is none of credentials.
pub(super) fn options(file: &Path) -> Result<ConnectOptions, BusError> {
    let cannot = |cause: String| other(format!("cannot read credentials '{}'", file.display()), cause);
    read(file).map_err(cannot)?;
    let file = file.to_owned();
    Ok(ConnectOptions::with_auth_callback(move |nonce| {
        let answer = answer(&file, &nonce);
        async move { answer }
    }))
}

fn answer(file: &Path, nonce: &[u8]) -> Result<Auth, AuthError> {
    let (jwt, pair) = read(file).map_err(AuthError::new)?;
    let mut auth = Auth::new();
    auth.jwt = Some(jwt);
    auth.signature = Some(pair.sign(nonce).map_err(AuthError::new)?);
    Ok(auth)
}

/// JWT and key pair; the errors quote nothing of the file.
fn read(file: &Path) -> Result<(String, KeyPair), String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let jwt = between(&text, "USER JWT").ok_or("it holds no user JWT")?;
    let seed = between(&text, "NKEY SEED").ok_or("it holds no NKey seed")?;
    let pair = KeyPair::from_seed(seed).map_err(|_| "its NKey seed is none".to_owned())?;
    Ok((jwt.to_owned(), pair))
}

/// The line between `-----BEGIN … <what>-----` and the end mark.
fn between<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains("BEGIN") && line.contains(what))?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with('-'))
}
