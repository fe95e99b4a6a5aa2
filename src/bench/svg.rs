//! The report as a picture: one bar per result, prefill on the left, decode on the right, each on a scale of its own.
//!
//! Self-contained SVG 1.1. It brings its own paper, and colours for dark pages where the viewer asks for them.

use std::fmt::Write;

use super::markdown::{self, digits};
use super::report::{Report, Row};

const WIDTH: f64 = 860.;
const MARGIN: f64 = 24.;
/// Where the plots begin, and how wide one is; the second follows after a gap.
const PLOT: f64 = 104.;
const PLOT_WIDTH: f64 = 348.;
const GAP: f64 = 36.;
/// Height of a bar and of the space it has.
const BAR: f64 = 15.;
const STEP: f64 = 22.;
/// Height of the name above a group of bars, and of what is above all of them.
const HEAD: f64 = 30.;
const TOP: f64 = 92.;
/// Room at the end of the scale for the figure behind the longest bar.
const ROOM: f64 = 84.;

/// Height of a line about the machine, and how many characters fit it.
const LINE: f64 = 15.;
const MOST_CHARACTERS: usize = 124;

/// Steps of a scale at most.
const MOST_STEPS: f64 = 5.;

const STYLE: &str = "<style>\
text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1f2328}\
.paper{fill:#ffffff}.title{font-size:17px;font-weight:600}.quiet,.tick{fill:#59636e}.tick{font-size:11px}\
.name{font-weight:600}.grid{stroke:#d8dee4}.prefill{fill:#3b7dc4}.decode{fill:#c9702b}.spread{stroke:#1f2328;fill:none}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.paper{fill:#15191f}.quiet,.tick{fill:#9aa4af}\
.grid{stroke:#343b44}.prefill{fill:#5b9be0}.decode{fill:#e08d4b}.spread{stroke:#e6edf3}}\
</style>";

/// One of the two plots.
struct Plot {
    class: &'static str,
    title: &'static str,
    left: f64,
    scale: Scale,
    /// Mean and deviation of a row.
    of: fn(&Row) -> (f64, f64),
}

/// The whole picture.
pub fn render(report: &Report) -> String {
    let rows = &report.results;
    let groups = rows.chunk_by(|a, b| a.subject == b.subject && a.n_prompt == b.n_prompt);
    let groups = groups.collect::<Vec<_>>();
    let bottom = TOP + groups.len() as f64 * HEAD + rows.len() as f64 * STEP;
    let about = about(report);
    let height = bottom + 40. + about.len() as f64 * LINE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">Tokens per second</title>\n{STYLE}\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n"
    );
    text(&mut svg, (MARGIN, 34.), "title", "Tokens per second");
    text(&mut svg, (MARGIN, 54.), "quiet", &subtitle(report));
    let plots = plots(rows);
    for plot in &plots {
        plot.frame(&mut svg, bottom);
    }
    let mut y = TOP;
    for group in groups {
        let subject = &group[0].subject;
        let name = format!(
            "{} · {subject} · prompts of {} tokens",
            subject.model.replace(char::is_control, " "),
            group[0].n_prompt
        );
        text(&mut svg, (MARGIN, y + 21.), "name", &name);
        y += HEAD;
        let end = y + (group.len() - 1) as f64 * STEP + BAR;
        for plot in &plots {
            plot.grid(&mut svg, (y - 4., end + 4.));
        }
        for row in group {
            let batch = format!("batch {}", row.batch);
            text(&mut svg, (MARGIN, y + BAR - 3.), "quiet", &batch);
            for plot in &plots {
                plot.bar(&mut svg, row, y);
            }
            y += STEP;
        }
    }
    for (i, words) in about.iter().enumerate() {
        let y = bottom + 42. + i as f64 * LINE;
        text(&mut svg, (MARGIN, y), "tick", words);
    }
    svg + "</svg>\n"
}

fn subtitle(report: &Report) -> String {
    let written = report.results.first().map_or(0, |row| row.n_gen);
    let rounds = markdown::times(report.repetitions);
    format!(
        "all sequences of a batch together, {written} tokens written of each; mean and deviation of {rounds}"
    )
}

/// The machine and the build, in lines that are not too long.
fn about(report: &Report) -> Vec<String> {
    let mut lines = Vec::<String>::new();
    for text in [
        markdown::machine(&report.machine),
        markdown::build(&report.build),
    ] {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.chars().count() + word.chars().count() >= MOST_CHARACTERS {
                lines.push(std::mem::take(&mut line));
            }
            line = [&line, word].join(if line.is_empty() { "" } else { " " });
        }
        lines.push(line);
    }
    lines
}

