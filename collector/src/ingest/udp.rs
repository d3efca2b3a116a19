//! Receives export datagrams: a packet source that listens on UDP ports.
//!
//! Every datagram becomes an IP packet again: the socket took its headers off, and they are put back
//! with what is known of them. So recorded and received exports go the same way.

use std::io::{IoSliceMut, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt,
};
use shared::clock::SharedClock;
use shared::model::Timestamp;

use crate::capture::{Batch, CaptureError, CaptureStats, LinkType, PacketSource, Progress, SourceState};

/// Datagrams taken by one call.
const AT_ONCE: usize = 64;

/// The longest UDP payload.
const LONGEST: usize = 65_507;

/// Room for an IPv6 and a UDP header in front of a datagram.
const HEADROOM: usize = 48;

/// How long a silent listener waits before its thread looks at its orders, in ms.
const WAIT_MS: u8 = 10;

/// How a listener is set up.
#[derive(Clone, Debug)]
pub struct UdpConfig {
    /// Name of the interface.
    pub name: String,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Size of each socket's receive buffer in bytes.
    pub buffer_bytes: usize,
}

struct Listener {
    socket: UdpSocket,
    local: SocketAddr,
    /// Datagrams the kernel dropped since the socket was opened; its counter has 32 bits.
    dropped: u64,
}

/// The packet source.
struct UdpSource {
    name: String,
    listeners: Vec<Listener>,
    buffers: Vec<Box<[u8]>>,
    clock: SharedClock,
    received: u64,
}

/// Opens the sockets.
///
/// # Errors
/// [`CaptureError::Live`] when an address cannot be listened on.
pub fn open(config: &UdpConfig, clock: SharedClock) -> Result<Box<dyn PacketSource>, CaptureError> {
    let listeners = config
        .listen
        .iter()
        .map(|address| {
            listen(*address, config.buffer_bytes).map_err(|cause| CaptureError::Live {
                name: config.name.clone(),
                cause: format!("cannot listen on udp://{address}: {cause}"),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    for listener in &listeners {
        tracing::info!(interface = %config.name, address = %listener.local, "listening for exporters");
    }
    Ok(Box::new(UdpSource {
        name: config.name.clone(),
        listeners,
        buffers: (0..AT_ONCE).map(|_| vec![0; HEADROOM + LONGEST].into()).collect(),
        clock,
        received: 0,
    }))
}

fn listen(address: SocketAddr, buffer_bytes: usize) -> std::io::Result<Listener> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // Beyond the system's limit only root may go; else as much as it gives.
    if setsockopt(&socket, sockopt::RcvBufForce, &buffer_bytes).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &buffer_bytes)?;
    }
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    let local = socket.local_addr()?;
    Ok(Listener { socket, local, dropped: 0 })
}

impl PacketSource for UdpSource {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<SourceState, CaptureError> {
        batch.clear();
        self.receive(batch)?;
        if batch.is_empty() {
            self.wait()?;
            self.receive(batch)?;
        }
        Ok(if batch.is_empty() { SourceState::Idle } else { SourceState::More })
    }

    fn stats(&mut self) -> CaptureStats {
        let dropped_kernel = self.listeners.iter().map(|listener| listener.dropped).sum();
        CaptureStats { received: self.received + dropped_kernel, dropped_kernel, ..CaptureStats::default() }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        true
    }

    fn progress(&self) -> Option<Progress> {
        None
    }
}

impl UdpSource {
    fn failed(&self, what: &str, error: Errno) -> CaptureError {
        CaptureError::Live { name: self.name.clone(), cause: format!("{what}: {error}") }
    }

    fn wait(&self) -> Result<(), CaptureError> {
        let readable = |listener| PollFd::new(AsFd::as_fd(listener), PollFlags::POLLIN);
        let mut sockets: Vec<_> = self.listeners.iter().map(|l| readable(&l.socket)).collect();
        match poll(&mut sockets, PollTimeout::from(WAIT_MS)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(self.failed("poll", error)),
        }
    }

    /// Takes what waits, of every socket up to [`AT_ONCE`] datagrams.
    fn receive(&mut self, batch: &mut Batch) -> Result<(), CaptureError> {
        let now = self.clock.now();
        for at in 0..self.listeners.len() {
            let Some(listener) = self.listeners.get_mut(at) else { continue };
            match take(listener, &mut self.buffers, now, batch) {
                Ok(count) => self.received += count,
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(self.failed("recvmmsg", error)),
            }
        }
        Ok(())
    }
}

fn take(
    listener: &mut Listener,
    buffers: &mut [Box<[u8]>],
    now: Timestamp,
    batch: &mut Batch,
) -> Result<u64, Errno> {
    // Made anew each time: a call leaves lengths in the headers that would bound the next one.
    let space = nix::cmsg_space!(u32);
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(AT_ONCE, Some(space));
    let mut seen: Vec<(Option<SocketAddr>, usize)> = Vec::with_capacity(AT_ONCE);
    let mut dropped = None;
    {
        let mut slices: Vec<_> = buffers
            .iter_mut()
            .map(|b| [IoSliceMut::new(b.get_mut(HEADROOM..).unwrap_or_default())])
            .collect();
        let messages = recvmmsg(
            listener.socket.as_raw_fd(),
            &mut headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        )?;
        for message in messages {
            for control in message.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::RxqOvfl(count) = control {
                    dropped = Some(count);
                }
            }
            seen.push((message.address.as_ref().and_then(sender), message.bytes));
        }
    }
    if let Some(count) = dropped {
        // The kernel's counter goes round at 2^32.
        listener.dropped += u64::from(count.wrapping_sub(listener.dropped as u32));
    }
    let received = seen.len() as u64;
    for ((from, bytes), buffer) in seen.into_iter().zip(buffers) {
        let Some(from) = from else { continue };
        if let Some(frame) = envelop(buffer, bytes, from, listener.local) {
            batch.push(now, LinkType::RAW, 0, frame.len() as u32, frame);
        }
    }
    Ok(received)
}

