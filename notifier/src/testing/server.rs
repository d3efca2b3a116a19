//! A recording HTTP server on loopback that answers well, badly, or not at all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::eventually;

/// How the server treats one request.
#[derive(Clone, Debug)]
pub enum Script {
    /// Answers with this status and these header lines, without a body.
    Answer(u16, &'static str),
    /// Answers with this status, header lines and body.
    Reply(u16, String, Vec<u8>),
    /// Never answers.
    Silence,
    /// Reads the request, sends half a status line and closes.
    HalfAnswer,
    /// Reads the request and closes.
    Close,
    /// Promises a body and sends a byte of it now and then, without end.
    SlowDrip(u16),
    /// Promises a body and resets the connection in the middle of it.
    CutBody(u16),
    /// Promises a body of 10 GiB and sends as much as is taken.
    Endless(u16),
    /// Sends 65 kB that would unpack to 10 MB.
    GzipBomb(u16),
}

impl Script {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &str) -> Self {
        Self::Reply(status, "content-type: application/json\r\n".to_owned(), body.as_bytes().to_vec())
    }
}

/// One request that the server got.
#[derive(Clone, Debug)]
pub struct Request {
    /// Request line and headers, as sent.
    pub head: String,
    /// Body.
    pub body: String,
}

impl Request {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The value of a header, by lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.eq_ignore_ascii_case(name)).then(|| value.trim())
        })
    }

    /// Everything in it that is the same in every run: the request as sent, less host and length.
    pub fn recorded(&self) -> Vec<u8> {
        let changes = |line: &&str| {
            let lower = line.to_ascii_lowercase();
            lower.starts_with("host:")
                || lower.starts_with("content-length:")
                || lower.starts_with("user-agent:")
        };
        let head: Vec<&str> = self.head.lines().filter(|line| !changes(line)).collect();
        format!("{}\n\n{}", head.join("\n"), self.body).into_bytes()
    }
}

/// Decides how to answer request number `n` (from 0).
type Answers = dyn Fn(usize, &Request) -> Script + Send + Sync;

/// The server.
pub struct Server {
    /// Its port.
    pub port: u16,
    /// Body bytes of [`Script::Endless`] that were taken.
    pub taken: Arc<AtomicU64>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers as `answers` says.
    pub async fn start(answers: impl Fn(usize, &Request) -> Script + Send + Sync + 'static) -> Self {
        Self::start_tls(answers, None).await
    }

