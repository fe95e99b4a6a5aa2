//! Documents with what people made of them: JSON lines.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::transcript::{Cue, Format, Transcript};

/// A line of the file.
#[derive(Debug, Clone, Deserialize)]
pub struct Document {
    pub id: String,
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

#[derive(Debug, Clone, Deserialize)]
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
        transcript(&self.id, &self.utterances)
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

fn transcript(id: &str, utterances: &[Utterance]) -> Transcript {
    let cues = utterances.iter().map(|utterance| Cue {
        start: utterance.start,
        end: utterance.end,
        speaker: utterance.speaker.clone(),
        text: utterance.text.clone(),
    });
    Transcript {
        path: id.to_string(),
        format: Format::Json,
        cues: cues.collect(),
    }
}

/// The documents of a file. Errors: a line that cannot be read.
fn documents(path: &Path) -> Result<Vec<Document>> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("{name}: cannot read"))?;
    let mut documents = Vec::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let place = || format!("{name}:{}", number + 1);
        let document = serde_json::from_str::<Document>(line).with_context(|| {
            format!(
                "{}: not a document as 'chapterize eval --help' describes it",
                place()
            )
        })?;
        let starts = document
            .chapters
            .iter()
            .map(|chapter| chapter.start_utterance);
        let starts = starts.collect::<Vec<_>>();
        let last = document.utterances.len();
        ensure!(
            starts.iter().all(|&start| start < last) && starts.is_sorted(),
            "{}: expected chapters in order, each with a 'start_utterance' below {last}",
            place()
        );
        documents.push(document);
    }
    Ok(documents)
}

/// All passages of a file that somebody has summarised. Errors: a line that cannot be read; no such passage.
pub fn items(path: &Path) -> Result<Vec<Item>> {
    let found = documents(path)?
        .into_iter()
        .flat_map(Document::items)
        .collect::<Vec<_>>();
    ensure!(
        !found.is_empty(),
        "{}: no passage in it has a 'summary'; --summaries compares with those",
        path.display()
    );
    Ok(found)
}

/// All documents of a file that somebody has divided into chapters. Errors: a line that cannot be read; no such document.
pub fn divided(path: &Path) -> Result<Vec<Document>> {
    let mut found = documents(path)?;
    found.retain(|document| !document.boundaries().is_empty());
    ensure!(
        !found.is_empty(),
        "{}: no document in it has two 'chapters'; boundaries are compared with those (or give --summaries)",
        path.display()
    );
    Ok(found)
}

impl Document {
    pub fn transcript(&self) -> Transcript {
        transcript(&self.id, &self.utterances)
    }

    /// The cues with which chapters begin, but for the first of all, ascending.
    pub fn boundaries(&self) -> Vec<usize> {
        let starts = self.chapters.iter().map(|chapter| chapter.start_utterance);
        let mut starts = starts.filter(|&start| start > 0).collect::<Vec<_>>();
        starts.dedup();
        starts
    }

    /// The cues with which chapters begin that have a title, and it.
    pub fn titles(&self) -> Vec<(usize, &str)> {
        let chapters = self.chapters.iter();
        let titles = chapters.filter_map(|c| Some((c.start_utterance, c.title.as_deref()?)));
        titles.collect()
    }

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
