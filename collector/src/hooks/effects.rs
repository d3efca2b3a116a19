//! How much flow scripts may ask for: what they ask for leaves the capture by the bus or by disk, and both
//! are meant for more than one script.

use shared::model::Timestamp;
use shared::script::source::Origin;
use shared::script::{Effect, ScriptLimits};

use super::budget::Budget;

/// Seconds' worth that may be saved up: a scan may be a thousand alerts in one second.
const SAVED_S: u64 = 10;

/// So many bytes of what is asked for count as a thing more.
const BYTES_A_THING: usize = 1024;

/// What a script may ask for. Built-in checks are known to ask for one alert a flow.
pub fn allowance(limits: &ScriptLimits, origin: &Origin) -> Budget {
    let most = match origin {
        Origin::Builtin => u64::MAX,
        Origin::File(_) | Origin::Inline => limits.max_effects_per_second,
    };
    Budget::saving(most, most.saturating_mul(SAVED_S))
}

/// What an effect counts for; nothing when it stays within the capture.
fn weight(effect: &Effect) -> u64 {
    match effect {
        Effect::SetStatus(_) | Effect::ClearStatus(_) | Effect::Note { .. } => 0,
        other => 1 + (other.bytes() / BYTES_A_THING) as u64,
    }
}

/// Drops what goes beyond the allowance, and tells how many things that are.
pub fn ration(allowance: &mut Budget, effects: &mut Vec<Effect>, now: Timestamp) -> Option<usize> {
    if effects.is_empty() {
        return None;
    }
    let before = effects.len();
    effects.retain(|effect| {
        let weight = weight(effect);
        let allowed = weight == 0 || allowance.allows(now);
        if allowed {
            allowance.spend(weight);
        }
        allowed
    });
    let refused = before - effects.len();
    (refused > 0).then_some(refused)
}
