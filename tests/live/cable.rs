//! A virtual cable whose far end sends frames of the test's own making.

use pcap::{Active, Capture};

use super::{Capturing, ip, start};
use crate::support::{has_program, wait_for};

/// A veth pair: `fhv0`, in a namespace, is captured on; frames are sent on the other end.
pub struct Cable {
    pub namespace: String,
    far: String,
}

impl Cable {
    /// Makes it, or says why not. `name` has five letters at most.
    pub fn new(name: &str) -> Option<Self> {
        if !has_program("ip") || !has_program("curl") {
            return None;
        }
        let cable = Self { namespace: format!("fh-{name}"), far: format!("fhfar-{name}") };
        cable.remove();
        let made = ip(&format!("netns add {}", cable.namespace)) && cable.plug();
        if !made {
            assert!(std::env::var_os("CI").is_none(), "no namespace, and in CI nothing is skipped");
            eprintln!("SKIPPED: network namespaces cannot be made here; run as root");
            return None;
        }
        assert!(ip(&format!("-n {} link set lo up", cable.namespace)));
        Some(cable)
    }

    /// Makes the pair and sets both ends up, the captured one at last.
    pub fn plug(&self) -> bool {
        let (namespace, far) = (&self.namespace, &self.far);
        [
            format!("link add fhv0 netns {namespace} type veth peer name {far}"),
            format!("link set {far} addrgenmode none"),
            format!("-n {namespace} link set fhv0 addrgenmode none"),
            format!("link set {far} up"),
            format!("-n {namespace} link set fhv0 up"),
        ]
        .iter()
        .all(|args| ip(args))
    }

    /// A command of `ip link` on the captured end.
    pub fn link(&self, args: &str) {
        assert!(ip(&format!("-n {} link {args}", self.namespace)), "ip link {args}");
    }

    /// Starts flowhook on the captured end, with more settings of the interface.
    pub fn capture(&self, settings: &str) -> Capturing {
        start(&self.namespace, &format!("name = \"fhv0\"\n{settings}\n"))
    }

    /// Waits until the totals of the interface are as wanted, and gives its row.
    pub fn wait_for_totals(&self, capturing: &Capturing, packets: u64) -> serde_json::Value {
        let mut last = serde_json::Value::Null;
        let mut look = || {
            last = capturing.get(&self.namespace, "/interfaces")?["items"][0].clone();
            (last["stats"]["packets"] == packets).then(|| last.clone())
        };
        wait_for(&format!("{packets} packets"), 60, &mut look)
    }

    /// Waits for an alert about the interface.
    pub fn wait_for_alert(&self, capturing: &Capturing, kind: &str) -> serde_json::Value {
        wait_for(kind, 60, || self.alerts(capturing, kind)?.into_iter().next())
    }

    /// Alerts of one type about the interface.
    pub fn alerts(&self, capturing: &Capturing, kind: &str) -> Option<Vec<serde_json::Value>> {
        let page = capturing.get(&self.namespace, &format!("/alerts?type={kind}"))?;
        Some(page["items"].as_array()?.iter().filter(|a| a["entity_value"] == "fhv0").cloned().collect())
    }

    /// The far end, ready to send.
    pub fn sender(&self) -> Sender {
        let device = Capture::from_device(self.far.as_str()).unwrap();
        Sender(device.open().unwrap())
    }

    fn remove(&self) {
        ip(&format!("link del {}", self.far));
        ip(&format!("netns del {}", self.namespace));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Sends frames.
pub struct Sender(Capture<Active>);

impl Sender {
    pub fn send(&mut self, frame: &[u8]) {
        self.0.sendpacket(frame).unwrap();
    }
}

/// One UDP packet of flow `flow` between 198.18.x.y and 198.19.0.1, either way; 60 bytes untagged.
pub fn udp(flow: u16, back: bool, vlan: Option<u16>) -> Vec<u8> {
    let [high, low] = flow.to_be_bytes();
    let (client, server) = (([198, 18, high, low], 20_000_u16), ([198, 19, 0, 1], 9999_u16));
    let ((from, from_port), (to, to_port)) = if back { (server, client) } else { (client, server) };
    let mut frame = Vec::new();
    frame.extend_from_slice(if back {
        &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]
    } else {
        &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]
    });
    if let Some(vlan) = vlan {
        frame.extend_from_slice(&[0x81, 0x00]);
        frame.extend_from_slice(&vlan.to_be_bytes());
    }
    frame.extend_from_slice(&[0x08, 0x00]);
    let header = [0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0];
    frame.extend_from_slice(&summed(header, [from, to].concat().try_into().unwrap()));
    for word in [from_port, to_port, 26, 0] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame.extend_from_slice(&[7; 18]);
    frame
}

/// A datagram of UDP flow `flow` in two IPv4 or IPv6 fragments of 24 and 8 bytes of payload.
pub fn fragments(flow: u16, v6: bool) -> [Vec<u8>; 2] {
    let [high, low] = flow.to_be_bytes();
    let mut datagram = Vec::new();
    for word in [20_000_u16, 9999, 40, 0] {
        datagram.extend_from_slice(&word.to_be_bytes());
    }
    datagram.extend_from_slice(&[7; 32]);
    [&datagram[..32], &datagram[32..]].map(|part| {
        let first = part.len() == 32;
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        if v6 {
            frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 8 + part.len() as u8, 44, 64]);
            frame.extend_from_slice(&addresses6(flow));
            let offset: u16 = if first { 1 } else { 32 };
            frame.extend_from_slice(&[17, 0]);
            frame.extend_from_slice(&offset.to_be_bytes());
            frame.extend_from_slice(&[0, 0, high, low]);
        } else {
            let field: u16 = if first { 0x2000 } else { 4 };
            let [flags, offset] = field.to_be_bytes();
            frame.extend_from_slice(&[8, 0]);
            let header = [0x45, 0, 0, 20 + part.len() as u8, high, low, flags, offset, 64, 17, 0, 0];
            frame.extend_from_slice(&summed(header, [198, 18, high, low, 198, 19, 0, 1]));
        }
        frame.extend_from_slice(part);
        frame
    })
}

/// A whole datagram of the same flow over IPv6.
pub fn udp6(flow: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 26, 17, 64];
    frame.extend_from_slice(&addresses6(flow));
    for word in [20_000_u16, 9999, 26, 0] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame.extend_from_slice(&[7; 18]);
    frame
}

fn addresses6(flow: u16) -> [u8; 32] {
    let mut addresses = [0; 32];
    addresses[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    addresses[14..16].copy_from_slice(&flow.to_be_bytes());
    addresses[16..20].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    addresses[20] = 1;
    addresses
}

/// An IPv4 header with its checksum.
fn summed(mut header: [u8; 12], addresses: [u8; 8]) -> Vec<u8> {
    let words = header.chunks(2).chain(addresses.chunks(2));
    let mut sum: u32 = words.map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    [&header[..], &addresses].concat()
}
