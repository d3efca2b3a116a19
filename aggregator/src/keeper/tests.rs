//! Keepers against leases in memory, on virtual time.

use std::collections::BTreeMap;

use super::*;

/// Leases that run out, and a network that loses words; all of it decided by the test.
#[derive(Default)]
struct World {
    now: Duration,
    last: u64,
    held: BTreeMap<u32, (Lease, Duration)>,
    /// The server does not answer.
    away: bool,
}

struct Node {
    keeper: Keeper,
    /// Fences of the shards that run.
    shards: BTreeMap<u32, u64>,
    /// It does nothing and hears nothing.
    paused: bool,
}

const TTL: Duration = Duration::from_secs(10);

impl World {
    fn take(&mut self, partition: u32, holder: &str) -> Option<Lease> {
        let now = self.now;
        self.held.retain(|_, (_, at)| now - *at < TTL);
        if self.away || self.held.contains_key(&partition) {
            return None;
        }
        self.last += 1;
        let (name, holder) = (partition.to_string(), holder.to_owned());
        let lease = Lease { name, holder, fence: self.last, revision: self.last };
        self.held.insert(partition, (lease.clone(), now));
        Some(lease)
    }

    fn renew(&mut self, partition: u32, lease: &Lease) -> Renewal {
        let now = self.now;
        self.held.retain(|_, (_, at)| now - *at < TTL);
        if self.away {
            return Renewal::Unknown;
        }
        match self.held.get_mut(&partition).filter(|(held, _)| held == lease) {
            Some((held, at)) => {
                self.last += 1;
                (held.revision, *at) = (self.last, now);
                Renewal::Kept(held.clone())
            }
            None => Renewal::Lost,
        }
    }

    fn give_up(&mut self, lease: &Lease) {
        if !self.away {
            self.held.retain(|_, (held, _)| held != lease);
        }
    }
}

impl Node {
    fn new(name: &str) -> Self {
        let keeper = Keeper::new(name.to_owned(), 1, false, Times::default());
        Self { keeper, shards: BTreeMap::new(), paused: false }
    }
}

/// One event at one node, with all that follows from it at once; gives the words it says.
fn feed(world: &mut World, node: &mut Node, event: Event) -> Vec<bool> {
    let mut said = Vec::new();
    let mut events = vec![event];
    while let Some(event) = events.pop() {
        for effect in node.keeper.step(world.now, event) {
            match effect {
                Effect::Beat { leaves } => said.push(leaves),
                Effect::Take(partition) => {
                    let lease = world.take(partition, &node.keeper.node);
                    events.push(Event::Taken { partition, asked: world.now, lease });
                }
                Effect::Renew(partition, lease) => {
                    let outcome = world.renew(partition, &lease);
                    events.push(Event::Renewed { partition, asked: world.now, outcome });
                }
                Effect::GiveUp(lease) => world.give_up(&lease),
                Effect::Start(partition, fence) => {
                    assert!(node.shards.insert(partition, fence).is_none(), "{partition} runs twice");
                }
                Effect::Stop(partition) | Effect::Kill(partition) => {
                    node.shards.remove(&partition).expect("it runs");
                    events.push(Event::Ended(partition));
                }
                Effect::SameName => panic!("{} meets its name", node.keeper.node),
            }
        }
    }
    said
}

/// Half a second of everybody.
fn tick(world: &mut World, nodes: &mut [Node]) {
    world.now += Duration::from_millis(500);
    for place in 0..nodes.len() {
        if nodes[place].paused {
            continue;
        }
        for leaves in feed(world, &mut nodes[place], Event::Tick) {
            tell(world, nodes, place, leaves);
        }
    }
}

fn tell(world: &mut World, nodes: &mut [Node], speaker: usize, leaves: bool) {
    let word = Event::Heard { node: nodes[speaker].keeper.node.clone(), run: 1, leaves };
    for node in nodes.iter_mut().filter(|node| !node.paused) {
        feed(world, node, word.clone());
    }
}

fn run(world: &mut World, nodes: &mut [Node], seconds: u32) {
    (0..2 * seconds).for_each(|_| tick(world, nodes));
}

fn counts(nodes: &[Node]) -> Vec<usize> {
    nodes.iter().map(|node| node.shards.len()).collect()
}

/// No partition runs at two nodes that are awake.
fn nobody_twice(nodes: &[Node]) {
    let mut seen = BTreeMap::new();
    for node in nodes.iter().filter(|node| !node.paused) {
        for (partition, fence) in &node.shards {
            let other = seen.insert(*partition, *fence);
            assert!(other.is_none(), "{partition} runs under {fence} and {other:?}");
        }
    }
}

#[test]
fn one_alone_takes_everything_at_once() {
    let mut keeper = Keeper::new("a".to_owned(), 1, true, Times::default());
    let effects = keeper.step(Duration::ZERO, Event::Tick);
    assert_eq!(effects.len(), PARTITIONS as usize);
    assert!(effects.iter().all(|effect| matches!(effect, Effect::Take(_))));
}

