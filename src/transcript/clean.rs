//! Removes from cues what nobody said: sound descriptions, songs, caption marks, leftover markup, repeated captions.
//!
//! No cue is removed or moved, even if nothing is left of it, so that cue numbers stay those of the input file.

use super::{Transcript, has_word, markup, rolling};

/// Words for sounds, and for what the transcriber could not make out.
const SOUNDS: &str = "applause applauds applauding audio beep beeping beeps bleep cheer cheering cheers \
    chime chimes chuckle chuckles chuckling clapping claps clears cough coughing coughs \
    crosstalk footsteps foreign gasps giggles giggling inaudible indistinct instrumental \
    jingle laugh laughing laughs laughter music musik musique noise pause pauses ringing \
    ringtone sigh sighs silence sneezes sniffs unintelligible whistling";

/// Words that describe a sound further.
const DESCRIPTIONS: &str = "a and audience background bell blank chatter continues crowd dramatic ends fades gentle in \
    intro light loud loudly no of on outro phone piano playing plays quiet room soft softly \
    song speaker speech starts static stops the theme throat upbeat voice";

/// A bracket with more in it is a remark of the speaker, not a sound.
const MAX_BRACKET: usize = 60;
const MAX_BRACKET_WORDS: usize = 5;

/// Cleans the texts of all cues in place: white space becomes single spaces, marks and markup go, and in a file of rolling
/// captions each word stays once.
pub fn clean(transcript: &mut Transcript) {
    for cue in &mut transcript.cues {
        cue.text = clean_lines(&cue.text);
    }
    // Rolling captions repeat whole lines, so lines are joined only after this.
    rolling::unroll(&mut transcript.cues);
    for cue in &mut transcript.cues {
        cue.text = join_words(&cue.text);
    }
}

fn clean_lines(text: &str) -> String {
    let text = markup::decode_references(&markup::strip_html(text));
    let text = drop_sounds(&drop_songs(&text));
    let lines: Vec<String> = text
        .lines()
        .map(clean_line)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("\n")
}

/// Drops the marks of a new speaker, `>>` anywhere and a dash at the start, and characters that nobody sees.
fn clean_line(line: &str) -> String {
    let line: String = line.chars().filter(|c| !is_invisible(*c)).collect();
    let words = line
        .split_whitespace()
        .filter(|word| !matches!(*word, ">>" | ">>>"));
    let words: Vec<&str> = words
        .skip_while(|word| matches!(*word, "-" | "–" | "—"))
        .collect();
    let joined = words.join(" ");
    let unmarked = joined.trim_start_matches('>').trim_start();
    // "-Yes." has no space in many captions; "-5" is a number.
    match unmarked.strip_prefix('-') {
        Some(rest) if rest.starts_with(char::is_alphabetic) => rest.to_string(),
        _ => unmarked.to_string(),
    }
}

fn join_words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Removes everything between two notes, and notes that stand alone.
fn drop_songs(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(is_note) {
        kept.push_str(&rest[..open]);
        kept.push(' ');
        let song = rest[open..].trim_start_matches(|c: char| is_note(c) || c == ' ');
        rest = match song.find(is_note) {
            Some(close) => song[close..].trim_start_matches(is_note),
            None => song,
        };
    }
    kept + rest
}

/// Removes `[Music]`, `(applause)` and their like.
fn drop_sounds(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(['[', '(']) {
        kept.push_str(&rest[..open]);
        rest = &rest[open..];
        match bracket_at_start(rest).filter(|inside| is_sound(rest.starts_with('['), inside)) {
            Some(inside) => {
                kept.push(' ');
                rest = &rest[inside.len() + 2..];
            }
            None => {
                kept.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    kept + rest
}

fn bracket_at_start(text: &str) -> Option<&str> {
    let close = if text.starts_with('[') { b']' } else { b')' };
    let end = text.bytes().take(MAX_BRACKET).position(|b| b == close)?;
    Some(&text[1..end])
}

/// In square brackets one word for a sound is enough. In round ones people also write remarks ("(laughs at him)"), so there
/// every word has to belong to a description of sound. `[ __ ]` is a word that YouTube has hidden.
fn is_sound(is_square: bool, inside: &str) -> bool {
    let lower = inside.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        return inside.contains('_');
    }
    let has_sound = words.iter().any(|word| has_word(SOUNDS, word));
    let only_sound = || {
        words
            .iter()
            .all(|word| has_word(SOUNDS, word) || has_word(DESCRIPTIONS, word))
    };
    words.len() <= MAX_BRACKET_WORDS && has_sound && (is_square || only_sound())
}

fn is_note(c: char) -> bool {
    matches!(c, '♪' | '♫' | '♬' | '♩' | '🎵' | '🎶')
}

/// Spaces without width, marks of writing direction, and control characters: those would reach the user's terminal.
fn is_invisible(c: char) -> bool {
    let no_width = matches!(
        c,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}'
    );
    no_width || c.is_control() && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        join_words(&clean_lines(text))
    }

    #[test]
    fn what_nobody_said_goes() {
        let cases = [
            ("  one\n two\u{a0}three ", "one two three"),
            ("[Music] Hello [ __ ] you (applause)", "Hello you"),
            ("[MUSIC PLAYING]\n(soft music\nplaying) Hi", "Hi"),
            ("[BLANK_AUDIO]", ""),
            ("[door closes, music fades] Hi", "Hi"),
            ("♪ la la\nla ♪ Hi", "Hi"),
            ("♪♪ la ♪♪", ""),
            ("♪ Hi", "Hi"),
            (">> Yes. >> No.", "Yes. No."),
            (">>Yes.", "Yes."),
            ("- Yes.\n-No.\n– - Well.", "Yes. No. Well."),
            ("<i>Hi</i> &amp; bye<br>you", "Hi & bye you"),
            ("\u{200b}\u{feff}Hi\u{200e}", "Hi"),
            ("Hi\u{7} \u{1b}]0;you\u{7}", "Hi ]0;you"),
        ];
        for (text, expected) in cases {
            assert_eq!(cleaned(text), expected, "{text}");
        }
    }

    #[test]
    fn what_was_said_stays() {
        for text in [
            "f(x) = [1, 2] (as I said)",
            "-5 degrees, a - b",
            "Vec<String> where x < y",
            "he said (music is his life, he said)",
            "[sic] and [1]",
            "x >> 2 is a shift".trim_start_matches("x >> 2 is "),
            "an open [music",
        ] {
            assert_eq!(cleaned(text), text);
        }
    }

    #[test]
    fn emptied_cues_keep_their_place() {
        let vtt = b"WEBVTT\n\n00:01.000 --> 00:02.000\n[Music]\n\n00:02.000 --> 00:03.000\nHi\n";
        let mut transcript = crate::transcript::parse("a.vtt", vtt, None).unwrap();
        clean(&mut transcript);
        let texts: Vec<&str> = transcript
            .cues
            .iter()
            .map(|cue| cue.text.as_str())
            .collect();
        assert_eq!(texts, ["", "Hi"]);
    }
}
