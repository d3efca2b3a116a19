//! The flow table: packets become flows, flows become events. Pure: time comes with the packets.

pub mod event;
pub mod expiry;
pub mod key;
pub mod state;
pub mod table;
pub mod tcp;

pub use event::FlowEvent;
pub use key::FlowKey;
pub use state::Flow;
pub use table::{FlowTable, TableConfig};
