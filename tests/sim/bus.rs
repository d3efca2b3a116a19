//! A bus with kept streams that loses, delays and doubles what it is given, as a real one may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use shared::bus::{
    Bus, BusError, Consumer, Headers, Message, Queued, Receipt, Replay, Settlement, Stream, Subscription,
};
use shared::model::Position;
use shared::wire::subject::matches;
use tokio::sync::{mpsc, oneshot};

use crate::world::World;

/// How long a message may be unsettled before it comes again.
const ACK_WAIT: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Log {
    pub messages: Vec<(String, String, Bytes)>,
    ids: BTreeSet<String>,
}

#[derive(Default)]
pub struct Streams {
    pub logs: BTreeMap<&'static str, Log>,
    subscribers: Vec<(String, String, mpsc::Sender<Message>)>,
    /// Sequences that a durable consumer has settled.
    settled: BTreeMap<String, BTreeSet<u64>>,
}

/// The bus as one node reaches it.
pub struct NodeBus {
    pub world: Arc<World>,
    pub node: String,
}

impl NodeBus {
    pub fn shared(world: &Arc<World>, node: &str) -> shared::bus::SharedBus {
        Arc::new(Self { world: Arc::clone(world), node: node.to_owned() })
    }
}

fn keeper(subject: &str) -> Stream {
    let kind = subject.split('.').next().unwrap();
    Stream::ALL.into_iter().find(|stream| stream.kind() == kind).unwrap()
}

