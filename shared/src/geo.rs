//! Looks up where addresses are, in databases of MaxMind's format (MaxMind DB file format 2.0): country,
//! city or ASN databases of whoever makes them.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use maxminddb::Reader;
use serde::Deserialize;

use crate::model::GeoPlace;

/// Largest database in bytes.
const MAX_FILE: u64 = 1 << 30;

/// Addresses remembered at most; then all are forgotten.
const MAX_KNOWN: usize = 1 << 16;

/// Databases that are asked together. Copies share them.
#[derive(Clone, Default)]
pub struct GeoBases(Arc<[Base]>);

struct Base {
    path: PathBuf,
    reader: Reader<Vec<u8>>,
    /// A record that could not be read was told.
    told: AtomicBool,
}

impl fmt::Debug for GeoBases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|base| &base.path)).finish()
    }
}

/// The part of a record that is of use here; databases leave out what they do not have.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    country: Country<'a>,
    #[serde(borrow)]
    continent: Continent<'a>,
    #[serde(borrow)]
    city: City<'a>,
    location: Location,
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Country<'a> {
    iso_code: Option<&'a str>,
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Continent<'a> {
    code: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct City<'a> {
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl GeoBases {
    /// Reads the files into memory.
    ///
    /// # Errors
    /// Names the key and the file that cannot be read or is no such database.
    pub fn load(files: &[PathBuf]) -> Result<Self, String> {
        let bases: Result<Vec<Base>, String> = files.iter().map(|path| Base::load(path)).collect();
        Ok(Self(bases?.into()))
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when the other is a copy of this.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What they say of `ip`; of two that say something, the first counts. `None` when none knows it.
    pub fn find(&self, ip: IpAddr) -> Option<GeoPlace> {
        let mut place = GeoPlace::default();
        self.0.iter().for_each(|base| base.add(ip, &mut place));
        (place != GeoPlace::default()).then_some(place)
    }
}

impl Base {
    fn load(path: &Path) -> Result<Self, String> {
        let cannot = |cause: String| format!("geo.databases: {}: {cause}", path.display());
        let length = std::fs::metadata(path).map_err(|e| cannot(e.to_string()))?.len();
        if length > MAX_FILE {
            return Err(cannot(format!("{length} bytes are more than {MAX_FILE}")));
        }
        let bytes = std::fs::read(path).map_err(|e| cannot(e.to_string()))?;
        let reader = Reader::from_source(bytes).map_err(|e| cannot(e.to_string()))?;
        Ok(Self { path: path.to_owned(), reader, told: AtomicBool::new(false) })
    }

    fn add(&self, ip: IpAddr, place: &mut GeoPlace) {
        if ip.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return;
        }
        let record = match self.reader.lookup(ip).and_then(|found| found.decode::<Record<'_>>()) {
            Ok(Some(record)) => record,
            Ok(None) => return,
            Err(error) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(file = %self.path.display(), %ip, %error, "no place is found for an address");
                }
                return;
            }
        };
        let texts = [
            (&mut place.country, record.country.iso_code),
            (&mut place.country_name, record.country.names.en),
            (&mut place.continent, record.continent.code),
            (&mut place.city, record.city.names.en),
            (&mut place.as_name, record.autonomous_system_organization),
        ];
        for (to, from) in texts {
            if to.is_empty() {
                from.unwrap_or_default().clone_into(to);
            }
        }
        place.latitude = place.latitude.or(record.location.latitude);
        place.longitude = place.longitude.or(record.location.longitude);
        if place.asn == 0 {
            place.asn = record.autonomous_system_number.unwrap_or(0);
        }
    }
}

/// Remembers what was found, so that an address is looked up once. Without databases it costs nothing.
#[derive(Debug, Default)]
pub struct GeoCache {
    bases: GeoBases,
    known: HashMap<IpAddr, Option<Arc<GeoPlace>>, foldhash::fast::RandomState>,
}

impl GeoCache {
    /// One that asks `bases`.
    pub fn new(bases: GeoBases) -> Self {
        Self { bases, known: HashMap::default() }
    }

