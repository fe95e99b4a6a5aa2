//! JSON as `docs/summary.schema.json` describes it.

use crate::summary::Summary;

pub fn render(summary: &Summary) -> String {
    let mut text = serde_json::to_string_pretty(summary).expect("a summary has only string keys");
    text.push('\n');
    text
}
