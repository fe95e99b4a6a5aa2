//! What each subcommand does.

pub mod models;
pub mod summarize;

use std::io::{self, Write};

use anyhow::Result;

/// Writes to standard output; a reader that has gone (`| head`) ends the program as a success.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Reports an error that does not end the run.
pub fn report(error: &anyhow::Error) {
    // Nothing can be done about a stderr that is closed.
    let _ = writeln!(io::stderr(), "chapterize: {error:#}");
}
