//! The flow table: packets become flows, flows become events. Pure: time comes with the packets.

pub mod collected;
mod detection;
mod early;
pub mod event;
mod expected;
pub mod expiry;
pub mod gaps;
pub mod growth;
mod holes;
pub(crate) mod index;
pub mod key;
mod macs;
mod marks;
pub mod names;
mod opening;
mod pages;
pub(crate) mod prefetch;
pub mod record;
mod remarks;
pub mod state;
pub mod table;
pub mod tcp;

pub use event::FlowEvent;
pub use growth::Growth;
pub use key::FlowKey;
pub use names::Names;
pub use record::RecordContext;
pub use state::{Extra, Flow};
pub use table::{FlowTable, Lookup, TableConfig};
