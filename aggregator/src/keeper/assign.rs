//! Which of the live aggregators shall hold a partition: rendezvous hashing. Pure.
//!
//! Everybody who knows the same members comes to the same answer, and when one goes or comes, only the
//! partitions move that were or shall be its own.

use std::collections::BTreeMap;

use shared::wire::partition::PARTITIONS;

/// The member with the highest weight for a partition; ties cannot happen between different names.
pub fn owner<'a>(partition: u32, members: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    members.into_iter().max_by_key(|node| (weight(partition, node), *node))
}

/// How many partitions each member shall hold.
pub fn shares<'a>(members: &[&'a str]) -> BTreeMap<&'a str, u32> {
    let mut shares: BTreeMap<&str, u32> = members.iter().map(|node| (*node, 0)).collect();
    for owner in (0..PARTITIONS).filter_map(|partition| owner(partition, members.iter().copied())) {
        *shares.entry(owner).or_default() += 1;
    }
    shares
}

/// XXH3-64 of the name, seeded by the partition.
fn weight(partition: u32, node: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(node.as_bytes(), u64::from(partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_one_goes_only_its_partitions_move_and_they_are_spread() {
        let names: Vec<String> = (0..8).map(|n| format!("node-{n}")).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let without = &all[1..];
        let mut takers = std::collections::BTreeSet::new();
        for partition in 0..PARTITIONS {
            let before = owner(partition, all.iter().copied()).unwrap();
            let after = owner(partition, without.iter().copied()).unwrap();
            match before == all[0] {
                true => drop(takers.insert(after)),
                false => assert_eq!(before, after, "{partition}"),
            }
        }
        assert!(takers.len() > 1, "{takers:?}");
        assert!(shares(&all).values().all(|share| (1..=20).contains(share)), "{:?}", shares(&all));
        assert_eq!(owner(0, []), None);
    }

    /// Names that a cluster's aggregators could have.
    const CLUSTERS: u32 = 200;

    /// Rows of docs/sizing.md: over many clusters of `count` aggregators, the mean of the smallest and the
    /// largest share, and how many partitions move when one more comes.
    fn row(count: u32) -> String {
        let (mut least, mut most, mut moved) = (0, 0, 0);
        for cluster in 0..CLUSTERS {
            let names: Vec<String> = (0..=count).map(|n| format!("aggregator-{cluster}-{n}")).collect();
            let more: Vec<&str> = names.iter().map(String::as_str).collect();
            let all = &more[..count as usize];
            let shares = shares(all);
            least += shares.values().min().unwrap();
            most += shares.values().max().unwrap();
            let holder = |members: &[&str], part| owner(part, members.iter().copied()).map(str::to_owned);
            moved += (0..PARTITIONS).filter(|part| holder(all, *part) != holder(&more, *part)).count() as u32;
        }
        let mean = |sum: u32| f64::from(sum) / f64::from(CLUSTERS);
        let [least, most, moved] = [least, most, moved].map(mean);
        format!("| {count} | {least:.1} | {:.1} | {most:.1} | {moved:.1} |\n", 64.0 / f64::from(count))
    }

    #[test]
    fn the_page_on_sizing_tells_what_each_aggregator_gets() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/sizing.md");
        let page = std::fs::read_to_string(path).unwrap();
        let rows: String = [1, 2, 4, 8, 16].map(row).concat();
        let begin = page.find("| 1 | ").unwrap();
        let end = begin + page[begin..].find("\n\n").unwrap() + 1;
        if std::env::var_os("FLOWHOOK_BLESS").is_some() {
            std::fs::write(path, format!("{}{rows}{}", &page[..begin], &page[end..])).unwrap();
        } else {
            assert_eq!(&page[begin..end], rows, "FLOWHOOK_BLESS=1 writes it");
        }
    }
}
