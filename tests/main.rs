//! The integration tests: one binary, one module a theme.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests fail by panicking and say loudly what they skip"
)]

mod architecture;
mod bad_input;
mod capture_files;
mod capture_truth;
mod chaos;
mod checks;
mod checks_of_ntopng;
mod cluster;
mod cluster_recipe;
mod cluster_store;
mod contract;
mod damaged;
mod day;
mod endpoints;
mod events;
mod export;
mod full_disk;
mod fuzz;
mod hook_manager;
mod hooks;
mod kill;
mod live;
mod monitor;
mod multi_site;
mod pipeline;
mod proofs;
mod recipients;
mod recognition;
mod replay;
mod scripts;
mod secrets;
mod settings;
mod support;
mod syn_flood;
mod syslog;
mod takeover;
mod telemetry;
mod upgrade;
