//! What each subcommand does.

pub mod models;
mod output;
pub mod summarize;

use std::fmt;
use std::io::{self, Write};

use anyhow::Result;

/// What was typed cannot be done whatever the files hold: the program exits with 2, not 1.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

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
