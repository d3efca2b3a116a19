//! A record being read: how the bytes of its fields enter it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shared::model::L4;
use shared::model::pool::Mac;

use super::collected::{CollectedFlow, Counters, EndReason};
use super::field::Field;

/// Seconds from 1900, where NTP's time begins, to 1970.
const NTP_TO_UNIX_S: i64 = 2_208_988_800;

/// A record under construction: what its fields say, not yet put together.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// Everything that enters the flow as it is.
    pub flow: CollectedFlow,
    /// Counters that stand in for absent ones: after the exporter's changes, or of layer 2.
    pub other: Counters,
    /// Uptime of the exporter at first and last packet, ms.
    pub uptime: (Option<u32>, Option<u32>),
    /// Time of first and last packet, ns since the epoch.
    pub absolute: (Option<i64>, Option<i64>),
    /// First and last packet, ns before the export.
    pub before_export: (Option<i64>, Option<i64>),
    /// Duration, ns.
    pub duration_ns: Option<i64>,
    /// When the exporter began, ms since the epoch.
    pub boot_ms: Option<i64>,
    /// Packets looked at in a row (`samplingPacketInterval`), or one of so many (the older fields).
    pub interval: u32,
    /// Packets let pass between them; absent for the older fields.
    pub space: Option<u32>,
    /// So many of a population looked at.
    pub size: u32,
    /// The population.
    pub population: u32,
    /// Number of the sampler that picked the packets.
    pub sampler: Option<u64>,
    /// Number of the application.
    pub application_id: Option<u64>,
    /// Name of the application.
    pub application_name: &'a [u8],
    /// Name of an interface.
    pub interface_name: &'a [u8],
    /// Description of an interface.
    pub interface_text: &'a [u8],
    /// Name of a sampler.
    pub sampler_name: &'a [u8],
    icmp_type: Option<u8>,
}

/// A big-endian number of any length; of more than 8 bytes the last 8 count.
#[inline]
fn uint(raw: &[u8]) -> u64 {
    match *raw {
        [a] => a.into(),
        [a, b] => u16::from_be_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_be_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => raw.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}

/// A number that fits into 32 bits, or the largest.
#[inline]
fn uint32(raw: &[u8]) -> u32 {
    u32::try_from(uint(raw)).unwrap_or(u32::MAX)
}

/// Nanoseconds of so many units of `unit_ns`; a time beyond all reason is the latest.
fn ns(raw: &[u8], unit_ns: i64) -> i64 {
    i64::try_from(uint(raw)).unwrap_or(i64::MAX).saturating_mul(unit_ns)
}

/// An NTP timestamp (RFC 7011 §6.1.9, §6.1.10) as nanoseconds since the epoch.
fn ntp(raw: &[u8]) -> Option<i64> {
    let [seconds, fraction] = [raw.get(..4)?, raw.get(4..8)?].map(|half| uint(half) as i64);
    Some((seconds - NTP_TO_UNIX_S).saturating_mul(1_000_000_000) + ((fraction * 1_000_000_000) >> 32))
}

fn v4(raw: &[u8]) -> Option<IpAddr> {
    let raw: [u8; 4] = raw.try_into().ok()?;
    Some(IpAddr::V4(Ipv4Addr::from(raw)))
}

fn v6(raw: &[u8]) -> Option<IpAddr> {
    let raw: [u8; 16] = raw.try_into().ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(raw)))
}

fn mac(raw: &[u8]) -> Option<Mac> {
    let mac: [u8; 6] = raw.try_into().ok()?;
    (mac != [0; 6]).then_some(mac)
}

/// Templates may hold an address of each version, one of them all zero: that one does not count.
fn set_address(to: &mut IpAddr, read: Option<IpAddr>) {
    if let Some(address) = read
        && (to.is_unspecified() || !address.is_unspecified())
    {
        *to = address;
    }
}

impl<'a> Draft<'a> {
    /// A record of which nothing is known yet.
    pub fn new(blank: CollectedFlow) -> Self {
        Self {
            flow: blank,
            other: Counters::default(),
            uptime: (None, None),
            absolute: (None, None),
            before_export: (None, None),
            duration_ns: None,
            boot_ms: None,
            interval: 0,
            space: None,
            size: 0,
            population: 0,
            sampler: None,
            application_id: None,
            application_name: &[],
            interface_name: &[],
            interface_text: &[],
            sampler_name: &[],
            icmp_type: None,
        }
    }

