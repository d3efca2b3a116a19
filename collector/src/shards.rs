//! The capture threads of one interface, and how what they find becomes one.
//!
//! Each thread is a shard: a source of its own, which gets whole flows, a flow table and a run of
//! every script. What shards hand over goes through one [`Merger`], behind a lock that is taken once
//! per hand-over and held while the publisher gives no credit: a slow bus holds all shards back, as
//! it does a single thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use shared::bus::Reply;
use shared::model::query::{FlowQuery, Page};
use shared::model::{FlowRecord, Timestamp};
use tokio::sync::mpsc;

use crate::capture::{self, CaptureError, PacketSource};
use crate::capture_thread::{self, Order};
use crate::ingest;
use crate::interface::InterfaceArgs;
use crate::merge::{self, Merger};
use crate::pipeline::Item;

/// Tells the threads of an interface to end their flows and stop. It works however busy they are.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says it.
    pub fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once it was said.
    pub fn told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens the interface's sources and captures until they end, with one thread for each inbox.
///
/// # Errors
/// Why a source cannot be opened, or why the first of them failed; what came before was handed over.
pub fn run(
    args: InterfaceArgs,
    items: mpsc::Sender<Vec<Item>>,
    inboxes: Vec<Receiver<Order>>,
    stop: &Stop,
) -> Result<(), CaptureError> {
    let sources = open(&args, inboxes.len())?;
    if let Ok(mut totals) = args.totals.lock() {
        totals.opened = true;
    }
    capture(args, sources, items, inboxes, stop)
}

/// Captures with one thread for each source.
fn capture(
    args: InterfaceArgs,
    sources: Vec<Box<dyn PacketSource>>,
    items: mpsc::Sender<Vec<Item>>,
    inboxes: Vec<Receiver<Order>>,
    stop: &Stop,
) -> Result<(), CaptureError> {
    let mut pairs = sources.into_iter().zip(inboxes);
    if pairs.len() == 1 {
        let Some((source, inbox)) = pairs.next() else { return Ok(()) };
        return capture_thread::run(args, source, Outlet::alone(items), inbox, stop);
    }
    let merger = Merger::new(pairs.len(), args.collector.summary_interval_s);
    let shared = Arc::new(Mutex::new(Merging { merger, items, out: Vec::new() }));
    let name = |shard| format!("capture-{}-{shard}", args.place.interface);
    let shards = pairs.len();
    let result = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut result = Ok(());
        for (number, (source, inbox)) in pairs.enumerate() {
            let outlet = Outlet { number, shards, to: To::Merging(Arc::clone(&shared)) };
            let shard = args.clone();
            let work = move || {
                // Whatever ends one shard ends them all: the others are told, a panic included.
                let _end = EndsAll(stop);
                capture_thread::run(shard, source, outlet, inbox, stop)
            };
            match std::thread::Builder::new().name(name(number)).spawn_scoped(scope, work) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    stop.tell();
                    let cause = format!("thread: {error}");
                    result = Err(CaptureError::Live { name: args.place.interface.clone(), cause });
                    break;
                }
            }
        }
        for thread in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => result = result.and(Err(error)),
                // The interface's thread is the one that is watched.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    });
    if let Ok(mut merging) = shared.lock() {
        let forced = merging.finish();
        if let Ok(mut totals) = args.totals.lock() {
            totals.shard(0).error("summaries_not_waited_for", forced);
        }
    }
    result
}

fn open(args: &InterfaceArgs, count: usize) -> Result<Vec<Box<dyn PacketSource>>, CaptureError> {
    if let Some(udp) = args.interface.udp() {
        return Ok(vec![ingest::udp::open(&udp, args.clock.clone())?]);
    }
    Ok(match args.interface.files.as_slice() {
        [] => capture::live::open_group(&args.interface.live(), count, &*args.clock)?,
        files => vec![capture::files::open(files)?],
    })
}

/// Tells all threads to stop when it is dropped.
struct EndsAll<'a>(&'a Stop);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.tell();
    }
}

