//! The `myelin` program: reads its arguments and runs one command.

use clap::Parser;
use myelin::cli::{Arguments, main as run};
use std::process::ExitCode;

// Fewest instructions per request of the allocators that were measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(Arguments::parse())
}
