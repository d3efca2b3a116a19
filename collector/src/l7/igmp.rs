//! IGMP versions 1 (RFC 1112), 2 (RFC 2236) and 3 (RFC 3376), which IP carries as protocol 2.

/// Whether `message` is of a known kind and its sum is right.
pub(super) fn is_valid(message: &[u8]) -> bool {
    // Query; reports of versions 1, 2 and 3; leave; DVMRP and PIM version 1; trace and its answer.
    let known = matches!(message.first(), Some(0x11..=0x14 | 0x16 | 0x17 | 0x22 | 0x1e | 0x1f));
    known && message.len() >= 8 && sum(message) == 0xffff
}

/// The sum of words in ones' complement (RFC 1071): all ones when it holds its own checksum.
pub(super) fn sum(message: &[u8]) -> u16 {
    let words = message.chunks(2).map(|word| match word {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        rest => u32::from(rest.first().copied().unwrap_or_default()) << 8,
    });
    // At most 32,768 words: no carry is lost before the end.
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::super::tests::recorded;
    use super::*;

    #[test]
    fn queries_and_reports_with_their_sums() {
        for label in ["igmp2-query", "igmp2-report", "igmp3-report"] {
            let message = recorded(include_str!("ip/scapy.txt"), label).remove(0);
            assert!(is_valid(&message), "{label}");
            assert!(!is_valid(&message[..7]), "{label}");
            let mut wrong = message.clone();
            wrong[4] ^= 1;
            assert!(!is_valid(&wrong), "{label}");
        }
    }
}
