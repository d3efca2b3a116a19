//! Capture filters (pcap-filter(7)), compiled by libpcap without opening a device.

use pcap::{BpfProgram, Capture, Linktype};

use crate::capture::af_packet::ring::Instruction;
use crate::capture::{CaptureError, LinkType};

/// `BPF_RET | BPF_K`: ends a program with how many bytes to keep.
const RETURN: u16 = 0x06;

/// A compiled capture filter.
pub struct Filter {
    program: BpfProgram,
    in_kernel: Option<Vec<Instruction>>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("in_kernel", &self.in_kernel).finish_non_exhaustive()
    }
}

impl Filter {
    /// Compiles `text` for frames of a link type.
    ///
    /// # Errors
    /// [`CaptureError::Filter`] with libpcap's explanation.
    pub fn compile(text: &str, link: LinkType) -> Result<Self, CaptureError> {
        // The numbers of live devices differ from those in files for raw IP alone.
        let dlt = if link == LinkType::RAW { 12 } else { i32::from(link.0) };
        let failed = |error| super::libpcap::filter_error(text, &error);
        let dead = Capture::dead(Linktype(dlt)).map_err(failed)?;
        let program = dead.compile(text, true).map_err(failed)?;
        // The kernel takes tags out of frames before it filters them, so a program that looks for
        // them where they were on the wire would find none.
        let in_kernel = if names_tags(text) { None } else { instructions(&program) };
        Ok(Self { program, in_kernel })
    }

    /// The program for the kernel, which keeps `snaplen` bytes of what it lets through. `None` when
    /// the filter looks at VLAN tags, which a program in the kernel does not see:
    /// [`accepts`](Self::accepts) must then be asked about each frame, tag included.
    pub fn in_kernel(&self, snaplen: u32) -> Option<Vec<Instruction>> {
        let keep = |&(code, jt, jf, k): &Instruction| match (code, k) {
            (RETURN, 1..) => (code, jt, jf, snaplen),
            _ => (code, jt, jf, k),
        };
        self.in_kernel.as_ref().map(|program| program.iter().map(keep).collect())
    }

    /// True when a frame, as it was on the wire, is one to capture.
    pub fn accepts(&self, frame: &[u8]) -> bool {
        self.program.filter(frame)
    }
}

/// A program that takes everything, `snaplen` bytes of each frame.
pub fn everything(snaplen: u32) -> Vec<Instruction> {
    vec![(RETURN, 0, 0, snaplen)]
}

/// A program that takes nothing.
pub fn nothing() -> Vec<Instruction> {
    vec![(RETURN, 0, 0, 0)]
}

/// Checks that a capture filter compiles, for Ethernet.
///
/// # Errors
/// [`CaptureError::Filter`] with libpcap's explanation.
pub fn check_filter(filter: &str) -> Result<(), CaptureError> {
    Filter::compile(filter, LinkType::ETHERNET).map(drop)
}

/// True when an expression has the word `vlan`.
fn names_tags(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "vlan")
}

/// The wrapper shows an instruction as four numbers, and in no other way.
fn instructions(program: &BpfProgram) -> Option<Vec<Instruction>> {
    let read = |text: String| {
        let mut numbers = text.split(' ');
        let instruction = (
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
        );
        numbers.next().is_none().then_some(instruction)
    };
    program.get_instructions().iter().map(|instruction| read(instruction.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked_before_any_capture() {
        check_filter("tcp port 443 or vlan 7").unwrap();
        let error = check_filter("tcp prot 443").unwrap_err();
        assert!(matches!(&error, CaptureError::Filter { filter, .. } if filter == "tcp prot 443"), "{error}");
    }

    #[test]
    fn the_kernels_program_keeps_as_much_as_is_asked_for() {
        let program = Filter::compile("ip6", LinkType::ETHERNET).unwrap().in_kernel(96).unwrap();
        // Load the EtherType, compare it, keep or refuse.
        assert_eq!(program, [(0x28, 0, 0, 12), (0x15, 0, 1, 0x86dd), (0x06, 0, 0, 96), (0x06, 0, 0, 0)]);
        assert_eq!(everything(96), [(0x06, 0, 0, 96)]);
    }

    #[test]
    fn a_filter_for_tags_looks_at_whole_frames() {
        let filter = Filter::compile("vlan 7 and arp", LinkType::ETHERNET).unwrap();
        assert!(filter.in_kernel(96).is_none());
        let mut frame = [0; 64];
        frame[12..18].copy_from_slice(b"\x81\x00\x00\x07\x08\x06");
        assert!(filter.accepts(&frame));
        frame[15] = 8;
        assert!(!filter.accepts(&frame));
    }

    #[test]
    fn raw_ip_has_no_ethernet_header() {
        let filter = Filter::compile("udp", LinkType::RAW).unwrap();
        let mut packet = [0; 28];
        packet[0] = 0x45;
        packet[9] = 17;
        assert!(filter.accepts(&packet));
        packet[9] = 6;
        assert!(!filter.accepts(&packet));
    }
}
