//! OSPF versions 2 (RFC 2328 §A.3.1) and 3 (RFC 5340 §A.3.1), which IP carries as protocol 89.

use super::be16;

/// Whether `message` begins with a header that fits it.
pub(super) fn is_valid(message: &[u8]) -> bool {
    let header = match message {
        // Kinds: hello, description, request, update, acknowledgement.
        [2, 1..=5, ..] => 24,
        [3, 1..=5, ..] => 16,
        _ => return false,
    };
    // A signature may follow the length (RFC 2328 §D.4.3).
    let length = be16(message, 2).map(usize::from);
    length.is_some_and(|length| (header..=message.len()).contains(&length))
}

#[cfg(test)]
mod tests {
    use super::super::tests::recorded;
    use super::*;

    #[test]
    fn hellos_of_both_versions() {
        for label in ["ospf2", "ospf3"] {
            let message = &recorded(include_str!("ip/scapy.txt"), label)[0];
            assert!(is_valid(message), "{label}");
            assert!(!is_valid(&message[..message.len() - 1]), "{label}");
            assert!(!is_valid(&[&[4], &message[1..]].concat()), "{label}");
        }
    }
}
