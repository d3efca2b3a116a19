//! Leases in a key-value bucket: compare-and-set on the last revision of a key.
//!
//! The bucket's stream is made here, because the client's own way asks for what servers before 2.10
//! do not answer. A key that is not renewed is forgotten by the stream's age limit.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::Context;
use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{NatsBus, consumer, other, streams};
use crate::bus::BusError;
use crate::lease::{Lease, Leases};

/// Bits of a fence that count revisions; above them stands when the bucket was made, so that fences
/// go on growing when somebody deletes the bucket. At 100 renewals a second they last for 2 years.
const REVISION_BITS: u32 = 33;

/// How a bucket's description begins; the number of partitions follows.
const OF_PARTITIONS: &str = "partitions: ";

/// 2020-01-01T00:00:00Z in seconds since 1970: fences fit into 63 bits until 2054.
const FIRST_SECOND: i64 = 1_577_836_800;

/// Leases of one group of nodes.
pub struct NatsLeases {
    context: Context,
    bucket: String,
    ttl: Duration,
    /// How many partitions the leases are of.
    partitions: u32,
    replicas: usize,
    create: bool,
    /// The bucket and when it was made; opened anew after a failure.
    open: Mutex<Option<(Store, u64)>>,
}

impl NatsBus {
    /// Leases that last for `ttl`, of the nodes of one `group` that divide their work into `partitions`.
    pub fn leases(&self, group: &str, ttl: Duration, partitions: u32) -> Arc<NatsLeases> {
        let bucket = streams::prefixed(&self.prefix, "LEASE");
        Arc::new(NatsLeases {
            context: self.context.clone(),
            bucket: format!("{bucket}_{}", consumer::encode_name(group)),
            ttl,
            partitions,
            replicas: self.replicas,
            create: self.create_streams,
            open: Mutex::new(None),
        })
    }
}

impl NatsLeases {
    /// Makes sure that the bucket is there, and is of as many partitions.
    ///
    /// # Errors
    /// It cannot be opened, or says another number: what was kept under that one this group would not find.
    pub async fn check(&self) -> Result<(), BusError> {
        self.bucket().await.map(drop)
    }

    async fn bucket(&self) -> Result<(Store, u64), BusError> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open {
            return Ok(open.clone());
        }
        let opened = self.open().await?;
        *open = Some(opened.clone());
        Ok(opened)
    }

    async fn open(&self) -> Result<(Store, u64), BusError> {
        let Self { bucket, .. } = self;
        if self.create {
            let wanted = self.settings();
            let name = wanted.name.clone();
            let made = self.context.get_or_create_stream(wanted.clone()).await;
            let stream = made.map_err(|e| other(format!("cannot create bucket {bucket}"), e))?;
            let is = &stream.cached_info().config;
            self.compare(is)?;
            if is.max_age != wanted.max_age || is.description != wanted.description {
                self.context
                    .update_stream(wanted)
                    .await
                    .map_err(|e| other(format!("cannot change bucket {name}"), e))?;
            }
        }
        let store = self.context.get_key_value(bucket).await;
        let store = store.map_err(|e| other(format!("cannot open bucket {bucket}"), e))?;
        let stream = self.context.get_stream(&store.stream_name).await;
        let stream = stream.map_err(|e| other(format!("cannot open bucket {bucket}"), e))?;
        self.compare(&stream.cached_info().config)?;
        let made = stream.cached_info().created.unix_timestamp() - FIRST_SECOND;
        Ok((store, u64::try_from(made).unwrap_or(0) << REVISION_BITS))
    }

    /// Refuses a bucket that is of another number of partitions; one that says none is of an earlier release.
    fn compare(&self, is: &Config) -> Result<(), BusError> {
        let Self { bucket, partitions, .. } = self;
        let said = is.description.as_deref().and_then(|text| text.strip_prefix(OF_PARTITIONS));
        match said.and_then(|number| number.parse::<u32>().ok()) {
            Some(theirs) if theirs != *partitions => Err(BusError::Other(format!(
                "bucket {bucket} is of a cluster with {theirs} partitions, and this program has {partitions}: \
                 their number must not change in a running cluster"
            ))),
            _ => Ok(()),
        }
    }

    fn settings(&self) -> Config {
        Config {
            description: Some(format!("{OF_PARTITIONS}{}", self.partitions)),
            name: format!("KV_{}", self.bucket),
            subjects: vec![format!("$KV.{}.>", self.bucket)],
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            max_messages_per_subject: 1,
            max_age: self.ttl,
            // Must not be longer than the age limit.
            duplicate_window: self.ttl.min(Duration::from_secs(2)),
            max_bytes: -1,
            max_messages: -1,
            max_consumers: -1,
            num_replicas: self.replicas,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..Config::default()
        }
    }

    /// The next call opens the bucket anew: it may be another one by now.
    async fn failed(&self, what: &str, error: impl std::fmt::Display) -> BusError {
        *self.open.lock().await = None;
        other(format!("lease {what} in bucket {}", self.bucket), error)
    }
}

#[async_trait]
impl Leases for NatsLeases {
    async fn take(&self, name: &str, holder: &str) -> Result<Option<Lease>, BusError> {
        let (store, made) = self.bucket().await?;
        match store.create(name, holder.to_owned().into()).await {
            Ok(revision) => {
                let (name, holder) = (name.to_owned(), holder.to_owned());
                Ok(Some(Lease { name, holder, fence: made | revision, revision }))
            }
            Err(error) => match error.kind() {
                CreateErrorKind::AlreadyExists => Ok(None),
                // Another was faster between two steps.
                _ if self.holder(name).await.is_ok_and(|holder| holder.is_some()) => Ok(None),
                _ => Err(self.failed(name, error).await),
            },
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<Option<Lease>, BusError> {
        let (store, made) = self.bucket().await?;
        if !is_of(lease, made) {
            return Ok(None);
        }
        match store.update(&lease.name, lease.holder.clone().into(), lease.revision).await {
            Ok(revision) => Ok(Some(Lease { revision, ..lease.clone() })),
            Err(error) => match error.kind() {
                UpdateErrorKind::WrongLastRevision => {
                    // It may be another bucket by now, whose fences begin elsewhere.
                    *self.open.lock().await = None;
                    Ok(None)
                }
                _ => Err(self.failed(&lease.name, error).await),
            },
        }
    }

    async fn give_up(&self, lease: &Lease) -> Result<(), BusError> {
        let (store, made) = self.bucket().await?;
        if !is_of(lease, made) {
            return Ok(());
        }
        match store.delete_expect_revision(&lease.name, Some(lease.revision)).await {
            Ok(()) => Ok(()),
            Err(error) => match error.kind() {
                UpdateErrorKind::WrongLastRevision => Ok(()),
                _ => Err(self.failed(&lease.name, error).await),
            },
        }
    }

    async fn holder(&self, name: &str) -> Result<Option<String>, BusError> {
        let (store, _) = self.bucket().await?;
        match store.entry(name).await {
            Ok(entry) => {
                let held = entry.filter(|entry| entry.operation == Operation::Put);
                Ok(held.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()))
            }
            Err(error) => Err(self.failed(name, error).await),
        }
    }
}

/// True when the lease was taken in the bucket made then: another bucket numbers from 1 again, and its
/// revisions say nothing of ours.
fn is_of(lease: &Lease, made: u64) -> bool {
    lease.fence >> REVISION_BITS == made >> REVISION_BITS
}

impl std::fmt::Debug for NatsLeases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsLeases").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}
