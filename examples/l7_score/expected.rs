//! The classifier's answers and the translation of its names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

/// What was counted under one name.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    pub flows: u64,
    pub packets: u64,
    pub bytes: u64,
    /// Flows of these that were named by their port alone.
    pub guessed: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.flows += other.flows;
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.guessed += other.guessed;
    }

    /// What both have.
    pub fn common(self, other: Self) -> Self {
        Self {
            flows: self.flows.min(other.flows),
            packets: self.packets.min(other.packets),
            bytes: self.bytes.min(other.bytes),
            guessed: 0,
        }
    }

    /// What it has more than `other`.
    pub fn less(self, other: Self) -> Self {
        Self {
            flows: self.flows.saturating_sub(other.flows),
            packets: self.packets.saturating_sub(other.packets),
            bytes: self.bytes.saturating_sub(other.bytes),
            guessed: 0,
        }
    }

    /// True when flows, packets and bytes are the same.
    pub fn same(self, other: Self) -> bool {
        (self.flows, self.packets, self.bytes) == (other.flows, other.packets, other.bytes)
    }
}

/// Translates the classifier's names into ours.
#[derive(Default, Debug)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Refuses a table that is not one to one.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut names = BTreeMap::new();
        let mut ours_seen = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let Some((theirs, ours)) = line.split_once('\t') else { bail!("no tab in '{line}'") };
            let first = names.insert(theirs.to_owned(), ours.to_owned()).is_none();
            if !first || !ours_seen.insert(ours.to_owned()) {
                bail!("not one to one: '{line}'");
            }
        }
        Ok(Self(names))
    }

    fn ours<'n>(&'n self, theirs: &'n str) -> &'n str {
        self.0.get(theirs).map_or(theirs, String::as_str)
    }
}

/// Reads `expected.tsv`: counts by capture and by our name of the protocol.
pub fn read(path: &Path, names: &Names) -> anyhow::Result<BTreeMap<String, BTreeMap<String, Counts>>> {
    let text = fs::read_to_string(path)?;
    let mut captures: BTreeMap<String, BTreeMap<String, Counts>> = BTreeMap::new();
    let mut theirs_by_ours: BTreeMap<&str, &str> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [capture, protocol, packets, bytes, flows] = fields.as_slice() else {
            bail!("{}: not five columns: '{line}'", path.display());
        };
        let counts = Counts {
            flows: flows.parse().with_context(|| line.to_owned())?,
            packets: packets.parse().with_context(|| line.to_owned())?,
            bytes: bytes.parse().with_context(|| line.to_owned())?,
            guessed: 0,
        };
        let ours = names.ours(protocol);
        if *theirs_by_ours.entry(ours).or_insert(protocol) != *protocol {
            bail!("two names of the classifier are '{ours}' here");
        }
        captures.entry((*capture).to_owned()).or_default().entry(ours.to_owned()).or_default().add(counts);
    }
    Ok(captures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated_one_to_one() {
        let names = Names::parse("# theirs, ours\nFTP_CONTROL\tFTP\n").unwrap();
        assert_eq!((names.ours("FTP_CONTROL"), names.ours("TLS")), ("FTP", "TLS"));
        assert!(Names::parse("A\tX\nB\tX\n").is_err());
        assert!(Names::parse("A\tX\nA\tY\n").is_err());
        assert!(Names::parse("A X\n").is_err());
    }

    #[test]
    fn a_translated_name_may_not_meet_one_that_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("expected.tsv");
        let names = Names::parse("FTP_CONTROL\tFTP\n").unwrap();
        let head = "capture\tprotocol\tpackets\tbytes\tflows\n";
        fs::write(&path, format!("{head}a.pcap\tFTP_CONTROL\t3\t200\t1\n")).unwrap();
        let table = read(&path, &names).unwrap();
        assert_eq!(table["a.pcap"]["FTP"], Counts { flows: 1, packets: 3, bytes: 200, guessed: 0 });
        fs::write(&path, format!("{head}a.pcap\tFTP_CONTROL\t3\t200\t1\nb.pcap\tFTP\t1\t60\t1\n")).unwrap();
        assert!(read(&path, &names).is_err());
    }

    #[test]
    fn the_table_of_names_is_one_to_one() {
        Names::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/l7-names.tsv")).unwrap();
    }
}
