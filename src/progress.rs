//! What the user sees while waiting, all of it on stderr: notes, and bars with stage, count and ETA.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Where progress goes. Copied freely: it holds no state.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    quiet: bool,
    bars: bool,
}

impl Progress {
    /// Notes unless `quiet`, and bars where stderr is a terminal.
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            bars: !quiet && std::io::stderr().is_terminal(),
        }
    }

    /// For callers of the library that want nothing printed.
    pub fn hidden() -> Self {
        Self {
            quiet: true,
            bars: false,
        }
    }

    /// A line for the user.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            // Nothing can be done about a stderr that is closed.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// A bar that counts `total` things: `Writing  [#####-----] 120/400 tokens, 3 s left`.
    pub fn bar(&self, stage: &str, total: usize, unit: &str) -> ProgressBar {
        self.draw(
            total as u64,
            stage,
            &format!(
                "{{prefix:<13}} [{{bar:30}}] {{human_pos}}/{{human_len}} {unit}, {{eta}} left"
            ),
        )
    }

    /// A bar that counts bytes.
    pub fn bytes(&self, what: &str, total: u64) -> ProgressBar {
        self.draw(
            total,
            what,
            "{prefix:<13} [{bar:30}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        )
    }

    fn draw(&self, total: u64, prefix: &str, template: &str) -> ProgressBar {
        let target = if self.bars {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(total), target)
            .with_style(style)
            .with_finish(ProgressFinish::AndClear)
            .with_prefix(prefix.to_string());
        bar.enable_steady_tick(Duration::from_millis(250));
        bar
    }
}
