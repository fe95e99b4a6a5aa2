//! The JSON that speech recognisers of the Whisper family write. None has a specification; read as their sources write it:
//!
//! * openai-whisper, faster-whisper, WhisperX and the OpenAI API: `{"segments": [{"start": 1.0, "end": 2.5, "text": ..}]}`,
//!   in seconds; WhisperX adds `"speaker"`. The list also comes bare, without the object around it.
//! * whisper.cpp: `{"transcription": [{"offsets": {"from": 1000, "to": 2500}, "timestamps": {..}, "text": ..}]}`, in ms.
//! * transformers: `{"chunks": [{"timestamp": [1.0, null], "text": ..}]}`; the last end may be null.

use anyhow::Result;
use serde_json::{Map, Value};

use super::source::{Place, PlacedCue, Source};
use super::{Cue, time};

const LISTS: [&str; 3] = ["segments", "transcription", "chunks"];
const EXPECTED_LISTS: &str =
    "a list of segments, or an object with 'segments', 'transcription' or 'chunks'";
const EXPECTED_TIMES: &str = "times in seconds or null";

/// How many names of unknown keys an error repeats.
const MAX_KEYS: usize = 8;

type Times = (Option<f64>, Option<f64>);

pub(super) fn parse(source: &Source) -> Result<Vec<PlacedCue>> {
    let root: Value =
        serde_json::from_str(source.text).map_err(|error| syntax_error(source, &error))?;
    let (list, segments) = find_segments(source, &root)?;
    if segments.is_empty() {
        return Err(source.no_cues(&format!("the list '{list}' is empty")));
    }
    let place = |index| Place::Entry(list, index);
    segments
        .iter()
        .enumerate()
        .map(|(index, segment)| {
            let cue = read_segment(segment)
                .map_err(|(what, found)| source.expected(&place(index), what, &found))?;
            Ok(PlacedCue {
                place: place(index),
                cue,
            })
        })
        .collect()
}

fn syntax_error(source: &Source, error: &serde_json::Error) -> anyhow::Error {
    let line = source
        .text
        .lines()
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    // serde_json counts the bytes of a column from 1, and a column may lie inside a character.
    let found = line
        .get(error.column().saturating_sub(1)..)
        .filter(|rest| !rest.is_empty())
        .unwrap_or("the end");
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    source.expected(
        &Place::Line(error.line().max(1)),
        &format!("valid JSON ({reason})"),
        found,
    )
}

fn find_segments<'a>(source: &Source, root: &'a Value) -> Result<(&'static str, &'a Vec<Value>)> {
    let found = match root {
        Value::Array(segments) => return Ok(("segments", segments)),
        Value::Object(object) => {
            for list in LISTS {
                if let Some(Value::Array(segments)) = object.get(list) {
                    return Ok((list, segments));
                }
            }
            describe_keys(object)
        }
        other => other.to_string(),
    };
    // Not through `Source::expected`, which would cut the list of keys.
    Err(anyhow::anyhow!(
        "{}: expected {EXPECTED_LISTS}, found {found}",
        source.name
    ))
}

fn describe_keys(object: &Map<String, Value>) -> String {
    let keys: Vec<String> = object
        .keys()
        .take(MAX_KEYS)
        .map(|key| format!("'{}'", key.escape_debug()))
        .collect();
    match object.len() {
        0 => "an empty object".to_string(),
        n if n > MAX_KEYS => format!(
            "an object with {} and {} more",
            keys.join(", "),
            n - MAX_KEYS
        ),
        _ => format!("an object with {}", keys.join(", ")),
    }
}

/// The error is what was expected and what was found.
fn read_segment(segment: &Value) -> Result<Cue, (&'static str, String)> {
    let object = segment
        .as_object()
        .ok_or_else(|| ("an object with 'text'", segment.to_string()))?;
    let text = match object.get("text") {
        Some(Value::String(text)) => text.trim().to_string(),
        Some(other) => return Err(("a string as 'text'", other.to_string())),
        None => return Err(("an object with 'text'", describe_keys(object))),
    };
    let (start, end) = read_times(object)?;
    Ok(Cue {
        start,
        end,
        speaker: read_speaker(object),
        text,
    })
}

