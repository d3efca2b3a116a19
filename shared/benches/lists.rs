//! Looking things up in a list of a million entries, half addresses and half names, and a few prefixes.

#![allow(missing_docs, reason = "benches")]

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, criterion_group, criterion_main};
use shared::script::lists::{List, Lists};

const ENTRIES: u32 = 1_000_000;

fn lists(criterion: &mut Criterion) {
    let mut text = String::from("198.18.0.0/15\n198.51.100.0/24\n2001:db8::/32\n");
    for n in 0..ENTRIES / 2 {
        // Spread over the whole space, never twice the same.
        let address = Ipv4Addr::from(n.wrapping_mul(0x9e37_79b1));
        text.push_str(&format!("{address}\nhost{n}.bad.example.com\n"));
    }
    let mut list = List::default();
    list.add(&text);
    let mut lists = Lists::default();
    lists.insert("blacklist", list);
    let listed = Ipv4Addr::from(77_u32.wrapping_mul(0x9e37_79b1)).to_string();
    for (what, entry, expected) in [
        ("address listed", listed.as_str(), true),
        ("address under a prefix", "198.19.7.7", true),
        ("address not listed", "203.0.113.5", false),
        ("name listed", "www.host77.bad.example.com", true),
        ("name not listed", "www.good.example.org", false),
    ] {
        assert_eq!(lists.has("blacklist", entry), expected, "{entry}");
        criterion.bench_function(&format!("lists/{what}"), |b| {
            b.iter(|| lists.has(black_box("blacklist"), black_box(entry)));
        });
    }
}

criterion_group!(benches, lists);
criterion_main!(benches);