    /// The same over TLS, where a configuration is given.
    pub async fn start_tls(
        answers: impl Fn(usize, &Request) -> Script + Send + Sync + 'static,
        tls: Option<rustls::ServerConfig>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::new(AtomicU64::new(0));
        let desk =
            Desk { answers: Arc::new(answers), record: Arc::clone(&requests), taken: Arc::clone(&taken) };
        let acceptor = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (desk, acceptor) = (desk.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(socket, desk).await,
                        // A handshake that fails is what some tests want.
                        Some(acceptor) => {
                            if let Ok(socket) = acceptor.accept(socket).await {
                                serve(socket, desk).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, taken, requests }
    }

    /// Answers 200 to everything.
    pub async fn ok() -> Self {
        Self::start(|_, _| Script::Answer(200, "")).await
    }

    /// Where it listens.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it got so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How much that is.
    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// What it got after the first `count` requests.
    pub fn requests_after(&self, count: usize) -> Vec<Request> {
        self.requests.lock().unwrap()[count..].to_vec()
    }

    /// Waits for at least `count` requests.
    pub async fn wait_for(&self, count: usize) -> Vec<Request> {
        eventually(&format!("{count} requests"), || async {
            Some(self.requests()).filter(|requests| requests.len() >= count)
        })
        .await
    }
}

#[derive(Clone)]
struct Desk {
    answers: Arc<Answers>,
    record: Arc<Mutex<Vec<Request>>>,
    taken: Arc<AtomicU64>,
}

/// A connection that can be broken.
trait Connection: AsyncRead + AsyncWrite + Unpin {
    /// Closed from now on, it tells the other side that it is broken (RST) in place of done (FIN).
    fn break_off(&self);
}

impl Connection for TcpStream {
    fn break_off(&self) {
        self.set_zero_linger().unwrap();
    }
}

impl Connection for tokio_rustls::server::TlsStream<TcpStream> {
    fn break_off(&self) {
        self.get_ref().0.break_off();
    }
}

async fn serve(mut socket: impl Connection, desk: Desk) {
    while let Some(request) = read_request(&mut socket).await {
        let number = {
            let mut record = desk.record.lock().unwrap();
            record.push(request.clone());
            record.len() - 1
        };
        let answered = match (desk.answers)(number, &request) {
            Script::Answer(status, headers) => send(&mut socket, status, headers, b"").await,
            Script::Reply(status, headers, body) => send(&mut socket, status, &headers, &body).await,
            Script::Silence => std::future::pending().await,
            Script::HalfAnswer => {
                let _ = socket.write_all(b"HTTP/1.1 20").await;
                return;
            }
            Script::Close => return,
            Script::SlowDrip(status) => drip(&mut socket, status).await,
            Script::CutBody(status) => {
                let _ = socket.write_all(promise(status, 1000).as_bytes()).await;
                let _ = socket.write_all(b"{\"errors\":false,\"errcode\":0,").await;
                socket.break_off();
                return;
            }
            Script::Endless(status) => endless(&mut socket, status, &desk.taken).await,
            Script::GzipBomb(status) => {
                send(&mut socket, status, "content-encoding: gzip\r\n", &bomb()).await
            }
        };
        if answered.is_err() {
            return;
        }
    }
}

fn promise(status: u16, length: u64) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n")
}

async fn send(
    socket: &mut (impl AsyncWrite + Unpin),
    status: u16,
    headers: &str,
    body: &[u8],
) -> std::io::Result<()> {
    // These have no body, and none is sent.
    let body = if matches!(status, 204 | 304) { b"" } else { body };
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
    socket.write_all(&[head.as_bytes(), body].concat()).await
}

async fn drip(socket: &mut (impl AsyncWrite + Unpin), status: u16) -> std::io::Result<()> {
    socket.write_all(promise(status, 1_000_000).as_bytes()).await?;
    loop {
        socket.write_all(b" ").await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn endless(
    socket: &mut (impl AsyncWrite + Unpin),
    status: u16,
    taken: &AtomicU64,
) -> std::io::Result<()> {
    const LENGTH: u64 = 10 << 30;
    socket.write_all(promise(status, LENGTH).as_bytes()).await?;
    let part = vec![b' '; 64 * 1024];
    while taken.load(Ordering::Relaxed) < LENGTH {
        socket.write_all(&part).await?;
        taken.fetch_add(part.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// A gzip member (RFC 1952) of one deflate block (RFC 1951 §3.2.6) with fixed codes: one blank, and
/// then again and again "258 characters, from one before".
fn bomb() -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut word, mut filled) = (0u64, 0);
    let mut put = |bits: u64, count: u32| {
        word |= bits << filled;
        filled += count;
        while filled >= 8 {
            bytes.push((word & 255) as u8);
            word >>= 8;
            filled -= 8;
        }
    };
    put(0b011, 3);
    // The code of a blank, 0x30 + 32 in 8 bits, first bit first.
    put(u64::from((0x30_u8 + b' ').reverse_bits()), 8);
    for _ in 0..40_000 {
        // Length 258 is symbol 285, code 11000101; distance 1 is code 00000.
        put(0b1010_0011, 8);
        put(0, 5);
    }
    put(0, 7);
    put(0, 7);
    bytes.extend([0; 8]);
    bytes
}

async fn read_request(socket: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut request = Request { head, body: String::new() };
    let length: usize = request.header("content-length").map_or(0, |l| l.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    request.body = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
    Some(request)
}
