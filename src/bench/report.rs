//! The results of a run, and the formats for programs: JSON, JSON lines, CSV.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::agreement::Agreement;
use super::environment::{Build, Host};
use super::{Sizes, Speed, markdown, svg};

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
            ttft_s: speed.ttft_s,
            prefill_tps: speed.prefill_tps.mean,
            prefill_tps_stddev: speed.prefill_tps.stddev,
            decode_tps: speed.decode_tps.mean,
            decode_tps_stddev: speed.decode_tps.stddev,
            total_s: speed.total_s,
            peak_rss_bytes: peak,
        }
    }

    /// One line of JSON, its end included.
    pub fn json_line(&self) -> String {
        serde_json::to_string(self).expect("a row has only string keys") + "\n"
    }

    fn csv_line(&self) -> String {
        let Subject {
            model,
            device,
            dtype,
            threads,
        } = &self.subject;
        let peak = self.peak_rss_bytes.map(|bytes| bytes.to_string());
        let mut fields = vec![quoted(model), quoted(device), quoted(dtype)];
        fields.extend([threads, &self.n_prompt, &self.n_gen, &self.batch].map(usize::to_string));
        fields.extend([self.load_s, self.ttft_s].map(|seconds| format!("{seconds:.6}")));
        let rates = [
            self.prefill_tps,
            self.prefill_tps_stddev,
            self.decode_tps,
            self.decode_tps_stddev,
        ];
        fields.extend(rates.map(|rate| format!("{rate:.3}")));
        fields.push(format!("{:.6}", self.total_s));
        fields.push(peak.unwrap_or_default());
        fields.join(",") + "\n"
    }
}

/// The names of [`Row`]'s fields, in its order.
const CSV_HEADER: &str = "model,device,dtype,threads,n_prompt,n_gen,batch,load_s,ttft_s,prefill_tps,\
     prefill_tps_stddev,decode_tps,decode_tps_stddev,total_s,peak_rss_bytes\n";

/// A field as RFC 4180 wants it.
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.into(),
    }
}

/// The whole pipeline on the built-in example, models loaded before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndToEnd {
    #[serde(flatten)]
    pub subject: Subject,
    pub seconds: f64,
    /// Of recorded speech.
    pub seconds_per_hour: f64,
    /// The most memory the worker has held.
    pub peak_rss_bytes: Option<u64>,
}

impl fmt::Display for EndToEnd {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "{}, {}: {:.1} s for an hour of speech",
            self.subject.model, self.subject, self.seconds_per_hour
        )
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

    /// The whole in any format.
    pub fn render(&self, format: ReportFormat) -> String {
        match format {
            ReportFormat::Md => markdown::render(self),
            ReportFormat::Json => {
                serde_json::to_string_pretty(self).expect("a report has only string keys") + "\n"
            }
            ReportFormat::Jsonl => self.results.iter().map(Row::json_line).collect(),
            ReportFormat::Csv => {
                let lines = self.results.iter().map(Row::csv_line);
                CSV_HEADER.to_string() + &lines.collect::<String>()
            }
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
                memory: 16_000_000_000,
            },
            results,
            ..Report::new(5)
        }
    }

    #[test]
    fn a_line_of_csv_has_a_field_for_every_name_and_quotes_what_must_be() {
        let mut odd = row("a,\"b\".gguf", 2, 12, 80.);
        odd.peak_rss_bytes = None;
        let text = report(vec![row("m", 1, 1, 80.), odd]).render(ReportFormat::Csv);
        let lines = text.lines().collect::<Vec<_>>();
        let plain = "m,cpu,Q4_1,1,512,32,1,0.250000,1.500000,320.000,2.500,80.000,0.500,12.000000,471859200";
        assert_eq!(lines[1], plain);
        assert_eq!(plain.split(',').count(), lines[0].split(',').count());
        assert!(
            lines[2].starts_with("\"a,\"\"b\"\".gguf\",cpu,"),
            "{}",
            lines[2]
        );
        assert!(lines[2].ends_with(",12.000000,"), "{}", lines[2]);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_row_comes_back_from_its_line_and_its_fields_are_those_of_csv() {
        let row = row("m", 1, 1, 80.);
        let line = row.json_line();
        assert_eq!(serde_json::from_str::<Row>(&line).unwrap(), row);
        let value = serde_json::from_str::<serde_json::Value>(&line).unwrap();
        let names = value.as_object().unwrap().keys().cloned();
        assert_eq!(
            names.collect::<Vec<_>>().join(","),
            CSV_HEADER.trim_end().replace(char::is_whitespace, "")
        );
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
