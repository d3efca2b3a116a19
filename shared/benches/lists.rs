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
    let listed = |n: u32| Ipv4Addr::from(n.wrapping_mul(0x9e37_79b1)).to_string();
    let octets = |n: u32| format!("{}.{}", n / 256, n % 256);
    for (what, expected, entry) in [
        ("address listed", true, &(|n: u32| listed(n * 97)) as &dyn Fn(u32) -> String),
        ("address under a prefix", true, &|n: u32| format!("198.19.{}", octets(n))),
        ("address not listed", false, &|n: u32| format!("203.0.{}", octets(n))),
        ("name listed", true, &|n: u32| format!("www.host{}.bad.example.com", n * 97)),
        ("name not listed", false, &|n: u32| format!("www{n}.good.example.org")),
    ] {
        // Others each time, so that memory is not near.
        let entries: Vec<String> = (0..4096).map(entry).collect();
        assert!(entries.iter().all(|entry| lists.has("blacklist", entry) == expected), "{what}");
        let mut next = entries.iter().cycle();
        criterion.bench_function(&format!("lists/{what}"), |b| {
            b.iter(|| next.next().map(|entry| lists.has(black_box("blacklist"), black_box(entry))));
        });
    }
}

criterion_group!(benches, lists);
criterion_main!(benches);
