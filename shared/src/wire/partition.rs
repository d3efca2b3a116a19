//! Which partition owns an interface.

/// How many partitions there are; never changes in a running cluster.
pub const PARTITIONS: u32 = 64;

/// Stands for a partition where there is no interface: hosts that are probed.
pub const OF_MONITOR: u32 = PARTITIONS;

/// The same for log lines.
pub const OF_SYSLOG: u32 = PARTITIONS + 1;

/// The partition of an interface: XXH3-64 of `site`, a zero byte and the interface id.
pub fn of_interface(site: &str, ifid: u32) -> u32 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(site.as_bytes());
    hasher.update(&[0]);
    hasher.update(&ifid.to_le_bytes());
    (hasher.digest() % u64::from(PARTITIONS)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_stable() {
        assert_eq!(of_interface("main", 0), of_interface("main", 0));
        assert!((0..1000).all(|ifid| of_interface("main", ifid) < PARTITIONS));
        let used: std::collections::BTreeSet<_> = (0..1000).map(|i| of_interface("main", i)).collect();
        assert_eq!(used.len(), PARTITIONS as usize, "every partition is used");
    }
}
