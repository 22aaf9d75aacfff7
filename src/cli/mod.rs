//! The command line: one file (or folder) per command.

pub mod backend;
pub mod check;
mod logging;
pub mod run;
mod stop;
pub mod tap;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The program's arguments.
#[derive(Debug, Parser)]
#[command(
    name = "myelin",
    version,
    about = "A native runtime for Apache Synapse and WSO2 Micro Integrator configurations",
    max_term_width = 100
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Deploy a directory and serve it
    Run(run::RunArgs),
    /// Load and link artifacts without running them
    Check(check::CheckArgs),
    /// Serve the SimpleStockQuote sample back-end
    Backend(backend::BackendArgs),
    /// Forward HTTP to a target and print what goes through
    Tap(tap::TapArgs),
}

/// Runs a command to its end.
pub fn main(arguments: Arguments) -> ExitCode {
    let outcome = match arguments.command {
        Command::Run(args) => run::main(args),
        Command::Check(args) => return check::main(&args),
        Command::Backend(args) => {
            logging::start();
            in_runtime(backend::run(args))
        }
        Command::Tap(args) => {
            logging::start();
            in_runtime(tap::run(args))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::complain(&format!("myelin: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(command)
}
