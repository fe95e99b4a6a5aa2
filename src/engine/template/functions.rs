//! What transformers adds to Jinja for chat templates, and Python's way of printing values.
//!
//! `tojson`, `raise_exception` and `strftime_now` as in transformers' `utils/chat_template_utils.py`; JSON as
//! `json.dumps` writes it, which differs from minijinja's filter in spaces and in leaving HTML alone.

use std::fmt::Write;

use chrono::NaiveDateTime;
use chrono::format::{Item, StrftimeItems};
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, Output, State, escape_formatter};
use serde_json::Value as Json;

/// Printed values: Python writes `None`, `True` and `False`.
pub(super) fn format_as_python(
    out: &mut Output,
    state: &State,
    value: &Value,
) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::None => "None",
        ValueKind::Bool if value.is_true() => "True",
        ValueKind::Bool => "False",
        _ => return escape_formatter(out, state, value),
    };
    Ok(out.write_str(text)?)
}

/// Python's `None` is not iterable, which minijinja's is; what is undefined is, to both.
pub(super) fn is_iterable(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), Iterable | Map | Seq | String | Undefined)
}

/// How templates refuse a conversation.
pub(super) fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// A date in the words of `strftime`.
pub(super) fn strftime(now: NaiveDateTime, format: &str) -> Result<String, Error> {
    let items = StrftimeItems::new(format).collect::<Vec<_>>();
    if items.contains(&Item::Error) {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("'{format}' is not a date format"),
        ));
    }
    Ok(now.format_with_items(items.into_iter()).to_string())
}

/// `json.dumps(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
#[expect(clippy::needless_pass_by_value, reason = "what a filter takes")]
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent = options.get::<Option<usize>>("indent")?;
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    let [item, key] = match separators.map(<[String; 2]>::try_from) {
        Some(Ok(separators)) => separators,
        Some(Err(_)) => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "tojson: two separators are needed",
            ));
        }
        None if indent.is_some() => [",".into(), ": ".into()],
        None => [", ".into(), ": ".into()],
    };
    let style = Style {
        indent,
        item,
        key,
        ascii: options.get::<Option<bool>>("ensure_ascii")? == Some(true),
        sorted: options.get::<Option<bool>>("sort_keys")? == Some(true),
    };
    options.assert_all_used()?;
    let json = serde_json::to_value(value)
        .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("tojson: {e}")))?;
    let mut out = String::new();
    style.write(&json, 0, &mut out);
    Ok(Value::from_safe_string(out))
}

struct Style {
    indent: Option<usize>,
    item: String,
    key: String,
    ascii: bool,
    sorted: bool,
}

impl Style {
    fn write(&self, value: &Json, depth: usize, out: &mut String) {
        match value {
            Json::String(text) => self.write_string(text, out),
            Json::Array(items) => {
                self.write_items('[', ']', items.iter(), depth, out, |item, out| {
                    self.write(item, depth + 1, out);
                });
            }
            Json::Object(map) => {
                let mut entries = map.iter().collect::<Vec<_>>();
                if self.sorted {
                    entries.sort_by_key(|(name, _)| *name);
                }
                self.write_items(
                    '{',
                    '}',
                    entries.into_iter(),
                    depth,
                    out,
                    |(name, item), out| {
                        self.write_string(name, out);
                        out.push_str(&self.key);
                        self.write(item, depth + 1, out);
                    },
                );
            }
            _ => out.push_str(&value.to_string()),
        }
    }

    fn write_items<T>(
        &self,
        open: char,
        close: char,
        items: impl ExactSizeIterator<Item = T>,
        depth: usize,
        out: &mut String,
        write: impl Fn(T, &mut String),
    ) {
        let empty = items.len() == 0;
        out.push(open);
        for (index, item) in items.enumerate() {
            if index > 0 {
                out.push_str(&self.item);
            }
            self.new_line(depth + 1, out);
            write(item, out);
        }
        if !empty {
            self.new_line(depth, out);
        }
        out.push(close);
    }

    fn new_line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent * depth));
        }
    }

    fn write_string(&self, text: &str, out: &mut String) {
        let quoted = Json::from(text).to_string();
        if !self.ascii {
            out.push_str(&quoted);
            return;
        }
        for unit in quoted.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte @ b' '..=b'~') => out.push(char::from(byte)),
                _ => write!(out, "\\u{unit:04x}").expect("a string takes any text"),
            }
        }
    }
}
