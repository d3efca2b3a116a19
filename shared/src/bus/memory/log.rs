//! One kept stream: messages, who wants them, and what each durable consumer has settled.
//!
//! Nothing here waits. What might run a message's destructor is handed out, never dropped here,
//! because the caller holds a lock that the destructor takes.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use xxhash_rust::xxh3::xxh3_128;

use super::super::{BusError, Headers, Queued};
use crate::wire::subject::matches;

/// Tells an appender the fate of its message.
pub(super) type Told = oneshot::Sender<Result<(), BusError>>;

/// Receives a consumer's messages.
pub(super) type Member = mpsc::Sender<Queued>;

/// A kept stream; `R` is what a kept message holds to bound the stream.
pub(super) struct Log<R> {
    last_sequence: u64,
    messages: BTreeMap<u64, Kept<R>>,
    consumers: BTreeMap<String, Durable>,
    /// Hashes of the last ids, with the sequence each was kept under.
    known: HashMap<u128, u64>,
    known_order: VecDeque<u128>,
    max_known: usize,
}

struct Kept<R> {
    subject: String,
    headers: Headers,
    payload: Bytes,
    /// Consumers that have not acknowledged it.
    wanted_by: usize,
    told: Vec<Told>,
    _room: R,
}

struct Durable {
    filter: String,
    /// Not given at present: sequence and how often it was given.
    waiting: BTreeMap<u64, u64>,
    /// Given and not settled, or waiting for a retry's time.
    unsettled: usize,
    members: Vec<Member>,
    runtime: Handle,
}

/// What became of a message at first sight.
pub(super) enum Accepted {
    /// A duplicate: nothing more to do.
    Known,
    /// No consumer wants it: it is not kept.
    Unwanted,
    /// To be appended when there is room.
    NeedsRoom(Told),
}

/// A message on its way to a consumer.
pub(super) struct Given {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) attempt: u64,
    pub(super) headers: Headers,
    pub(super) payload: Bytes,
}

/// A message to be kept.
pub(super) struct Content<'a> {
    pub(super) subject: &'a str,
    pub(super) id: &'a str,
    pub(super) headers: Headers,
    pub(super) payload: Bytes,
}

impl<R> Log<R> {
    /// An empty stream that remembers `max_known` ids.
    pub(super) fn new(max_known: usize) -> Self {
        Self {
            last_sequence: 0,
            messages: BTreeMap::new(),
            consumers: BTreeMap::new(),
            known: HashMap::new(),
            known_order: VecDeque::new(),
            max_known,
        }
    }

