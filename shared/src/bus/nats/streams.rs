//! The JetStream streams behind [`Stream`].

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, CreateStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use super::{NatsConfig, StreamLimits, other};
use crate::bus::{BusError, Stream};
use crate::wire::subject::Subjects;

/// How long the server remembers message ids to drop duplicates.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

const GIB: u64 = 1 << 30;

/// Creates every stream, or brings an existing one to the configured settings.
pub(super) async fn create(context: &Context, config: &NatsConfig) -> Result<(), BusError> {
    for stream in Stream::ALL {
        let wanted = settings(config, stream);
        let Err(error) = context.create_stream(wanted.clone()).await else {
            continue;
        };
        let exists = match error.kind() {
            CreateStreamErrorKind::JetStream(cause) => cause.error_code() == ErrorCode::STREAM_NAME_EXIST,
            _ => false,
        };
        if !exists {
            return Err(other(format!("cannot create stream {}", wanted.name), error));
        }
        // Another release or an operator made it. What cannot be changed stays as it is.
        if let Err(error) = context.update_stream(&wanted).await {
            tracing::warn!(stream = wanted.name, %error, "stream keeps its own settings");
        }
    }
    Ok(())
}

/// The stream's name: the prefix in capitals, an underscore, the name. What a name may not hold
/// becomes an underscore.
pub(super) fn name(prefix: &str, stream: Stream) -> String {
    prefixed(prefix, stream.name())
}

/// A name under a prefix.
pub(super) fn prefixed(prefix: &str, name: &str) -> String {
    let prefix: String = prefix
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_uppercase() } else { '_' })
        .collect();
    match prefix.as_str() {
        "" => name.to_owned(),
        _ => format!("{prefix}_{name}"),
    }
}

fn settings(config: &NatsConfig, stream: Stream) -> Config {
    let (limits, hours) = match stream {
        Stream::Delta => (config.delta, 24),
        Stream::Flow => (config.flow, 6),
        Stream::Alert => (config.alert, 168),
        Stream::Post => (config.post, 168),
    };
    let StreamLimits { max_age_hours, max_bytes } = limits;
    let hours = max_age_hours.unwrap_or(hours);
    Config {
        name: name(&config.prefix, stream),
        subjects: vec![Subjects::new(&config.prefix).all(stream.kind())],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // A full stream forgets its oldest summaries and flow records, but refuses alerts and posts:
        // whoever appends them keeps them until there is room.
        discard: match stream {
            Stream::Delta | Stream::Flow => DiscardPolicy::Old,
            Stream::Alert | Stream::Post => DiscardPolicy::New,
        },
        max_age: Duration::from_secs(hours.saturating_mul(3600)),
        max_bytes: i64::try_from(max_bytes.unwrap_or(GIB)).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        num_replicas: config.replicas,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_named_by_prefix_and_keep_their_kind() {
        assert_eq!(name("", Stream::Delta), "DELTA");
        assert_eq!(name("acme.test 1", Stream::Alert), "ACME_TEST_1_ALERT");
        let config = NatsConfig { prefix: "acme".to_owned(), ..NatsConfig::default() };
        let settings = settings(&config, Stream::Flow);
        assert_eq!((settings.subjects, settings.max_bytes), (vec!["acme.fr.v1.>".to_owned()], 1 << 30));
        assert_eq!(settings.max_age, Duration::from_secs(6 * 3600));
    }
}
