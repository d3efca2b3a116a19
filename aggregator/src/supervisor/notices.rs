//! Tells everybody what is odd about a process: an alert. Every aggregator notices; its id is the same.

use shared::model::alert::derive_id;
use shared::model::{Alert, Severity};
use shared::store::Transition;
use shared::wire::heartbeat::Heartbeat;
use shared::wire::partition::PARTITIONS;

use super::AggregatorDeps;
use crate::nodes::Notice;

/// Stores the alert of a notice; one that cannot be stored is in the log.
pub(super) async fn tell(deps: &AggregatorDeps, beat: &Heartbeat, notice: Notice) {
    let Heartbeat { node, role, site, .. } = beat;
    let (kind, message) = match notice {
        Notice::SameName => (
            "same_name",
            format!("Two processes of role {role} are called {node}: what one of them tells is lost"),
        ),
        Notice::ClockOff(ms) => {
            let way = if ms > 0 { "ahead" } else { "behind" };
            let seconds = ms.abs() as f64 / 1000.0;
            let message = format!(
                "The clock of {role} {node} is {seconds:.1} s {way} of that of {}: times of its data are wrong",
                deps.node
            );
            ("clock_off", message)
        }
        Notice::OtherPartitions(theirs) => (
            "other_partitions",
            format!(
                "The {role} {node} divides interfaces into {theirs} partitions and this cluster into \
                 {PARTITIONS}: what it tells may be in two places"
            ),
        ),
    };
    tracing::error!(node, role, kind, message);
    let now = deps.clock.now();
    let hour = now.secs().div_euclid(3600).to_string();
    let id = derive_id(&[kind, site, role, node, &hour]);
    let alert = Alert {
        entity_value: node.clone(),
        site: site.clone(),
        node: node.clone(),
        interface: "system".to_owned(),
        script: "cluster".to_owned(),
        ..Alert::internal(id, kind, Severity::Error, message, now)
    };
    if let Err(error) = deps.alerts.apply(vec![Transition::Store(alert)]).await {
        tracing::error!(%error, "an alert cannot be stored");
    }
}
