//! Bytes to text: the byte order mark decides, then UTF-8, then UTF-16 without a mark, and last windows-1252, which is what
//! the WHATWG Encoding Standard makes of "latin1". Line ends become `\n`.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// So much of a file is looked at to tell text from binary data.
const SAMPLE: usize = 4096;

/// First bytes of files that people name by mistake, and what to tell them.
const SIGNATURES: [(&[u8], &str); 12] = [
    (
        b"PK\x03\x04",
        "a ZIP archive or an Office document; save it as plain text",
    ),
    (b"%PDF", "a PDF document; save it as plain text"),
    (b"{\\rtf", "an RTF document; save it as plain text"),
    (
        b"\xd0\xcf\x11\xe0",
        "an Office document; save it as plain text",
    ),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"ID3", "an audio file; transcribe it first"),
    (b"RIFF", "an audio or video file; transcribe it first"),
    (b"OggS", "an audio file; transcribe it first"),
    (b"fLaC", "an audio file; transcribe it first"),
    (b"\x1a\x45\xdf\xa3", "a video file; transcribe it first"),
    (b"\x89PNG", "an image"),
    (b"\x7fELF", "a program"),
];

/// Decodes a whole file. The error says why this is no text.
pub(super) fn decode(bytes: &[u8]) -> Result<String, String> {
    if let Some((_, what)) = SIGNATURES
        .iter()
        .find(|(signature, _)| bytes.starts_with(signature))
    {
        return Err(what.to_string());
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return Err("an audio or video file; transcribe it first".to_string());
    }
    let (encoding, mark) = Encoding::for_bom(bytes).unwrap_or((guess(bytes)?, 0));
    let (text, _) = encoding.decode_without_bom_handling(&bytes[mark..]);
    check_characters(&text)?;
    Ok(with_unix_lines(&text))
}

fn guess(bytes: &[u8]) -> Result<&'static Encoding, String> {
    if let Some(zero) = bytes.iter().position(|&b| b == 0) {
        return guess_utf16(bytes).ok_or_else(|| format!("a zero byte at offset {zero}"));
    }
    Ok(if is_mostly_utf8(bytes) {
        UTF_8
    } else {
        WINDOWS_1252
    })
}

/// In UTF-16, the zero bytes of spaces and line ends are all at odd offsets (little-endian) or all at even ones.
fn guess_utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    let mut zeros = [0, 0];
    for (offset, _) in bytes
        .iter()
        .take(SAMPLE)
        .enumerate()
        .filter(|(_, b)| **b == 0)
    {
        zeros[offset % 2] += 1;
    }
    let encoding = match zeros {
        [0, odd] if odd > 0 => UTF_16LE,
        [even, 0] if even > 0 => UTF_16BE,
        _ => return None,
    };
    let (_, has_errors) = encoding.decode_without_bom_handling(bytes);
    (bytes.len().is_multiple_of(2) && !has_errors).then_some(encoding)
}

/// One damaged byte in a UTF-8 file must not turn every accented letter of it into two wrong ones.
fn is_mostly_utf8(bytes: &[u8]) -> bool {
    let (mut good, mut bad) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    bad * 4 <= good
}

fn check_characters(text: &str) -> Result<(), String> {
    let is_odd =
        |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}');
    let (mut all, mut odd) = (0, 0);
    for c in text.chars().take(SAMPLE) {
        all += 1;
        odd += usize::from(is_odd(c));
    }
    if odd * 20 > all {
        Err(format!(
            "{odd} of its first {all} characters are control characters"
        ))
    } else {
        Ok(())
    }
}

fn with_unix_lines(text: &str) -> String {
    if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bytes_of: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes_of).collect()
    }

    #[test]
    fn every_encoding_gives_the_same_text() {
        let text = "Café – 日本\nzwei";
        let little = utf16(text, u16::to_le_bytes);
        let big = utf16(text, u16::to_be_bytes);
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe".as_slice(), &little].concat(),
            [b"\xfe\xff".as_slice(), &big].concat(),
            little,
            big,
        ] {
            assert_eq!(decode(&bytes).as_deref(), Ok(text));
        }
    }

    #[test]
    fn latin1_is_read_as_windows_1252() {
        assert_eq!(
            decode(b"Caf\xe9 \x96 na\xefve").as_deref(),
            Ok("Café – naïve")
        );
    }

    #[test]
    fn one_damaged_byte_spares_the_rest() {
        assert_eq!(
            decode(b"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9 \xff").as_deref(),
            Ok("éééé \u{fffd}")
        );
        // Two in four is no UTF-8.
        assert_eq!(decode(b"\xc3\xa9\xc3\xa9\xe9\xe9").as_deref(), Ok("Ã©Ã©éé"));
    }

    #[test]
    fn all_line_ends_become_one() {
        assert_eq!(decode(b"a\r\nb\rc\nd").as_deref(), Ok("a\nb\nc\nd"));
    }

    #[test]
    fn binary_data_is_refused_with_a_reason() {
        assert_eq!(
            decode(b"%PDF-1.7").unwrap_err(),
            "a PDF document; save it as plain text"
        );
        assert_eq!(
            decode(b"abc\0\0def").unwrap_err(),
            "a zero byte at offset 3"
        );
        assert!(
            decode(&[1; 100])
                .unwrap_err()
                .contains("control characters")
        );
    }
}
