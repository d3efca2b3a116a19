//! Sends messages to a bus that may be away: what is not taken soon goes to disk, and from there to the
//! bus when it is back. The capture never waits.
//!
//! Two lanes do not wait for each other. Summaries and flow records may be shed: flow records when half
//! of the room is taken, then the oldest of everything, whose loss the numbers of summaries tell.
//! Scripts' posts are shed when half of the room for alerts is taken. Alerts are never shed: when there is
//! no room for them on disk, and the bus does not take them either, what comes waits.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use shared::backoff::{Backoff, unit_random};
use shared::bus::{BusError, SharedBus};
use shared::model::Alert;

use super::{IN_FLIGHT, Kind, Message, Writer};
use crate::metrics;
use crate::spool::{Place, Spool};

mod sending;

use sending::{Sent, append, send_all, sent_straight};

/// How long the bus may take for a message before it is taken to be away.
const PATIENCE: Duration = Duration::from_secs(3);

/// Records sent at once from disk at most, and their bytes.
const BATCH: (usize, usize) = (64, 8 << 20);

/// Waits between tries to send from disk.
const AGAIN: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(5) };

/// Waits for room on disk for what must not be lost.
const ROOM: Duration = Duration::from_millis(500);

/// How long a stop waits for what can still be sent.
const LAST: Duration = Duration::from_secs(5);

/// Bytes of alerts and posts on disk at most.
const URGENT_BYTES: u64 = 1 << 30;

/// Counts what happens, by kind.
pub type Count = Arc<dyn Fn(&str, u64) + Send + Sync>;

/// Makes an alert of a type and a text.
pub type Tell = Arc<dyn Fn(&str, String) -> Alert + Send + Sync>;

/// Where and how to spool.
#[derive(Clone)]
pub struct SpoolPlan {
    /// The folder; each lane has one in it.
    pub dir: PathBuf,
    /// Bytes of summaries and flow records at most.
    pub max_bytes: u64,
    /// Counts what happens, by kind.
    pub count: Count,
    /// Makes an alert of a type and a text.
    pub alert: Tell,
}

impl std::fmt::Debug for SpoolPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpoolPlan").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What was not kept for want of room, from bad to worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Lost {
    #[default]
    Nothing,
    /// New flow records.
    Flows,
    /// Summaries, and flow records that were on disk.
    Summaries,
}

impl Lost {
    /// Type and text of the alert that tells it.
    const fn alert(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Nothing => None,
            Self::Flows => Some((
                "flow_records_shed",
                "The bus is away for so long that flow records are left out: half of the room for what waits is taken",
            )),
            Self::Summaries => Some((
                "spool_full",
                "The bus is away for so long that summaries are lost: there is no room left for them",
            )),
        }
    }
}

/// Both lanes.
pub(super) struct Spooling {
    plan: SpoolPlan,
    writer: Writer,
    urgent: Lane,
    bulk: Lane,
    /// What has been told of this outage's loss.
    told: Lost,
    /// Keeps another process from the folder.
    _lock: File,
}

struct Lane {
    bus: SharedBus,
    spool: Spool,
    sheds: bool,
    /// Sent straight, not yet safe; only while nothing is on disk.
    in_flight: VecDeque<(Message, BoxFuture<'static, Sent>)>,
    /// Records on their way from disk, and how many of them will never be safe.
    draining: Option<BoxFuture<'static, Option<(Place, u64)>>>,
    failures: u32,
    count: Count,
}

impl Spooling {
    /// Opens both lanes; what an earlier process left is sent first.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(super) fn open(bus: &SharedBus, writer: &Writer, plan: SpoolPlan) -> std::io::Result<Self> {
        std::fs::create_dir_all(&plan.dir)?;
        let lock = File::create(plan.dir.join("lock"))?;
        lock.try_lock().map_err(std::io::Error::from)?;
        let lane = |name: &str, max_bytes, sheds| {
            let (spool, found) = Spool::open(&plan.dir.join(name), max_bytes)?;
            if found.records > 0 {
                tracing::info!(lane = name, records = found.records, "an earlier run left messages");
            }
            (plan.count)("spool_damaged", found.damaged);
            let mut lane = Lane {
                bus: Arc::clone(bus),
                spool,
                sheds,
                in_flight: VecDeque::new(),
                draining: None,
                failures: 0,
                count: Arc::clone(&plan.count),
            };
            lane.drain();
            std::io::Result::Ok(lane)
        };
        let writer = Writer { subjects: writer.subjects.clone(), compress: writer.compress };
        let (urgent, bulk) = (lane("urgent", URGENT_BYTES, false)?, lane("bulk", plan.max_bytes, true)?);
        Ok(Self { plan, writer, urgent, bulk, told: Lost::Nothing, _lock: lock })
    }

