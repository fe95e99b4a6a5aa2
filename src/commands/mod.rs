//! What each subcommand does.

pub mod bench;
mod encoder;
pub mod eval;
mod list;
pub mod models;
mod output;
pub mod summarize;
mod weights;

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

/// Reports an error that does not end the run, in one line.
pub fn report(error: &anyhow::Error) {
    // Nothing can be done about a stderr that is closed.
    let _ = writeln!(
        io::stderr(),
        "chapterize: {}",
        one_line(&format!("{error:#}"))
    );
}

/// Errors of candle hold a backtrace where `RUST_BACKTRACE` is set: lines like `12: function` and `at file:1:2`.
fn one_line(text: &str) -> String {
    let is_frame = |line: &str| {
        let line = line.trim_start();
        let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
        line.starts_with("at ") || (number.len() < line.len() && number.starts_with(": "))
    };
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let rest = rest.lines().filter(|line| !is_frame(line));
    let lines = std::iter::once(first).chain(rest);
    lines
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_without_a_backtrace() {
        let text = "a.gguf: damaged (41 bytes\n   0: candle::bt\n         at /src/e.rs:2:5\n  10: main\n); get it again\n";
        assert_eq!(one_line(text), "a.gguf: damaged (41 bytes ); get it again");
    }
}
