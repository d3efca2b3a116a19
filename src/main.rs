//! The `flowhook` program: reads the command line, does what it says, tells what went wrong.

use std::process::ExitCode;

use clap::Parser;
use flowhook::cli::{self, Cli};
use shared::counting::Counting;

/// Flow records and their texts come and go by the million. It counts, because scripts have a quota.
#[global_allocator]
static ALLOCATOR: Counting<mimalloc::MiMalloc> = Counting(mimalloc::MiMalloc);

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let mut message = format!("{:#}", failure.error);
            if !message.ends_with('\n') {
                message.push('\n');
            }
            // Standard error may be closed; there is nobody else to tell.
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("flowhook: {message}").as_bytes());
            ExitCode::from(failure.code)
        }
    }
}
