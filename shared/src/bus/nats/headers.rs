//! Headers of messages as NATS carries them.

use std::str::FromStr;

use async_nats::{HeaderMap, HeaderName, HeaderValue};

use crate::bus::{BusError, Headers};

/// Begin of the names that belong to the server.
const OF_THE_SERVER: &str = "nats-";

/// Ours as NATS's.
pub(super) fn to_nats(headers: &Headers) -> Result<HeaderMap, BusError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let wrong = |cause: String| BusError::Other(format!("header {name:?}: {cause}"));
        if name.to_ascii_lowercase().starts_with(OF_THE_SERVER) {
            return Err(wrong("names that begin with Nats- belong to the server".to_owned()));
        }
        let key = HeaderName::from_str(name).map_err(|e| wrong(e.to_string()))?;
        let value = HeaderValue::from_str(value).map_err(|e| wrong(e.to_string()))?;
        map.insert(key, value);
    }
    Ok(map)
}

/// NATS's as ours, the server's own left out.
pub(super) fn from_nats(map: Option<&HeaderMap>) -> Headers {
    let pairs = map.into_iter().flat_map(HeaderMap::iter);
    let pairs = pairs.flat_map(|(name, values)| {
        values.iter().map(move |value| (name.to_string(), value.as_str().to_owned()))
    });
    let ours = pairs.filter(|(name, _)| !name.to_ascii_lowercase().starts_with(OF_THE_SERVER));
    let mut ours: Headers = ours.collect();
    // NATS's map has no order of its own.
    ours.sort();
    ours
}
