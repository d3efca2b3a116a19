//! Whether a clock was set back while an interface is captured. Pure.
//!
//! Intervals that are closed stay so: an hour that comes again would be lost. A capture that notices it
//! ends and begins anew, as after a restart, which aggregators know how to take.

use shared::model::Timestamp;
use shared::model::time::NS_PER_S;

/// Going back by less is waited for.
const AT_LEAST_S: i64 = 10;

/// So many times in a row have to agree: one odd time stamp is no clock.
const IN_A_ROW: u32 = 3;

/// What one clock has shown. Each clock has its own: a network card's may go ahead of the system's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    latest: Option<Timestamp>,
    back: u32,
}

impl Steps {
    /// Takes what the clock shows; the seconds by which it was set back, once that is sure.
    pub fn shown(&mut self, now: Timestamp) -> Option<i64> {
        let latest = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(latest);
        let seconds = latest.since(now) / NS_PER_S;
        self.back = if seconds >= AT_LEAST_S { self.back + 1 } else { 0 };
        (self.back >= IN_A_ROW).then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(seconds: &[i64]) -> Option<i64> {
        let mut steps = Steps::default();
        seconds.iter().find_map(|at| steps.shown(Timestamp::from_secs(*at)))
    }

    #[test]
    fn a_clock_was_set_back_when_several_times_agree() {
        assert_eq!(shown(&[7200, 7201, 3601, 3602, 3603]), Some(3598));
        assert_eq!(shown(&[7200, 3600, 7201, 3601, 3602, 7202]), None, "packets that come late");
        assert_eq!(shown(&[100, 91, 92, 93, 94]), None, "it is waited for");
        assert_eq!(shown(&[100, 86_500, 86_501, 86_502, 103, 104, 105]), Some(86_397), "forward and back");
    }
}
