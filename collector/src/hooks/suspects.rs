//! Scripts that failed or cost too much of late: they are asked one by one whether they may be called,
//! so that no record of a flow is made for a script that may not.

use shared::model::Timestamp;
use shared::model::status::StatusBits;
use shared::script::FlowHook;

use super::filter::Filter;
use super::{HookRunner, Hooked, news};
use crate::flow::{Flow, Names};

/// Seconds of event time after which a script that did no wrong is trusted again.
const SUSPECTED_S: i64 = 60;

/// The suspects of one hook, by place in the registry.
pub type Suspects = Vec<(usize, Filter)>;

impl Hooked {
    /// Notes that it failed or cost too much; true when it was trusted before.
    pub fn suspect(&mut self, now: Timestamp) -> bool {
        self.suspect_until.replace(now.plus_secs(SUSPECTED_S)).is_none()
    }

    /// True when it may be called as far as its past goes.
    pub fn may_run(&mut self, failing: &mut super::Budget, now: Timestamp) -> bool {
        !self.quarantine.holds(now)
            && self.budget.allows(now)
            && (self.quarantine.is_clean() || failing.allows(now))
    }

    /// True when it did nothing wrong for a while.
    fn is_forgiven(&self, now: Timestamp) -> bool {
        self.quarantine.is_clean() && self.suspect_until.is_some_and(|until| now >= until)
    }
}

impl HookRunner {
    /// Notes that there was an event, and asks the suspects about it, if there are any.
    ///
    /// True when a suspect wants the flow and may be called; when none may, those that want it are
    /// counted as left out.
    pub(super) fn suspect_wants(
        &mut self,
        hook: FlowHook,
        flow: &Flow,
        names: &Names,
        old: StatusBits,
        now: Timestamp,
    ) -> bool {
        self.failing.event();
        if now.secs() > self.looked_at {
            self.looked_at = now.secs();
            let forgiven: Vec<usize> = (0..self.states.len())
                .filter(|place| self.states.get(*place).is_some_and(|state| state.is_forgiven(now)))
                .collect();
            for place in &forgiven {
                self.states[*place].suspect_until = None;
            }
            if !forgiven.is_empty() {
                self.sort_out();
                // Those that are trusted again speak with the others.
                if self.filters[hook as usize].accept(flow, names, news(hook, flow.status, old)) {
                    return true;
                }
            }
        }
        let news = news(hook, flow.status, old);
        let suspects = &self.suspects[hook as usize];
        for (number, (place, filter)) in suspects.iter().enumerate() {
            if !filter.accepts(flow, names, news) {
                continue;
            }
            let state = &mut self.states[*place];
            if !state.may_run(&mut self.failing, now) {
                state.counts.skips += 1;
                continue;
            }
            // One is called, and its call counts those that are left out beside it.
            for (place, filter) in suspects.iter().take(number) {
                self.states[*place].counts.skips -= u64::from(filter.accepts(flow, names, news));
            }
            return true;
        }
        false
    }

    /// Works out anew which scripts are asked together and which one by one.
    pub(super) fn sort_out(&mut self) {
        let filter = |place: &usize| {
            let script = &self.registry.scripts()[*place].script;
            Filter::of(script.meta(), &script.needs())
        };
        let suspected = |place: &&usize| self.states[**place].suspect_until.is_some();
        self.suspects = self
            .called
            .each_ref()
            .map(|places| places.iter().filter(suspected).map(|place| (*place, filter(place))).collect());
        self.filters = self.called.each_ref().map(|places| {
            super::Filters::new(places.iter().filter(|place| !suspected(place)).map(filter).collect())
        });
    }
}
