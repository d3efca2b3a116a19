//! Payloads that look random.

/// Mean number of set bits in a byte of what is random.
const RANDOM_BITS: std::ops::Range<f32> = 3.4..4.6;
/// Fewer bytes say nothing.
const SHORTEST: usize = 48;

fn mean_bits(bytes: &[u8]) -> f32 {
    bytes.iter().map(|byte| byte.count_ones()).sum::<u32>() as f32 / bytes.len().max(1) as f32
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

/// Whether the first payload of a connection is random throughout, as obfuscated tunnels send it: the
/// tests that censors were measured to apply (Wu et al., "How the Great Firewall of China Detects and
/// Blocks Fully Encrypted Traffic", USENIX Security 2023, §4), on payloads long enough for chance to even
/// out.
pub(crate) fn is_fully_encrypted(payload: &[u8]) -> bool {
    let printable = payload.iter().filter(|byte| is_printable(**byte)).count();
    let longest_text =
        || payload.split(|byte| !is_printable(*byte)).map(<[u8]>::len).max().unwrap_or_default();
    payload.len() >= SHORTEST
        && RANDOM_BITS.contains(&mean_bits(payload))
        && !payload.iter().take(6).all(|byte| is_printable(*byte))
        && printable * 2 <= payload.len()
        && longest_text() <= 20
        && !has_steps(payload)
}

/// Whether an echo's data look random, where systems send text, zeros or numbers that count up.
pub(crate) fn is_random_echo(data: &[u8]) -> bool {
    // A time stands at the beginning of some.
    let data = data.get(16..).unwrap_or_default();
    is_fully_encrypted(data)
}

/// Whether many bytes are the one before, or one more than it: padding, counters, structures.
fn has_steps(bytes: &[u8]) -> bool {
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    let steps = pairs.filter(|(a, b)| matches!(b.wrapping_sub(**a), 0 | 1)).count();
    steps * 10 > bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(length: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn random_payloads_are_seen() {
        let seen = (1..=200).filter(|seed| is_fully_encrypted(&random(300, *seed))).count();
        assert!(seen >= 190, "{seen} of 200");
        assert!(!is_fully_encrypted(&random(SHORTEST - 1, 1)), "too short to tell");
    }

    #[test]
    fn what_has_a_structure_is_not_random() {
        let counting: Vec<u8> = (0..200).collect();
        let text =
            b"It is a truth universally acknowledged, that a single man in possession of a good fortune";
        let mut framed = b"SSH-2.0".to_vec();
        framed.extend(random(200, 3));
        for payload in [&counting[..], text, &framed, &[0; 300], &[0xaa; 300]] {
            assert!(!is_fully_encrypted(payload));
        }
    }

    #[test]
    fn echoes_of_usual_systems_are_usual() {
        let linux: Vec<u8> = random(16, 5).into_iter().chain(16..56).collect();
        let long: Vec<u8> = random(16, 5).into_iter().chain((0..1400).map(|n| n as u8)).collect();
        let windows = b"abcdefghijklmnopqrstuvwabcdefghi".repeat(4);
        for data in [&linux[..], &long, &windows, &[0; 500]] {
            assert!(!is_random_echo(data));
        }
        assert!(is_random_echo(&random(600, 9)));
    }
}
