//! Applications by the names that flows show: SNI, HTTP host, DNS question.
//!
//! A table of suffixes, one a line: `suffix TAB application TAB category TAB breed`. `youtube.com`
//! stands for itself and everything below it; the longest suffix wins; later files win over earlier
//! ones. The built-in table is `config/applications.tsv`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use shared::model::{AppCategory, Breed};

/// The table that comes with the program.
pub const BUILT_IN: &str = include_str!("../../../config/applications.tsv");

/// Suffixes accepted at most.
const MAX_SUFFIXES: usize = 1_000_000;
/// Longest name looked up, in bytes; RFC 1035 allows 253.
const MAX_NAME: usize = 256;

/// An application by number, valid within one table; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AppId(u16);

impl AppId {
    /// No application known.
    pub const NONE: Self = Self(0);

    /// Its number.
    pub fn number(self) -> u16 {
        self.0
    }
}

/// An application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name, without dots and spaces.
    pub name: Box<str>,
    /// What it is for.
    pub category: AppCategory,
    /// How far it is to be trusted.
    pub breed: Breed,
}

/// A line that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}")]
pub struct AppTableError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub cause: String,
}

/// Suffixes of names and their applications.
#[derive(Clone, Debug, Default)]
pub struct AppTable {
    apps: Vec<App>,
    by_name: HashMap<Box<str>, AppId>,
    by_suffix: HashMap<Box<str>, AppId, foldhash::fast::RandomState>,
}

impl AppTable {
    /// The table that comes with the program. What is wrong with it is found by a test.
    pub fn built_in() -> Arc<Self> {
        static TABLE: LazyLock<Arc<AppTable>> = LazyLock::new(|| {
            let mut table = AppTable::default();
            let _ = table.read(BUILT_IN);
            Arc::new(table)
        });
        Arc::clone(&TABLE)
    }

    /// Adds the lines of a file.
    ///
    /// # Errors
    /// The first line that makes no sense; the lines before it are in the table.
    pub fn read(&mut self, text: &str) -> Result<(), AppTableError> {
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            self.line(line).map_err(|cause| AppTableError { line: number + 1, cause })?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
        let &[suffix, name, category, breed] = fields.as_slice() else {
            return Err(format!(
                "{} fields instead of suffix, application, category and breed with a tab between",
                fields.len()
            ));
        };
        let suffix = suffix.trim_start_matches('.').to_ascii_lowercase();
        if suffix.is_empty() || suffix.len() > MAX_NAME {
            return Err(format!("suffix '{suffix}' is empty or too long"));
        }
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-/+".contains(&byte))
        {
            return Err(format!("application '{name}' must be of letters, digits, '_', '-', '/' and '+'"));
        }
        let category =
            AppCategory::parse(category).ok_or_else(|| format!("unknown category '{category}'"))?;
        let breed = Breed::parse(breed).ok_or_else(|| format!("unknown breed '{breed}'"))?;
        if self.by_suffix.len() >= MAX_SUFFIXES {
            return Err(format!("more than {MAX_SUFFIXES} suffixes"));
        }
        let app = self.app(App { name: name.into(), category, breed })?;
        self.by_suffix.insert(suffix.into(), app);
        Ok(())
    }

    fn app(&mut self, app: App) -> Result<AppId, String> {
        if let Some(id) = self.by_name.get(&app.name) {
            if let Some(known) = self.apps.get_mut(usize::from(id.0).wrapping_sub(1)) {
                *known = app;
            }
            return Ok(*id);
        }
        let id = u16::try_from(self.apps.len() + 1).map_err(|_| "too many applications".to_owned())?;
        self.by_name.insert(app.name.clone(), AppId(id));
        self.apps.push(app);
        Ok(AppId(id))
    }

    /// The application of a name in lower case; [`AppId::NONE`] when none is known. A port behind
    /// the name is ignored.
    pub fn find(&self, name: &str) -> AppId {
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        if name.is_empty() || name.len() > MAX_NAME {
            return AppId::NONE;
        }
        let mut rest = name.strip_suffix('.').unwrap_or(name);
        loop {
            if let Some(app) = self.by_suffix.get(rest) {
                return *app;
            }
            match rest.split_once('.') {
                Some((_, shorter)) => rest = shorter,
                None => return AppId::NONE,
            }
        }
    }

