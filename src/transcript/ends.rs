//! Where sentences end: at . ! ? … before a capital, a digit or a quote, and at 。！？ anywhere.
//!
//! A point also ends abbreviations. Some of them never end a sentence (Dr.), some do not before a number (No. 5), and of the
//! others (U.S., p.m., initials) only the next word tells; the idea is from Kiss and Strunk, "Unsupervised Multilingual
//! Sentence Boundary Detection" (2006), without its training.

use super::has_word;

/// Always followed by the rest of the sentence.
const NEVER_LAST: &str = "dr mr mrs ms prof st mt gen sen rep gov capt col lt sgt rev hon pres vs cf e.g i.e approx \
    ca al messrs";

/// Abbreviations before a number, ordinary words or ends elsewhere: "No. 5", but "No. I won't."
const BEFORE_NUMBER: &str = "no nos fig figs vol ch p pp sec eq art v ver jan feb mar apr jun jul aug sep sept oct nov \
    dec nr";

/// Either inside a sentence or at its end.
const EITHER: &str = "etc inc ltd co corp jr sr ph.d dept est bros univ ave";

/// Words that begin a sentence far more often than they follow an abbreviation.
const STARTERS: &str = "the a an he she it we they i you this that these those there in on at for and but so or if \
    when what why how who where now then as by my our his her their yes no after";

const MAX_ENUMERATOR: usize = 4;

/// A word, or a part of one that ends at a stop or comma of Chinese or Japanese.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub text: &'a str,
    /// Bytes from the beginning of the text.
    pub offset: usize,
    /// Whether the token before belongs to the same word.
    pub is_glued: bool,
}

pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut offset = 0;
    for chunk in text.split_inclusive(char::is_whitespace) {
        push_word(chunk.trim_end(), offset, &mut tokens);
        offset += chunk.len();
    }
    tokens
}

fn push_word<'a>(word: &'a str, offset: usize, tokens: &mut Vec<Token<'a>>) {
    let mut begin = 0;
    let mut after_stop = false;
    let mut chars = word.char_indices().peekable();
    while let Some((_, c)) = chars.next() {
        after_stop = is_wide_stop(c) || (after_stop && is_closing(c));
        let end = match chars.peek() {
            None => word.len(),
            Some(&(_, next)) if after_stop && (is_wide_stop(next) || is_closing(next)) => continue,
            Some(&(at, _)) if after_stop || is_wide_comma(c) => at,
            Some(_) => continue,
        };
        tokens.push(Token {
            text: &word[begin..end],
            offset: offset + begin,
            is_glued: begin > 0,
        });
        begin = end;
    }
}

/// Byte offsets of all sentence ends in a text, ascending; its end is not among them.
pub(super) fn offsets(text: &str) -> Vec<usize> {
    let tokens = tokens(text);
    let mut is_first = true;
    let mut offsets = Vec::new();
    for pair in tokens.windows(2) {
        let ends = ends_sentence(pair[0].text, Some(&pair[1]), is_first);
        if ends {
            offsets.push(pair[0].offset + pair[0].text.len());
        }
        is_first = ends;
    }
    offsets
}

