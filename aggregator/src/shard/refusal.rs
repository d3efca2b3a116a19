//! Deltas that cannot be taken: nothing that comes from the bus ends a shard.
//!
//! One that cannot be read is left out. One at which the partition's code panics has spoiled the state: the
//! shard begins anew with the kept one, goes through what came since, and leaves it out. Whatever was left
//! out is part of the state that is kept next, so nobody meets it again; whoever takes the partition up
//! before that finds out by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};

use shared::model::{Alert, Position, Timestamp};
use shared::store::Transition;

use crate::partition::Output;

/// A delta that no state survives.
#[derive(Debug, thiserror::Error)]
#[error("the delta at {at:?} cannot be applied: {cause}")]
pub struct Poison {
    /// Which one.
    pub at: Position,
    /// The last delta in the state that the store has.
    pub kept: Position,
    /// What the panic said.
    pub cause: String,
}

/// Does what may panic, and gives what the panic said. What it may have left half done is not to be used.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_owned()
    })
}

/// Tells of refused messages of one partition, once an hour.
#[derive(Debug, Default)]
pub struct Teller(Option<i64>);

impl Teller {
    /// What a refusal causes: an alert, or nothing when one was told in this hour.
    pub fn output(&mut self, partition: u32, origin: &[String], cause: &str, now: Timestamp) -> Output {
        let mut output = Output::default();
        let hour = now.secs().div_euclid(3600);
        if self.0.replace(hour) == Some(hour) {
            return output;
        }
        // Subjects are dl.v1.<site>.<partition>.<node>.<ifid>.
        let part = |place: usize| origin.get(place).cloned().unwrap_or_default();
        let (site, node) = (part(0), part(2));
        let message = format!("Summaries of {node} cannot be taken and are left out: {cause}");
        let alert =
            Alert { site, node, ..Alert::message_refused(&format!("partition {partition}"), message, now) };
        output.transitions.push(Transition::Store(alert));
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_text() {
        assert_eq!(guarded(|| 7), Ok(7));
        let no = 3;
        assert_eq!(
            guarded(|| assert_eq!(no, 4, "no {no}")).unwrap_err().lines().next(),
            Some("assertion `left == right` failed: no 3")
        );
        assert_eq!(guarded(|| std::panic::panic_any(5)), Err("a panic without a text".to_owned()));
    }

    #[test]
    fn it_is_told_once_an_hour_and_under_one_id() {
        let mut teller = Teller::default();
        let origin = ["s", "4", "n", "0"].map(str::to_owned);
        let mut told = |secs| teller.output(4, &origin, "why", Timestamp::from_secs(secs)).transitions;
        assert_eq!([told(7200).len(), told(7300).len(), told(10_800).len()], [1, 0, 1]);
        let of = |teller: &mut Teller, secs| {
            let told = teller.output(4, &origin, "x", Timestamp::from_secs(secs)).transitions;
            match told.as_slice() {
                [Transition::Store(alert)] => (alert.id.clone(), alert.site.clone(), alert.node.clone()),
                other => panic!("{other:?}"),
            }
        };
        let (first, second) = (of(&mut Teller::default(), 7300), of(&mut Teller::default(), 7900));
        assert_eq!(first, second, "others give the same");
        assert_eq!((first.1.as_str(), first.2.as_str()), ("s", "n"));
    }
}
