//! Tells what is wrong with this node itself: an alert each, straight to the bus, because what goes
//! through the part that fails cannot say that it fails.

use std::time::Duration;

use crate::bus::{BusError, SharedBus};
use crate::clock::SharedClock;
use crate::model::alert::derive_id;
use crate::model::{Alert, Severity, Timestamp};
use crate::wire::subject::Subjects;

/// How long an alert waits that the bus did not take.
const RETRY: Duration = Duration::from_secs(1);

/// Where and by whom it is told.
#[derive(Clone)]
pub struct Teller {
    /// The bus.
    pub bus: SharedBus,
    /// Subjects.
    pub subjects: Subjects,
    /// Wall clock.
    pub clock: SharedClock,
    /// Site of this node.
    pub site: String,
    /// Name of this node.
    pub node: String,
}

impl Teller {
    /// Appends an alert until it is safe; its id keeps it from being told twice.
    pub async fn tell(&self, alert: Alert) {
        let subject = self.subjects.alert(&alert.site, alert.entity, alert.severity, alert.action);
        let Ok(json) = serde_json::to_vec(&alert) else { return };
        loop {
            let appended = self.bus.append(&subject, &alert.transition_id(), json.clone().into()).await;
            let stored = match appended {
                Ok(receipt) => receipt.stored().await,
                Err(error) => Err(error),
            };
            match stored {
                Ok(()) | Err(BusError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, kind = alert.alert_type, "an alert about this node cannot be told, trying again");
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// A one-shot alert of `part` of this node.
    pub fn alert(
        &self,
        kind: &str,
        part: &str,
        severity: Severity,
        message: String,
        now: Timestamp,
    ) -> Alert {
        let id = derive_id(&[&self.site, &self.node, kind, &message, &now.ns().to_string()]);
        Alert {
            entity_value: self.node.clone(),
            site: self.site.clone(),
            node: self.node.clone(),
            script: part.to_owned(),
            ..Alert::internal(id, kind, severity, message, now)
        }
    }
}
