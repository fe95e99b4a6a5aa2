//! Times as transcripts write them, `1:02`, `00:01:02,500`, `01:02.500`, read into seconds and written again.
//!
//! WebVTT (W3C, section 4.1) demands three digits of fraction and two of minutes; files in the wild do not, so any number
//! of digits is read as a decimal fraction. Hours have no upper limit.

/// Reads `[h:]m:s[.fraction]` (`,` also begins the fraction) into seconds. Only the first number may exceed 59.
pub fn parse(text: &str) -> Option<f64> {
    let (whole, fraction) = match text.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, fraction),
        None => (text, "0"),
    };
    let fields: Vec<&str> = whole.split(':').collect();
    if !(2..=3).contains(&fields.len()) || !is_number(fraction, 9) {
        return None;
    }
    let mut seconds = 0u64;
    for (index, field) in fields.iter().enumerate() {
        let value: u64 =
            is_number(field, if index == 0 { 6 } else { 2 }).then(|| field.parse().ok())??;
        if index > 0 && value > 59 {
            return None;
        }
        seconds = seconds * 60 + value;
    }
    // Through text, so that 3723.004 is the number that a reader of the file would write down.
    format!("{seconds}.{fraction}").parse().ok()
}

/// Reads a time of a caption file. There `1:02` could be minutes or hours, so it needs a third field or a fraction.
pub(super) fn parse_exact(text: &str) -> Option<f64> {
    let exact = text.contains(['.', ',']) || text.matches(':').count() == 2;
    exact.then(|| parse(text))?
}

/// Reads `start --> end settings`; the error is the time that could not be read.
pub(super) fn parse_range(line: &str) -> Result<(f64, f64), &str> {
    let Some((start, rest)) = line.split_once("-->") else {
        return Err(line);
    };
    let start = start.trim();
    let end = rest.split_whitespace().next().unwrap_or_default();
    Ok((
        parse_exact(start).ok_or(start)?,
        parse_exact(end).ok_or(end)?,
    ))
}

/// Whether a line inside a caption was meant as the times of the next one, well-formed or not.
pub(super) fn looks_like_range(line: &str) -> bool {
    let Some((start, end)) = line.split_once("-->") else {
        return false;
    };
    let begins_with_digit =
        |side: &str| side.trim_start().starts_with(|c: char| c.is_ascii_digit());
    (begins_with_digit(start) || begins_with_digit(end)) && line.contains(':')
}

/// `01:02:03.500`, as WebVTT writes it.
pub fn precise(seconds: f64) -> String {
    let millis = (seconds * 1000.0).round() as u64;
    let (minutes, millis) = (millis / 60_000, millis % 60_000);
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        minutes / 60,
        minutes % 60,
        millis / 1000,
        millis % 1000
    )
}

/// `1:02:03`, or `2:03` below an hour, as people write it; fractions are dropped.
pub fn short(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

fn is_number(text: &str, max_digits: usize) -> bool {
    (1..=max_digits).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let cases = [
            ("0:00", Some(0.0)),
            ("1:02", Some(62.0)),
            ("75:00", Some(4500.0)),
            ("00:01:02,500", Some(62.5)),
            ("01:02:03.004", Some(3723.004)),
            ("123:00:00.000", Some(442_800.0)),
            ("0:05.5", Some(5.5)),
            ("1:60", None),
            ("1:60:00", None),
            ("1:2:3:4", None),
            ("12", None),
            ("", None),
            (":", None),
            ("1:-2", None),
            ("1:02.", None),
            ("99999999:00", None),
            ("１:02", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn ranges_are_read_or_name_the_bad_time() {
        assert_eq!(
            parse_range("00:01.000 --> 00:02.500 align:start"),
            Ok((1.0, 2.5))
        );
        assert_eq!(parse_range("00:00:01,000-->00:00:02,000"), Ok((1.0, 2.0)));
        assert_eq!(parse_range("00:00:01 --> 1:02"), Err("1:02"));
        assert_eq!(parse_range("x --> 00:02.000"), Err("x"));
        assert_eq!(parse_range("00:02.000 -->"), Err(""));
    }

    #[test]
    fn an_arrow_in_speech_is_no_range() {
        assert!(looks_like_range("00:00:1x,000 --> 00:00:02,000"));
        assert!(!looks_like_range("we go from a --> b: fast"));
        assert!(!looks_like_range("2 - 3"));
    }

    #[test]
    fn times_are_written() {
        assert_eq!(precise(3723.5), "01:02:03.500");
        assert_eq!(precise(59.9996), "00:01:00.000");
        assert_eq!(
            (short(62.9), short(3723.0)),
            ("1:02".to_string(), "1:02:03".to_string())
        );
    }
}