fn plots(rows: &[Row]) -> [Plot; 2] {
    let plot = |class, title, left, of: fn(&Row) -> (f64, f64)| {
        let ends = rows.iter().map(of).map(|(mean, stddev)| mean + stddev);
        Plot {
            class,
            title,
            left,
            scale: Scale::to(ends.fold(0., f64::max)),
            of,
        }
    };
    [
        plot("prefill", "Reading (prefill)", PLOT, |row| {
            (row.prefill_tps, row.prefill_tps_stddev)
        }),
        plot(
            "decode",
            "Writing (decode)",
            PLOT + PLOT_WIDTH + GAP,
            |row| (row.decode_tps, row.decode_tps_stddev),
        ),
    ]
}

impl Plot {
    fn x(&self, value: f64) -> f64 {
        self.left + value / self.scale.end * (PLOT_WIDTH - ROOM)
    }

    /// Title and the figures of the scale.
    fn frame(&self, svg: &mut String, bottom: f64) {
        text(svg, (self.left, TOP - 8.), "quiet", self.title);
        for tick in self.scale.ticks() {
            let x = self.x(tick);
            let label = digits(tick);
            // `100.0` and `0.50` say no more than `100` and `0.5`.
            let label = match label.contains('.') {
                true => label.trim_end_matches('0').trim_end_matches('.'),
                false => &label,
            };
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 18.
            );
        }
    }

    /// Lines behind a group's bars.
    fn grid(&self, svg: &mut String, (top, bottom): (f64, f64)) {
        for tick in self.scale.ticks() {
            let x = self.x(tick);
            line(svg, "grid", (x, top), (x, bottom));
        }
    }

    /// A bar whose top is `y`, its deviation as a line with ends, and its figure behind both.
    fn bar(&self, svg: &mut String, row: &Row, y: f64) {
        let (mean, stddev) = (self.of)(row);
        let _ = writeln!(
            svg,
            "<rect class=\"{}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>",
            self.class,
            self.left,
            self.x(mean) - self.left
        );
        let (low, high) = (self.x((mean - stddev).max(0.)), self.x(mean + stddev));
        // Narrower than this it would be a smudge.
        if high - low > 3. {
            let middle = y + BAR / 2.;
            line(svg, "spread", (low, middle), (high, middle));
            for end in [low, high] {
                line(svg, "spread", (end, middle - 3.), (end, middle + 3.));
            }
        }
        text(svg, (high + 7., y + BAR - 3.), "figure", &digits(mean));
    }
}

/// A scale from 0 on that ends at or behind the largest value, with steps people count in.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    end: f64,
    step: f64,
}

impl Scale {
    fn to(largest: f64) -> Self {
        let largest = if largest > 0. { largest } else { 1. };
        let power = 10f64.powf((largest / MOST_STEPS).log10().floor());
        let factors = [1., 2., 5., 10.];
        let steps = factors.map(|factor| factor * power);
        let fitting = steps.into_iter().find(|step| step * MOST_STEPS >= largest);
        Self {
            end: largest,
            step: fitting.unwrap_or(steps[3]),
        }
    }

    fn ticks(self) -> impl Iterator<Item = f64> {
        let count = (self.end / self.step + 1e-9).floor() as usize;
        (0..=count).map(move |i| i as f64 * self.step)
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, words: &str) {
    let words = escaped(words);
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>"
    );
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, row};
    use super::*;

    #[test]
    fn scales_have_round_steps_and_hold_the_largest_value() {
        for (largest, step, ticks) in [
            (87., 20., 5),
            (212., 50., 5),
            (4., 1., 5),
            (0.7, 0.2, 4),
            (0., 0.2, 6),
        ] {
            let scale = Scale::to(largest);
            assert!((scale.step - step).abs() < 1e-9, "{largest}: {scale:?}");
            assert_eq!(scale.ticks().count(), ticks, "{largest}");
            assert!(scale.end >= largest);
        }
    }

    #[test]
    fn bars_are_as_long_as_what_they_stand_for() {
        let svg = render(&report(vec![row("m", 1, 1, 40.), row("m", 2, 1, 80.)]));
        let widths = |class: &str| {
            let bars = svg
                .lines()
                .filter(|line| line.starts_with(&format!("<rect class=\"{class}\"")));
            let width = |line: &str| line.split('"').nth(7).unwrap().parse::<f64>().unwrap();
            bars.map(width).collect::<Vec<_>>()
        };
        for class in ["prefill", "decode"] {
            let [slow, fast] = widths(class)[..] else {
                panic!("{svg}")
            };
            assert!((fast / slow - 2.).abs() < 0.01, "{slow} {fast}");
            assert!(fast < PLOT_WIDTH - ROOM + 0.1);
        }
    }

    #[test]
    fn names_cannot_break_the_picture() {
        let svg = render(&report(vec![row("a<b&c\u{1}", 1, 1, 40.)]));
        assert!(svg.contains("a&lt;b&amp;c  ·"), "{svg}");
        let empty = render(&report(Vec::new()));
        assert!(empty.ends_with("</svg>\n") && !empty.contains("NaN"));
    }
}