fn read_times(object: &Map<String, Value>) -> Result<Times, (&'static str, String)> {
    if let Some(Value::Object(offsets)) = object.get("offsets") {
        let millis = |key| Ok(seconds(offsets.get(key))?.map(|millis| millis / 1000.0));
        return Ok((millis("from")?, millis("to")?));
    }
    if let Some(Value::Object(stamps)) = object.get("timestamps") {
        return Ok((clock(stamps.get("from"))?, clock(stamps.get("to"))?));
    }
    if let Some(Value::Array(pair)) = object.get("timestamp") {
        return Ok((seconds(pair.first())?, seconds(pair.get(1))?));
    }
    Ok((seconds(object.get("start"))?, seconds(object.get("end"))?))
}

fn seconds(value: Option<&Value>) -> Result<Option<f64>, (&'static str, String)> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) if number >= 0.0 => Ok(Some(number)),
            _ => Err((EXPECTED_TIMES, value.to_string())),
        },
    }
}

fn clock(value: Option<&Value>) -> Result<Option<f64>, (&'static str, String)> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_str().and_then(time::parse) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(("a time like 00:01:02,500", value.to_string())),
        },
    }
}

/// WhisperX names speakers, whisper.cpp numbers them and writes `?` where it cannot tell.
fn read_speaker(object: &Map<String, Value>) -> Option<String> {
    let name = match object.get("speaker")? {
        Value::String(name) => name.trim().to_string(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!name.is_empty() && name != "?").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cues(text: &str) -> Vec<Cue> {
        parse(&Source {
            name: "a.json",
            text,
        })
        .unwrap()
        .into_iter()
        .map(|placed| placed.cue)
        .collect()
    }

    fn error(text: &str) -> String {
        parse(&Source {
            name: "a.json",
            text,
        })
        .unwrap_err()
        .to_string()
    }

    #[test]
    fn every_variant_gives_the_same_cue() {
        let cue = |speaker: Option<&str>, end| Cue {
            start: Some(1.0),
            end,
            speaker: speaker.map(String::from),
            text: "Hi".to_string(),
        };
        let cases = [
            (
                r#"{"text": "Hi", "segments": [{"id": 0, "start": 1, "end": 2.5, "text": " Hi"}]}"#,
                cue(None, Some(2.5)),
            ),
            (
                r#"[{"start": 1.0, "end": 2.5, "text": "Hi", "speaker": "SPEAKER_00"}]"#,
                cue(Some("SPEAKER_00"), Some(2.5)),
            ),
            (
                r#"{"transcription": [{"timestamps": {"from": "00:00:01,000", "to": "00:00:02,500"},
                    "offsets": {"from": 1000, "to": 2500}, "text": " Hi", "speaker": "?"}]}"#,
                cue(None, Some(2.5)),
            ),
            (
                r#"{"transcription": [{"timestamps": {"from": "00:00:01,000", "to": "00:00:02,500"}, "text": "Hi", "speaker": 1}]}"#,
                cue(Some("1"), Some(2.5)),
            ),
            (
                r#"{"chunks": [{"timestamp": [1.0, null], "text": " Hi"}]}"#,
                cue(None, None),
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(cues(json), [expected], "{json}");
        }
    }

    #[test]
    fn other_json_is_refused_with_the_keys_it_has() {
        let cases = [
            (
                r#"{"text": "Hi", "language": "en"}"#,
                "a.json: expected a list of segments, or an object with 'segments', 'transcription' or 'chunks', \
                 found an object with 'text', 'language'",
            ),
            (
                r#"[{"start": 1}]"#,
                "a.json: segments[0]: expected an object with 'text', found 'an object with 'start''",
            ),
            (
                r#"[{"text": 1}]"#,
                "a.json: segments[0]: expected a string as 'text', found '1'",
            ),
            (
                r#"{"chunks": [{"text": "a"}, {"text": "b", "timestamp": ["x"]}]}"#,
                "a.json: chunks[1]: expected times in seconds or null, found '\"x\"'",
            ),
            (
                r#"{"segments": []}"#,
                "a.json: no cues: the list 'segments' is empty",
            ),
            (
                "[1,\n2",
                "a.json:2: expected valid JSON (EOF while parsing a list), found '2'",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(error(json), expected, "{json}");
        }
    }
}
