//! Who of the cluster is there by what it says of itself, and who went without a word. Pure.
//!
//! Every aggregator hears the same; what one of them tells is settled in the store, where the state that it
//! was in is changed by one alone ([`EventStore::turn_presence`](shared::store::events::EventStore)).

use std::collections::BTreeMap;
use std::time::Duration;

use shared::store::events::{Presence, PresenceState};
use shared::wire::heartbeat::Heartbeat;

/// Roles that are looked after.
const ROLES: [&str; 3] = ["collector", "aggregator", "notifier"];

/// Roles of nodes that are looked after at most; whoever else says something is not.
const MOST: usize = 10_000;

/// A change of what is known, to be settled in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What was known; nothing of one that was not heard before.
    pub before: Option<Presence>,
    /// What is known now.
    pub after: Presence,
    /// Its site, where it is known.
    pub site: String,
    /// How long ago it was heard last, where it was.
    pub silent: Option<Duration>,
    /// Whether it is told here: who starts and stops tells that itself.
    pub told: bool,
}

#[derive(Clone, Debug)]
struct Seen {
    site: String,
    run: u64,
    state: PresenceState,
    /// When it was heard last; never where it is known from the store alone.
    heard: Option<Duration>,
}

/// Roles of nodes as this aggregator knows them. Times are since its start.
#[derive(Clone, Debug)]
pub struct Roll {
    /// The name of this aggregator, which hears itself as well: who does not hears nobody.
    own: String,
    /// Who says nothing for so long is lost.
    patience: Duration,
    own_heard: Option<Duration>,
    /// Since when it hears itself.
    listens: Option<Duration>,
    known: BTreeMap<(String, String), Seen>,
}

impl Roll {
    /// Nobody is known to the aggregator `own` yet.
    pub fn new(own: String, patience: Duration) -> Self {
        Self { own, patience, own_heard: None, listens: None, known: BTreeMap::new() }
    }

    /// What the store knows takes the place of what was known.
    pub fn load(&mut self, presences: Vec<Presence>) {
        let mut before = std::mem::take(&mut self.known);
        for presence in presences {
            let seen = before.remove(&(presence.role.clone(), presence.node.clone()));
            let (site, heard) = seen.map(|seen| (seen.site, seen.heard)).unwrap_or_default();
            self.note(&presence, site, heard);
        }
    }

    /// A word was heard at `now`.
    pub fn heard(&mut self, beat: &Heartbeat, now: Duration) -> Vec<Turn> {
        if beat.role == "aggregator" && beat.node == self.own {
            let gone = self.own_heard.is_none_or(|at| now.saturating_sub(at) >= self.patience / 2);
            if gone {
                self.listens = Some(now);
            }
            self.own_heard = Some(now);
        }
        let key = (beat.role.clone(), beat.node.clone());
        let (run, site) = (beat.run, beat.site.clone());
        let said = if beat.leaves { PresenceState::Stopped } else { PresenceState::Started };
        let is = |run, state| Presence { role: beat.role.clone(), node: beat.node.clone(), run, state };
        let turn = |before, after, silent, told| Turn { before, after, site: site.clone(), silent, told };
        let (full, patience) = (self.is_full(), self.patience);
        let Some(seen) = self.known.get_mut(&key) else {
            let unknown = beat.leaves || full || !ROLES.contains(&beat.role.as_str());
            return if unknown { Vec::new() } else { vec![turn(None, is(run, said), None, false)] };
        };
        let silent = seen.heard.map(|at| now.saturating_sub(at));
        let before = is(seen.run, seen.state);
        if run == seen.run {
            (seen.heard, seen.site) = (Some(now), site.clone());
            return match (seen.state, said) {
                (PresenceState::Started, PresenceState::Stopped) => {
                    vec![turn(Some(before), is(run, said), silent, false)]
                }
                // It was cut off.
                (PresenceState::Lost, _) => {
                    vec![turn(Some(before), is(run, said), silent, said == PresenceState::Started)]
                }
                _ => Vec::new(),
            };
        }
        // The last words of an earlier run; or its clock was set back.
        if run < seen.run && silent.is_some_and(|silent| silent < patience) {
            return Vec::new();
        }
        seen.site.clone_from(&site);
        let ended_well = seen.state != PresenceState::Started || beat.before == PresenceState::Stopped.name();
        if ended_well {
            return vec![turn(Some(before), is(run, said), silent, false)];
        }
        let lost = is(seen.run, PresenceState::Lost);
        vec![turn(Some(before), lost.clone(), silent, true), turn(Some(lost), is(run, said), silent, false)]
    }

    /// Who is not heard any more at `now`.
    pub fn tick(&self, now: Duration) -> Vec<Turn> {
        let since = |at: Duration| now.saturating_sub(at);
        let Some(listens) = self.listens else { return Vec::new() };
        if self.own_heard.is_none_or(|at| since(at) >= self.patience / 2) {
            return Vec::new();
        }
        let lost = |((role, node), seen): (&(String, String), &Seen)| {
            let silent = since(seen.heard.map_or(listens, |at| at.max(listens)));
            let there = seen.state == PresenceState::Started;
            let is = |state| Presence { role: role.clone(), node: node.clone(), run: seen.run, state };
            (there && silent >= self.patience).then(|| Turn {
                before: Some(is(PresenceState::Started)),
                after: is(PresenceState::Lost),
                site: seen.site.clone(),
                silent: seen.heard.map(since),
                told: true,
            })
        };
        self.known.iter().filter_map(lost).collect()
    }

    /// No more can be looked after.
    pub fn is_full(&self) -> bool {
        self.known.len() >= MOST
    }

    /// A turn was settled at `now`: this is what is known.
    pub fn settled(&mut self, turn: &Turn, now: Duration) {
        let said = turn.after.state != PresenceState::Lost;
        let key = (turn.after.role.clone(), turn.after.node.clone());
        let heard = self.known.get(&key).and_then(|seen| seen.heard);
        self.note(&turn.after, turn.site.clone(), if said { Some(now) } else { heard });
    }

    fn note(&mut self, presence: &Presence, site: String, heard: Option<Duration>) {
        let Presence { role, node, run, state } = presence.clone();
        self.known.insert((role, node), Seen { site, run, state, heard });
    }
}

#[cfg(test)]
mod tests;
