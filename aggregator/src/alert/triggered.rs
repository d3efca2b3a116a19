//! What the scripts of a run have triggered.

use std::collections::{BTreeMap, BTreeSet};

/// Scripts, elements, and the types of alerts that they triggered; it is asked once for each alert that is
/// engaged, so nothing is copied to ask.
#[derive(Debug, Default)]
pub struct Triggered(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Triggered {
    /// A script triggered an alert of a type.
    pub fn note(&mut self, script: &str, element: &str, alert_type: &str) {
        if !self.0.contains_key(script) {
            self.0.insert(script.to_owned(), BTreeMap::new());
        }
        let Some(elements) = self.0.get_mut(script) else { return };
        if !elements.contains_key(element) {
            elements.insert(element.to_owned(), BTreeSet::new());
        }
        let Some(types) = elements.get_mut(element) else { return };
        if !types.contains(alert_type) {
            types.insert(alert_type.to_owned());
        }
    }

    /// Whether it did.
    pub fn contains(&self, script: &str, element: &str, alert_type: &str) -> bool {
        let types = self.0.get(script).and_then(|elements| elements.get(element));
        types.is_some_and(|types| types.contains(alert_type))
    }
}
