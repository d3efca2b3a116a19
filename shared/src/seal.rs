//! Secrets of edited settings, sealed where they are kept.
//!
//! A secret is sealed by ChaCha20-Poly1305 (RFC 8439) under one key of the node, for one place: kind and
//! name of its document and the path in it. What was sealed for one place opens at no other: a sealed text
//! that is copied elsewhere is worth nothing. Who may edit an endpoint can still send its secret to another
//! address. What a document keeps is
//! `sealed:1:` and nonce and ciphertext in hexadecimal digits.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use crate::redact::{HIDDEN, is_reference, is_secret, text as shown_text};
use crate::secret::Secret;

/// What a sealed text begins with.
const PREFIX: &str = "sealed:1:";

/// Name of the key's file in the state directory.
const KEY_FILE: &str = "secrets.key";

/// The part of a document that may hold secrets.
const PARAMS: &str = "params";

/// Seals and opens.
pub struct Sealer {
    key: LessSafeKey,
    random: SystemRandom,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// With the key that `reference` (`env:`, `file:`) leads to, or, when it is empty, with the one in
    /// `dir`, which is made when there is none, readable by its owner alone.
    ///
    /// # Errors
    /// Says what is wrong with reference or file, never what is in it.
    pub fn load(reference: &str, dir: &Path) -> Result<Self, String> {
        if !reference.is_empty() {
            if !is_reference(reference) {
                return Err("must be env:NAME or file:PATH, not the key itself".to_owned());
            }
            return Self::of_digits(Secret::resolve(reference)?.reveal());
        }
        let path = dir.join(KEY_FILE);
        let wrong = |e: std::io::Error| format!("{}: {e}", path.display());
        match std::fs::read_to_string(&path) {
            Ok(digits) => Self::of_digits(&digits).map_err(|cause| format!("{}: {cause}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let digits = random_digits()?;
                std::fs::create_dir_all(dir).map_err(wrong)?;
                let mut options = std::fs::OpenOptions::new();
                let mut file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(wrong)?;
                file.write_all(digits.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
                Self::of_digits(&digits)
            }
            Err(error) => Err(wrong(error)),
        }
    }

    /// With a key of its own, which is kept nowhere.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn of_nobody() -> Result<Self, String> {
        Self::of_digits(&random_digits()?)
    }

    fn of_digits(digits: &str) -> Result<Self, String> {
        let bytes = from_hex(digits.trim()).filter(|bytes| bytes.len() == CHACHA20_POLY1305.key_len());
        let key = bytes.and_then(|bytes| UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok());
        let key = key.ok_or("a key is 64 hexadecimal digits, as `openssl rand -hex 32` gives them")?;
        Ok(Self { key: LessSafeKey::new(key), random: SystemRandom::new() })
    }

    fn seal(&self, place: &str, text: &str) -> Result<String, String> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| "the system gives no random numbers")?;
        let mut sealed = text.as_bytes().to_vec();
        let (aad, with) = (Aad::from(place.as_bytes()), Nonce::assume_unique_for_key(nonce));
        self.key.seal_in_place_append_tag(with, aad, &mut sealed).map_err(|_| "it is too long")?;
        Ok(format!("{PREFIX}{}{}", to_hex(&nonce), to_hex(&sealed)))
    }

    fn open(&self, place: &str, sealed: &str) -> Option<String> {
        let mut bytes = from_hex(sealed.strip_prefix(PREFIX)?)?;
        let mut sealed = bytes.split_off(NONCE_LEN.min(bytes.len()));
        let nonce = Nonce::try_assume_unique_for_key(&bytes).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut sealed).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }

    /// A document as it is kept: secrets sealed. A text that reads as `old` is shown stands for what is
    /// sealed there, which stays as it is.
    ///
    /// # Errors
    /// Names the key of a secret that is not there or cannot be opened.
    pub fn sealed(
        &self,
        kind: &str,
        name: &str,
        value: &Value,
        old: Option<&Value>,
    ) -> Result<Value, String> {
        let old = old.and_then(|old| old.get(PARAMS));
        self.each(kind, name, value, &|key, place, path, text| {
            let kept = old.and_then(|old| at(old, path)).and_then(Value::as_str);
            if let Some(kept) = kept
                && (text == kept || self.shown_one(key, place, kept) == text)
            {
                return Ok(kept.to_owned());
            }
            match text {
                HIDDEN if is_secret(key) => Err(format!("{HIDDEN} stands for a secret that is not there")),
                text if text.starts_with(PREFIX) => match self.open(place, text) {
                    Some(_) => Ok(text.to_owned()),
                    None => Err("was sealed with another key or for another place".to_owned()),
                },
                text if shown_text(key, text) == text => Ok(text.to_owned()),
                text => match kept.and_then(|kept| self.open(place, kept)) {
                    Some(same) if same == text => Ok(kept.unwrap_or_default().to_owned()),
                    _ => self.seal(place, text),
                },
            }
        })
    }

    /// A document as it is used: secrets opened.
    ///
    /// # Errors
    /// Names the key of what cannot be opened.
    pub fn opened(&self, kind: &str, name: &str, value: &Value) -> Result<Value, String> {
        self.each(kind, name, value, &|_, place, _, text| match text.starts_with(PREFIX) {
            false => Ok(text.to_owned()),
            true => self
                .open(place, text)
                .ok_or_else(|| "was sealed with another key or for another place".to_owned()),
        })
    }

    /// A document as it may be shown: secrets hidden, references as they are.
    pub fn shown(&self, kind: &str, name: &str, value: &Value) -> Value {
        let shown = self.each(kind, name, value, &|key, place, _, text| Ok(self.shown_one(key, place, text)));
        shown.unwrap_or_default()
    }

    fn shown_one(&self, key: &str, place: &str, text: &str) -> String {
        match text.starts_with(PREFIX) {
            false => shown_text(key, text),
            // A URL is told by what is not secret in it.
            true => self.open(place, text).map_or(HIDDEN.to_owned(), |opened| shown_text(key, &opened)),
        }
    }

    /// A document with each text of its parameters replaced; texts are told by their key, their place
    /// and the path to them.
    fn each(&self, kind: &str, name: &str, value: &Value, replace: Replace<'_>) -> Result<Value, String> {
        let mut value = value.clone();
        if let Some(params) = value.get_mut(PARAMS) {
            walk(params, &format!("{kind}/{name}"), "", &mut Vec::new(), replace)?;
        }
        Ok(value)
    }
}

