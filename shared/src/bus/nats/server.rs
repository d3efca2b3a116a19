//! What a server can do, by its version.

use super::NatsConfig;
use crate::bus::BusError;

/// The oldest server that works, by major and minor version.
const OLDEST: (u64, u64) = (2, 9);

/// What later servers bring that matters here: since when, whether it matters only where streams have
/// copies, and what is missed without it.
const BROUGHT: [(u64, u64, bool, &str); 3] = [
    (
        2,
        10,
        false,
        "sync_interval: always (a power cut may take what was acknowledged in the last two minutes)",
    ),
    (2, 11, true, "reliable dropping of duplicates in streams with copies"),
    (2, 12, true, "repaired membership changes of streams with copies"),
];

/// What a server of this version misses, for this configuration.
///
/// # Errors
/// The server is too old, or has no JetStream.
pub(super) fn check(
    version: &str,
    jetstream: bool,
    config: &NatsConfig,
) -> Result<Vec<&'static str>, BusError> {
    if !jetstream {
        let cause = "JetStream is not enabled on the server: give it a jetstream block, or start it with -js";
        return Err(BusError::Other(cause.to_owned()));
    }
    // A version that cannot be read is one of the future.
    let Some(found) = parse(version) else { return Ok(Vec::new()) };
    if found < OLDEST {
        let (major, minor) = OLDEST;
        let text = format!("nats-server is version {version}, {major}.{minor} or later is needed");
        return Err(BusError::Other(text));
    }
    let missed = BROUGHT
        .iter()
        .filter(|(major, minor, copies, _)| found < (*major, *minor) && (!copies || config.replicas > 1));
    Ok(missed.map(|(.., what)| *what).collect())
}

fn parse(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_misses_is_named() {
        let one = NatsConfig::default();
        let three = NatsConfig { replicas: 3, ..NatsConfig::default() };
        assert_eq!(check("2.9.10", true, &one).unwrap().len(), 1);
        assert!(check("2.9.10", true, &one).unwrap()[0].contains("sync_interval"));
        assert_eq!(check("2.9.10", true, &three).unwrap().len(), 3);
        assert_eq!(check("2.11.0-RC.1", true, &three).unwrap().len(), 1);
        assert!(check("2.15.0", true, &three).unwrap().is_empty());
        assert!(check("next", true, &three).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let config = NatsConfig::default();
        let error = check("2.8.4", true, &config).unwrap_err().to_string();
        assert!(error.contains("2.8.4") && error.contains("2.9"), "{error}");
        let error = check("2.15.0", false, &config).unwrap_err().to_string();
        assert!(error.contains("JetStream"), "{error}");
    }
}