    /// Sends a message, or puts it on disk.
    pub(super) async fn send(&mut self, message: Message) {
        let lost = match message.kind.is_urgent() {
            true => self.send_urgent(message).await,
            false => self.bulk.send(message).await,
        };
        if let Some((kind, text)) = lost.alert().filter(|_| lost > self.told) {
            self.told = lost;
            let alert = (self.plan.alert)(kind, text.to_owned());
            if let Some(message) = self.writer.alert(alert) {
                self.send_urgent(message).await;
            }
        }
        if self.bulk.spool.is_empty() {
            self.told = Lost::Nothing;
        }
    }

    /// Sends what must not be lost. While it waits for room, what else is on disk goes on.
    async fn send_urgent(&mut self, message: Message) -> Lost {
        let Self { urgent, bulk, .. } = self;
        let mut sending = std::pin::pin!(urgent.send(message));
        loop {
            tokio::select! {
                biased;
                lost = &mut sending => return lost,
                () = bulk.progress() => {}
            }
        }
    }

    /// Waits for the next thing to happen to what was sent. Nothing is lost when it is dropped.
    pub(super) async fn progress(&mut self) {
        tokio::select! {
            // What is urgent first; and the same order every time.
            biased;
            () = self.urgent.progress() => {}
            () = self.bulk.progress() => {}
        }
    }

