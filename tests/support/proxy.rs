//! A TCP way between two processes that can be cut, both ways or one, as a network is: what is under way
//! waits, nobody is told, and it goes on when the way is there again.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long a cut way sleeps before it looks again.
const LOOK: Duration = Duration::from_millis(50);

/// Which directions are cut.
#[derive(Default)]
struct Cut {
    there: AtomicBool,
    back: AtomicBool,
    /// Connections made before so many were forgotten lead nowhere.
    forgotten: AtomicUsize,
    made: AtomicUsize,
}

/// The way to one address.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    cut: Arc<Cut>,
}

impl Proxy {
    /// A way to a port of this machine.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (own, cut) = (listener.local_addr().unwrap().port(), Arc::<Cut>::default());
        let shared = Arc::clone(&cut);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is not there is told by the end of the connection.
                let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))) else {
                    continue;
                };
                let number = shared.made.fetch_add(1, Ordering::SeqCst);
                carry(&client, &server, &shared, number, |cut| &cut.there);
                carry(&server, &client, &shared, number, |cut| &cut.back);
            }
        });
        Self { port: own, cut }
    }

    /// Cuts it, or only what comes back.
    pub fn cut(&self, one_way: bool) {
        self.cut.there.store(!one_way, Ordering::SeqCst);
        self.cut.back.store(true, Ordering::SeqCst);
    }

    /// Forgets the connections that there are: what is sent on them is gone, neither end is told, and new ones
    /// are carried.
    pub fn forget(&self) {
        self.cut.forgotten.store(self.cut.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.cut.there.store(false, Ordering::SeqCst);
        self.cut.back.store(false, Ordering::SeqCst);
    }
}

/// Carries bytes one way, on a thread that ends with the connection.
fn carry(from: &TcpStream, to: &TcpStream, cut: &Arc<Cut>, number: usize, which: fn(&Cut) -> &AtomicBool) {
    let (mut from, mut to, cut) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(cut));
    std::thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = from.read(&mut bytes).unwrap_or(0);
            while which(&cut).load(Ordering::SeqCst) {
                std::thread::park_timeout(LOOK);
            }
            if number < cut.forgotten.load(Ordering::SeqCst) {
                // An end that gives up tells the other nothing.
                match read {
                    0 => return std::mem::forget(to),
                    _ => continue,
                }
            }
            if read == 0 || to.write_all(&bytes[..read]).is_err() {
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}
