//! VRRP versions 2 (RFC 3768 §5.1) and 3 (RFC 5798 §5.1), which IP carries as protocol 112; the BSDs'
//! CARP took the same number (OpenBSD, ip_carp.h).

/// Version and kind, group, priority, count of addresses; authentication or interval, checksum.
const HEADER: usize = 8;
const CARP: usize = 36;

/// Whether `message` is an advertisement with as many addresses as it says.
pub(super) fn is_valid(message: &[u8]) -> bool {
    let [kind, group, _, count, ..] = message else { return false };
    let addresses = message.len().saturating_sub(HEADER);
    let count = usize::from(*count);
    match kind {
        // Eight bytes of authentication, which nobody uses any more, follow.
        0x21 if *group != 0 && addresses == count * 4 + 8 => true,
        // Its words of authentication are as many as the fourth byte says: 7.
        0x21 => message.len() == CARP && count == 7,
        0x31 => *group != 0 && count > 0 && (addresses == count * 4 || addresses == count * 16),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::recorded;
    use super::*;

    #[test]
    fn advertisements_of_both_versions() {
        for label in ["vrrp2", "vrrp3"] {
            let message = recorded(include_str!("ip/scapy.txt"), label).remove(0);
            assert!(is_valid(&message), "{label}");
            assert!(!is_valid(&message[..message.len() - 1]), "{label}");
            assert!(
                !is_valid(&[&message[..1], &[0], &message[2..]].concat()),
                "{label}: there is no group 0"
            );
        }
    }

    #[test]
    fn carp_has_a_length_of_its_own() {
        // Composed after the header file.
        let mut advertisement = [0; 36];
        advertisement[..6].copy_from_slice(&[0x21, 1, 100, 7, 0, 1]);
        assert!(is_valid(&advertisement));
        assert!(!is_valid(&advertisement[..35]));
    }
}
