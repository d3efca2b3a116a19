//! Names of what flows speak: `TLS`, or `TLS.YouTube` when the application is known too.

use std::collections::HashMap;
use std::sync::Arc;

use shared::model::{AppCategory, Breed};

use crate::l7::ProtocolId;
use crate::l7::apps::{AppId, AppTable};

/// A protocol with its application, by number; a plain protocol's is its own number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(u16);

impl NameId {
    /// Its number.
    pub fn number(self) -> usize {
        self.0.into()
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub struct Name {
    /// `Protocol` or `Protocol.Application`.
    pub text: Arc<str>,
    /// What it is for: the application's when it is known.
    pub category: AppCategory,
    /// How far it is to be trusted, likewise.
    pub breed: Breed,
}

/// Every name met, and the table of applications.
#[derive(Debug)]
pub struct Names {
    all: Vec<Name>,
    pairs: HashMap<(ProtocolId, AppId), NameId, foldhash::fast::RandomState>,
    apps: Arc<AppTable>,
}

impl Names {
    /// The names of all protocols.
    pub fn new(apps: Arc<AppTable>) -> Self {
        let plain = |protocol: ProtocolId| Name {
            text: Arc::from(protocol.name()),
            category: protocol.category(),
            breed: protocol.breed(),
        };
        Self { all: ProtocolId::all().map(plain).collect(), pairs: HashMap::default(), apps }
    }

    /// The name of a protocol alone.
    pub fn plain(protocol: ProtocolId) -> NameId {
        NameId(protocol.number())
    }

    /// The name of a protocol whose flow showed the host name `host`.
    pub fn with_host(&mut self, protocol: ProtocolId, host: &str) -> NameId {
        let app = self.apps.find(host);
        let Some(known) = self.apps.get(app) else { return Self::plain(protocol) };
        // The host asked is a resolver of names, whoever runs it.
        if protocol.name() == "DoH_DoT" {
            return Self::plain(protocol);
        }
        if let Some(name) = self.pairs.get(&(protocol, app)) {
            return *name;
        }
        let Ok(number) = u16::try_from(self.all.len()) else { return Self::plain(protocol) };
        let text = match &*known.name == protocol.name() {
            true => Arc::from(protocol.name()),
            false => Arc::from(format!("{}.{}", protocol.name(), known.name)),
        };
        self.all.push(Name { text, category: known.category, breed: known.breed });
        self.pairs.insert((protocol, app), NameId(number));
        NameId(number)
    }

    /// What a number stands for.
    pub fn get(&self, id: NameId) -> &Name {
        // Number 0 is always there: it is Unknown.
        self.all.get(id.number()).unwrap_or(&self.all[0])
    }

    /// Every name, in order of the numbers.
    pub fn all(&self) -> &[Name] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_named_behind_its_protocol() {
        let mut names = Names::new(AppTable::built_in());
        let tls = ProtocolId::by_name("TLS").unwrap();
        let tube = names.with_host(tls, "www.youtube.com");
        assert_eq!(names.with_host(tls, "youtube.com"), tube);
        assert_eq!((&*names.get(tube).text, names.get(tube).category), ("TLS.YouTube", AppCategory::Video));
        assert_eq!(names.with_host(tls, "example.org"), Names::plain(tls));
        assert_eq!(&*names.get(Names::plain(tls)).text, "TLS");
    }
}