    /// How many messages are kept.
    pub(super) fn outstanding(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Takes what needs no room: duplicates share the first one's fate, and what nobody wants is
    /// safe at once.
    pub(super) fn accept_without_room(&mut self, subject: &str, id: &str, told: Told) -> Accepted {
        if let Some(sequence) = self.known.get(&xxh3_128(id.as_bytes())) {
            match self.messages.get_mut(sequence) {
                Some(kept) => kept.told.push(told),
                None => drop(told.send(Ok(()))),
            }
            return Accepted::Known;
        }
        if self.consumers.values().any(|durable| matches(&durable.filter, subject)) {
            return Accepted::NeedsRoom(told);
        }
        self.last_sequence += 1;
        self.remember(id);
        // Who appended need not wait for the receipt.
        let _ = told.send(Ok(()));
        Accepted::Unwanted
    }

    /// Keeps a message; returns the consumers that have something to get, or nothing for a duplicate.
    ///
    /// Looks for a duplicate again, because the same id may have come while this one waited for room.
    pub(super) fn append(&mut self, message: Content<'_>, told: Told, room: R) -> Option<Vec<String>> {
        let Content { subject, id, headers, payload } = message;
        let told = match self.accept_without_room(subject, id, told) {
            Accepted::Known => return None,
            Accepted::Unwanted => return Some(Vec::new()),
            Accepted::NeedsRoom(told) => told,
        };
        self.last_sequence += 1;
        self.remember(id);
        let mut names = Vec::new();
        for (name, durable) in &mut self.consumers {
            if matches(&durable.filter, subject) {
                durable.waiting.insert(self.last_sequence, 0);
                names.push(name.clone());
            }
        }
        let kept = Kept {
            subject: subject.to_owned(),
            headers,
            payload,
            wanted_by: names.len(),
            told: vec![told],
            _room: room,
        };
        self.messages.insert(self.last_sequence, kept);
        Some(names)
    }

    fn remember(&mut self, id: &str) {
        if self.known_order.len() == self.max_known
            && let Some(oldest) = self.known_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        let id = xxh3_128(id.as_bytes());
        self.known.insert(id, self.last_sequence);
        self.known_order.push_back(id);
    }

    /// Adds a receiver to the consumer `name`, which begins now if it is new.
    pub(super) fn join(
        &mut self,
        name: &str,
        filter: &str,
        member: Member,
        runtime: Handle,
    ) -> Result<(), BusError> {
        let durable = self.consumers.entry(name.to_owned()).or_insert_with(|| Durable {
            filter: filter.to_owned(),
            waiting: BTreeMap::new(),
            unsettled: 0,
            members: Vec::new(),
            runtime: runtime.clone(),
        });
        if durable.filter != filter {
            let theirs = &durable.filter;
            return Err(BusError::Other(format!("consumer {name} has filter {theirs}, not {filter}")));
        }
        durable.runtime = runtime;
        durable.members.push(member);
        Ok(())
    }

    /// The next message for the consumer `name` and who shall have it: the receiver with the
    /// emptiest queue, so that competing ones share the work. Receivers that have gone go to `gone`.
    pub(super) fn next_for(
        &mut self,
        name: &str,
        window: usize,
        gone: &mut Vec<Member>,
    ) -> Option<(Member, Given)> {
        self.forget_closed(name, gone);
        let durable = self.consumers.get_mut(name)?;
        if durable.unsettled >= window {
            return None;
        }
        let member = durable.members.iter().max_by_key(|member| member.capacity())?.clone();
        let (sequence, attempts) = durable.waiting.pop_first()?;
        let kept = self.messages.get(&sequence)?;
        durable.unsettled += 1;
        let (subject, headers) = (kept.subject.clone(), kept.headers.clone());
        let (attempt, payload) = (attempts + 1, kept.payload.clone());
        Some((member, Given { subject, sequence, attempt, headers, payload }))
    }

    /// A given message is to be given again; it has been given `attempts` times.
    pub(super) fn take_back(&mut self, name: &str, sequence: u64, attempts: u64) {
        if let Some(durable) = self.consumers.get_mut(name) {
            durable.unsettled -= 1;
            durable.waiting.insert(sequence, attempts);
        }
    }

    /// A given message is settled; returns whom to tell when it was the last consumer's.
    pub(super) fn ack(&mut self, name: &str, sequence: u64) -> Vec<Told> {
        if let Some(durable) = self.consumers.get_mut(name) {
            durable.unsettled -= 1;
        }
        let Some(kept) = self.messages.get_mut(&sequence) else {
            return Vec::new();
        };
        kept.wanted_by -= 1;
        if kept.wanted_by > 0 {
            return Vec::new();
        }
        self.messages.remove(&sequence).map_or_else(Vec::new, |kept| kept.told)
    }

    /// Moves receivers that have gone to `gone`.
    pub(super) fn forget_closed(&mut self, name: &str, gone: &mut Vec<Member>) {
        if let Some(durable) = self.consumers.get_mut(name) {
            gone.extend(durable.members.extract_if(.., |member| member.is_closed()));
        }
    }

    /// Where the consumer's timers run.
    pub(super) fn runtime(&self, name: &str) -> Option<Handle> {
        self.consumers.get(name).map(|durable| durable.runtime.clone())
    }
}
