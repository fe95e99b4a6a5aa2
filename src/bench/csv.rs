//! The results as CSV: a line for each, with the machine and the build behind its figures.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use super::report::{Record, Report, Row, Subject};

/// The names of [`Row`]'s fields, in its order.
const ROW: &str = "model,device,dtype,threads,n_prompt,n_gen,batch,load_s,cold_start_s,ttft_s,prefill_tps,\
     prefill_tps_stddev,decode_tps,decode_tps_stddev,total_s,peak_rss_bytes";

/// The whole table. Fields of the machine and the build have `machine_` and `build_` before their names.
pub fn render(report: &Report) -> String {
    let (names, values) = surroundings(&report.record(()));
    let lines = report.results.iter();
    let lines = lines.map(|row| format!("{}{values}\n", line(row)));
    format!("{ROW}{names}\n{}", lines.collect::<String>())
}

/// Names and values of what is the same for all results, each with a comma before it.
fn surroundings(record: &Record<()>) -> (String, String) {
    let (mut names, mut values) = (String::new(), String::new());
    let parts = [
        ("machine", fields(record.machine)),
        ("build", fields(record.build)),
    ];
    for (part, fields) in parts {
        for (name, value) in fields {
            // Writing to a string cannot fail.
            let _ = write!(names, ",{part}_{name}");
            let _ = write!(values, ",{}", quoted(&plain(&value)));
        }
    }
    (names, values)
}

fn fields(part: &impl Serialize) -> Vec<(String, Value)> {
    match serde_json::to_value(part) {
        Ok(Value::Object(fields)) => fields.into_iter().collect(),
        _ => unreachable!("a machine and a build are structs with string keys"),
    }
}

/// A list is its members with spaces between them, nothing is nothing.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn line(row: &Row) -> String {
    let Subject {
        model,
        device,
        dtype,
        threads,
    } = &row.subject;
    let peak = row.peak_rss_bytes.map(|bytes| bytes.to_string());
    let mut fields = vec![quoted(model), quoted(device), quoted(dtype)];
    fields.extend([threads, &row.n_prompt, &row.n_gen, &row.batch].map(usize::to_string));
    let times = [row.load_s, row.cold_start_s, row.ttft_s];
    fields.extend(times.map(|seconds| format!("{seconds:.6}")));
    let rates = [
        row.prefill_tps,
        row.prefill_tps_stddev,
        row.decode_tps,
        row.decode_tps_stddev,
    ];
    fields.extend(rates.map(|rate| format!("{rate:.3}")));
    fields.push(format!("{:.6}", row.total_s));
    fields.push(peak.unwrap_or_default());
    fields.join(",")
}

/// A field as RFC 4180 wants it.
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, row};
    use super::*;

    #[test]
    fn a_line_has_a_field_for_every_name_and_quotes_what_must_be() {
        let mut odd = row("a,\"b\".gguf", 2, 12, 80.);
        odd.peak_rss_bytes = None;
        let text = render(&report(vec![row("m", 1, 1, 80.), odd]));
        let lines = text.lines().collect::<Vec<_>>();
        let plain = "m,cpu,Q4_1,1,512,32,1,0.250000,2.000000,1.500000,320.000,2.500,80.000,0.500,12.000000,471859200,\
             Linux,x86_64,Fast CPU,1,2,avx2 fma,,16000000000,";
        assert!(lines[1].starts_with(plain), "{}", lines[1]);
        assert_eq!(lines[1].split(',').count(), lines[0].split(',').count());
        assert!(lines[0].ends_with(",build_target,build_commit"));
        assert!(
            lines[2].starts_with("\"a,\"\"b\"\".gguf\",cpu,"),
            "{}",
            lines[2]
        );
        assert!(lines[2].contains(",12.000000,,Linux,"), "{}", lines[2]);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn the_names_are_those_of_json() {
        let value = serde_json::to_value(row("m", 1, 1, 80.)).unwrap();
        let names = value.as_object().unwrap().keys().cloned();
        assert_eq!(names.collect::<Vec<_>>().join(","), ROW);
    }
}
