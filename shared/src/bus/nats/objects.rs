//! Contents larger than a message, in parts on a stream of their own.
//!
//! A content is named by its hash, so it may be put twice. The message that refers to it is appended after
//! the server has stored every part. Whoever consumes reads the parts by their subjects, which needs no
//! consumer.

use std::sync::Arc;

use async_nats::jetstream::context::Context;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::{Bytes, BytesMut};
use tokio::sync::{Semaphore, broadcast};

use super::connection::Denials;
use super::{append_error, other, streams};
use crate::bus::large::{REFERENCE, Reference};
use crate::bus::{BusError, Headers, MAX_MESSAGE, Queued};
use crate::wire::subject::Subjects;

/// KiB of large contents that one consumer holds unsettled at most.
const WINDOW_KIB: usize = 32 * 1024;

/// The objects of one prefix.
#[derive(Clone)]
pub(super) struct Objects {
    context: Context,
    subjects: Subjects,
    stream: String,
    window: Arc<Semaphore>,
    denials: Denials,
}

impl Objects {
    pub(super) fn new(context: Context, prefix: &str, denials: Denials) -> Self {
        Self {
            context,
            subjects: Subjects::new(prefix),
            stream: streams::prefixed(prefix, streams::OBJECTS),
            window: Arc::new(Semaphore::new(WINDOW_KIB)),
            denials,
        }
    }

    /// The same for a consumer, which has a window of its own.
    pub(super) fn of_consumer(&self) -> Self {
        Self { window: Arc::new(Semaphore::new(WINDOW_KIB)), ..self.clone() }
    }

    /// Stores a content and gives the headers of the message that stands for it.
    pub(super) async fn put(&self, headers: Headers, content: &Bytes) -> Result<Headers, BusError> {
        let reference = Reference::to(content);
        let mut denials = self.denials.subscribe();
        for (number, begin) in (0..content.len()).step_by(MAX_MESSAGE).enumerate() {
            let subject = self.subjects.object_part(&reference.digest, number);
            let part = content.slice(begin..content.len().min(begin + MAX_MESSAGE));
            let message = PublishMessage::build().payload(part).message_id(&subject);
            let sent = self.context.send_publish(subject.clone(), message).await;
            let acknowledged = sent.map_err(|error| append_error(&subject, error))?;
            tokio::select! {
                stored = async { acknowledged.await } => {
                    stored.map_err(|error| append_error(&subject, error))?;
                }
                // The server says nothing to who waits for its acknowledgement.
                () = refused(&mut denials, &subject) => return Err(BusError::PartsDenied { subject }),
            }
        }
        Ok(reference.put_into(headers))
    }

    /// A content; nothing where it is kept no longer.
    async fn get(&self, reference: &Reference) -> Result<Option<Bytes>, BusError> {
        let stream = self.context.get_stream_no_info(&self.stream).await;
        let stream = stream.map_err(|e| other(format!("stream {}", self.stream), e))?;
        let mut content = BytesMut::with_capacity(reference.size);
        for number in 0..reference.size.div_ceil(MAX_MESSAGE) {
            let subject = self.subjects.object_part(&reference.digest, number);
            match stream.direct_get_last_for_subject(&subject).await {
                Ok(part) => content.extend_from_slice(&part.payload),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(other(format!("cannot read {subject}"), error)),
            }
        }
        let content = content.freeze();
        Ok((Reference::to(&content) == *reference).then_some(content))
    }

    /// Puts the content that a message refers to into it, once there is room for it. A message whose content
    /// is kept no longer stays as it is.
    pub(super) async fn fill(&self, mut queued: Queued) -> Result<Queued, BusError> {
        let Some(reference) = Reference::read(&queued.headers).filter(|_| queued.payload.is_empty()) else {
            return Ok(queued);
        };
        let kib = u32::try_from(reference.size.div_ceil(1024)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.window).acquire_many_owned(kib).await.map_err(|_| BusError::Closed)?;
        let Some(content) = self.get(&reference).await? else {
            tracing::warn!(subject = queued.subject, digest = reference.digest, "content kept no longer");
            return Ok(queued);
        };
        queued.headers.retain(|(name, _)| name != REFERENCE);
        queued.payload = content;
        let settle = queued.settle.take();
        queued.settle = settle.map(|settle| {
            let settle_in_time = move |settlement| {
                drop(room);
                settle(settlement);
            };
            Box::new(settle_in_time) as Box<dyn FnOnce(_) + Send>
        });
        Ok(queued)
    }
}

/// Waits until the server has refused a message on `subject`, for ever where it does not.
async fn refused(denials: &mut broadcast::Receiver<String>, subject: &str) {
    loop {
        match denials.recv().await {
            Ok(denied) if denied == subject => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