#[async_trait]
impl Bus for NodeBus {
    async fn publish_with(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<(), BusError> {
        self.world.way(&self.node).await;
        if self.world.fails(3) {
            return Ok(());
        }
        let subscribers: Vec<_> = {
            let shared = self.world.lock();
            let all = shared.streams.subscribers.iter();
            all.filter(|(filter, ..)| matches(filter, subject)).cloned().collect()
        };
        for (_, node, sender) in subscribers {
            if !self.world.trouble(&node).cut {
                // At most once: a slow one loses it.
                let message = Message {
                    subject: subject.to_owned(),
                    headers: headers.clone(),
                    payload: payload.clone(),
                    reply: None,
                };
                let _ = sender.try_send(message);
            }
        }
        Ok(())
    }

    async fn subscribe(&self, filter: &str) -> Result<Subscription, BusError> {
        let (sender, receiver) = mpsc::channel(1000);
        let mut shared = self.world.lock();
        shared.streams.subscribers.retain(|(.., sender)| !sender.is_closed());
        shared.streams.subscribers.push((filter.to_owned(), self.node.clone(), sender));
        Ok(Subscription::new(receiver))
    }

    /// Everybody of a group gets everything: the first answer counts here, too.
    async fn subscribe_in(&self, _: &str, filter: &str) -> Result<Subscription, BusError> {
        self.subscribe(filter).await
    }

    async fn request(&self, subject: &str, _: Bytes, _: Duration) -> Result<Bytes, BusError> {
        Err(BusError::NoResponder(subject.to_owned()))
    }

    async fn append_with(
        &self,
        subject: &str,
        id: &str,
        _: Headers,
        payload: Bytes,
    ) -> Result<Receipt, BusError> {
        self.world.way(&self.node).await;
        let (told, receipt) = oneshot::channel();
        let timeout = || BusError::Timeout { subject: subject.to_owned(), timeout: ACK_WAIT };
        if self.world.fails(1) {
            return Err(timeout());
        }
        let (lost, ack_lost, forgets) = (self.world.fails(1), self.world.fails(2), self.world.fails(1));
        // One that is late is overtaken by those that come after it.
        let late = self.world.fails(1).then(|| Duration::from_millis(self.world.draw(5000)));
        let (world, message) = (Arc::clone(&self.world), (subject.to_owned(), id.to_owned(), payload));
        let keep = move || {
            let stream = keeper(&message.0);
            let mut shared = world.lock();
            let log = shared.streams.logs.entry(stream.kind()).or_default();
            if forgets {
                // The window in which ids are known has passed.
                log.ids.remove(&message.1);
            }
            if !lost && log.ids.insert(message.1.clone()) {
                log.messages.push(message);
            }
        };
        let answer = if lost || ack_lost { Err(timeout()) } else { Ok(()) };
        let wait = Duration::from_millis(self.world.draw(if lost || ack_lost { 4000 } else { 200 }));
        let keep = match late {
            Some(_) => Some(keep),
            None => {
                keep();
                None
            }
        };
        tokio::spawn(async move {
            if let (Some(late), Some(keep)) = (late, keep) {
                tokio::time::sleep(late).await;
                keep();
            }
            tokio::time::sleep(wait).await;
            let _ = told.send(answer);
        });
        Ok(Receipt::new(receipt))
    }

    async fn replay(
        &self,
        stream: Stream,
        _: &str,
        filter: &str,
        after: Position,
    ) -> Result<Replay, BusError> {
        self.world.way(&self.node).await;
        if self.world.fails(2) {
            return Err(BusError::Unreachable("a seed says so".to_owned()));
        }
        let (sender, receiver) = mpsc::channel(64);
        let (world, node, filter) = (Arc::clone(&self.world), self.node.clone(), filter.to_owned());
        let mut next = if after.stream == 1 { after.sequence } else { 0 };
        tokio::spawn(async move {
            while !sender.is_closed() {
                world.way(&node).await;
                if world.fails(1) {
                    // The stream is read anew from some place before; what was passed on is left out by
                    // the real reader, and by this one.
                    world.sleep_ms(3000).await;
                }
                let found = {
                    let mut shared = world.lock();
                    let log = shared.streams.logs.entry(stream.kind()).or_default();
                    let from = usize::try_from(next).unwrap();
                    let found =
                        log.messages.iter().enumerate().skip(from).find(|(_, m)| matches(&filter, &m.0));
                    found.map(|(place, message)| (place as u64 + 1, message.clone()))
                };
                match found {
                    Some((sequence, (subject, _, payload))) => {
                        next = sequence;
                        if sender
                            .send(Queued::new(subject, sequence, 1, Headers::new(), payload, |_| {}))
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                    None => tokio::time::sleep(Duration::from_millis(900)).await,
                }
            }
        });
        Ok(Replay { stream: 1, whole: true, messages: Consumer::new(receiver) })
    }

    async fn consume(&self, stream: Stream, name: &str, filter: &str) -> Result<Consumer, BusError> {
        let (sender, receiver) = mpsc::channel(16);
        let (world, node, filter, name) =
            (Arc::clone(&self.world), self.node.clone(), filter.to_owned(), name.to_owned());
        tokio::spawn(async move {
            let mut given: BTreeMap<u64, tokio::time::Instant> = BTreeMap::new();
            while !sender.is_closed() {
                world.way(&node).await;
                given.retain(|_, at| at.elapsed() < ACK_WAIT);
                let found = {
                    let mut shared = world.lock();
                    let Streams { logs, settled, .. } = &mut shared.streams;
                    let settled = settled.entry(name.clone()).or_default();
                    let log = logs.entry(stream.kind()).or_default();
                    let mut all = (1..).zip(log.messages.iter());
                    let found = all.find(|(sequence, message)| {
                        !settled.contains(sequence)
                            && !given.contains_key(sequence)
                            && matches(&filter, &message.0)
                    });
                    found.map(|(sequence, message)| (sequence, message.clone()))
                };
                let Some((sequence, (subject, _, payload))) = found else {
                    tokio::time::sleep(Duration::from_millis(900)).await;
                    continue;
                };
                given.insert(sequence, tokio::time::Instant::now());
                let (world, name) = (Arc::clone(&world), name.clone());
                let settle = move |settlement: Option<Settlement>| {
                    // An acknowledgement may be lost, and then the message comes again.
                    if settlement == Some(Settlement::Ack) && !world.fails(3) {
                        world.lock().streams.settled.entry(name).or_default().insert(sequence);
                    }
                };
                if sender
                    .send(Queued::new(subject, sequence, 1, Headers::new(), payload, settle))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        Ok(Consumer::new(receiver))
    }

    fn outstanding(&self) -> Option<u64> {
        None
    }

    async fn flush(&self) -> Result<(), BusError> {
        Ok(())
    }

    async fn close(&self) {}
}
