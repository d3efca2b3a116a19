//! The hosts of a window are gone through three times, some thousands at a time: a million of them at once
//! would hold up everybody else.

use shared::model::{Entity, Granularity, HostKey};
use shared::script::ScriptKind;

use super::host_events::{self, ACTIVE, IDLE, are_told_of};
use super::step::Window;
use super::{InterfaceState, Output, Partition};

/// Hosts that are gone through at once.
const AT_ONCE: usize = if cfg!(test) { 2 } else { 4096 };

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Walk {
    /// Those that were silent become idle.
    #[default]
    Opening,
    /// The same, behind this one.
    OpeningBehind(HostKey),
    /// Runs have their turn.
    Open,
    /// Those of which the series tell are looked for, behind this one.
    SamplingBehind(HostKey),
    /// It is noted who was reached.
    Ending,
    /// The same, behind this one.
    EndingBehind(HostKey),
}

impl Walk {
    pub(super) fn is_open(self) -> bool {
        !matches!(self, Self::Opening | Self::OpeningBehind(_))
    }
}

impl Partition {
    /// Hosts that were silent are idle, and the others are called.
    pub(super) fn open_hosts(
        &mut self,
        state: &mut InterfaceState,
        window: &mut Window,
        output: &mut Output,
    ) {
        let after = match window.walk {
            Walk::OpeningBehind(key) => Some(key),
            _ => None,
        };
        let (granularity, since) = (window.closed.granularity, window.closed.from);
        let wanted = self.registry.for_element(ScriptKind::Host, granularity).next().is_some();
        let (mut idle, hosts) = (Vec::new(), &mut window.hosts);
        let last = state.hosts.mark_idle_after(after, AT_ONCE, window.seen, |key, host, is_new| {
            if is_new {
                idle.push(key);
            }
            if wanted && host.is_called(granularity, since) {
                hosts.push(key);
            }
        });
        for gone in idle {
            let value = gone.to_string();
            let released = self.alerts.element_gone(state.place(), Entity::Host, &value, window.seen);
            self.tell(released, output);
            if let Some(host) = state.hosts.get(gone).filter(|_| are_told_of(gone, self.hosts_told)) {
                let (interface, before) = (&state.interface, Some(ACTIVE));
                output.events.push(host_events::draft(interface, gone, host, IDLE, before, window.seen));
            }
        }
        window.walk = last.map_or(Walk::Open, Walk::OpeningBehind);
    }

    /// Some of the hosts are done with the window; true when all are, and everything else.
    pub(super) fn close_hosts(
        &mut self,
        state: &mut InterfaceState,
        window: &mut Window,
        cause: &str,
        output: &mut Output,
    ) -> bool {
        let granularity = window.closed.granularity;
        let after = match window.walk {
            Walk::SamplingBehind(key) | Walk::EndingBehind(key) => Some(key),
            _ => None,
        };
        match window.walk {
            Walk::Open | Walk::SamplingBehind(_) => {
                let config = &self.config.time_series;
                let last = match granularity {
                    Granularity::Min => state.look_for_largest(
                        config,
                        window.closed.from,
                        after,
                        AT_ONCE,
                        &mut window.largest,
                    ),
                    _ => None,
                };
                if last.is_none() {
                    let largest = std::mem::take(&mut window.largest);
                    output.samples.extend(self.sample(state, window.closed, largest, cause));
                }
                window.walk = last.map_or(Walk::Ending, Walk::SamplingBehind);
                false
            }
            _ => {
                if window.walk == Walk::Ending {
                    state.ran(granularity, &mut window.missed);
                }
                let last = state.hosts.ran(granularity, &window.missed.hosts, after, AT_ONCE);
                window.walk = last.map_or(Walk::Ending, Walk::EndingBehind);
                last.is_none()
            }
        }
    }
}
