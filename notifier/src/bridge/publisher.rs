//! The subscribers of a PUB socket, and what waits for each.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::zmtp::{self, Said};
use crate::metrics;

/// How long a peer may take to introduce itself.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Subscriptions of one peer at most.
const MAX_SUBSCRIPTIONS: usize = 1024;

/// Their bytes at most.
const MAX_WANTED: usize = 64 * 1024;

/// Sends messages to whoever wants them.
pub struct Publisher {
    max_bytes: usize,
    max_messages: usize,
    peers: Mutex<BTreeMap<u64, Arc<Peer>>>,
    next: AtomicU64,
}

/// One subscriber.
#[derive(Default)]
struct Peer {
    state: Mutex<PeerState>,
    /// Something waits, or the peer is told to go.
    news: Notify,
    dropped: AtomicU64,
}

#[derive(Default)]
struct PeerState {
    /// Begins of keys that it wants, and how often it has said so.
    wanted: BTreeMap<Bytes, usize>,
    waiting: VecDeque<Bytes>,
    bytes: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Publisher {
    /// No subscribers yet; for each at most so many bytes and messages wait.
    pub fn new(max_bytes: usize, max_messages: usize) -> Self {
        Self { max_bytes, max_messages, peers: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Sends a message to those who want its first frame. Never waits: who has no room loses it.
    pub fn publish(&self, frames: &[Bytes]) {
        let Some(key) = frames.first() else { return };
        let mut whole = None;
        for peer in lock(&self.peers).values() {
            let mut state = lock(&peer.state);
            if !state.wanted.keys().any(|begin| key.starts_with(begin)) {
                continue;
            }
            let message = whole.get_or_insert_with(|| zmtp::message(frames)).clone();
            let full =
                state.waiting.len() >= self.max_messages || state.bytes + message.len() > self.max_bytes;
            if full {
                peer.dropped.fetch_add(1, Ordering::Relaxed);
                metrics::bridge_dropped(message.len());
                continue;
            }
            state.bytes += message.len();
            state.waiting.push_back(message);
            drop(state);
            peer.news.notify_one();
        }
    }

    /// Bytes that wait for all subscribers together, and messages that were lost to those who are there.
    pub fn backlog(&self) -> (usize, u64) {
        let peers = lock(&self.peers);
        let bytes = peers.values().map(|peer| lock(&peer.state).bytes).sum();
        (bytes, peers.values().map(|peer| peer.dropped.load(Ordering::Relaxed)).sum())
    }

    /// How many subscribers there are.
    pub fn subscribers(&self) -> usize {
        lock(&self.peers).len()
    }

    async fn with_peer(&self, stream: TcpStream) -> Result<(), String> {
        let stream =
            tokio::time::timeout(HANDSHAKE, handshake(stream)).await.map_err(|_| "says nothing")??;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let peer = Arc::new(Peer::default());
        lock(&self.peers).insert(number, Arc::clone(&peer));
        let _gone = Gone(self, number);
        metrics::bridge_subscribers(self.subscribers());
        let (mut read, mut write) = stream.into_split();
        let (pongs, mut answers) = tokio::sync::mpsc::channel::<Bytes>(4);
        let reading = async {
            let mut bytes = BytesMut::new();
            loop {
                while let Some(said) = zmtp::take_frame(&mut bytes)? {
                    match said {
                        Said::Ping(pong) => drop(pongs.try_send(pong)),
                        said => peer.heard(said)?,
                    }
                }
                if read.read_buf(&mut bytes).await.map_err(|e| e.to_string())? == 0 {
                    return Ok(());
                }
            }
        };
        let writing = async {
            loop {
                let next = peer.next();
                let bytes = match next {
                    Some(message) => message,
                    None => tokio::select! {
                        () = peer.news.notified() => continue,
                        Some(pong) = answers.recv() => pong,
                    },
                };
                write.write_all(&bytes).await.map_err(|e| e.to_string())?;
            }
        };
        tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
        }
    }
}

/// Forgets a peer when its task ends.
struct Gone<'a>(&'a Publisher, u64);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        lock(&self.0.peers).remove(&self.1);
        metrics::bridge_subscribers(self.0.subscribers());
    }
}

impl Peer {
    fn heard(&self, said: Said) -> Result<(), String> {
        let wanted = &mut lock(&self.state).wanted;
        match said {
            Said::Subscribe(begin) => {
                *wanted.entry(begin).or_default() += 1;
                if wanted.len() > MAX_SUBSCRIPTIONS {
                    return Err(format!("has more than {MAX_SUBSCRIPTIONS} subscriptions"));
                }
                if wanted.keys().map(Bytes::len).sum::<usize>() > MAX_WANTED {
                    return Err(format!("has subscriptions of more than {MAX_WANTED} bytes"));
                }
            }
            Said::Unsubscribe(begin) => {
                if let Some(times) = wanted.get_mut(&begin) {
                    *times -= 1;
                    if *times == 0 {
                        wanted.remove(&begin);
                    }
                }
            }
            Said::Ping(_) | Said::Other => {}
        }
        Ok(())
    }

    fn next(&self) -> Option<Bytes> {
        let mut state = lock(&self.state);
        let message = state.waiting.pop_front()?;
        state.bytes -= message.len();
        Some(message)
    }
}

async fn handshake(mut stream: TcpStream) -> Result<TcpStream, String> {
    let wrong = |e: std::io::Error| e.to_string();
    stream.set_nodelay(true).map_err(wrong)?;
    stream.write_all(&zmtp::greeting()).await.map_err(wrong)?;
    let mut theirs = [0; zmtp::GREETING];
    stream.read_exact(&mut theirs).await.map_err(wrong)?;
    zmtp::check_greeting(&theirs)?;
    stream.write_all(&zmtp::ready()).await.map_err(wrong)?;
    Ok(stream)
}

/// Takes subscribers in, for ever; they go with it.
pub async fn serve(listener: TcpListener, publisher: Arc<Publisher>, most: usize) {
    let mut peers = JoinSet::new();
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            // Too many open files, say: it passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while peers.try_join_next().is_some() {}
        if peers.len() >= most {
            tracing::warn!(%from, most, "too many subscribers, this one is turned away");
            continue;
        }
        let publisher = Arc::clone(&publisher);
        peers.spawn(async move {
            if let Err(cause) = publisher.with_peer(stream).await {
                tracing::debug!(%from, cause, "a subscriber has gone");
            }
        });
    }
}
