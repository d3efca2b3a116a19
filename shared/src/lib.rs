//! What every role of flowhook needs and no role owns: the vocabulary, the wire, the bus, the store,
//! the script engine and a few small helpers.
//!
//! The arrows inside this crate point one way: `model ← wire ← bus`, `model ← store`,
//! `model ← script`; `lease` and `presence` stand beside `bus`, `hook` over `wire`, `settings` over `hook`, `store` and
//! `script`, `events` over `bus` and `store`. `clock`, `counting`, `failpoint`, `backoff`, `supervise`, `secret`, `metrics` and `telemetry` import
//! nothing of ours. This crate never names a role. Start reading at [`model`].

pub mod backoff;
pub mod bus;
pub mod clock;
pub mod counting;
pub mod events;
pub mod failpoint;
pub mod geo;
pub mod hook;
pub mod lease;
pub mod metrics;
pub mod model;
pub mod presence;
pub mod redact;
pub mod script;
pub mod seal;
pub mod secret;
pub mod settings;
pub mod store;
pub mod supervise;
pub mod telemetry;
pub mod teller;
pub mod wire;

/// Limits on memory are tested as the program has them.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: counting::Counting<std::alloc::System> = counting::Counting(std::alloc::System);
