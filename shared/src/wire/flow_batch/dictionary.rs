//! Texts of a batch: each once, named by its number.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;

use super::{column, malformed};
use crate::model::FlowGeo;
use crate::model::flow::{ExportInfo, L7Info};
use crate::wire::WireError;

/// Field of `FlowBatch` that holds the texts.
const FIELD: column::Field = 2;

/// Texts being written. They lie in one piece of memory as they go out: key, length, text.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    written: Vec<u8>,
    /// Where each text lies.
    spans: Vec<(u32, u32)>,
    places: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
}

impl Dictionary {
    /// The number of `text`; the empty text is always 0.
    pub(super) fn index(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if self.spans.is_empty() {
            self.append("");
        }
        let Self { written, spans, places, hasher } = self;
        let hash = |text: &[u8]| hasher.hash_one(text);
        let of = |place: u32| {
            let (from, to) = spans[place as usize];
            &written[from as usize..to as usize]
        };
        let hashed = hash(text.as_bytes());
        if let Some(place) = places.find(hashed, |place| of(*place) == text.as_bytes()) {
            return *place;
        }
        let place = spans.len() as u32;
        places.insert_unique(hashed, place, |place| hash(of(*place)));
        self.append(text);
        place
    }

    pub(super) fn export(&mut self, export: Option<&ExportInfo>) -> u32 {
        export.map_or(0, |export| self.index(&serde_json::to_string(export).unwrap_or_default()))
    }

    pub(super) fn geo(&mut self, geo: Option<&FlowGeo>) -> u32 {
        geo.map_or(0, |geo| self.index(&serde_json::to_string(geo).unwrap_or_default()))
    }

    fn append(&mut self, text: &str) {
        column::bytes(&mut self.written, FIELD, text.as_bytes());
        let end = self.written.len();
        self.spans.push(((end - text.len()) as u32, end as u32));
    }

    /// Bytes of all texts.
    pub(super) fn len(&self) -> usize {
        self.written.len()
    }

    /// Appends all texts and begins anew.
    pub(super) fn finish(&mut self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.written);
        self.written.clear();
        self.spans.clear();
        self.places.clear();
    }
}

/// Texts being read: shared by all rows that name them, application data parsed once.
pub(super) struct Texts {
    texts: Vec<Arc<str>>,
    infos: HashMap<u32, L7Info>,
}

impl Texts {
    pub(super) fn new(texts: Vec<String>) -> Self {
        Self { texts: texts.into_iter().map(Arc::from).collect(), infos: HashMap::new() }
    }

    pub(super) fn text(&self, index: u32) -> Result<Arc<str>, WireError> {
        match self.texts.get(index as usize) {
            Some(text) => Ok(Arc::clone(text)),
            None if index == 0 => Ok(Arc::default()),
            None => Err(malformed(&format!("text {index} of {}", self.texts.len()))),
        }
    }

    pub(super) fn export(&mut self, index: u32) -> Result<Option<Box<ExportInfo>>, WireError> {
        if index == 0 {
            return Ok(None);
        }
        let export = serde_json::from_str(&self.text(index)?);
        export.map(Some).map_err(|e| malformed(&format!("export {index}: {e}")))
    }

    pub(super) fn geo(&mut self, index: u32) -> Result<Option<Box<FlowGeo>>, WireError> {
        if index == 0 {
            return Ok(None);
        }
        let geo = serde_json::from_str(&self.text(index)?);
        geo.map(Some).map_err(|e| malformed(&format!("geo {index}: {e}")))
    }

    pub(super) fn info(&mut self, index: u32) -> Result<L7Info, WireError> {
        if index == 0 {
            return Ok(L7Info::default());
        }
        if let Some(info) = self.infos.get(&index) {
            return Ok(info.clone());
        }
        let info: L7Info = serde_json::from_str(&self.text(index)?)
            .map_err(|e| malformed(&format!("application data {index}: {e}")))?;
        self.infos.insert(index, info.clone());
        Ok(info)
    }
}
