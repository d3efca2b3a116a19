//! PIM version 2 (RFC 7761 §4.9), which IP carries as protocol 103.

/// Whether `message` has the version and a known kind.
pub(super) fn is_valid(message: &[u8]) -> bool {
    // Hello to state refresh, and the kinds that were added up to 13 (RFC 8736).
    matches!(message, [0x20..=0x2d, _, _, _, ..])
}

#[cfg(test)]
mod tests {
    use super::super::tests::recorded;
    use super::*;

    #[test]
    fn a_hello() {
        let hello = recorded(include_str!("ip/scapy.txt"), "pim-hello").remove(0);
        assert!(is_valid(&hello));
        assert!(!is_valid(&hello[..3]));
        assert!(!is_valid(&[&[0x10], &hello[1..]].concat()), "version 1 is carried by IGMP");
    }
}
