//! Types of parameters that several endpoint kinds have: bounded numbers, secrets, files.
//!
//! Each is checked while it is read, so that what was read can be used, and says in its JSON Schema
//! what it takes. The schemas are what forms are drawn from.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// The JSON Schema (draft 2020-12) of a table of parameters, without references to follow.
pub fn schema_of<T: JsonSchema>() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Gives a type this JSON Schema.
macro_rules! schema_is {
    ($type:ident, $schema:tt) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}
pub(crate) use schema_is;

/// A whole number from `MIN` to `MAX`, `DEFAULT` when absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within<const MIN: i64, const MAX: i64, const DEFAULT: i64>(i64);

impl<const MIN: i64, const MAX: i64, const DEFAULT: i64> Within<MIN, MAX, DEFAULT> {
    /// As a count or a number of seconds; what is negative counts as 0.
    pub fn get(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }
}

impl<const MIN: i64, const MAX: i64, const DEFAULT: i64> Default for Within<MIN, MAX, DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<'de, const MIN: i64, const MAX: i64, const DEFAULT: i64> Deserialize<'de> for Within<MIN, MAX, DEFAULT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match (MIN..=MAX).contains(&number) {
            true => Ok(Self(number)),
            false => Err(serde::de::Error::custom(format_args!("must be {MIN} to {MAX}, not {number}"))),
        }
    }
}

impl<const MIN: i64, const MAX: i64, const DEFAULT: i64> JsonSchema for Within<MIN, MAX, DEFAULT> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Within".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX, "default": DEFAULT })
    }
}

/// The schema of a [`shared::secret::Secret`]: text that is written and never shown.
pub struct SecretText;

schema_is!(SecretText, { "type": "string", "format": "password", "writeOnly": true });

/// A file of certificates or keys in PEM form, read with the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct PemFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl PemFile {
    /// What the file holds.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl std::fmt::Debug for PemFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

impl<'de> Deserialize<'de> for PemFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        let wrong = |e: &dyn std::fmt::Display| {
            serde::de::Error::custom(format_args!("cannot read '{}': {e}", path.display()))
        };
        let bytes = std::fs::read(&path).map_err(|e| wrong(&e))?;
        if !bytes.windows(11).any(|part| part == b"-----BEGIN ") {
            return Err(wrong(&"it is not in PEM form"));
        }
        Ok(Self { path, bytes })
    }
}

schema_is!(PemFile, { "type": "string", "description": "Path of a file in PEM form on the notifier's machine." });

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Params {
        /// How many.
        #[serde(default)]
        count: Within<1, 10, 5>,
        /// Whom to trust.
        ca_file: Option<PemFile>,
    }

    #[test]
    fn numbers_are_bounded_and_their_key_is_named() {
        let read = |text: &str| toml::from_str::<toml::Table>(text).unwrap().try_into::<Params>();
        assert_eq!(read("").unwrap().count.get(), 5);
        assert_eq!(read("count = 10").unwrap().count.get(), 10);
        let error = read("count = 11").unwrap_err().to_string();
        assert!(error.contains("must be 1 to 10, not 11") && error.contains("count"), "{error}");
    }

    #[test]
    fn a_file_that_is_missing_or_no_pem_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let read = || {
            let text = format!("ca_file = '{}'", path.display());
            toml::from_str::<Params>(&text).map(|p| p.ca_file.unwrap().bytes().len())
        };
        assert!(read().unwrap_err().to_string().contains("ca.pem"));
        std::fs::write(&path, "hello").unwrap();
        assert!(read().unwrap_err().to_string().contains("PEM"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n").unwrap();
        assert_eq!(read().unwrap(), 28);
    }

    #[test]
    fn schemas_say_bounds_defaults_and_meaning() {
        let schema = schema_of::<Params>();
        let count = &schema["properties"]["count"];
        assert_eq!((count["minimum"].as_i64(), count["default"].as_i64()), (Some(1), Some(5)));
        assert_eq!(count["description"], "How many.");
        assert_eq!(schema["additionalProperties"], false);
    }
}
