//! The process: allocator, command line, exit code. Everything else is in the library.

use kontor::agent;
use kontor::cli::{self, Programs};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    cli::run(args, Programs { agent: agent::run::run, examine: agent::run::examine, demo: agent::demo::run })
}
