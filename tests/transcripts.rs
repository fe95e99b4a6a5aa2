//! Every fixture in `tests/fixtures/transcripts` through the public interface, and damaged copies of all of them.

use std::fs;
use std::path::PathBuf;

use chapterize::transcript::{self, Cue, Format, Transcript};

fn fixture(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/transcripts/");
    format!("{folder}{name}")
}

fn open(name: &str) -> Transcript {
    transcript::open(&fixture(name), None).unwrap()
}

/// The message for a file that cannot be read, without its folder.
fn error(name: &str) -> String {
    let error = transcript::open(&fixture(name), None).unwrap_err();
    format!("{error:#}").replace(&fixture(""), "")
}

/// Each cue as `start-end speaker: text`; what it does not have is left out.
fn lines(transcript: &Transcript) -> Vec<String> {
    let line = |cue: &Cue| {
        let time = |seconds: Option<f64>| seconds.map(|s| s.to_string()).unwrap_or_default();
        let speaker = cue
            .speaker
            .as_ref()
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        format!(
            "{}-{} {speaker}{}",
            time(cue.start),
            time(cue.end),
            cue.text
        )
    };
    transcript.cues.iter().map(line).collect()
}

fn cleaned(name: &str) -> Transcript {
    let mut transcript = open(name);
    transcript::clean(&mut transcript);
    transcript
}

#[test]
fn fixtures_are_read_and_cleaned() {
    let cases: [(&str, Format, &[&str]); 11] = [
        (
            "voices.vtt",
            Format::Vtt,
            &[
                "0.5-4 Mara Holt: Welcome to the bakery. Today we talk about sourdough.",
                "4.2-7 Tom Bergen: Thanks, Mara & team.",
                "7-11.5 Mara Holt: Who starts? Tom Bergen: I will: flour comes first.",
                "360000-360002 Mara Holt: That was a long rise, over 4 < 5 days.",
            ],
        ),
        (
            "crlf.srt",
            Format::Srt,
            &[
                "1-3.5 HOST: The kiln is hot now.",
                "3.5-6 HOST: About 1,200 degrees.",
                "6-8 LENA: It glows!",
                "8-10 HOST: Stand back.",
            ],
        ),
        (
            "whisper.json",
            Format::Json,
            &[
                "0-1.4 SPEAKER_00: Good morning.",
                "1.4-3.92 SPEAKER_00: We begin with the harbour.",
                "4.1-6 SPEAKER_01: It was built twice.",
            ],
        ),
        (
            "whispercpp.json",
            Format::Json,
            &["0-2.48 The tide comes in at noon.", "2.48-5.12 "],
        ),
        (
            "chunks.json",
            Format::Json,
            &["0-2.2 Bees sleep at night.", "2.2- They dream, perhaps."],
        ),
        (
            "speakers.txt",
            Format::Txt,
            &[
                "- The repair café Recorded in spring",
                "- Dr. Ida Marsh: Welcome, everybody. We have three guests.",
                "- Paul: Good evening. Remember: never open a toaster that is plugged in.",
                "- Dr. Ida Marsh: Good advice.",
                "- Dr. Ida Marsh: And a good start.",
            ],
        ),
        (
            "timestamps.txt",
            Format::Txt,
            &[
                "3-8 The first bicycle had no pedals.",
                "8-75 Its riders walked. They wore out their shoes.",
                "75- Pedals came fifty years later.",
            ],
        ),
        (
            "zoom.txt",
            Format::Txt,
            &[
                "4-11 Nora Quist: Can everybody hear me? I see only three of you.",
                "11-3750 Sam O'Dell: I can hear you.",
                "3750- Nora Quist: Then that is all for today.",
            ],
        ),
        (
            "paragraphs.txt",
            Format::Txt,
            &[
                "- A lighthouse is a promise. It says that somebody was here before, and stayed awake.",
                "- The keeper's log of one winter has ninety entries. All but four are about the weather.",
            ],
        ),
        (
            "latin1.txt",
            Format::Txt,
            &["- Le café est fermé. La clé est à l'hôtel."],
        ),
        ("utf16.vtt", Format::Vtt, &["1-2.5 Smörgås – två."]),
    ];
    for (name, format, expected) in cases {
        let transcript = cleaned(name);
        assert_eq!(
            (transcript.format, lines(&transcript)),
            (format, expected.iter().map(|s| s.to_string()).collect()),
            "{name}"
        );
    }
}

#[test]
fn rolling_captions_say_every_word_once() {
    let transcript = cleaned("rolling.vtt");
    assert_eq!(transcript.cues.len(), 14);
    let texts: Vec<&str> = transcript
        .cues
        .iter()
        .map(|cue| cue.text.as_str())
        .filter(|text| !text.is_empty())
        .collect();
    assert_eq!(
        texts[..3],
        [
            "so in this video we are",
            "going to repair an old clock",
            "and the first thing to do"
        ]
    );
    assert_eq!((texts.len(), transcript.words()), (7, 40));
    assert_eq!(transcript.cues[2].start, Some(2.0));
}

