//! flowhook in one process: the command line, the configuration, and the node that joins the roles.
//!
//! [`node`] is the only file that names all roles. Tests and benches start nodes through it.

pub mod cli;
pub mod config;
pub mod exit;
pub mod exporters;
pub mod node;
pub mod report;
pub mod scripts;
pub mod settings;
pub mod store_watch;
