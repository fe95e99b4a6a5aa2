//! Documents with what people wrote about them: JSON lines.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::transcript::{Cue, Format, Transcript};

/// A line of the file.
#[derive(Deserialize)]
struct Document {
    id: String,
    title: Option<String>,
    summary: Option<String>,
    utterances: Vec<Utterance>,
    #[serde(default)]
    chapters: Vec<Chapter>,
}

#[derive(Debug, Clone, Deserialize)]
struct Utterance {
    start: Option<f64>,
    end: Option<f64>,
    speaker: Option<String>,
    text: String,
}

#[derive(Deserialize)]
struct Chapter {
    start_utterance: usize,
    title: Option<String>,
    summary: Option<String>,
}

/// A passage with a person's summary of it.
#[derive(Debug, Clone)]
pub struct Item {
    pub id: String,
    pub title: Option<String>,
    pub summary: String,
    utterances: Vec<Utterance>,
}

impl Item {
    pub fn transcript(&self) -> Transcript {
        let cues = self.utterances.iter().map(|utterance| Cue {
            start: utterance.start,
            end: utterance.end,
            speaker: utterance.speaker.clone(),
            text: utterance.text.clone(),
        });
        Transcript {
            path: self.id.clone(),
            format: Format::Json,
            cues: cues.collect(),
        }
    }

    /// Everything that is said, with the names of the speakers.
    pub fn said(&self) -> String {
        let lines = self.utterances.iter().map(|utterance| {
            let speaker = utterance.speaker.as_deref().unwrap_or_default();
            format!("{speaker} {}", utterance.text)
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// All passages of a file that somebody has summarised. Errors: a line that cannot be read; no such passage.
pub fn items(path: &Path) -> Result<Vec<Item>> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("{name}: cannot read"))?;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let document = serde_json::from_str::<Document>(line).with_context(|| {
            format!(
                "{name}:{}: not a document as 'chapterize eval --help' describes it",
                number + 1
            )
        })?;
        found.extend(document.items());
    }
    ensure!(
        !found.is_empty(),
        "{name}: no passage in it has a 'summary'; --summaries compares with those"
    );
    Ok(found)
}

impl Document {
    fn items(self) -> Vec<Item> {
        let mut items = Vec::new();
        let ends = self.chapters.iter().skip(1).map(|c| c.start_utterance);
        let ends = ends.chain([self.utterances.len()]).collect::<Vec<_>>();
        for (chapter, end) in self.chapters.into_iter().zip(ends) {
            let said = self.utterances.get(chapter.start_utterance..end);
            if let (Some(summary), Some(said)) = (chapter.summary, said) {
                items.push(Item {
                    id: format!("{}#{}", self.id, chapter.start_utterance),
                    title: chapter.title,
                    summary,
                    utterances: said.to_vec(),
                });
            }
        }
        if let Some(summary) = self.summary {
            items.push(Item {
                id: self.id,
                title: self.title,
                summary,
                utterances: self.utterances,
            });
        }
        items
    }
}