#[test]
fn unusable_files_are_refused_by_name() {
    assert_eq!(
        error("binary.bin"),
        "binary.bin: not a text file (a zero byte at offset 0)"
    );
    assert_eq!(
        error("backwards.srt"),
        "backwards.srt:6: expected a start at or after 00:00:10.000, that of the cue before, found '00:00:04.000'; \
         put the cues in order of time"
    );
    assert_eq!(error("missing.srt"), "missing.srt: no such file");
    assert_eq!(error(""), ": is a directory; name a transcript file");
}

#[test]
fn sentences_join_cues_and_end_with_speakers() {
    let found: Vec<_> = transcript::sentences(&cleaned("crlf.srt"))
        .into_iter()
        .map(|s| {
            (
                s.text,
                s.speaker.unwrap(),
                s.first_cue..=s.last_cue,
                s.start,
            )
        })
        .collect();
    let expected = [
        ("The kiln is hot now.", "HOST", 0..=0, 1.0),
        ("About 1,200 degrees.", "HOST", 1..=1, 3.5),
        ("It glows!", "LENA", 2..=2, 6.0),
        ("Stand back.", "HOST", 3..=3, 8.0),
    ];
    let expected = expected.map(|(text, speaker, cues, start)| {
        (text.to_string(), speaker.to_string(), cues, Some(start))
    });
    assert_eq!(found, expected);
}

#[test]
fn pauses_stand_in_for_punctuation() {
    let found: Vec<_> = transcript::sentences(&cleaned("unpunctuated.srt"))
        .into_iter()
        .map(|s| (s.first_cue, s.last_cue))
        .collect();
    assert_eq!(found, [(0, 1), (2, 3)]);
}

#[test]
fn sentences_hold_every_word_of_every_fixture_in_order() {
    for path in fixtures() {
        if let Ok(transcript) = transcript::open(path.to_str().unwrap(), None) {
            check_sentences(&transcript);
        }
    }
}

/// Some thousands of damaged files: whatever comes in, an error or a transcript comes out, and its sentences hold its words.
#[test]
fn no_input_panics() {
    let contents: Vec<Vec<u8>> = fixtures()
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    let mut random = Random(7);
    let mut read = 0;
    for round in 0..6000 {
        let mut bytes = contents[round % contents.len()].clone();
        let other = &contents[random.below(contents.len())];
        for _ in 0..=random.below(6) {
            mutate(&mut bytes, other, &mut random);
        }
        let from = [None, None, Some(Format::ALL[random.below(4)])][random.below(3)];
        if let Ok(mut transcript) = transcript::parse("mutated", &bytes, from) {
            let cues = transcript.cues.len();
            transcript::clean(&mut transcript);
            assert_eq!(transcript.cues.len(), cues);
            check_sentences(&transcript);
            read += 1;
        }
    }
    assert!(
        read > 1000,
        "only {read} of the damaged files could still be read"
    );
}

fn check_sentences(transcript: &Transcript) {
    let sentences = transcript::sentences(transcript);
    // Sentences of Chinese and Japanese divide words, so white space is left out of the comparison.
    let letters = |texts: Vec<&str>| texts.concat().split_whitespace().collect::<String>();
    let said = letters(
        transcript
            .cues
            .iter()
            .map(|cue| cue.text.as_str())
            .collect(),
    );
    assert_eq!(
        letters(
            sentences
                .iter()
                .map(|sentence| sentence.text.as_str())
                .collect()
        ),
        said
    );
    for pair in sentences.windows(2) {
        assert!(pair[0].last_cue <= pair[1].first_cue);
    }
    for sentence in &sentences {
        assert!(sentence.first_cue <= sentence.last_cue && !sentence.text.is_empty());
        assert_eq!(sentence.start, transcript.cues[sentence.first_cue].start);
    }
}

fn fixtures() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(fixture(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension != "py" && extension != "md")
    });
    paths.sort();
    paths
}

/// Changes, removes, repeats or inserts a few bytes, or something that means something to one of the formats.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const TOKENS: [&str; 20] = [
        "-->",
        "00:00:01,000",
        "99:99",
        "WEBVTT",
        "\n\n",
        "\r",
        "{",
        "]",
        "<v ",
        ">",
        "&#",
        ";",
        "[",
        "\"",
        "1e999",
        "é",
        "。",
        ":",
        "♪",
        "(0:01)",
    ];
    let at = random.below(bytes.len() + 1);
    let length = random.below(20).min(bytes.len() - at);
    match random.below(6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..at + length)),
        2 => bytes.extend_from_within(at..at + length),
        3 => drop(bytes.splice(at..at, TOKENS[random.below(TOKENS.len())].bytes())),
        4 => {
            let from = random.below(other.len());
            bytes.splice(at..at + length, other[from..].iter().copied().take(60));
        }
        _ => bytes[at.saturating_sub(1)..]
            .iter_mut()
            .take(1)
            .for_each(|byte| *byte = random.below(256) as u8),
    }
}

/// A small generator (Knuth's MMIX constants), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
