//! Lists of addresses and names that scripts look things up in: blacklists, allowed servers.
//!
//! A file has one entry a line: an address, a prefix, a hardware address, or a name, which stands for
//! itself and everything under it (`example.org`, `*.example.org`). What looks like a name without dots
//! is one: a fingerprint, `AS64500`. A line of a hosts file (`0.0.0.0 example.org`) gives its
//! names. What follows `#` or `;` is a comment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hashbrown::HashSet;
use ipnet::IpNet;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::pool::{mac_text, parse_mac};

/// Largest file of a list in bytes.
const MAX_FILE: u64 = 256 * 1024 * 1024;

type Set<T> = HashSet<T, foldhash::fast::RandomState>;

/// All lists by name.
#[derive(Clone, Debug, Default)]
pub struct Lists(BTreeMap<String, Arc<List>>);

/// One list.
#[derive(Clone, Debug, Default)]
pub struct List {
    addresses: Set<IpAddr>,
    /// Networks by length of their prefix.
    networks: BTreeMap<u8, Set<IpNet>>,
    /// XXH3-64 of names in lower case: a million of them in 9 MB.
    names: Set<u64>,
    /// Lines that are no entry.
    pub wrong: usize,
    /// The first of them, with its number from 1.
    pub first_wrong: Option<(usize, String)>,
}

impl Lists {
    /// Reads the files of each list.
    ///
    /// # Errors
    /// Names the list and the file that cannot be read.
    pub fn load(files: &BTreeMap<String, Vec<PathBuf>>) -> Result<Self, String> {
        let mut lists = BTreeMap::new();
        for (name, files) in files {
            let mut list = List::default();
            for path in files {
                let cannot = |cause: String| format!("scripts.lists.{name}: {}: {cause}", path.display());
                let length = std::fs::metadata(path).map_err(|e| cannot(e.to_string()))?.len();
                if length > MAX_FILE {
                    return Err(cannot(format!("{length} bytes are more than {MAX_FILE}")));
                }
                let text = std::fs::read(path).map_err(|e| cannot(e.to_string()))?;
                let wrong = list.wrong;
                list.add(&String::from_utf8_lossy(&text));
                if let Some((line, entry)) = list.first_wrong.take() {
                    let (list_name, count) = (name, list.wrong - wrong);
                    tracing::warn!(list = list_name, file = %path.display(), line, entry, count, "no address, prefix or name");
                }
            }
            lists.insert(name.clone(), Arc::new(list));
        }
        Ok(Self(lists))
    }

    /// Whether a list holds an address (also `ip@vlan`) or a name; false when there is no such list.
    pub fn has(&self, list: &str, entry: &str) -> bool {
        self.0.get(list).is_some_and(|list| list.has(entry))
    }

    /// True when there is a list of that name.
    pub fn contains(&self, list: &str) -> bool {
        self.0.contains_key(list)
    }

    /// Puts a list in.
    pub fn insert(&mut self, name: &str, list: List) {
        self.0.insert(name.to_owned(), Arc::new(list));
    }
}

impl List {
    /// Adds what a file holds.
    pub fn add(&mut self, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(first) = words.next() else { continue };
            let rest: Vec<&str> = words.collect();
            let entries = if rest.is_empty() { vec![first] } else { rest };
            for entry in entries {
                if !self.insert(entry) {
                    self.wrong += 1;
                    self.first_wrong.get_or_insert_with(|| (number + 1, entry.chars().take(80).collect()));
                }
            }
        }
    }

    fn insert(&mut self, entry: &str) -> bool {
        if let Ok(ip) = entry.parse::<IpAddr>() {
            self.addresses.insert(ip.to_canonical());
        } else if let Ok(network) = entry.parse::<IpNet>() {
            self.networks.entry(network.prefix_len()).or_default().insert(network.trunc());
        } else if let Some(mac) = parse_mac(entry) {
            self.names.insert(xxh3_64(mac_text(&mac).as_bytes()));
        } else {
            let name = entry.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
            let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.len() > 253 || !name.chars().all(fits) {
                return false;
            }
            self.names.insert(xxh3_64(name.as_bytes()));
        }
        true
    }

    /// Whether it holds an address or a name.
    pub fn has(&self, entry: &str) -> bool {
        match entry.split('@').next().unwrap_or(entry).parse::<IpAddr>() {
            Ok(ip) => self.has_address(ip.to_canonical()),
            Err(_) => self.has_name(entry),
        }
    }

    fn has_address(&self, ip: IpAddr) -> bool {
        let under = |(length, networks): (&u8, &Set<IpNet>)| {
            IpNet::new(ip, *length).is_ok_and(|network| networks.contains(&network.trunc()))
        };
        self.addresses.contains(&ip) || self.networks.iter().any(under)
    }

    fn has_name(&self, name: &str) -> bool {
        if self.names.is_empty() || name.len() > 253 {
            return false;
        }
        let name = name.trim_matches('.').to_ascii_lowercase();
        let mut part = name.as_str();
        loop {
            if self.names.contains(&xxh3_64(part.as_bytes())) {
                return true;
            }
            let Some((_, rest)) = part.split_once('.') else { return false };
            part = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_prefixes_and_names() {
        let mut list = List::default();
        list.add(
            "# ours\n203.0.113.5\n198.51.100.0/24 ; a network\n2001:db8::/32\nEvil.example.org\n*.bad.test\n\
             0.0.0.0 ads.example.com tracker.example.com\nwhat is/this\n::1\n\
             02:00:00:00:00:0A\nAS64500\n",
        );
        for entry in [
            "203.0.113.5",
            "203.0.113.5@7",
            "::ffff:203.0.113.5",
            "198.51.100.77",
            "2001:db8:1::9",
            "evil.example.org",
            "WWW.evil.Example.org.",
            "bad.test",
            "x.y.bad.test",
            "tracker.example.com",
            "02:00:00:00:00:0a",
            "as64500",
        ] {
            assert!(list.has(entry), "{entry}");
        }
        for entry in
            ["203.0.113.6", "198.51.101.1", "2001:db9::1", "example.org", "notbad.test", "", ".", "ads"]
        {
            assert!(!list.has(entry), "{entry}");
        }
        assert_eq!((list.wrong, list.first_wrong), (1, Some((8, "is/this".to_owned()))));
        let lists = Lists::default();
        assert!(!lists.has("none", "203.0.113.5") && !lists.contains("none"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let files = BTreeMap::from([("blacklist".to_owned(), vec![PathBuf::from("/nowhere/x.txt")])]);
        let error = Lists::load(&files).unwrap_err();
        assert!(error.starts_with("scripts.lists.blacklist: /nowhere/x.txt: "), "{error}");
    }
}
