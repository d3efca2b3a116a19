//! What local hosts used the network for within one interval.

use shared::model::CategoryBytes;

use crate::flow::names::{NameId, Names};
use crate::pipeline::HOSTS_PER_DELTA;

/// Bytes of one host by what its flows are called.
#[derive(Clone, Copy, Debug)]
struct Noted {
    host: u32,
    name: NameId,
    sent: u64,
    rcvd: u64,
}

/// Bytes noted since the last time.
#[derive(Debug, Default)]
pub(super) struct Categories {
    noted: Vec<Noted>,
}

impl Categories {
    /// Notes what a flow adds to what one of its hosts sent and received.
    pub(super) fn add(&mut self, host: u32, name: NameId, sent: u64, rcvd: u64) {
        // The flows of one conversation often come in a row.
        match self.noted.last_mut() {
            Some(last) if last.host == host && last.name == name => {
                last.sent += sent;
                last.rcvd += rcvd;
            }
            _ => self.noted.push(Noted { host, name, sent, rcvd }),
        }
    }

    /// The sums of each of `parts` parts of hosts, in order of host and category, with places within
    /// the part.
    pub(super) fn take(&mut self, parts: usize, names: &Names) -> Vec<Vec<CategoryBytes>> {
        let category = |noted: &Noted| names.get(noted.name).category;
        self.noted.sort_unstable_by_key(|noted| (noted.host, category(noted)));
        let mut told = vec![Vec::new(); parts];
        for noted in self.noted.drain(..) {
            let Some(part) = told.get_mut(noted.host as usize / HOSTS_PER_DELTA) else { continue };
            let (host, category) = (noted.host % HOSTS_PER_DELTA as u32, category(&noted));
            let part: &mut Vec<CategoryBytes> = part;
            match part.last_mut() {
                Some(last) if last.host == host && last.category == category => {
                    last.sent += noted.sent;
                    last.rcvd += noted.rcvd;
                }
                _ => part.push(CategoryBytes { host, category, sent: noted.sent, rcvd: noted.rcvd }),
            }
        }
        told
    }
}