    /// Asks other databases from now on; true when they are others.
    pub fn set(&mut self, bases: &GeoBases) -> bool {
        let other = !self.bases.is_same(bases);
        if other {
            *self = Self::new(bases.clone());
        }
        other
    }

    /// True when nothing will ever be found.
    pub fn is_empty(&self) -> bool {
        self.bases.is_empty()
    }

    /// The databases, which remember nothing.
    pub fn bases(&self) -> &GeoBases {
        &self.bases
    }

    /// Where `ip` is.
    pub fn find(&mut self, ip: IpAddr) -> Option<Arc<GeoPlace>> {
        if self.bases.is_empty() {
            return None;
        }
        if let Some(known) = self.known.get(&ip) {
            return known.clone();
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let found = self.bases.find(ip).map(Arc::new);
        self.known.insert(ip, found.clone());
        found
    }
}

#[cfg(test)]
#[path = "../../tests/support/mmdb.rs"]
mod mmdb;

#[cfg(test)]
mod tests {
    use super::mmdb::{self, Mmdb, Value};
    use super::*;

    fn bases(files: &[(&str, Mmdb)]) -> (tempfile::TempDir, Result<GeoBases, String>) {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = files.iter().map(|(name, _)| dir.path().join(name)).collect();
        for (path, (_, mmdb)) in paths.iter().zip(files) {
            std::fs::write(path, mmdb.bytes()).unwrap();
        }
        let bases = GeoBases::load(&paths);
        (dir, bases)
    }

    #[test]
    fn several_databases_together_tell_place_and_network() {
        let (_dir, bases) = bases(&[("city", mmdb::city()), ("asn", mmdb::asn())]);
        let mut cache = GeoCache::new(bases.unwrap());
        let found = cache.find("203.0.113.5".parse().unwrap()).unwrap();
        let expected = GeoPlace {
            country: "NZ".to_owned(),
            continent: "OC".to_owned(),
            city: "Wellington".to_owned(),
            latitude: Some(-41.25),
            longitude: Some(174.75),
            asn: 64_500,
            as_name: "Example Net".to_owned(),
            ..GeoPlace::default()
        };
        assert_eq!(*found, expected);
        assert!(Arc::ptr_eq(&found, &cache.find("203.0.113.5".parse().unwrap()).unwrap()), "remembered");
        assert_eq!(cache.find("198.51.100.7".parse().unwrap()).unwrap().country, "BR");
        for nowhere in ["192.0.2.1", "10.0.0.1", "2001:db8::1"] {
            assert_eq!(cache.find(nowhere.parse().unwrap()), None, "{nowhere}");
        }
    }

    #[test]
    fn without_databases_nothing_is_found_or_kept() {
        let mut cache = GeoCache::default();
        assert_eq!(cache.find("203.0.113.5".parse().unwrap()), None);
        assert!(cache.known.is_empty());
    }

    #[test]
    fn a_file_that_is_no_database_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("place.mmdb");
        std::fs::write(&path, b"no database").unwrap();
        for path in [path, dir.path().join("missing.mmdb")] {
            let error = GeoBases::load(std::slice::from_ref(&path)).unwrap_err();
            let named = format!("geo.databases: {}: ", path.display());
            assert!(error.starts_with(&named) && error.len() > named.len(), "{error}");
        }
    }

    #[test]
    fn a_damaged_database_gives_nothing_and_does_not_panic() {
        let whole = mmdb::city().bytes();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("damaged.mmdb");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(bases) = GeoBases::load(std::slice::from_ref(&path)) {
                let _ = bases.find("203.0.113.5".parse().unwrap());
            }
        }
        // A record of another type is no place.
        let mmdb = Mmdb::new([("203.0.113.0/24", Value::Text("nowhere"))]);
        std::fs::write(&path, mmdb.bytes()).unwrap();
        let bases = GeoBases::load(&[path]).unwrap();
        assert_eq!(bases.find("203.0.113.5".parse().unwrap()), None);
    }
}
