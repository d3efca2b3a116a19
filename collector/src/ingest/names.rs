//! Names that exporters give to applications, interfaces and samplers, kept once each and bounded.

use std::collections::HashMap;
use std::sync::Arc;

/// Names of one kind per exporter at most; beyond it new ones are not kept.
const MAX_NAMES: usize = 4096;

/// Bytes kept of a name at most.
const MAX_LENGTH: usize = 128;

/// What an exporter's numbers are called.
#[derive(Clone, Debug, Default)]
pub struct Names {
    applications: HashMap<u64, Arc<str>>,
    interfaces: HashMap<u32, Arc<str>>,
    texts: HashMap<Box<[u8]>, Arc<str>>,
}

/// A field of text: padded with zeros, or of odd bytes.
fn text(raw: &[u8]) -> Option<Arc<str>> {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    let text = String::from_utf8_lossy(raw.get(..end.min(MAX_LENGTH))?);
    let text = text.trim();
    (!text.is_empty()).then(|| text.into())
}

impl Names {
    /// Learns the name of an application.
    pub fn set_application(&mut self, id: u64, raw: &[u8]) {
        keep(&mut self.applications, id, raw);
    }

    /// Learns the name of an interface.
    pub fn set_interface(&mut self, index: u32, raw: &[u8]) {
        keep(&mut self.interfaces, index, raw);
    }

    /// What an application is called: by the name in its record, else by its number.
    pub fn application(&mut self, id: Option<u64>, raw: &[u8]) -> Option<Arc<str>> {
        if raw.is_empty() {
            return self.applications.get(&id?).cloned();
        }
        let raw = raw.get(..MAX_LENGTH).unwrap_or(raw);
        if let Some(known) = self.texts.get(raw) {
            return Some(Arc::clone(known));
        }
        let name = text(raw)?;
        if self.texts.len() < MAX_NAMES {
            self.texts.insert(raw.into(), Arc::clone(&name));
        }
        Some(name)
    }

    /// What an interface is called.
    pub fn interface(&self, index: u32) -> Option<&Arc<str>> {
        self.interfaces.get(&index)
    }
}

fn keep<K: std::hash::Hash + Eq>(names: &mut HashMap<K, Arc<str>>, key: K, raw: &[u8]) {
    let Some(name) = text(raw) else { return };
    if names.len() < MAX_NAMES || names.contains_key(&key) {
        names.insert(key, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_number_or_taken_from_the_record() {
        let mut names = Names::default();
        names.set_application(0x0d00_0001, b"netflix\0\0\0\0");
        assert_eq!(names.application(Some(0x0d00_0001), b"").as_deref(), Some("netflix"));
        assert_eq!(names.application(Some(2), b""), None);
        assert_eq!(names.application(Some(2), b"ssh \0x").as_deref(), Some("ssh"));
        let (first, second) = (names.application(None, b"dns"), names.application(None, b"dns"));
        assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
        assert_eq!(names.application(None, &[0; 32]), None);
    }

    #[test]
    fn names_are_bounded_in_number_and_length() {
        let mut names = Names::default();
        for index in 0..MAX_NAMES as u32 + 10 {
            names.set_interface(index, &[b'x'; 4000]);
        }
        assert_eq!(names.interfaces.len(), MAX_NAMES);
        assert_eq!(names.interface(1).map(|n| n.len()), Some(MAX_LENGTH));
        names.set_interface(1, b"eth0");
        assert_eq!(names.interface(1).map(|n| &**n), Some("eth0"));
    }
}
