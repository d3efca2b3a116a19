//! Looks after the streams: one that somebody deleted or changed is put right, one that fills up is told of.

use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info};
use tokio::sync::broadcast;

use super::{NatsConfig, streams};
use crate::bus::Trouble;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(5);

/// A stream that refuses what it has no room for is told of from this share on, in percent, and again
/// when it is below the second.
const FULL: (u64, u64) = (90, 75);

/// Looks for as long as the bus is there and somebody listens to its troubles.
pub(super) async fn run(context: Context, config: NatsConfig, troubles: Weak<broadcast::Sender<Trouble>>) {
    let mut full = BTreeSet::new();
    loop {
        tokio::time::sleep(EVERY).await;
        for wanted in streams::all(&config) {
            let found = look(&context, &wanted, &mut full).await;
            let Some(troubles) = troubles.upgrade() else { return };
            for trouble in found {
                tracing::error!(kind = trouble.kind, "{}", trouble.message);
                // Nobody need listen.
                let _ = troubles.send(trouble);
            }
        }
    }
}

/// Looks at one stream and puts it right.
async fn look(context: &Context, wanted: &Config, full: &mut BTreeSet<String>) -> Vec<Trouble> {
    let name = &wanted.name;
    let info = match context.get_stream(name).await {
        Ok(stream) => stream.cached_info().clone(),
        Err(error) => {
            let gone = matches!(error.kind(), GetStreamErrorKind::JetStream(cause)
                if cause.error_code() == ErrorCode::STREAM_NOT_FOUND);
            return if gone { vec![make_again(context, wanted).await] } else { Vec::new() };
        }
    };
    let mut told = Vec::new();
    if let Some(change) = smaller(&info.config, wanted) {
        let done = match context.update_stream(wanted).await {
            Ok(_) => "it has its own limits again".to_owned(),
            Err(error) => format!("it cannot be put right: {error}"),
        };
        told.push(Trouble {
            kind: "stream_changed",
            message: format!("Stream {name} was changed: {change}; {done}"),
        });
    }
    told.extend(fills_up(&info, full));
    told
}

async fn make_again(context: &Context, wanted: &Config) -> Trouble {
    let name = &wanted.name;
    let done = match context.create_stream(wanted.clone()).await {
        Ok(_) => "it is made again; what was in it and not yet read is lost".to_owned(),
        Err(error) => format!("it cannot be made again: {error}"),
    };
    Trouble { kind: "stream_lost", message: format!("Stream {name} was deleted; {done}") }
}

/// In which way a stream keeps less than it should.
fn smaller(is: &Config, wanted: &Config) -> Option<String> {
    // 0 and below mean: no limit.
    let less = |is: i64, wanted: i64| is > 0 && (wanted <= 0 || is < wanted);
    if less(is.max_bytes, wanted.max_bytes) {
        return Some(format!("max_bytes is {} instead of {}", is.max_bytes, wanted.max_bytes));
    }
    let seconds = |age: Duration| i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    if less(seconds(is.max_age), seconds(wanted.max_age)) {
        return Some(format!("max_age is {:?} instead of {:?}", is.max_age, wanted.max_age));
    }
    if less(is.max_messages, wanted.max_messages) {
        return Some(format!("max_msgs is {}", is.max_messages));
    }
    None
}

/// Tells of a stream that will soon refuse what it has no room for, and when it has room again.
fn fills_up(info: &Info, full: &mut BTreeSet<String>) -> Option<Trouble> {
    let limit = u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0)?;
    if info.config.discard != DiscardPolicy::New {
        return None;
    }
    let name = &info.config.name;
    let share = info.state.bytes.saturating_mul(100) / limit;
    if share >= FULL.0 && full.insert(name.clone()) {
        let message = format!(
            "Stream {name} is {share} % full: what comes then is refused, and waits at its sender; raise its \
             max_bytes or look why nothing leaves it"
        );
        return Some(Trouble { kind: "stream_full", message });
    }
    if share < FULL.1 && full.remove(name) {
        return Some(Trouble { kind: "stream_has_room", message: format!("Stream {name} has room again") });
    }
    None
}
