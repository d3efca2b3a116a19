//! What happens to a flow, in the order in which it happens.

use shared::model::FlowEnd;
use shared::model::status::StatusBits;

use super::state::Flow;

/// Place of a live flow in the table.
pub type FlowIndex = u32;

/// One event. Events of a flow never go backwards: detection, updates, end.
#[derive(Debug)]
pub enum FlowEvent {
    /// The layer-7 protocol is decided or given up.
    ProtocolDetected(FlowIndex),
    /// The status bits differ from those at the previous invocation.
    StatusChanged {
        /// Which flow.
        flow: FlowIndex,
        /// The bits at the previous invocation.
        old: StatusBits,
    },
    /// The flow is this many base intervals old.
    PeriodicUpdate {
        /// Which flow.
        flow: FlowIndex,
        /// Age in base intervals, from 1.
        tick: u64,
    },
    /// The flow ended and has left the table.
    End {
        /// The flow itself.
        flow: Box<Flow>,
        /// Why.
        reason: FlowEnd,
    },
}
