//! `check_threshold`: a value against the threshold of a script's configuration.

use super::effect::{AlertRequest, Effect};
use super::functions::format_bytes;
use crate::model::Granularity;

/// The type of its alerts.
const TYPE: &str = "threshold_cross";

/// What is compared, of which element.
pub(super) struct Crossing<'a> {
    /// The period that runs.
    pub(super) granularity: Option<Granularity>,
    /// Name of the entity.
    pub(super) entity: &'a str,
    /// Identifying string of the element.
    pub(super) name: &'a str,
    /// What the value is.
    pub(super) metric: &'a str,
}

impl Crossing<'_> {
    /// Triggers when `value` is beyond `threshold`, else releases; and which of the two. Between
    /// `threshold` and `clear`, what is engaged is kept, and nothing engages.
    ///
    /// # Errors
    /// The operator is neither `gt` nor `lt`.
    pub(super) fn effect(
        &self,
        operator: Option<&str>,
        value: f64,
        threshold: f64,
        clear: Option<f64>,
    ) -> Result<(Effect, bool), String> {
        let clear = clear.unwrap_or(threshold);
        let (crossed, kept, sign) = match operator {
            None | Some("gt") => (value > threshold, value > clear, '>'),
            Some("lt") => (value < threshold, value < clear, '<'),
            Some(other) => return Err(format!("operator '{other}' is neither gt nor lt")),
        };
        if !crossed && !kept {
            return Ok((Effect::Release(Some(TYPE.to_owned())), false));
        }
        let bytes = self.metric.contains("bytes");
        let shown = |n: f64| if bytes { format_bytes(n) } else { format!("{n}") };
        let message = format!(
            "{} {} crossed by {} {} [{} {sign} {}]",
            self.period(),
            if bytes { "traffic" } else { self.metric },
            self.entity,
            self.name,
            shown(value),
            shown(threshold),
        );
        let request = AlertRequest {
            alert_type: Some(TYPE.to_owned()),
            message: Some(message),
            value: Some(value),
            threshold: Some(threshold),
            metric: Some(self.metric.to_owned()),
            ..AlertRequest::default()
        };
        Ok(match crossed {
            true => (Effect::Trigger(request), true),
            false => (Effect::Keep(request), false),
        })
    }

    fn period(&self) -> &'static str {
        match self.granularity {
            Some(Granularity::Min) => "Minute",
            Some(Granularity::FiveMins) => "5-minute",
            Some(Granularity::Hour) => "Hour",
            Some(Granularity::Day) => "Day",
            _ => "Current",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_threshold_and_clear_threshold_nothing_changes() {
        let about =
            Crossing { granularity: Some(Granularity::Min), entity: "host", name: "a", metric: "flows" };
        let name = |effect: Effect| match effect {
            Effect::Trigger(_) => "trigger",
            Effect::Keep(_) => "keep",
            Effect::Release(_) => "release",
            _ => "other",
        };
        let said = |operator, value, clear| {
            let (effect, crossed) = about.effect(Some(operator), value, 10.0, clear).unwrap();
            (name(effect), crossed)
        };
        let of = |operator, values: [f64; 3], clear| values.map(|value| said(operator, value, clear));
        let all = [("release", false), ("keep", false), ("trigger", true)];
        assert_eq!(of("gt", [7.0, 9.0, 11.0], Some(8.0)), all);
        assert_eq!(of("lt", [13.0, 11.0, 9.0], Some(12.0)), all);
        assert_eq!(of("gt", [7.0, 9.0, 11.0], None), [all[0], all[0], all[2]]);
        assert!(about.effect(Some("eq"), 1.0, 1.0, None).is_err());
    }
}
