//! Wake-on-LAN's magic packet (AMD, publication 20213): six bytes of ones, then an address sixteen times,
//! then at most a password of six bytes.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, Probe, name_only};

const ADDRESS: usize = 6;
const TIMES: usize = 16;
const MAGIC: usize = ADDRESS * (1 + TIMES);

pub(super) static WAKE_ON_LAN: Dissector = Dissector {
    name: "WakeOnLAN",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0xff,
    ports: &[(L4::UDP, 9), (L4::UDP, 7)],
    probe: |bytes, _| if is_magic(bytes) { Probe::Certain } else { Probe::No },
    dissect: name_only,
};

fn is_magic(bytes: &[u8]) -> bool {
    let (Some((ones, addresses)), 0 | 4 | 6) = (bytes.split_first_chunk(), bytes.len().wrapping_sub(MAGIC))
    else {
        return false;
    };
    let mut addresses = addresses.chunks_exact(ADDRESS).take(TIMES);
    let first = addresses.next();
    *ones == [0xff; ADDRESS] && addresses.all(|address| Some(address) == first)
}

// A packet after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    fn magic(password: &[u8]) -> Vec<u8> {
        [&[0xff; 6][..], &[0x02, 0x42, 0xac, 0x11, 0x00, 0x02].repeat(16), password].concat()
    }

    #[test]
    fn a_magic_packet_has_an_address_sixteen_times() {
        for password in [&[][..], &[10, 0, 0, 1], &[1, 2, 3, 4, 5, 6]] {
            let verdict = Run::new(udp(50_000, 40_000)).client(&magic(password));
            assert_eq!(verdict, Verdict::Decided("WakeOnLAN"), "{password:?}");
        }
        let mut other = magic(&[]);
        other[50] ^= 1;
        for bytes in [&other[..], &magic(&[1])[..], &magic(&[])[..101]] {
            assert_eq!(Run::new(udp(50_000, 9)).client(bytes), Verdict::Undecided);
        }
    }
}
