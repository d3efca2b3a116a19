//! What a script remembers on one interface, also over restarts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

/// Bytes of a key at most.
const MAX_KEY: usize = 256;

/// Values by key, with a quota.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    values: BTreeMap<String, (Value, usize)>,
    bytes: usize,
}

/// A memory that the calls of one script share.
pub type SharedMemory = Rc<RefCell<Memory>>;

impl Memory {
    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).map(|(value, _)| value)
    }

    /// All values by key.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, (value, _))| (key.as_str(), value))
    }

    /// Sets a value whose JSON has `len` bytes; all keys and values together take `quota` at most.
    ///
    /// # Errors
    /// There is no room for it; what was there stays.
    pub fn set(&mut self, key: &str, value: Value, len: usize, quota: usize) -> Result<(), String> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(format!("a key to remember has 1 to {MAX_KEY} bytes"));
        }
        let before = self.values.get(key).map_or(0, |(_, len)| key.len() + len);
        let bytes = self.bytes - before + key.len() + len;
        if bytes > quota {
            return Err(format!("there is room for {quota} bytes to remember, {bytes} would be needed"));
        }
        self.bytes = bytes;
        self.values.insert(key.to_owned(), (value, len));
        Ok(())
    }

    /// Forgets the value under a key; true when there was one.
    pub fn forget(&mut self, key: &str) -> bool {
        let gone = self.values.remove(key);
        self.bytes -= gone.as_ref().map_or(0, |(_, len)| key.len() + len);
        gone.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_counts_keys_and_values_and_forgetting_makes_room() {
        let mut memory = Memory::default();
        memory.set("ab", Value::from(1), 1, 10).unwrap();
        memory.set("ab", Value::from("12345"), 7, 10).unwrap();
        assert!(memory.set("c", Value::from(1), 1, 10).unwrap_err().contains("room for 10 bytes"));
        assert_eq!((memory.get("ab"), memory.get("c")), (Some(&Value::from("12345")), None));
        assert!(memory.forget("ab") && !memory.forget("ab"));
        memory.set("c", Value::from(1), 1, 2).unwrap();
        assert!(memory.set("", Value::Null, 4, 100).is_err());
    }
}
