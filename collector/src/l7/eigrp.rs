//! EIGRP (RFC 7868 §6.2), which IP carries as protocol 88.

use super::be16;

const HEADER: usize = 20;

/// Whether `message` has a known kind, and elements that fill it.
pub(super) fn is_valid(message: &[u8]) -> bool {
    // Update, request, query, reply, hello, and questions about what is active.
    if !matches!(message, [2, 1..=5 | 10 | 11, ..]) {
        return false;
    }
    let Some(mut elements) = message.get(HEADER..) else { return false };
    while !elements.is_empty() {
        let length = be16(elements, 2).map(usize::from).filter(|length| *length >= 4);
        let Some(rest) = length.and_then(|length| elements.get(length..)) else { return false };
        elements = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::tests::recorded;
    use super::*;

    #[test]
    fn a_hello_with_its_parameters() {
        let hello = recorded(include_str!("ip/scapy.txt"), "eigrp-hello").remove(0);
        assert!(hello.len() > HEADER && is_valid(&hello));
        assert!(!is_valid(&hello[..hello.len() - 1]));
        assert!(is_valid(&hello[..HEADER]), "an acknowledgement is a hello without elements");
        assert!(!is_valid(&[&[1], &hello[1..]].concat()));
    }
}
