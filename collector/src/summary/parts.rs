//! Hosts of one interval.

use shared::wire::delta::HostDelta;

use crate::pipeline::HOSTS_PER_DELTA;

/// Hosts in parts of at most [`HOSTS_PER_DELTA`], so that none of them is moved to go out.
#[derive(Debug, Default)]
pub(super) struct HostParts {
    parts: Vec<Vec<HostDelta>>,
    /// Hosts of the interval before: this one will have about as many.
    before: usize,
}

impl HostParts {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn get(&self, place: usize) -> Option<&HostDelta> {
        self.parts.get(place / HOSTS_PER_DELTA)?.get(place % HOSTS_PER_DELTA)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> &mut HostDelta {
        &mut self.parts[place / HOSTS_PER_DELTA][place % HOSTS_PER_DELTA]
    }

    pub(super) fn push(&mut self, host: HostDelta) {
        match self.parts.last_mut() {
            Some(part) if part.len() < HOSTS_PER_DELTA => part.push(host),
            _ => {
                let rest = self.before.saturating_sub(self.parts.len() * HOSTS_PER_DELTA);
                let mut part = Vec::with_capacity(rest.clamp(4, HOSTS_PER_DELTA));
                part.push(host);
                self.parts.push(part);
            }
        }
    }

    pub(super) fn take(&mut self) -> Vec<Vec<HostDelta>> {
        self.before = self.parts.iter().map(Vec::len).sum();
        std::mem::take(&mut self.parts)
    }
}
