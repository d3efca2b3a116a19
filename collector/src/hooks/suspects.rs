//! Scripts that failed or cost too much of late: they are called only as far as their allowance goes, and
//! while they may not be called, an event costs no more than without them.
//!
//! Whether they may is looked at once a second of event time, and after each call of one that fails or
//! costs much again. Those that may are asked one by one, so that no record of a flow is made for the others.

use shared::model::Timestamp;
use shared::model::status::StatusBits;
use shared::script::FlowHook;

use super::budget::Budget;
use super::filter::{Filter, Filters};
use super::{HookRunner, Hooked};
use crate::flow::{Flow, Names};

/// Seconds of event time after which a script that did no wrong is trusted again.
const SUSPECTED_S: i64 = 60;

/// A call of more operations is a dear one.
const DEAR: u64 = 200;

/// Things that a call may ask for without being dear, and what each one more counts for.
const FEW_EFFECTS: usize = 20;
const OPERATIONS_AN_EFFECT: u64 = 100;

/// A failed call counts once, and once more for so many operations: an endless loop is not called again to
/// be sure.
const OPERATIONS_A_FAILURE: u64 = 1000;

/// What making an error and telling it costs, in operations.
const OPERATIONS_OF_ERROR: u64 = 50;

/// Seconds' worth of an allowance that may be saved up.
const SAVED_S: u64 = 25;

/// One operation more for so many events of flows: next to what the events themselves cost, nothing.
const EVENTS_AN_OPERATION: u64 = 4;

/// Of what all scripts may spend, each has this part for itself.
const SHARES: u64 = 40;

/// Events by hook.
type Events = [u64; FlowHook::ALL.len()];

/// What all scripts of an interface may spend together.
pub struct Purse {
    /// What cheap calls take beyond each script's own share.
    pub all: Budget,
    /// What calls take of those whose last call failed or was dear.
    pub costly: Budget,
}

impl Purse {
    pub fn new(limits: &shared::script::ScriptLimits) -> Self {
        let costly = limits.costly_operations_per_second;
        Self {
            all: Budget::new(limits.operations_per_second),
            costly: Budget::saving(costly, costly.saturating_mul(SAVED_S)),
        }
    }
}

/// The suspects of an interface.
#[derive(Default)]
pub struct Suspects {
    /// Their places in the registry.
    all: Vec<usize>,
    /// Those of each hook that may be called until the next look.
    free: [Vec<usize>; FlowHook::ALL.len()],
    /// By place: it is not called until the next look.
    left_out: Vec<bool>,
    /// What each script's attributes say about flows, by place.
    filters: Vec<Filter>,
    /// When to look again whether they may be called.
    look_at: Timestamp,
    /// Events since there were suspects.
    events: Events,
    /// Those that have been counted for the allowance.
    counted: u64,
    /// How often was looked.
    #[cfg(test)]
    pub looks: u64,
}

impl Suspects {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True when a suspect that may be called may want this flow.
    #[inline]
    pub fn want(&self, hook: FlowHook, flow: &Flow, names: &Names, news: StatusBits) -> bool {
        let free = &self.free[hook as usize];
        !free.is_empty() && free.iter().any(|place| self.filters[*place].accepts(flow, names, news))
    }

    #[inline]
    pub fn leave_out(&self, place: usize) -> bool {
        self.left_out.get(place).is_some_and(|out| *out)
    }
}

impl Hooked {
    /// What each script has for itself.
    pub fn own_share(operations_per_second: u64) -> Budget {
        Budget::new(operations_per_second / SHARES)
    }

    /// True when it may be called as far as its past goes.
    fn may_run(&mut self, purse: &mut Purse, now: Timestamp) -> bool {
        !self.quarantine.holds(now)
            && self.effects.allows(now)
            && (self.own.allows(now) || purse.all.allows(now))
            && ((self.quarantine.is_clean() && !self.dear) || purse.costly.allows(now))
    }

    /// True when it did nothing wrong for a while.
    fn is_forgiven(&self, now: Timestamp) -> bool {
        self.quarantine.is_clean() && !self.dear && self.suspect_until.is_some_and(|until| now >= until)
    }

    /// Notes what a call cost, with how many things it asked for; true when it is to be suspected.
    pub fn charge(&mut self, purse: &mut Purse, operations: u64, effects: usize, failed: bool) -> bool {
        let many = effects.saturating_sub(FEW_EFFECTS) as u64;
        let cost = operations.saturating_add(many.saturating_mul(OPERATIONS_AN_EFFECT));
        let beyond = self.own.spend_what_is_left(cost);
        purse.all.spend(beyond);
        self.dear = cost > DEAR;
        if failed || self.dear {
            purse.costly.spend(cost + if failed { OPERATIONS_OF_ERROR } else { 0 });
        }
        failed || self.dear
    }

