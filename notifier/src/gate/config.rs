//! What a recipient's `gate` may say.

use serde::{Deserialize, Serialize};

use super::DIGEST_AT_MOST;
use crate::field::Field;

/// What a recipient wants done with what it is owed. All of it is off by default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateConfig {
    /// Seconds after an alert within which the same one is held back; what was held back is then told as
    /// one. 0 holds back nothing.
    pub duplicate_window_s: u64,
    /// Alerts with these in common are told together; empty tells each by itself.
    pub group_by: Vec<Field>,
    /// Seconds that the first alert of a group waits for others.
    pub group_wait_s: u64,
    /// Seconds between two messages of one group.
    pub group_interval_s: u64,
    /// More due alerts than this become one message; 0 never.
    pub digest_above: u32,
    /// Alerts that a message of several names; the rest is counted.
    pub list_at_most: u32,
    /// Seconds after which an alert that could not be told is told together with its end; 0 never.
    pub collapse_after_s: u64,
    /// Seconds after which an alert is told again, and again, as long as it is engaged and nobody has
    /// acknowledged it; 0 never.
    pub repeat_s: u64,
    /// Seconds after which an alert that nobody has acknowledged goes to another recipient; 0 never.
    pub escalate_after_s: u64,
    /// The other recipient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalate_to: Option<String>,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            duplicate_window_s: 0,
            group_by: Vec::new(),
            group_wait_s: 30,
            group_interval_s: 300,
            digest_above: 0,
            list_at_most: 20,
            collapse_after_s: 0,
            repeat_s: 0,
            escalate_after_s: 0,
            escalate_to: None,
        }
    }
}

impl GateConfig {
    /// What is wrong with it.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        let day = 86_400;
        for (key, value, most) in [
            ("duplicate_window_s", self.duplicate_window_s, 30 * day),
            ("group_wait_s", self.group_wait_s, day),
            ("group_interval_s", self.group_interval_s, 30 * day),
            ("digest_above", self.digest_above.into(), DIGEST_AT_MOST as u64 - 1),
            ("list_at_most", self.list_at_most.into(), 100),
            ("collapse_after_s", self.collapse_after_s, 30 * day),
            ("repeat_s", self.repeat_s, 30 * day),
            ("escalate_after_s", self.escalate_after_s, 30 * day),
        ] {
            if value > most {
                return Err(format!("gate.{key}: must be {most} at most, not {value}"));
            }
        }
        if self.repeat_s > 0 && self.repeat_s < 60 {
            return Err(format!("gate.repeat_s: must be 60 or more, not {}", self.repeat_s));
        }
        if self.list_at_most == 0 {
            return Err("gate.list_at_most: must be 1 or more".to_owned());
        }
        match (self.escalate_after_s, &self.escalate_to) {
            (0, Some(_)) => Err("gate.escalate_after_s: is missing".to_owned()),
            (1.., None) => Err("gate.escalate_to: is missing".to_owned()),
            _ => Ok(()),
        }
    }

    /// True when several alerts may have to become one text.
    pub fn joins(&self) -> bool {
        self.digest_above > 0 || !self.group_by.is_empty()
    }

    /// True when every delivery is a message of its own at once.
    pub fn is_off(&self) -> bool {
        self.duplicate_window_s == 0 && self.collapse_after_s == 0 && !self.joins()
    }
}
