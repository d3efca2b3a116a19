//! Alert state is written down, and read by whoever holds the partition next.

use shared::model::{Alert, Timestamp};

use super::damping::Flaps;
use super::held::Held;
use super::key::Key;
use super::{AlertState, Engaged};
use crate::partition::saved::{entity_of, granularity};
use crate::snapshot;

impl AlertState {
    /// Everything that decides what engages and releases.
    pub fn save(&self) -> snapshot::Alerts {
        let engaged = self.engaged.values().map(|engaged| snapshot::Engaged {
            // An alert is made of what JSON takes.
            alert: serde_json::to_string(&engaged.alert).unwrap_or_default(),
            hold_s: engaged.hold_s,
            quiet_since: engaged.quiet_since.map(Timestamp::ns),
        });
        let pending = self.pending.iter();
        let pending = pending.map(|(key, runs)| snapshot::Pending { key: Some(key.save()), runs: *runs });
        let flaps = self.flaps.0.iter().map(|(key, times)| snapshot::Flaps {
            key: Some(key.save()),
            times: times.iter().map(|at| at.ns()).collect(),
        });
        snapshot::Alerts {
            engaged: engaged.collect(),
            pending: pending.collect(),
            flaps: flaps.collect(),
            restored: self.restored.iter().map(Key::save).collect(),
            refused: self.refused,
        }
    }

    /// Puts back what [`AlertState::save`] gave; what is not raised stays as it is.
    ///
    /// # Errors
    /// Says what is no alert or no key.
    pub fn restore(&mut self, saved: snapshot::Alerts) -> Result<(), String> {
        let mut engaged = Held::default();
        for snapshot::Engaged { alert, hold_s, quiet_since } in saved.engaged {
            let alert: Alert = serde_json::from_str(&alert).map_err(|e| format!("an engaged alert: {e}"))?;
            let quiet_since = quiet_since.map(Timestamp::from_ns);
            engaged.insert(Key::of(&alert), Engaged { alert, hold_s, quiet_since });
        }
        let pending = saved.pending.into_iter().map(|p| Ok((Key::restore(p.key)?, p.runs)));
        let pending = pending.collect::<Result<_, String>>()?;
        let times = |times: Vec<i64>| times.into_iter().map(Timestamp::from_ns).collect();
        let flaps = saved.flaps.into_iter().map(|f| Ok((Key::restore(f.key)?, times(f.times))));
        let flaps = Flaps(flaps.collect::<Result<_, String>>()?);
        let restored = saved.restored.into_iter().map(|key| Key::restore(Some(key)));
        let restored = restored.collect::<Result<_, String>>()?;
        (self.engaged, self.pending, self.flaps, self.restored) = (engaged, pending, flaps, restored);
        self.refused = saved.refused;
        Ok(())
    }
}

impl Key {
    fn save(&self) -> snapshot::Key {
        let Self { site, ifid, entity, value, alert_type, script, granularity } = self.clone();
        let (entity, granularity) = (entity.name().to_owned(), granularity.name().to_owned());
        snapshot::Key { site, ifid, entity, value, alert_type, script, granularity }
    }

    fn restore(saved: Option<snapshot::Key>) -> Result<Self, String> {
        let saved = saved.ok_or("an alert without a key")?;
        let snapshot::Key { site, ifid, entity, value, alert_type, script, granularity: period } = saved;
        let entity = entity_of(&entity).ok_or_else(|| format!("'{entity}' is no entity"))?;
        let granularity = granularity(&period).ok_or_else(|| format!("'{period}' is no period"))?;
        Ok(Self { site, ifid, entity, value, alert_type, script, granularity })
    }
}
