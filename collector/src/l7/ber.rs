//! The little of ASN.1's basic encoding (X.690) that SNMP, LDAP and Kerberos need.

/// One element.
pub(super) struct Element<'a> {
    /// Its tag byte.
    pub(super) tag: u8,
    /// Its contents, as far as there are bytes.
    pub(super) body: &'a [u8],
    /// What follows.
    pub(super) rest: &'a [u8],
    /// Whether all contents are here.
    pub(super) whole: bool,
}

/// The element at the start; `None` when its head is cut or is not one that these protocols use.
pub(super) fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = bytes.split_first()?;
    // Tags of several bytes, and contents without a length.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let whole = length <= rest.len();
    let (body, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    Some(Element { tag, body, rest, whole })
}

/// The whole element at the start, if its tag is `tag`: contents and what follows.
pub(super) fn tagged(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let element = element(bytes).filter(|element| element.tag == tag && element.whole)?;
    Some((element.body, element.rest))
}

/// The integer of at most four bytes at the start, and what follows.
pub(super) fn integer(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (body, rest) = tagged(bytes, 0x02)?;
    if body.is_empty() || body.len() > 5 || (body.len() == 5 && body.first() != Some(&0)) {
        return None;
    }
    Some((body.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_a_short_and_a_long_form() {
        assert_eq!(tagged(&[4, 2, 7, 8, 9], 4), Some((&[7, 8][..], &[9][..])));
        assert_eq!(tagged(&[4, 0x82, 0, 1, 7], 4), Some((&[7][..], &[][..])));
        let cut = element(&[0x30, 0x81, 200, 1]).map(|element| (element.whole, element.body.len()));
        assert_eq!(cut, Some((false, 1)));
        for bytes in [&[][..], &[4], &[4, 0x80], &[4, 0x85, 0, 0, 0, 0, 1], &[0x1f, 1, 1], &[4, 0x82, 1]] {
            assert!(element(bytes).is_none());
        }
    }

    #[test]
    fn integers_fit_in_four_bytes() {
        assert_eq!(integer(&[2, 2, 1, 0]).map(|(value, _)| value), Some(256));
        assert_eq!(integer(&[2, 5, 0, 0xff, 0, 0, 0]).map(|(value, _)| value), Some(0xff00_0000));
        assert!(integer(&[2, 5, 1, 0, 0, 0, 0]).is_none());
        assert!(integer(&[2, 0]).is_none());
    }
}