    /// Notes that a call failed; true when that begins a quarantine.
    pub fn failed(&mut self, operations: u64, limit: u32, now: Timestamp) -> bool {
        self.counts.errors += 1;
        let times = u32::try_from(1 + operations / OPERATIONS_A_FAILURE).unwrap_or(u32::MAX);
        let begins = self.quarantine.failed_times(times, limit, now);
        if begins {
            self.run = None;
            self.counts.quarantined += 1;
        }
        begins
    }
}

impl HookRunner {
    /// Notes that there was an event, while there are suspects.
    pub(super) fn note_event(&mut self, hook: FlowHook, now: Timestamp) {
        if now >= self.suspects.look_at {
            self.look(now);
        }
        self.suspects.events[hook as usize] += 1;
    }

    /// True when the script may be called; when not, this event is one that it is left out of.
    pub(super) fn admits(&mut self, place: usize, now: Timestamp) -> bool {
        let admitted = self.states[place].may_run(&mut self.purse, now);
        if !admitted {
            self.states[place].counts.skips += 1;
            self.suspect(place, now);
            self.leave_out(place);
        }
        admitted
    }

    /// Notes that a script failed or cost too much.
    pub(super) fn suspect(&mut self, place: usize, now: Timestamp) {
        let until = now.plus_secs(SUSPECTED_S);
        self.to_sort |= self.states[place].suspect_until.replace(until).is_none();
        self.suspects.look_at = Timestamp::ZERO;
    }

    /// Looks which suspects may be called.
    fn look(&mut self, now: Timestamp) {
        #[cfg(test)]
        {
            self.suspects.looks += 1;
        }
        let events = self.suspects.events.iter().sum::<u64>() / EVENTS_AN_OPERATION;
        self.purse.costly.grow(events - self.suspects.counted);
        self.suspects.counted = events;
        for place in self.suspects.all.clone() {
            let state = &mut self.states[place];
            if state.is_forgiven(now) {
                state.suspect_until = None;
                self.to_sort = true;
                self.take_up(place);
            }
        }
        self.sort_out();
        self.suspects.free.iter_mut().for_each(Vec::clear);
        for number in 0..self.suspects.all.len() {
            let place = self.suspects.all[number];
            if !self.states[place].may_run(&mut self.purse, now) {
                self.leave_out(place);
                continue;
            }
            self.take_up(place);
            for (free, called) in self.suspects.free.iter_mut().zip(&self.called) {
                if called.contains(&place) {
                    free.push(place);
                }
            }
        }
        self.suspects.look_at = Timestamp::from_secs(now.secs() + 1);
    }

    /// From now on events pass the script by.
    fn leave_out(&mut self, place: usize) {
        let events = self.suspects.events;
        self.states[place].left_out_at.get_or_insert(events);
        if let Some(out) = self.suspects.left_out.get_mut(place) {
            *out = true;
        }
    }

    /// They no longer do; those that did are counted.
    fn take_up(&mut self, place: usize) {
        self.states[place].counts.skips += self.passed_by(place);
        self.states[place].left_out_at = None;
        if let Some(out) = self.suspects.left_out.get_mut(place) {
            *out = false;
        }
    }

    /// Events that have passed a script by and are not in its counts yet.
    pub(super) fn passed_by(&self, place: usize) -> u64 {
        let Some(since) = self.states.get(place).and_then(|state| state.left_out_at) else { return 0 };
        let hooks = self.called.iter().zip(self.suspects.events).zip(since);
        hooks.filter(|((called, _), _)| called.contains(&place)).map(|((_, now), since)| now - since).sum()
    }

    /// Takes all up, before their places change.
    pub(super) fn take_all_up(&mut self) {
        (0..self.states.len()).for_each(|place| self.take_up(place));
    }

    /// Works out what the scripts that there are now say about flows.
    pub(super) fn read_filters(&mut self) {
        let scripts = self.registry.scripts().iter();
        self.suspects.filters =
            scripts.map(|entry| Filter::of(entry.script.meta(), &entry.script.needs())).collect();
        self.suspects.left_out = vec![false; self.states.len()];
        self.to_sort = true;
        self.sort_out();
    }

    /// Works out anew which scripts are asked together and which one by one, if that has changed.
    pub(super) fn sort_out(&mut self) {
        if !std::mem::take(&mut self.to_sort) {
            return;
        }
        let (states, suspects) = (&self.states, &mut self.suspects);
        let suspected = |place: &usize| states[*place].suspect_until.is_some();
        suspects.all = (0..states.len()).filter(suspected).collect();
        suspects.free.iter_mut().for_each(Vec::clear);
        suspects.look_at = Timestamp::ZERO;
        self.filters = self.called.each_ref().map(|places| {
            let trusted = places.iter().filter(|place| !suspected(place));
            Filters::new(trusted.map(|place| suspects.filters[*place].clone()).collect())
        });
    }
}
