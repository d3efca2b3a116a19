//! Which partitions this aggregator holds: members, leases, and when a shard has to start or stop.
//! Pure: time is monotonic and an argument, as is what became of a request.
//!
//! Every aggregator says once a second that it is there. From who is heard, everybody derives who shall
//! hold each partition ([`assign`]), takes the leases that are his and gives up those that are not, after
//! the shard has put its state where the next one finds it. A lease that cannot be renewed in time is
//! given up without asking anybody: its shard is killed before another can have it.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::lease::Lease;
use shared::wire::partition::PARTITIONS;

pub mod assign;
#[cfg(test)]
mod tests;

/// When things happen. All of them follow from how long a lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two words of one aggregator.
    pub beat: Duration,
    /// After which one that is not heard any more is gone.
    pub silent: Duration,
    /// For which a new one listens before it takes anything.
    pub listens: Duration,
    /// Between two renewals of a lease.
    pub renew: Duration,
    /// After the last renewal that worked, the shard is killed. Less than the lease lasts, by what it
    /// takes to kill it.
    pub fence: Duration,
    /// A role of a node that says nothing for so long is lost.
    pub lost: Duration,
    /// Between two tries to take what another still holds.
    pub again: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self::of(shared::lease::TTL)
    }
}

impl Times {
    /// Times for leases that last so long: renewed after three tenths, fenced after seven.
    pub fn of(ttl: Duration) -> Self {
        Self {
            beat: ttl / 10,
            silent: ttl * 6 / 10,
            listens: ttl * 2 / 10,
            renew: ttl * 3 / 10,
            fence: ttl * 7 / 10,
            lost: ttl,
            again: ttl / 10,
        }
    }
}

/// Partitions that are handed over at once at most, so that a newcomer is not drowned.
const HANDED_OVER: usize = 8;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// An aggregator of the group, maybe this one, says that it is there, or that it leaves.
    Heard {
        /// Its name.
        node: String,
        /// Which run of it.
        run: u64,
        /// It gives up what it holds and goes.
        leaves: bool,
    },
    /// A try to take a lease that was asked for at `asked` has ended; nothing when another holds it or
    /// nobody knows.
    Taken {
        /// Which partition.
        partition: u32,
        /// When it was asked for.
        asked: Duration,
        /// The lease.
        lease: Option<Lease>,
    },
    /// A renewal that was asked for at `asked` has ended.
    Renewed {
        /// Which partition.
        partition: u32,
        /// When it was asked for.
        asked: Duration,
        /// How.
        outcome: Renewal,
    },
    /// The shard of a partition has ended, for whatever reason, and will not start again by itself.
    Ended(u32),
    /// The store knows of a later holder of a partition.
    Stale(u32),
    /// This aggregator is to stop.
    Leave,
}

/// How a renewal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease lasts on.
    Kept(Lease),
    /// Another holds it, or nobody.
    Lost,
    /// Nobody knows.
    Unknown,
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Say that this aggregator is there, or that it leaves.
    Beat {
        /// It leaves.
        leaves: bool,
    },
    /// Try to take a lease, now.
    Take(u32),
    /// Renew a lease, now: the answer tells when that was.
    Renew(u32, Lease),
    /// Give a lease up.
    GiveUp(Lease),
    /// Start the shard of a partition under a fence.
    Start(u32, u64),
    /// Let the shard of a partition put its state away and end.
    Stop(u32),
    /// End the shard of a partition now: its lease may be another's.
    Kill(u32),
    /// Another node has this one's name: nobody can tell them apart.
    SameName,
}

#[derive(Debug)]
struct Kept {
    lease: Lease,
    /// When the last renewal that worked was asked for.
    renewed: Duration,
    /// A renewal is under way since.
    renewing: Option<Duration>,
    /// When the next one may be asked for.
    next: Duration,
    /// The shard has been told to stop.
    stopping: bool,
}

#[derive(Debug, Default)]
struct Place {
    kept: Option<Kept>,
    /// A shard is there, maybe about to end.
    running: bool,
    /// A try to take the lease is under way.
    taking: bool,
    /// When to try again.
    not_before: Duration,
}

