//! What is remarkable about the name of a host, whichever protocol says it, as status bits.

use shared::model::status::{FlowStatus, StatusBits};

use super::dga::looks_generated;

/// Bits of a name in lower case, without a port.
pub(super) fn of_name(name: &str) -> StatusBits {
    let mut bits = if has_punycode(name) { FlowStatus::PunycodeName.bit() } else { 0 };
    if looks_generated(name) {
        bits |= FlowStatus::DgaDomain.bit();
    }
    bits
}

/// The same for names that can be nothing but a host's: they have few characters (RFC 1123 §2.1, and
/// the underscore that many have all the same), or are addresses.
pub(super) fn of_host(name: &str) -> StatusBits {
    let odd = if name.bytes().all(belongs) { 0 } else { FlowStatus::InvalidCharacters.bit() };
    odd | of_name(name)
}

fn belongs(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
}

/// Whether a label of the name is in its form for other scripts (RFC 5890 §2.3.2.1).
pub(super) fn has_punycode(name: &str) -> bool {
    name.split('.').any(|label| label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_bits() {
        use FlowStatus::{DgaDomain, InvalidCharacters, PunycodeName};
        for (name, bits) in [
            ("www.example.org", 0),
            ("_srv.example.org", 0),
            ("[2001:db8::1]", 0),
            ("", 0),
            ("www.xn--80ak6aa92e.com", PunycodeName.bit()),
            ("www.XN--80ak6aa92e.com", PunycodeName.bit()),
            ("xn-other.example.org", 0),
            ("xjw7q9zk2vbq4t.com", DgaDomain.bit()),
            ("a<b>.example.org", InvalidCharacters.bit()),
            ("bücher.example", InvalidCharacters.bit()),
        ] {
            assert_eq!(of_host(name), bits, "{name}");
            assert_eq!(of_name(name), bits & !InvalidCharacters.bit(), "{name}");
        }
    }
}
