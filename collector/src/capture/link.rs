//! Watches the interface behind a live source: is it there, under its name, and up?

use super::CaptureError;
use super::af_packet::ring;

/// An interface, by the number it had when the capture was opened.
#[derive(Clone, Debug)]
pub struct Link {
    name: String,
    index: u32,
    /// Packets the interface and its driver had dropped when it was opened.
    dropped_before: u64,
}

impl Link {
    /// The interface of this name.
    ///
    /// # Errors
    /// [`CaptureError::NoSuchInterface`].
    pub fn of(name: &str) -> Result<Self, CaptureError> {
        let index =
            ring::index_of(name).ok_or_else(|| CaptureError::NoSuchInterface { name: name.to_owned() })?;
        let mut link = Self { name: name.to_owned(), index, dropped_before: 0 };
        link.dropped_before = link.dropped_ever();
        Ok(link)
    }

    /// Its number.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// True when it is up and has a carrier, or when nobody can tell.
    ///
    /// # Errors
    /// [`CaptureError::Removed`] and [`CaptureError::Renamed`]: a capture goes by the name, so
    /// either is its end.
    pub fn is_up(&self) -> Result<bool, CaptureError> {
        match ring::name_of(self.index) {
            None => Err(CaptureError::Removed { name: self.name.clone() }),
            Some(now) if now != self.name => Err(CaptureError::Renamed { name: self.name.clone(), now }),
            // Of an interface that is administratively down the file cannot be read.
            Some(_) if self.is_visible() => Ok(self.read("carrier").is_some_and(|carrier| carrier == "1")),
            Some(_) => Ok(true),
        }
    }

    /// Packets that the interface and its driver have dropped since this value was made, which the
    /// kernel's ring therefore never saw.
    pub fn dropped(&self) -> u64 {
        self.dropped_ever().saturating_sub(self.dropped_before)
    }

    fn dropped_ever(&self) -> u64 {
        if !self.is_visible() {
            return 0;
        }
        let count = |file| self.read(file).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        count("statistics/rx_missed_errors") + count("statistics/rx_fifo_errors")
    }

    /// True when `/sys` shows this interface and not one of the same name elsewhere: it belongs to
    /// the network namespace in which it was mounted.
    fn is_visible(&self) -> bool {
        self.read("ifindex").is_some_and(|index| index == self.index.to_string())
    }

    fn read(&self, file: &str) -> Option<String> {
        // A name is a folder's: one that would lead elsewhere is no interface's.
        if self.name.contains('/') {
            return None;
        }
        let text = std::fs::read_to_string(format!("/sys/class/net/{}/{file}", self.name)).ok()?;
        Some(text.trim_end().to_owned())
    }
}

/// True when there is an interface of this name now.
pub fn exists(name: &str) -> bool {
    ring::index_of(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_there() {
        let link = Link::of("lo").unwrap();
        assert!(link.index() > 0 && exists("lo"));
        assert!(link.is_up().is_ok());
        assert_eq!(link.dropped(), 0);
    }

    #[test]
    fn what_is_gone_or_renamed_is_told_apart() {
        assert!(matches!(Link::of("no-such-if0"), Err(CaptureError::NoSuchInterface { .. })));
        assert!(!exists("no-such-if0"));
        let gone = Link { name: "eth9".to_owned(), index: u32::MAX, dropped_before: 0 };
        assert!(matches!(gone.is_up(), Err(CaptureError::Removed { name }) if name == "eth9"));
        let renamed = Link { name: "eth9".to_owned(), ..Link::of("lo").unwrap() };
        assert!(matches!(renamed.is_up(), Err(CaptureError::Renamed { now, .. }) if now == "lo"));
    }
}