type Replace<'a> = &'a dyn Fn(&str, &str, &[String], &str) -> Result<String, String>;

fn walk(
    value: &mut Value,
    document: &str,
    key: &str,
    path: &mut Vec<String>,
    replace: Replace<'_>,
) -> Result<(), String> {
    let mut inside = |step: String, key: &str, value: &mut Value| {
        path.push(step);
        let done = walk(value, document, key, path, replace);
        path.pop();
        done
    };
    match value {
        Value::String(text) => {
            let dotted = path.join(".");
            let place = format!("{document}/{dotted}");
            *text =
                replace(key, &place, path, text).map_err(|cause| format!("{PARAMS}.{dotted}: {cause}"))?;
            Ok(())
        }
        // What is in a table of secrets is secret, whatever it is called.
        Value::Object(map) => map.iter_mut().try_for_each(|(name, value)| {
            let of = if is_secret(key) { key } else { name.as_str() };
            inside(name.clone(), of, value)
        }),
        Value::Array(items) => {
            items.iter_mut().enumerate().try_for_each(|(n, value)| inside(n.to_string(), key, value))
        }
        _ => Ok(()),
    }
}

fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Object(map) => map.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// A document without its secrets: each is replaced by what stands for it.
pub fn without_secrets(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(params) = value.get_mut(PARAMS) {
        let hide = |_: &str, _: &str, _: &[String], text: &str| {
            Ok(if text.starts_with(PREFIX) { HIDDEN.to_owned() } else { text.to_owned() })
        };
        // Cannot fail: nothing above does.
        let _ = walk(params, "", "", &mut Vec::new(), &hide);
    }
    value
}

fn random_digits() -> Result<String, String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no random numbers")?;
    Ok(to_hex(&bytes))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                Some(digit(*high) << 4 | digit(*low))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
