//! The `myelin` program: reads its arguments and runs one command.

use clap::Parser;
use myelin::cli::{Arguments, main as run};
use std::process::ExitCode;

// Fewest instructions per request of the allocators that were measured. Without transparent huge pages (feature
// `no_thp`): they held 6 MB more at idle and were not measurably faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(Arguments::parse())
}