#[test]
fn partitions_are_shared_handed_over_and_taken_over() {
    let mut world = World::default();
    let mut nodes = vec![Node::new("a")];
    run(&mut world, &mut nodes, 4);
    assert_eq!(counts(&nodes), [64], "the first one takes all");
    nodes.push(Node::new("b"));
    for _ in 0..60 {
        tick(&mut world, &mut nodes);
        nobody_twice(&nodes);
    }
    let shares = assign::shares(&["a", "b"]);
    assert_eq!(counts(&nodes), [shares["a"] as usize, shares["b"] as usize], "the second one gets its share");

    // One is killed: the other has all within 15 s.
    let dead = nodes.remove(0);
    let before = world.now;
    while nodes[0].shards.len() < 64 {
        tick(&mut world, &mut nodes);
        assert!(world.now - before <= Duration::from_secs(15), "{:?}", counts(&nodes));
    }
    let fences = |node: &Node, partition: u32| node.shards[&partition];
    assert!(dead.shards.iter().all(|(partition, fence)| fences(&nodes[0], *partition) > *fence));

    // One leaves by itself: the other has all at once.
    nodes.push(Node::new("c"));
    run(&mut world, &mut nodes, 30);
    assert!(nodes[1].shards.len() > 16);
    for leaves in feed(&mut world, &mut nodes[1], Event::Leave) {
        tell(&mut world, &mut nodes, 1, leaves);
    }
    assert!(nodes[1].keeper.has_left() && nodes[1].shards.is_empty());
    run(&mut world, &mut nodes, 2);
    assert_eq!(counts(&nodes), [64, 0]);
}

#[test]
fn without_the_server_everything_is_let_go_before_another_can_have_it() {
    let mut world = World::default();
    let mut nodes = vec![Node::new("a"), Node::new("b")];
    run(&mut world, &mut nodes, 30);
    world.away = true;
    let before = world.now;
    while counts(&nodes) != [0, 0] {
        tick(&mut world, &mut nodes);
        assert!(world.now - before <= Duration::from_secs(7), "{:?}", counts(&nodes));
    }
    world.away = false;
    run(&mut world, &mut nodes, 15);
    assert_eq!(counts(&nodes).iter().sum::<usize>(), 64, "and taken again when it is back");
    nobody_twice(&nodes);
}

#[test]
fn one_that_was_asleep_lets_go_as_soon_as_it_looks() {
    let mut world = World::default();
    let mut nodes = vec![Node::new("a"), Node::new("b")];
    run(&mut world, &mut nodes, 30);
    nodes[0].paused = true;
    run(&mut world, &mut nodes, 30);
    assert_eq!(nodes[1].shards.len(), 64);
    nodes[0].paused = false;
    tick(&mut world, &mut nodes);
    nobody_twice(&nodes);
    run(&mut world, &mut nodes, 30);
    let shares = assign::shares(&["a", "b"]);
    assert_eq!(counts(&nodes), [shares["a"] as usize, shares["b"] as usize]);
}

#[test]
fn answers_that_come_late_or_never_leave_no_lease_behind() {
    let at = Duration::from_secs;
    let lease = |fence| Lease { name: "0".into(), holder: "a".into(), fence, revision: fence };
    let mut keeper = Keeper::new("a".to_owned(), 1, true, Times::default());
    keeper.step(at(0), Event::Tick);
    // Asked for at 0, answered at 5: it may have run out before anybody knows.
    let late = Event::Taken { partition: 0, asked: at(0), lease: Some(lease(1)) };
    assert_eq!(keeper.step(at(5), late), [Effect::GiveUp(lease(1))]);
    assert!(keeper.step(at(6), Event::Tick).contains(&Effect::Take(0)));
    let soon = Event::Taken { partition: 0, asked: at(6), lease: Some(lease(2)) };
    assert_eq!(keeper.step(at(6), soon), [Effect::Start(0, 2)]);
    assert!(keeper.holds(0, 2, at(12)) && !keeper.holds(0, 2, at(13)) && !keeper.holds(0, 1, at(6)));
    assert_eq!(keeper.step(at(9), Event::Tick), [Effect::Renew(0, lease(2))]);
    // No answer: asked again, then killed at 13, and a late answer gives the lease up.
    assert_eq!(keeper.step(at(11), Event::Tick), [Effect::Renew(0, lease(2))]);
    assert_eq!(keeper.step(at(13), Event::Tick), [Effect::Kill(0)]);
    let renewed = Event::Renewed { partition: 0, asked: at(11), outcome: Renewal::Kept(lease(2)) };
    assert_eq!(keeper.step(at(14), renewed), [Effect::GiveUp(lease(2))]);
    assert_eq!(keeper.step(at(15), Event::Tick), [], "the shard has not ended yet");
    keeper.step(at(15), Event::Ended(0));
    assert_eq!(keeper.step(at(16), Event::Tick), [Effect::Take(0)]);
}

#[test]
fn what_the_store_knows_of_a_later_holder_ends_the_shard() {
    let mut keeper = Keeper::new("a".to_owned(), 1, true, Times::default());
    keeper.step(Duration::ZERO, Event::Tick);
    let lease = Lease { name: "3".into(), holder: "a".into(), fence: 5, revision: 5 };
    let taken = Event::Taken { partition: 3, asked: Duration::ZERO, lease: Some(lease.clone()) };
    keeper.step(Duration::ZERO, taken);
    assert_eq!(keeper.step(Duration::ZERO, Event::Stale(3)), [Effect::GiveUp(lease), Effect::Kill(3)]);
}

#[test]
fn a_second_node_of_the_same_name_is_noticed() {
    let mut keeper = Keeper::new("a".to_owned(), 1, false, Times::default());
    let heard = |run| Event::Heard { node: "a".to_owned(), run, leaves: false };
    assert!(!keeper.step(Duration::ZERO, heard(1)).contains(&Effect::SameName));
    assert!(keeper.step(Duration::ZERO, heard(2)).contains(&Effect::SameName));
}
