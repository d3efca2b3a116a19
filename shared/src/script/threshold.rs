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
    /// Triggers when `value` is beyond `threshold`, else releases; and which of the two.
    ///
    /// # Errors
    /// The operator is neither `gt` nor `lt`.
    pub(super) fn effect(
        &self,
        operator: Option<&str>,
        value: f64,
        threshold: f64,
    ) -> Result<(Effect, bool), String> {
        let (crossed, sign) = match operator {
            None | Some("gt") => (value > threshold, '>'),
            Some("lt") => (value < threshold, '<'),
            Some(other) => return Err(format!("operator '{other}' is neither gt nor lt")),
        };
        if !crossed {
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
        Ok((Effect::Trigger(request), true))
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
