//! The program: parse, call, report, exit.
//!
//! Exit codes: 0 all done, 1 some input failed, 2 wrong usage, 130 interrupted.

use std::process::ExitCode;

use chapterize::cli::{Cli, Command};
use chapterize::{commands, memory};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    memory::keep_pages();
    let cli = Cli::parse();
    // Files are put in place by rename, so that leaving at any moment leaves nothing half done.
    if let Err(error) = ctrlc::set_handler(|| std::process::exit(INTERRUPTED)) {
        eprintln!("chapterize: Ctrl-C will end the program at once: {error}");
    }
    let result = match &cli.command {
        Command::Summarize(args) => commands::summarize::run(args),
        Command::Models(args) => commands::models::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Eval(args) => commands::eval::run(args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            commands::report(&error);
            ExitCode::from(if error.is::<commands::Usage>() { 2 } else { 1 })
        }
    }
}