/// What one aggregator knows and holds.
#[derive(Debug)]
pub struct Keeper {
    node: String,
    run: u64,
    times: Times,
    /// There can be no other: nothing is said and nobody is waited for.
    alone: bool,
    since: Option<Duration>,
    said: Option<Duration>,
    members: BTreeMap<String, Duration>,
    places: Vec<Place>,
    /// Which partitions shall be this one's, and of which members that follows.
    wanted: (Vec<String>, Vec<bool>),
    leaving: bool,
}

impl Keeper {
    /// An aggregator that holds nothing; `run` tells it from an earlier one of its name.
    pub fn new(node: String, run: u64, alone: bool, times: Times) -> Self {
        let places = (0..PARTITIONS).map(|_| Place::default()).collect();
        let members = BTreeMap::new();
        let (wanted, leaving) = ((Vec::new(), Vec::new()), false);
        Self { node, run, times, alone, since: None, said: None, members, places, wanted, leaving }
    }

    /// Takes in what has happened, and says what is to be done about it.
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        let since = *self.since.get_or_insert(now);
        let mut effects = Vec::new();
        match event {
            Event::Tick => self.beat(now, &mut effects),
            Event::Heard { node, run, .. } if node == self.node => {
                if run != self.run {
                    effects.push(Effect::SameName);
                }
            }
            Event::Heard { node, leaves: true, .. } => drop(self.members.remove(&node)),
            Event::Heard { node, .. } => drop(self.members.insert(node, now)),
            Event::Taken { partition, asked, lease } => {
                self.taken(now, partition, asked, lease, &mut effects);
            }
            Event::Renewed { partition, asked, outcome } => {
                self.renewed(partition, asked, outcome, &mut effects);
            }
            Event::Ended(partition) => self.ended(now, partition, &mut effects),
            Event::Stale(partition) => self.lose(now, partition, &mut effects),
            Event::Leave => {
                self.leaving = true;
                if !self.alone {
                    effects.push(Effect::Beat { leaves: true });
                }
            }
        }
        self.fence(now, &mut effects);
        let silent = self.times.silent;
        self.members.retain(|_, heard| now.saturating_sub(*heard) < silent);
        if self.alone || now.saturating_sub(since) >= self.times.listens {
            self.assign(now, &mut effects);
        }
        effects
    }

    /// Aggregators of the group that are heard, this one included.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str).chain((!self.leaving).then_some(self.node.as_str()))
    }

    /// Partitions whose lease is held.
    pub fn held(&self) -> impl Iterator<Item = u32> {
        (0..PARTITIONS).filter(|partition| self.places[*partition as usize].kept.is_some())
    }

    /// The fence of a partition whose lease is held.
    pub fn fence_of(&self, partition: u32) -> Option<u64> {
        let place = self.places.get(partition as usize)?;
        place.kept.as_ref().map(|kept| kept.lease.fence)
    }

    /// True when a partition's lease is held under this fence, as far as this aggregator knows at `now`.
    pub fn holds(&self, partition: u32, fence: u64, now: Duration) -> bool {
        let place = self.places.get(partition as usize);
        place.and_then(|place| place.kept.as_ref()).is_some_and(|kept| {
            kept.lease.fence == fence && now.saturating_sub(kept.renewed) < self.times.fence
        })
    }

    /// True when it leaves and holds nothing any more.
    pub fn has_left(&self) -> bool {
        self.leaving
            && self.places.iter().all(|place| place.kept.is_none() && !place.running && !place.taking)
    }

    fn beat(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let due = self.said.is_none_or(|at| now.saturating_sub(at) >= self.times.beat);
        if due && !self.alone && !self.leaving {
            self.said = Some(now);
            effects.push(Effect::Beat { leaves: false });
        }
    }

    fn taken(
        &mut self,
        now: Duration,
        partition: u32,
        asked: Duration,
        lease: Option<Lease>,
        effects: &mut Vec<Effect>,
    ) {
        let again = now + self.times.again;
        let Some(place) = self.places.get_mut(partition as usize) else { return };
        place.taking = false;
        place.not_before = again;
        let Some(lease) = lease else { return };
        // An answer that was long under way may be of a lease that has run out meanwhile; then the next
        // round takes it anew. The same goes for a shard that has not ended yet.
        let late = now.saturating_sub(asked) >= self.times.renew;
        if self.leaving || late || place.running {
            effects.push(Effect::GiveUp(lease));
            return;
        }
        let fence = lease.fence;
        let next = asked + self.times.renew;
        place.kept = Some(Kept { lease, renewed: asked, renewing: None, next, stopping: false });
        place.running = true;
        effects.push(Effect::Start(partition, fence));
    }

    fn renewed(&mut self, partition: u32, asked: Duration, outcome: Renewal, effects: &mut Vec<Effect>) {
        let Some(place) = self.places.get_mut(partition as usize) else { return };
        let Some(kept) = place.kept.as_mut().filter(|kept| kept.renewing == Some(asked)) else {
            // Of a lease that was let go meanwhile: what was renewed too late is nobody's.
            if let Renewal::Kept(lease) = outcome {
                effects.push(Effect::GiveUp(lease));
            }
            return;
        };
        kept.renewing = None;
        match outcome {
            Renewal::Kept(lease) => {
                kept.lease = lease;
                kept.renewed = asked;
                kept.next = asked + self.times.renew;
                // The shard ended while this was under way.
                if !place.running
                    && let Some(kept) = place.kept.take()
                {
                    effects.push(Effect::GiveUp(kept.lease));
                }
            }
            Renewal::Lost => {
                place.kept = None;
                if place.running {
                    effects.push(Effect::Kill(partition));
                }
            }
            Renewal::Unknown => {}
        }
    }

    fn ended(&mut self, now: Duration, partition: u32, effects: &mut Vec<Effect>) {
        let again = now + self.times.again;
        let Some(place) = self.places.get_mut(partition as usize) else { return };
        place.running = false;
        place.not_before = again;
        // A renewal under way changes the revision: the lease is given up when its answer comes.
        if place.kept.as_ref().is_some_and(|kept| kept.renewing.is_none())
            && let Some(kept) = place.kept.take()
        {
            effects.push(Effect::GiveUp(kept.lease));
        }
    }

    fn lose(&mut self, now: Duration, partition: u32, effects: &mut Vec<Effect>) {
        let again = now + self.times.again;
        let Some(place) = self.places.get_mut(partition as usize) else { return };
        place.not_before = again;
        if let Some(kept) = place.kept.take() {
            effects.push(Effect::GiveUp(kept.lease));
        }
        if place.running {
            effects.push(Effect::Kill(partition));
        }
    }

    /// Lets go of what was not renewed in time, and asks for renewals that are due.
    fn fence(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for (partition, place) in (0..).zip(&mut self.places) {
            let Some(kept) = &mut place.kept else { continue };
            let age = now.saturating_sub(kept.renewed);
            if age >= self.times.fence {
                place.kept = None;
                if place.running {
                    effects.push(Effect::Kill(partition));
                }
                continue;
            }
            // An answer that does not come is not waited for. Who leaves gives up, and renews no more.
            if now < kept.next || self.leaving {
                continue;
            }
            if place.running {
                kept.renewing = Some(now);
                kept.next = now + self.times.renew / 2;
                effects.push(Effect::Renew(partition, kept.lease.clone()));
            } else {
                // The answer of its last renewal never came: it runs out by itself.
                place.kept = None;
            }
        }
    }

    /// Takes what is this one's, hands over what is not.
    fn assign(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let mut stopping = self.places.iter().filter(|p| p.kept.as_ref().is_some_and(|k| k.stopping)).count();
        if !self.wanted.0.iter().map(String::as_str).eq(self.members()) {
            let owner = |partition| assign::owner(partition, self.members()) == Some(&self.node);
            let wanted = (0..PARTITIONS).map(|partition| !self.leaving && owner(partition)).collect();
            self.wanted = (self.members().map(str::to_owned).collect(), wanted);
        }
        let Self { places, wanted: (_, wanted), .. } = self;
        for ((partition, place), wanted) in (0..).zip(places).zip(wanted.iter().copied()) {
            match &mut place.kept {
                Some(kept) if !wanted && !kept.stopping && (self.leaving || stopping < HANDED_OVER) => {
                    kept.stopping = true;
                    stopping += 1;
                    effects.push(Effect::Stop(partition));
                }
                None if wanted && !place.taking && !place.running && now >= place.not_before => {
                    place.taking = true;
                    effects.push(Effect::Take(partition));
                }
                _ => {}
            }
        }
    }
}
