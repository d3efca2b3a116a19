//! What `flowhook hook` is called with.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::client::Where;

/// `flowhook hook …`
#[derive(Debug, Args)]
pub struct HookArgs {
    #[command(flatten)]
    pub(super) at: Where,
    /// Who is written down as the one who did it
    #[arg(long, global = true, env = "USER", default_value = "command line")]
    pub(super) by: String,
    #[command(subcommand)]
    pub(super) command: HookCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum HookCommand {
    /// Make a hook
    Create {
        /// Its name
        name: String,
        /// Its definition: a TOML or JSON file; - reads either from standard input
        file: PathBuf,
        /// Only check it, and tell for how many events on record it would run
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete hooks with their records
    Delete {
        /// Which
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// List hooks
    List,
    /// Show a hook, or one of its executions
    Show {
        /// Which
        name: String,
        /// The execution
        #[arg(short, long)]
        execution: Option<u64>,
    },
    /// Change a hook
    Update {
        /// Which
        name: String,
        /// Its definition: a TOML or JSON file; - reads either from standard input
        file: PathBuf,
        /// Change only what the file names
        #[arg(short, long)]
        append: bool,
        /// Only if this revision is still the one in force
        #[arg(long)]
        revision: Option<u64>,
    },
    /// Give a hook another name
    Rename {
        /// Which
        name: String,
        /// The new name
        to: String,
    },
    /// Let a hook run
    Enable {
        /// Which
        name: String,
    },
    /// Let a hook not run; its definition and records stay
    Disable {
        /// Which
        name: String,
    },
    /// Let nobody change or delete a hook; it runs all the same
    Lock {
        /// Which
        name: String,
    },
    /// Let a locked hook be changed again
    Unlock {
        /// Which
        name: String,
    },
    /// List executions, newest first
    Log(LogArgs),
    /// Do an execution again
    Retry {
        /// Of which hook
        name: String,
        /// Which execution
        execution: u64,
        /// Make the arguments anew by the present definition
        #[arg(long)]
        rerender: bool,
        /// Wait for its end, and end with its outcome
        #[arg(long)]
        wait: bool,
    },
    /// Try again what was given up, or forget it
    Dead {
        /// Of which hook
        name: String,
        /// Only this execution
        #[arg(short, long)]
        execution: Option<u64>,
        /// Forget it instead
        #[arg(long)]
        discard: bool,
    },
    /// Run a hook for past events
    Replay {
        /// Which
        name: String,
        /// From when on: RFC 3339, or how long ago, such as 2h
        #[arg(long)]
        since: String,
        /// Until when; now without it
        #[arg(long)]
        until: Option<String>,
        /// Run nothing, tell what would run
        #[arg(long)]
        dry_run: bool,
    },
    /// Run a hook once, for a given event or the last on record, and wait for its end
    Test {
        /// Which
        name: String,
        /// File with the event as JSON; - reads standard input
        #[arg(long)]
        event: Option<PathBuf>,
    },
    /// List hooks again and again
    Top {
        /// Seconds between two lists
        #[arg(short, long, default_value_t = 2)]
        delay: u64,
        /// Lists altogether; without end when absent
        #[arg(short, long)]
        number: Option<u64>,
    },
}

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// Only of this hook
    #[arg(long)]
    pub(super) hook: Option<String>,
    /// Only where something went wrong
    #[arg(long, conflicts_with = "success")]
    pub(super) error: bool,
    /// Only where nothing went wrong
    #[arg(long)]
    pub(super) success: bool,
    /// Only with this outcome: success, failure, timeout, killed or skipped
    #[arg(long)]
    pub(super) outcome: Option<String>,
    /// Only for this event
    #[arg(long)]
    pub(super) event: Option<String>,
    /// Only what was given up
    #[arg(long)]
    pub(super) dead: bool,
    /// Queued then or later: RFC 3339, or how long ago, such as 2h
    #[arg(long)]
    pub(super) since: Option<String>,
    /// Queued before
    #[arg(long)]
    pub(super) until: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    pub(super) limit: u32,
}