    /// The application with this number.
    pub fn get(&self, id: AppId) -> Option<&App> {
        self.apps.get(usize::from(id.0).checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> AppTable {
        let mut table = AppTable::default();
        table.read(text).unwrap();
        table
    }

    fn name<'a>(table: &'a AppTable, host: &str) -> &'a str {
        table.get(table.find(host)).map_or("", |app| &*app.name)
    }

    #[test]
    fn the_longest_suffix_of_whole_labels_wins() {
        let table = table(
            "# comment\n\ngoogle.com\tGoogle\tweb\ttracker\nmail.google.com\tGMail\tmail\tacceptable\n",
        );
        assert_eq!(name(&table, "google.com"), "Google");
        assert_eq!(name(&table, "www.google.com:443"), "Google");
        assert_eq!(name(&table, "a.mail.google.com."), "GMail");
        for other in ["notgoogle.com", "com", "", "google.com.evil.org"] {
            assert_eq!(table.find(other), AppId::NONE, "{other}");
        }
    }

    #[test]
    fn later_lines_win() {
        let table = table("a.org\tA\tweb\tsafe\na.org\tB\tgame\tfun\n");
        assert_eq!(
            table.get(table.find("a.org")).map(|app| (&*app.name, app.category)),
            Some(("B", AppCategory::Game))
        );
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_line() {
        let error = |text: &str| AppTable::default().read(text).unwrap_err().to_string();
        assert!(error("a.org\tA\tweb\tsafe\nb.org B\n").starts_with("line 2: 1 fields"));
        assert!(error("a.org\tA\tcheese\tsafe\n").contains("unknown category 'cheese'"));
        assert!(error("a.org\tA\tweb\tcheese\n").contains("unknown breed"));
        assert!(error("a.org\tA.B\tweb\tsafe\n").contains("must be of letters"));
        assert!(error("\tA\tweb\tsafe\n").contains("suffix"));
    }

    #[test]
    fn the_built_in_table_is_right() {
        assert_eq!(AppTable::default().read(BUILT_IN), Ok(()));
        let (mut suffixes, mut kinds) = (HashMap::new(), HashMap::new());
        let lines = BUILT_IN.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let (suffix, rest) = line.split_once('\t').unwrap();
            assert_eq!(suffixes.insert(suffix, line), None, "twice: {line}");
            let (name, kind) = rest.split_once('\t').unwrap();
            assert_eq!(*kinds.entry(name).or_insert(kind), kind, "another kind: {line}");
        }
        assert!(suffixes.len() > 2000 && kinds.len() > 400, "{} of {}", suffixes.len(), kinds.len());
    }

    #[test]
    fn well_known_names_are_known() {
        let table = AppTable::built_in();
        for (host, app) in [
            ("r3---sn-4g5e6nsz.googlevideo.com", "YouTube"),
            ("teams.microsoft.com", "Teams"),
            ("login.microsoftonline.com", "Microsoft"),
            ("mail.google.com", "GMail"),
            ("www.google.co.uk", "Google"),
            ("clients4.google.com", "GoogleServices"),
            ("p12-drivews.icloud.com", "AppleiCloud"),
            ("1-courier.push.apple.com", "ApplePush"),
            ("edge-mqtt.facebook.com", "FacebookMessenger"),
            ("scontent.xx.fbcdn.net", "Facebook"),
            ("mmg.whatsapp.net", "WhatsAppFiles"),
            ("ipv4-c001.1.nflxvideo.net", "NetFlix"),
            ("d111111abcdef8.cloudfront.net", "AmazonAWS"),
            ("dns.google", "DoH_DoT"),
            ("stats.g.doubleclick.net", "ADS_Analytic_Track"),
            ("fe3.delivery.mp.microsoft.com", "WindowsUpdate"),
            ("api.cloudflareclient.com", "CloudflareWarp"),
            ("us04web.zoom.us", "Zoom"),
            ("en.wikipedia.org", "Wikipedia"),
            ("www.example.org", ""),
        ] {
            assert_eq!(name(&table, host), app, "{host}");
        }
    }
}