    /// Sends what can be sent soon; the rest is on disk for the next run.
    pub(super) async fn finish(mut self) {
        let empty = async {
            while !(self.urgent.is_empty() && self.bulk.is_empty()) {
                self.progress().await;
            }
        };
        if tokio::time::timeout(LAST, empty).await.is_err() {
            let left = self.urgent.spool.records() + self.bulk.spool.records();
            tracing::warn!(left, "messages stay on disk for the next run");
        }
        for lane in [&mut self.urgent, &mut self.bulk] {
            lane.draining = None;
            lane.spill().await;
            lane.spool.sync();
        }
    }
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.spool.is_empty()
    }

    /// Gives what was lost for want of room.
    async fn send(&mut self, message: Message) -> Lost {
        if self.in_flight.len() >= IN_FLIGHT {
            self.settle_oldest().await;
        }
        if !self.spool.is_empty() {
            return self.write(message).await;
        }
        match tokio::time::timeout(PATIENCE, append(&self.bus, &message)).await {
            Ok(Ok(sent)) => {
                self.in_flight.push_back((message, sent));
                Lost::Nothing
            }
            Ok(Err(BusError::TooLarge { .. })) => {
                (self.count)("messages_lost", 1);
                Lost::Nothing
            }
            Ok(Err(_)) | Err(_) => {
                let lost = self.spill().await;
                lost.max(self.write(message).await)
            }
        }
    }

    async fn progress(&mut self) {
        if self.draining.is_some() {
            self.drained().await;
        } else if self.in_flight.is_empty() {
            std::future::pending::<()>().await;
        } else {
            self.settle_oldest().await;
        }
    }

    /// Waits for what is on its way from disk, if something is, and sends the next records.
    async fn drained(&mut self) {
        let Some(draining) = &mut self.draining else { return };
        let sent = draining.await;
        self.draining = None;
        match sent {
            Some((before, hopeless)) => {
                self.failures = 0;
                (self.count)("messages_lost", hopeless);
                if let Err(error) = self.spool.forget(before) {
                    tracing::error!(%error, "spool: a segment cannot be deleted");
                }
                if self.spool.is_empty() {
                    tracing::info!("the spool is empty again");
                }
            }
            None => self.failures = self.failures.saturating_add(1),
        }
        self.drain();
    }

    /// Waits for the oldest message that was sent straight.
    async fn settle_oldest(&mut self) {
        let Some((_, sent)) = self.in_flight.front_mut() else { return };
        match sent.await {
            Sent::Safe => drop(self.in_flight.pop_front()),
            Sent::Hopeless => {
                (self.count)("messages_lost", 1);
                self.in_flight.pop_front();
            }
            Sent::Unknown => drop(self.spill().await),
        }
    }

    /// Puts everything that was sent straight on disk: the bus is away. What was taken after all is known
    /// by its id when it comes again.
    async fn spill(&mut self) -> Lost {
        let mut lost = Lost::Nothing;
        if !self.in_flight.is_empty() {
            tracing::warn!(messages = self.in_flight.len(), "the bus is away: messages go to disk");
        }
        // Each stays here until it is on disk: this may be dropped while it waits for room.
        while let Some((message, sent)) = self.in_flight.front_mut() {
            // Its future may have ended: whoever polls it again would panic.
            *sent = std::future::ready(Sent::Unknown).boxed();
            let message = message.clone();
            lost = lost.max(self.write(message).await);
            self.in_flight.pop_front();
        }
        lost
    }

    async fn write(&mut self, message: Message) -> Lost {
        let record = message.record();
        if self.sheds && message.kind == Kind::Flows && self.spool.bytes() * 2 > self.spool.max_bytes() {
            (self.count)("flow_batches_shed", 1);
            return Lost::Flows;
        }
        if message.kind == Kind::Post && self.spool.bytes() * 2 > self.spool.max_bytes() {
            // The other half is for alerts.
            (self.count)("posts_shed", 1);
            return Lost::Nothing;
        }
        let mut said = false;
        loop {
            let pushed = match !self.sheds && self.spool.is_full(&record) {
                true => Err(std::io::ErrorKind::QuotaExceeded.into()),
                false => self.spool.push(&record),
            };
            match pushed {
                Ok(dropped) => {
                    (self.count)("spool_dropped", dropped);
                    if !self.sheds {
                        self.spool.sync();
                    }
                    self.drain();
                    return if dropped > 0 { Lost::Summaries } else { Lost::Nothing };
                }
                Err(error) if self.sheds => {
                    tracing::error!(%error, "a message cannot be put on disk and is lost");
                    (self.count)("messages_lost", 1);
                    return Lost::Summaries;
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::error!(%error, "an alert cannot be put on disk, trying again");
                    }
                    metrics::append_retried(message.kind.name());
                    self.room().await;
                    if self.spool.is_empty() && sent_straight(&self.bus, &message, &self.count).await {
                        return Lost::Nothing;
                    }
                }
            }
        }
    }

    /// Waits for a while; what is on disk may go meanwhile.
    async fn room(&mut self) {
        match self.draining.is_some() {
            true => drop(tokio::time::timeout(ROOM, self.drained()).await),
            false => tokio::time::sleep(ROOM).await,
        }
    }

    /// Begins to send the next records from disk.
    fn drain(&mut self) {
        if self.draining.is_some() || self.spool.is_empty() {
            return;
        }
        let (records, place) = match self.spool.peek(BATCH.0, BATCH.1) {
            Ok(peeked) => peeked,
            Err(error) => {
                tracing::error!(%error, "spool: cannot be read");
                (Vec::new(), self.spool.nowhere())
            }
        };
        let (bus, failures) = (Arc::clone(&self.bus), self.failures);
        self.draining = Some(
            async move {
                if failures > 0 || records.is_empty() {
                    let seed = xxhash_rust::xxh3::xxh3_64(records.first().map_or("", |r| &r.id).as_bytes());
                    tokio::time::sleep(AGAIN.wait(failures.max(1), unit_random(seed))).await;
                }
                send_all(&bus, records).await.map(|hopeless| (place, hopeless))
            }
            .boxed(),
        );
    }
}

#[cfg(test)]
mod tests;