fn sender(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::from((v6.ip(), v6.port())))
}

/// Puts IP and UDP headers in front of the `length` bytes that begin at [`HEADROOM`], without
/// checksums. A sender by IPv4 on a socket for both versions gets an IPv4 header.
fn envelop(buffer: &mut [u8], length: usize, from: SocketAddr, to: SocketAddr) -> Option<&[u8]> {
    let udp = u16::try_from(length + 8).ok()?;
    let mut head = [0u8; HEADROOM];
    let mut writer = &mut head[..];
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from_ip), to_ip) => {
            let to_ip = if let IpAddr::V4(ip) = to_ip { ip } else { std::net::Ipv4Addr::UNSPECIFIED };
            writer.write_all(&[0x45, 0]).ok()?;
            writer.write_all(&udp.checked_add(20)?.to_be_bytes()).ok()?;
            writer.write_all(&[0, 0, 0, 0, 64, 17, 0, 0]).ok()?;
            writer.write_all(&from_ip.octets()).ok()?;
            writer.write_all(&to_ip.octets()).ok()?;
        }
        (IpAddr::V6(from_ip), to_ip) => {
            let to_ip = if let IpAddr::V6(ip) = to_ip { ip } else { std::net::Ipv6Addr::UNSPECIFIED };
            writer.write_all(&[0x60, 0, 0, 0]).ok()?;
            writer.write_all(&udp.to_be_bytes()).ok()?;
            writer.write_all(&[17, 64]).ok()?;
            writer.write_all(&from_ip.octets()).ok()?;
            writer.write_all(&to_ip.octets()).ok()?;
        }
    }
    for number in [from.port(), to.port(), udp, 0] {
        writer.write_all(&number.to_be_bytes()).ok()?;
    }
    let unused = writer.len();
    let head = head.get(..HEADROOM - unused)?;
    let start = HEADROOM - head.len();
    buffer.get_mut(start..HEADROOM)?.copy_from_slice(head);
    buffer.get(start..HEADROOM + length)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::clock::ManualClock;

    use super::*;
    use crate::decode::{Decoded, Decoder, DecoderConfig};

    fn source(address: &str) -> UdpSource {
        let listener = listen(address.parse().unwrap(), 1 << 20).unwrap();
        UdpSource {
            name: "exports".to_owned(),
            listeners: vec![listener],
            buffers: (0..AT_ONCE).map(|_| vec![0; HEADROOM + LONGEST].into()).collect(),
            clock: ManualClock::new(Timestamp::from_secs(7)),
            received: 0,
        }
    }

    #[test]
    fn datagrams_come_out_as_the_packets_they_were() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let mut source = source(address);
            let to = source.listeners[0].local;
            let sender = UdpSocket::bind(address).unwrap();
            let mut batch = Batch::default();
            assert_eq!(source.next_batch(&mut batch).unwrap(), SourceState::Idle);
            for payload in [&[][..], b"first", &[7; 60_000]] {
                sender.send_to(payload, to).unwrap();
                while source.next_batch(&mut batch).unwrap() == SourceState::Idle {}
                let mut decoder = Decoder::new(DecoderConfig::default());
                let (desc, frame) = batch.iter().next().unwrap();
                let Ok(Decoded::Packet(packet)) = decoder.decode(desc, frame) else { panic!("{frame:?}") };
                let local = sender.local_addr().unwrap();
                assert_eq!((packet.src, packet.src_port), (local.ip(), local.port()));
                assert_eq!((packet.dst, packet.dst_port), (to.ip(), to.port()));
                assert_eq!((packet.payload, packet.flaw, desc.ts.secs()), (payload, None, 7));
            }
        }
    }

    #[test]
    fn what_the_kernel_drops_is_counted() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 4096).unwrap();
        let mut source = UdpSource { listeners: vec![listener], ..source("127.0.0.1:0") };
        let to = source.listeners[0].local;
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = Batch::default();
        for _ in 0..1000 {
            sender.send_to(&[0; 1000], to).unwrap();
        }
        // The counter comes with a datagram that was queued after the drops.
        while source.next_batch(&mut batch).unwrap() == SourceState::More {}
        sender.send_to(&[1], to).unwrap();
        while source.next_batch(&mut batch).unwrap() == SourceState::More {}
        let stats = source.stats();
        assert!(stats.dropped_kernel > 0);
        assert_eq!(stats.received, 1001);
    }

    #[test]
    fn an_address_in_use_is_told_by_name() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let config = UdpConfig {
            name: "exports".to_owned(),
            listen: vec![taken.local_addr().unwrap()],
            buffer_bytes: 1 << 20,
        };
        let error = open(&config, Arc::new(ManualClock::default())).err().unwrap().to_string();
        assert!(error.contains("exports") && error.contains("udp://127.0.0.1:"), "{error}");
    }
}
