//! The JetStream streams behind [`Stream`].

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, CreateStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, External, RetentionPolicy, Source, StorageType};

use super::{NatsConfig, StreamLimits, other};
use crate::bus::{BusError, Stream};
use crate::wire::subject::Subjects;

/// How long the server remembers message ids to drop duplicates.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

const GIB: u64 = 1 << 30;

/// Name of the stream of contents that are larger than a message, before the prefix.
pub(super) const OBJECTS: &str = "OBJECT";

/// Creates every stream, or brings an existing one to the configured settings.
pub(super) async fn create(context: &Context, config: &NatsConfig) -> Result<(), BusError> {
    for wanted in all(config) {
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

/// What every stream should be.
pub(super) fn all(config: &NatsConfig) -> impl Iterator<Item = Config> + '_ {
    Stream::ALL.into_iter().map(|stream| settings(config, stream)).chain([objects(config)])
}

/// Contents larger than a message: kept as long as the events that refer to them, each once.
fn objects(config: &NatsConfig) -> Config {
    let name = prefixed(&config.prefix, OBJECTS);
    let mut sources = sources(config, Stream::Event);
    sources.iter_mut().for_each(|source| source.name.clone_from(&name));
    let events = settings(config, Stream::Event);
    Config {
        name,
        subjects: vec![Subjects::new(&config.prefix).all("ob")],
        max_messages_per_subject: 1,
        allow_direct: true,
        // Few events are large.
        max_bytes: if events.max_bytes > 0 { (events.max_bytes / 4).max(1 << 24) } else { events.max_bytes },
        sources: Some(sources).filter(|sources| !sources.is_empty()),
        ..events
    }
}

/// What the stream keeps.
fn subjects(prefix: &str, stream: Stream) -> Vec<String> {
    let subjects = Subjects::new(prefix);
    match stream {
        Stream::Event => subjects.kept_events(),
        _ => vec![subjects.all(stream.kind())],
    }
}

/// What a stream should be.
pub(super) fn settings(config: &NatsConfig, stream: Stream) -> Config {
    let (limits, hours) = match stream {
        Stream::Delta => (config.delta, 24),
        Stream::Flow => (config.flow, 6),
        Stream::Alert => (config.alert, 168),
        Stream::Post => (config.post, 168),
        Stream::Event => (config.event, 24),
    };
    let StreamLimits { max_age_hours, max_bytes } = limits;
    let hours = max_age_hours.unwrap_or(hours);
    Config {
        name: name(&config.prefix, stream),
        subjects: subjects(&config.prefix, stream),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // A full stream forgets its oldest summaries and flow records, but refuses alerts, posts and events:
        // whoever appends them keeps them until there is room.
        discard: match stream {
            Stream::Delta | Stream::Flow => DiscardPolicy::Old,
            Stream::Alert | Stream::Post | Stream::Event => DiscardPolicy::New,
        },
        max_age: Duration::from_secs(hours.saturating_mul(3600)),
        max_bytes: i64::try_from(max_bytes.unwrap_or(GIB)).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        num_replicas: config.replicas,
        duplicate_window: DUPLICATE_WINDOW,
        sources: Some(sources(config, stream)).filter(|sources| !sources.is_empty()),
        ..Config::default()
    }
}

/// The same stream of every site that gives it; what comes keeps its subject and its id.
fn sources(config: &NatsConfig, stream: Stream) -> Vec<Source> {
    let giving = config.sites.iter().filter(|site| site.gives(stream));
    giving
        .map(|site| Source {
            name: name(&config.prefix, stream),
            external: Some(External {
                api_prefix: format!("$JS.{}.API", site.domain),
                delivery_prefix: None,
            }),
            ..Source::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::nats::SiteServer;

    #[test]
    fn streams_are_named_by_prefix_and_keep_their_kind() {
        assert_eq!(name("", Stream::Delta), "DELTA");
        assert_eq!(name("acme.test 1", Stream::Alert), "ACME_TEST_1_ALERT");
        let config = NatsConfig { prefix: "acme".to_owned(), ..NatsConfig::default() };
        let settings = settings(&config, Stream::Flow);
        assert_eq!((settings.subjects, settings.max_bytes), (vec!["acme.fr.v1.>".to_owned()], 1 << 30));
        assert_eq!(settings.max_age, Duration::from_secs(6 * 3600));
    }

    #[test]
    fn a_hub_takes_alerts_and_flows_of_sites_that_work_for_themselves_and_all_of_others() {
        let site = |domain: &str, own_aggregator| SiteServer { domain: domain.to_owned(), own_aggregator };
        let config =
            NatsConfig { sites: vec![site("lyon", true), site("kiosk", false)], ..NatsConfig::default() };
        assert!(config.check_sites().is_empty());
        for stream in Stream::ALL {
            let from: Vec<_> = settings(&config, stream)
                .sources
                .unwrap_or_default()
                .into_iter()
                .map(|source| (source.name, source.external.map(|external| external.api_prefix)))
                .collect();
            let of = |domain: &str| (stream.name().to_owned(), Some(format!("$JS.{domain}.API")));
            match stream {
                Stream::Alert | Stream::Flow => assert_eq!(from, [of("lyon"), of("kiosk")]),
                _ => assert_eq!(from, [of("kiosk")]),
            }
        }
        let config =
            NatsConfig { sites: vec![site("a.b", true), site("c", true), site("c", true)], ..config };
        let wrong = config.check_sites();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(
            wrong[0].starts_with("sites[0].domain") && wrong[1].starts_with("sites[2].domain"),
            "{wrong:?}"
        );
    }
}
