//! Tags and character references, as WebVTT (W3C, section 6.4) and HTML write them.
//!
//! A `<` that begins no tag ("x < 5") is text here. The specification would drop the rest of the caption with it.

use super::has_word;

/// Longer "tags" are text with a stray `<`; the limit also keeps the search for `>` linear.
const MAX_TAG: usize = 200;

/// Longest name or number between `&` and `;`.
const MAX_REFERENCE: usize = 8;

const HTML_TAGS: &str = "a b big br c div em font i lang p ruby rt s small span strong u v";

#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// What stands between `<` and `>`.
    Tag(&'a str),
}

/// Splits a text at everything that has the form of a tag. Texts may be empty.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut done = 0;
    for (at, _) in text.match_indices('<') {
        if at < done {
            continue;
        }
        if let Some(tag) = tag_at_start(&text[at + 1..]) {
            found.push(Piece::Text(&text[done..at]));
            found.push(Piece::Tag(tag));
            done = at + tag.len() + 2;
        }
    }
    found.push(Piece::Text(&text[done..]));
    found
}

fn tag_at_start(text: &str) -> Option<&str> {
    let end = text
        .bytes()
        .take(MAX_TAG)
        .position(|b| b == b'<' || b == b'>')?;
    let tag = &text[..end];
    let closed = text[end..].starts_with('>');
    (closed && tag.starts_with(|c: char| c == '/' || c.is_ascii_alphanumeric())).then_some(tag)
}

/// Removes the tags of HTML that occur in captions and leaves others alone: a talk may well say `Vec<String>`.
pub(super) fn strip_html(text: &str) -> String {
    if !text.contains('<') {
        return text.to_string();
    }
    let mut kept = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => kept.push_str(text),
            Piece::Tag(tag) if is_break(tag) => kept.push('\n'),
            Piece::Tag(tag) if is_html(tag) => {}
            Piece::Tag(tag) => kept.extend(["<", tag, ">"]),
        }
    }
    kept
}

fn is_html(tag: &str) -> bool {
    has_word(HTML_TAGS, &tag_name(tag))
}

fn is_break(tag: &str) -> bool {
    tag_name(tag) == "br"
}

fn tag_name(tag: &str) -> String {
    let tag = tag.trim_start_matches('/');
    let end = tag
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(tag.len());
    tag[..end].to_ascii_lowercase()
}

/// Replaces the character references of WebVTT and the numeric ones; unknown ones stay as they are.
pub(super) fn decode_references(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        match reference_at_start(rest) {
            Some((c, length)) => {
                decoded.push(c);
                rest = &rest[length..];
            }
            None => {
                decoded.push('&');
                rest = &rest[1..];
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

/// The character that `&name;` at the start of `text` stands for, and the length of the reference in bytes.
fn reference_at_start(text: &str) -> Option<(char, usize)> {
    let end = text
        .bytes()
        .take(MAX_REFERENCE + 2)
        .position(|b| b == b';')?;
    let name = &text[1..end];
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "lrm" => '\u{200e}',
        "rlm" => '\u{200f}',
        _ => numeric(name.strip_prefix('#')?)?,
    };
    Some((c, end + 1))
}

fn numeric(digits: &str) -> Option<char> {
    let code = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    code.ok()
        .and_then(char::from_u32)
        .filter(|c| !c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_split_at_tags_only() {
        assert_eq!(
            pieces("a<b>c</b> 1 < 2 <3 <d"),
            [
                Piece::Text("a"),
                Piece::Tag("b"),
                Piece::Text("c"),
                Piece::Tag("/b"),
                Piece::Text(" 1 < 2 <3 <d")
            ]
        );
        assert_eq!(pieces("x<<i>y")[1], Piece::Tag("i"));
    }

    #[test]
    fn html_goes_and_code_stays() {
        let cases = [
            ("<i>Hi</i> <font color=\"red\">you</font>", "Hi you"),
            ("one<br/>two<BR>three", "one\ntwo\nthree"),
            ("a Vec<String> and x < y > z", "a Vec<String> and x < y > z"),
        ];
        for (text, expected) in cases {
            assert_eq!(strip_html(text), expected);
        }
    }

    #[test]
    fn references_are_decoded_once() {
        let cases = [
            ("R&amp;D &lt;3 &gt;", "R&D <3 >"),
            ("&quot;a&apos;&nbsp;b&lrm;", "\"a'\u{a0}b\u{200e}"),
            ("&#39;&#x27;&#233;", "''é"),
            ("&amp;lt;", "&lt;"),
            (
                "&unknown; & &; &#0; &#xffffff; AT&T",
                "&unknown; & &; &#0; &#xffffff; AT&T",
            ),
            ("&日本語;", "&日本語;"),
        ];
        for (text, expected) in cases {
            assert_eq!(decode_references(text), expected);
        }
    }
}