    /// Enters one field.
    #[inline]
    pub fn set(&mut self, field: Field, raw: &'a [u8]) {
        let flow = &mut self.flow;
        match field {
            Field::Skip => {}
            Field::Bytes => flow.forward.bytes = uint(raw),
            Field::Packets => flow.forward.packets = uint(raw),
            Field::TotalBytes => {
                flow.forward.bytes = uint(raw);
                flow.totals = true;
            }
            Field::TotalPackets => {
                flow.forward.packets = uint(raw);
                flow.totals = true;
            }
            Field::OtherBytes => self.other.bytes = uint(raw),
            Field::OtherPackets => self.other.packets = uint(raw),
            Field::InitiatorBytes => {
                flow.forward.bytes = uint(raw);
                flow.src_is_client = Some(true);
            }
            Field::InitiatorPackets => {
                flow.forward.packets = uint(raw);
                flow.src_is_client = Some(true);
            }
            Field::ReverseBytes => flow.reverse.bytes = uint(raw),
            Field::ReversePackets => flow.reverse.packets = uint(raw),
            Field::ReverseTotalBytes => {
                flow.reverse.bytes = uint(raw);
                flow.totals = true;
            }
            Field::ReverseTotalPackets => {
                flow.reverse.packets = uint(raw);
                flow.totals = true;
            }
            Field::Protocol => flow.l4 = L4(uint(raw) as u8),
            Field::Tos => flow.tos = uint(raw) as u8,
            // IPFIX has sixteen flags; the lower eight are those of RFC 9293.
            Field::TcpFlags => flow.tcp_flags = uint(raw) as u8,
            Field::ReverseTcpFlags => flow.reverse_tcp_flags = uint(raw) as u8,
            Field::SrcPort => flow.src_port = uint(raw) as u16,
            Field::DstPort => flow.dst_port = uint(raw) as u16,
            Field::SrcV4 => set_address(&mut flow.src, v4(raw)),
            Field::DstV4 => set_address(&mut flow.dst, v4(raw)),
            Field::SrcV6 => set_address(&mut flow.src, v6(raw)),
            Field::DstV6 => set_address(&mut flow.dst, v6(raw)),
            Field::NextHopV4 => flow.next_hop = v4(raw).filter(|ip| !ip.is_unspecified()).or(flow.next_hop),
            Field::NextHopV6 => flow.next_hop = v6(raw).filter(|ip| !ip.is_unspecified()).or(flow.next_hop),
            Field::Input => flow.input = uint32(raw),
            Field::Output => flow.output = uint32(raw),
            Field::SrcAs => flow.src_as = uint32(raw),
            Field::DstAs => flow.dst_as = uint32(raw),
            Field::SrcMac => flow.src_mac = mac(raw),
            Field::DstMac => flow.dst_mac = mac(raw),
            Field::Vlan => flow.vlan = uint(raw) as u16 & 0x0fff,
            Field::OtherVlan if flow.vlan == 0 => flow.vlan = uint(raw) as u16 & 0x0fff,
            Field::OtherVlan => {}
            Field::IcmpTypeCode => {
                let [kind, code] = (uint(raw) as u16).to_be_bytes();
                // An IPv4 flow under a template with the IPv6 field too, and the other way round.
                if (kind, code) != (0, 0) || flow.icmp.is_none() {
                    flow.icmp = Some((kind, code));
                }
            }
            Field::IcmpType => {
                let kind = uint(raw) as u8;
                self.icmp_type = Some(kind);
                flow.icmp = Some((kind, flow.icmp.map_or(0, |(_, code)| code)));
            }
            Field::IcmpCode => flow.icmp = Some((self.icmp_type.unwrap_or(0), uint(raw) as u8)),
            Field::UptimeFirst => self.uptime.0 = Some(uint32(raw)),
            Field::UptimeLast => self.uptime.1 = Some(uint32(raw)),
            Field::StartSeconds => self.absolute.0 = Some(ns(raw, 1_000_000_000)),
            Field::EndSeconds => self.absolute.1 = Some(ns(raw, 1_000_000_000)),
            Field::StartMillis => self.absolute.0 = Some(ns(raw, 1_000_000)),
            Field::EndMillis => self.absolute.1 = Some(ns(raw, 1_000_000)),
            Field::StartNtp => self.absolute.0 = ntp(raw),
            Field::EndNtp => self.absolute.1 = ntp(raw),
            Field::StartDelta => self.before_export.0 = Some(ns(raw, 1_000)),
            Field::EndDelta => self.before_export.1 = Some(ns(raw, 1_000)),
            Field::DurationMillis => self.duration_ns = Some(ns(raw, 1_000_000)),
            Field::DurationMicros => self.duration_ns = Some(ns(raw, 1_000)),
            Field::BootMillis => self.boot_ms = i64::try_from(uint(raw)).ok(),
            Field::EndReason => flow.end = EndReason::from_number(uint(raw) as u8),
            Field::BiflowDirection => {
                flow.src_is_client = match uint(raw) {
                    1 => Some(true),
                    2 => Some(false),
                    _ => None,
                }
            }
            Field::SamplingInterval => self.interval = uint32(raw),
            Field::SamplingSpace => self.space = Some(uint32(raw)),
            Field::SamplingSize => self.size = uint32(raw),
            Field::SamplingPopulation => self.population = uint32(raw),
            Field::SamplingProbability => self.set_probability(raw),
            Field::Sampler => self.sampler = Some(uint(raw)),
            Field::ApplicationId => self.application_id = Some(uint(raw)),
            Field::ApplicationName => self.application_name = raw,
            Field::InterfaceName => self.interface_name = raw,
            Field::InterfaceText => self.interface_text = raw,
            Field::SamplerName => self.sampler_name = raw,
        }
    }

