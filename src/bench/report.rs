//! The results of a run, and JSON of them.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::agreement::Agreement;
use super::environment::{Build, Host};
use super::{Sizes, Speed, csv, markdown, svg};

/// In what form results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    #[default]
    Md,
    Json,
    Jsonl,
    Csv,
    Svg,
}

impl ReportFormat {
    pub fn extension(self) -> &'static str {
        match self {
            Self::Md => "md",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Svg => "svg",
        }
    }

    /// Whether there is a place for more than rows: agreement, the whole way, what failed.
    pub fn holds_all(self) -> bool {
        matches!(self, Self::Md | Self::Json)
    }
}

/// Who was measured: one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub model: String,
    pub device: String,
    /// The type most weights are stored in.
    pub dtype: String,
    pub threads: usize,
}

impl fmt::Display for Subject {
    /// All but the model.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let plural = if self.threads == 1 { "" } else { "s" };
        let Self {
            device,
            dtype,
            threads,
            ..
        } = self;
        write!(f, "{device}, {threads} thread{plural}, {dtype}")
    }
}

/// One worker at one batch size. Times are in seconds, means of all repetitions; tokens per second count all sequences of
/// the batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    #[serde(flatten)]
    pub subject: Subject,
    pub n_prompt: usize,
    pub n_gen: usize,
    pub batch: usize,
    pub load_s: f64,
    /// To the first token of the first prompt, loading included.
    pub cold_start_s: f64,
    pub ttft_s: f64,
    pub prefill_tps: f64,
    pub prefill_tps_stddev: f64,
    pub decode_tps: f64,
    pub decode_tps_stddev: f64,
    pub total_s: f64,
    /// The most memory the worker has held up to here; `None` where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
}

impl Row {
    pub fn new(subject: Subject, sizes: &Sizes, speed: &Speed, peak: Option<u64>) -> Self {
        Self {
            subject,
            n_prompt: sizes.prompt,
            n_gen: sizes.write,
            batch: speed.batch,
            load_s: speed.load_s,
            cold_start_s: speed.cold_start_s,
            ttft_s: speed.ttft_s,
            prefill_tps: speed.prefill_tps.mean,
            prefill_tps_stddev: speed.prefill_tps.stddev,
            decode_tps: speed.decode_tps.mean,
            decode_tps_stddev: speed.decode_tps.stddev,
            total_s: speed.total_s,
            peak_rss_bytes: peak,
        }
    }
}

/// A result by itself: with what it was measured on and with.
#[derive(Debug, Serialize)]
pub struct Record<'a, T> {
    #[serde(flatten)]
    pub result: T,
    pub machine: &'a Host,
    pub build: &'a Build,
}

impl<T: Serialize> Record<'_, T> {
    /// One line of JSON, its end included.
    pub fn json_line(&self) -> String {
        serde_json::to_string(self).expect("a record has only string keys") + "\n"
    }
}

/// The whole pipeline on the built-in example, models loaded before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndToEnd {
    #[serde(flatten)]
    pub subject: Subject,
    pub seconds: Option<f64>,
    /// Of recorded speech.
    pub seconds_per_hour: Option<f64>,
    /// The most memory the worker has held.
    pub peak_rss_bytes: Option<u64>,
    /// Why there are no figures, where there are none.
    pub reason: Option<String>,
}

impl EndToEnd {
    pub fn impossible(subject: Subject, reason: &str) -> Self {
        Self {
            subject,
            seconds: None,
            seconds_per_hour: None,
            peak_rss_bytes: None,
            reason: Some(reason.into()),
        }
    }
}

impl fmt::Display for EndToEnd {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}, {}: ", self.subject.model, self.subject)?;
        match (self.seconds_per_hour, &self.reason) {
            (Some(seconds), _) => write!(f, "{seconds:.1} s for an hour of speech"),
            (None, reason) => f.write_str(reason.as_deref().unwrap_or("not measured")),
        }
    }
}

/// A combination that could not be measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    pub model: String,
    /// As asked for; `None` where the model could not be had at all.
    pub device: Option<String>,
    pub threads: Option<usize>,
    /// One line.
    pub error: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.model)?;
        if let Some(device) = &self.device {
            write!(f, ", {device}")?;
        }
        if let Some(threads) = self.threads {
            let plural = if threads == 1 { "" } else { "s" };
            write!(f, ", {threads} thread{plural}")?;
        }
        write!(f, ": {}", self.error)
    }
}

/// Everything a run found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub machine: Host,
    pub build: Build,
    pub repetitions: usize,
    pub results: Vec<Row>,
    pub agreement: Vec<Agreement>,
    pub end_to_end: Vec<EndToEnd>,
    pub failures: Vec<Failure>,
}

impl Report {
    /// With nothing in it yet, of this machine and build.
    pub fn new(repetitions: usize) -> Self {
        Self {
            machine: Host::this(),
            build: Build::this(),
            repetitions,
            results: Vec::new(),
            agreement: Vec::new(),
            end_to_end: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// A result of this report by itself.
    pub fn record<T>(&self, result: T) -> Record<'_, T> {
        Record {
            result,
            machine: &self.machine,
            build: &self.build,
        }
    }

    /// The whole in any format.
    pub fn render(&self, format: ReportFormat) -> String {
        match format {
            ReportFormat::Md => markdown::render(self),
            ReportFormat::Json => {
                serde_json::to_string_pretty(self).expect("a report has only string keys") + "\n"
            }
            ReportFormat::Jsonl => {
                let rows = self.results.iter();
                rows.map(|row| self.record(row).json_line()).collect()
            }
            ReportFormat::Csv => csv::render(self),
            ReportFormat::Svg => svg::render(self),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn row(model: &str, threads: usize, batch: usize, speed: f64) -> Row {
        Row {
            subject: Subject {
                model: model.into(),
                device: "cpu".into(),
                dtype: "Q4_1".into(),
                threads,
            },
            n_prompt: 512,
            n_gen: 32,
            batch,
            load_s: 0.25,
            cold_start_s: 2.,
            ttft_s: 1.5,
            prefill_tps: 4. * speed,
            prefill_tps_stddev: 2.5,
            decode_tps: speed,
            decode_tps_stddev: 0.5,
            total_s: 12.,
            peak_rss_bytes: Some(450 << 20),
        }
    }

    pub fn report(results: Vec<Row>) -> Report {
        Report {
            machine: Host {
                os: "Linux".into(),
                arch: "x86_64".into(),
                cpu: "Fast CPU".into(),
                cores: Some(1),
                threads: 2,
                features: vec!["avx2".into(), "fma".into()],
                isa: None,
                memory: 16_000_000_000,
            },
            results,
            ..Report::new(5)
        }
    }

    #[test]
    fn a_line_of_json_has_a_row_the_machine_and_the_build() {
        let row = row("m", 1, 1, 80.);
        let report = report(vec![row.clone()]);
        let line = report.render(ReportFormat::Jsonl);
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Row>(&line).unwrap(), row);
        let value = serde_json::from_str::<serde_json::Value>(&line).unwrap();
        assert_eq!(value["machine"]["cpu"], "Fast CPU");
        assert_eq!(value["build"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn a_failure_names_what_failed() {
        let mut failure = Failure {
            model: "m".into(),
            device: Some("cuda:0".into()),
            threads: Some(2),
            error: "no GPU".into(),
        };
        assert_eq!(failure.to_string(), "m, cuda:0, 2 threads: no GPU");
        failure.device = None;
        failure.threads = None;
        assert_eq!(failure.to_string(), "m: no GPU");
    }
}
