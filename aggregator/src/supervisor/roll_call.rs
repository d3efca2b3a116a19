//! Hears who is there, and tells who has gone without a word: one aggregator of all, once.

use serde_json::json;
use shared::bus::Subscription;
use shared::clock::Stopwatch;
use shared::events::Draft;
use shared::store::StoreError;
use shared::store::events::{Outgoing, PresenceState};
use shared::wire::heartbeat::Heartbeat;

use super::AggregatorDeps;
use crate::presence::{Roll, Turn};

/// Goes on until the bus is closed.
pub(super) async fn watch(deps: AggregatorDeps, mut words: Subscription) {
    let watch = Stopwatch::start();
    let mut roll = Roll::new(deps.node.clone(), deps.times.lost);
    let (mut loaded, mut said_full) = (false, false);
    let mut ticks = tokio::time::interval(deps.times.beat);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let turns = tokio::select! {
            word = words.next() => {
                let Some(word) = word else { return };
                let Ok(beat) = Heartbeat::decode(&word.payload) else { continue };
                if !loaded || deps.config.only_own_site && beat.site != deps.site {
                    continue;
                }
                roll.heard(&beat, watch.elapsed())
            }
            _ = ticks.tick() => {
                if !loaded {
                    loaded = load(&deps, &mut roll).await;
                }
                if roll.is_full() && !said_full {
                    tracing::error!("more nodes than can be looked after: new ones that go are not told as lost");
                }
                said_full = roll.is_full();
                roll.tick(watch.elapsed())
            }
        };
        for turn in turns {
            match settle(&deps, &turn).await {
                Ok(true) => roll.settled(&turn, watch.elapsed()),
                // Another one was faster, or the node itself.
                Ok(false) => {
                    load(&deps, &mut roll).await;
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "who is there cannot be written down, trying again");
                    break;
                }
            }
        }
    }
}

async fn load(deps: &AggregatorDeps, roll: &mut Roll) -> bool {
    match deps.sessions.presences().await {
        Ok(presences) => roll.load(presences),
        Err(error) => {
            tracing::warn!(%error, "who is there cannot be read, trying again");
            return false;
        }
    }
    true
}

async fn settle(deps: &AggregatorDeps, turn: &Turn) -> Result<bool, StoreError> {
    let now = deps.clock.now();
    let outgoing = match turn.told {
        true => deps.events.outgoing([draft(deps, turn)]),
        false => Outgoing::default(),
    };
    let settled = deps.sessions.turn_presence(turn.before.clone(), turn.after.clone(), now, outgoing).await?;
    if settled && turn.told {
        let (role, node, state) = (&turn.after.role, &turn.after.node, turn.after.state.name());
        tracing::warn!(role, node, state, "a node is in another state");
        deps.events.queued();
    }
    Ok(settled)
}

fn draft(deps: &AggregatorDeps, turn: &Turn) -> Draft {
    let silent = turn.silent.map(|silent| silent.as_secs_f64());
    let object = json!({ "site": turn.site, "silent_s": silent, "told_by": deps.node });
    let before = turn.before.as_ref().map(|before| before.state.name());
    let (role, state) = (turn.after.role.to_uppercase(), turn.after.state);
    let draft = Draft::state(&role, &turn.after.node, state.name(), before, object);
    match state {
        PresenceState::Started => draft.more_exactly("BACK"),
        _ => draft,
    }
}