/// Where a capture thread hands its items over.
#[derive(Clone, Debug)]
pub struct Outlet {
    number: usize,
    shards: usize,
    to: To,
}

#[derive(Clone, Debug)]
enum To {
    Publisher(mpsc::Sender<Vec<Item>>),
    Merging(Arc<Mutex<Merging>>),
}

/// What the shards share.
#[derive(Debug)]
struct Merging {
    merger: Merger,
    items: mpsc::Sender<Vec<Item>>,
    out: Vec<Item>,
}

impl Outlet {
    /// The outlet of an interface's only thread.
    pub fn alone(items: mpsc::Sender<Vec<Item>>) -> Self {
        Self { number: 0, shards: 1, to: To::Publisher(items) }
    }

    /// Number of the shard, from 0.
    pub fn shard(&self) -> usize {
        self.number
    }

    /// Shards of the interface.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Hands items over, and says that everything before `closed` has been; waits while there is no
    /// credit. False when nobody takes them: there is nothing to go on for.
    pub fn send(&self, items: Vec<Item>, closed: Option<Timestamp>) -> bool {
        match &self.to {
            To::Publisher(_) if items.is_empty() => true,
            To::Publisher(to) => to.blocking_send(items).is_ok(),
            To::Merging(merging) => merging.lock().is_ok_and(|mut merging| {
                let Merging { merger, out, .. } = &mut *merging;
                merger.take(self.number, items, closed, out);
                merging.send()
            }),
        }
    }

    /// Says that this shard hands over nothing more.
    pub fn end(&self) {
        if let To::Merging(merging) = &self.to
            && let Ok(mut merging) = merging.lock()
        {
            let Merging { merger, out, .. } = &mut *merging;
            merger.ended(self.number, out);
            merging.send();
        }
    }
}

impl Merging {
    fn send(&mut self) -> bool {
        let items = std::mem::take(&mut self.out);
        items.is_empty() || self.items.blocking_send(items).is_ok()
    }

    /// Sends what is left; returns how many summaries went out before all shards had closed them.
    fn finish(&mut self) -> u64 {
        let Self { merger, out, .. } = self;
        merger.finish(out);
        let forced = merger.forced();
        self.send();
        forced
    }
}

/// Who gets the answer to a question about live flows.
#[derive(Debug)]
pub enum Answer {
    /// The asker: there is one shard.
    Whole(Reply),
    /// The asker, once every shard has answered.
    Part(Arc<Gather>),
}

impl Answer {
    /// Answers for `count` shards: one each.
    pub fn split(reply: Reply, query: &FlowQuery, count: usize) -> Vec<Self> {
        if count <= 1 {
            return vec![Self::Whole(reply)];
        }
        let gathered = Gathered { pages: Vec::new(), missing: count, limit: query.limit, reply: Some(reply) };
        let gather = Arc::new(Gather(Mutex::new(gathered)));
        (0..count).map(|_| Self::Part(Arc::clone(&gather))).collect()
    }

    /// Gives this shard's page. An answer that is dropped instead drops the reply, too.
    pub fn give(self, page: Page<FlowRecord>) {
        let send = |reply: Reply, page: &Page<FlowRecord>| {
            reply.send(serde_json::to_vec(page).unwrap_or_default());
        };
        match self {
            Self::Whole(reply) => send(reply, &page),
            Self::Part(gather) => {
                let Ok(mut gathered) = gather.0.lock() else { return };
                gathered.pages.push(page);
                gathered.missing = gathered.missing.saturating_sub(1);
                if gathered.missing == 0
                    && let Some(reply) = gathered.reply.take()
                {
                    let pages = std::mem::take(&mut gathered.pages);
                    send(reply, &merge::page(pages, gathered.limit));
                }
            }
        }
    }
}

/// Pages of the shards that have answered so far.
#[derive(Debug)]
pub struct Gather(Mutex<Gathered>);

#[derive(Debug)]
struct Gathered {
    pages: Vec<Page<FlowRecord>>,
    missing: usize,
    limit: usize,
    reply: Option<Reply>,
}

#[cfg(test)]
mod tests;