    /// `samplingProbability` is a floating-point number of 4 or 8 bytes between 0 and 1.
    fn set_probability(&mut self, raw: &[u8]) {
        let probability = match *raw {
            [a, b, c, d] => f32::from_be_bytes([a, b, c, d]).into(),
            [a, b, c, d, e, f, g, h] => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => 0.0,
        };
        if probability > 0.0 && probability <= 1.0 {
            self.size = 1;
            // A float that is too large becomes the largest number.
            self.population = (1.0 / probability).round() as u32;
        }
    }

    /// One packet of how many the record itself says were looked at; `None` when it does not say.
    pub fn rate(&self) -> Option<u32> {
        let rate = match (self.interval, self.space) {
            (0, _) if self.size > 0 => self.population / self.size,
            // So many in a row, then so many not (RFC 5477 §8.2).
            (taken @ 1.., Some(space)) => taken.saturating_add(space) / taken,
            (every, _) => every,
        };
        (rate > 0).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft<'static> {
        Draft::new(CollectedFlow::of(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
    }

    #[test]
    fn numbers_have_any_length() {
        for (raw, number) in [
            (&[][..], 0),
            (&[7][..], 7),
            (&[1, 0, 0][..], 65536),
            (&[0, 0, 0, 0, 0, 0, 1, 1][..], 257),
            (&[9, 0, 0, 0, 0, 0, 0, 0, 3][..], 3),
        ] {
            assert_eq!(uint(raw), number);
        }
    }

    #[test]
    fn an_ntp_time_becomes_unix_time() {
        // 2024-01-01T00:00:00.5Z
        let seconds = (1_704_067_200u32 as i64 + NTP_TO_UNIX_S) as u32;
        let raw = [seconds.to_be_bytes(), 0x8000_0000u32.to_be_bytes()].concat();
        assert_eq!(ntp(&raw), Some(1_704_067_200_500_000_000));
        assert_eq!(ntp(&raw[..7]), None);
    }

    #[test]
    fn the_zero_address_of_the_other_version_does_not_count() {
        let mut draft = draft();
        draft.set(Field::SrcV4, &[192, 0, 2, 1]);
        draft.set(Field::SrcV6, &[0; 16]);
        draft.set(Field::DstV4, &[0; 4]);
        draft.set(Field::DstV6, &[0xfe; 16]);
        assert_eq!(draft.flow.src, IpAddr::from([192, 0, 2, 1]));
        assert_eq!(draft.flow.dst, IpAddr::from([0xfe; 16]));
    }

    #[test]
    fn sampling_is_told_in_three_ways() {
        let rate = |fields: &[(Field, &'static [u8])]| {
            let mut draft = draft();
            fields.iter().for_each(|(field, raw)| draft.set(*field, raw));
            draft.rate()
        };
        assert_eq!(rate(&[]), None);
        assert_eq!(rate(&[(Field::SamplingInterval, &[0, 0, 0, 100])]), Some(100));
        assert_eq!(rate(&[(Field::SamplingInterval, &[0, 1]), (Field::SamplingSpace, &[99])]), Some(100));
        assert_eq!(rate(&[(Field::SamplingSize, &[2]), (Field::SamplingPopulation, &[200])]), Some(100));
        assert_eq!(rate(&[(Field::SamplingProbability, &[0x3c, 0x23, 0xd7, 0x0a])]), Some(100));
        assert_eq!(rate(&[(Field::SamplingSpace, &[7])]), None);
    }
}