/// The sentences of a text, without the white space around them.
pub fn split(text: &str) -> Vec<&str> {
    let mut begin = 0;
    let mut sentences = Vec::new();
    for end in offsets(text).into_iter().chain([text.len()]) {
        sentences.push(text[begin..end].trim());
        begin = end;
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

/// Whether a text ends in a stop, apart from quotes and brackets after it.
pub fn has_stop(text: &str) -> bool {
    text.trim_end_matches(is_closing)
        .ends_with(|c: char| is_stop(c) || is_wide_stop(c))
}

/// Whether a sentence ends after `token`, given the next one of the same speaker. `is_first`: the sentence began here.
pub(super) fn ends_sentence(token: &str, next: Option<&Token>, is_first: bool) -> bool {
    if !has_stop(token) {
        return false;
    }
    let core = token.trim_end_matches(is_closing);
    if core.ends_with(is_wide_stop) {
        return true;
    }
    let Some(next) = next else { return true };
    if next.is_glued || !may_begin(next.text) {
        return false;
    }
    match core.strip_suffix('.') {
        // A closing bracket or quote after the point ends more than an abbreviation.
        Some(stem) if core.len() == token.len() => {
            let goes_on = is_abbreviation(stem.trim_start_matches(is_opening), next.text);
            !(goes_on || (is_first && is_enumerator(stem)))
        }
        _ => true,
    }
}

fn may_begin(word: &str) -> bool {
    let begins_quote = word.starts_with(['"', '“', '‘', '«', '„', '「', '『']);
    let first = word.chars().find(|c| c.is_alphanumeric());
    begins_quote || !first.is_some_and(char::is_lowercase)
}

/// Whether `stem` followed by a point is an abbreviation in front of `next`.
fn is_abbreviation(stem: &str, next: &str) -> bool {
    let lower = stem.to_lowercase();
    let lower = lower.as_str();
    let next = next.trim_start_matches(is_opening);
    if has_word(NEVER_LAST, lower) {
        return true;
    }
    if has_word(BEFORE_NUMBER, lower) && next.starts_with(|c: char| c.is_ascii_digit()) {
        return true;
    }
    let next = next
        .trim_end_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase();
    (has_word(EITHER, lower) || is_initials(stem)) && !has_word(STARTERS, &next)
}

/// `J`, `U.S`, `p.m`; not `I`, and not a small letter, which is a variable ("for x.").
fn is_initials(stem: &str) -> bool {
    let is_letter = |part: &str| part.chars().count() == 1 && part.chars().all(char::is_alphabetic);
    let is_one_capital = stem != "I" && stem.chars().all(char::is_uppercase) && is_letter(stem);
    is_one_capital || (stem.contains('.') && stem.len() <= 12 && stem.split('.').all(is_letter))
}

/// `1.` or `12.` in front of an entry of a list.
fn is_enumerator(stem: &str) -> bool {
    (1..MAX_ENUMERATOR).contains(&stem.len()) && stem.bytes().all(|b| b.is_ascii_digit())
}

fn is_stop(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '؟' | '।')
}

fn is_wide_stop(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '｡')
}

fn is_wide_comma(c: char) -> bool {
    matches!(c, '，' | '、' | '；')
}

fn is_closing(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '”' | '’' | '»' | ')' | ']' | '}' | '」' | '』' | '）' | '》' | '】'
    )
}

fn is_opening(c: char) -> bool {
    matches!(
        c,
        '"' | '\''
            | '“'
            | '‘'
            | '„'
            | '«'
            | '('
            | '['
            | '{'
            | '「'
            | '『'
            | '（'
            | '¿'
            | '¡'
            | '-'
            | '–'
            | '—'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        let mut begin = 0;
        let mut parts = Vec::new();
        for end in offsets(text).into_iter().chain([text.len()]) {
            parts.push(text[begin..end].trim());
            begin = end;
        }
        parts
    }

    #[test]
    fn sentences_end_where_readers_would_end_them() {
        // A bar stands where a sentence ends.
        for marked in [
            "One two.|Three four!|Five?|Six…|Seven",
            "He said \"Stop.\"|Then (he left.)|Fine",
            "\"Really?\" he asked.|“Yes!” she said.",
            "Well... maybe.|Well...|Maybe",
            "Dr. Jones and Mr. Smith met Mrs. Lee vs. Prof. Ng.|Good",
            "It is e.g. Rust, i.e. Fast code.|Good",
            "The U.S. Senate met.|He left the U.S.|The end",
            "At 5 p.m. Monday we met.|It was 5 p.m.|We left",
            "J. R. R. Tolkien wrote.|So did I.|Yes",
            "See No. 5 and Fig. 2.|No.|I won't",
            "Version 3.5 and v. 2 cost $1.50.|Next",
            "1. Open the file.|2. Close it.|It took 15.|Next",
            "Apples, pears, etc. were sold.|Apples, etc.|The rest",
            "Solve for x.|Then y",
            "你好。|我们走吧！|「好的。」|再见，好",
            "¿Qué?|¡Nada!|Él vino.|¿Sí?",
            "iOS is v2.0.1.|3 more",
        ] {
            let text = marked.replace('|', " ");
            assert_eq!(split(&text), marked.split('|').collect::<Vec<_>>());
        }
    }

    #[test]
    fn words_without_spaces_between_sentences_are_split() {
        let texts: Vec<(&str, bool)> = tokens("「好。」走，吧 ok")
            .iter()
            .map(|t| (t.text, t.is_glued))
            .collect();
        assert_eq!(
            texts,
            [
                ("「好。」", false),
                ("走，", true),
                ("吧", true),
                ("ok", false)
            ]
        );
    }
}
