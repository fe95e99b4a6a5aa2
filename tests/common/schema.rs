//! As much of JSON Schema (2020-12) as `docs/summary.schema.json` uses. Keywords it does not know are an error, and so are
//! properties that the schema does not describe.

use serde_json::Value;

/// Everything wrong with `value`, each as `path: reason`.
pub fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    check(schema, schema, value, "$", &mut errors);
    errors
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str, errors: &mut Vec<String>) {
    for (keyword, wanted) in schema.as_object().unwrap() {
        let fits = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let target = wanted.as_str().unwrap().trim_start_matches('#');
                check(root, root.pointer(target).unwrap(), value, path, errors);
                true
            }
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|name| has_type(value, name)),
                name => has_type(value, name),
            },
            "const" => value == wanted,
            "enum" => wanted.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|x| x >= number(wanted)),
            "maximum" => value.as_f64().is_none_or(|x| x <= number(wanted)),
            "minLength" => length(value).is_none_or(|n| n >= number(wanted)),
            "maxLength" => length(value).is_none_or(|n| n <= number(wanted)),
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() as f64 >= number(wanted)),
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, wanted, item, &format!("{path}[{i}]"), errors);
                }
                true
            }
            "required" => value.as_object().is_none_or(|object| {
                let mut names = wanted.as_array().unwrap().iter();
                names.all(|name| object.contains_key(name.as_str().unwrap()))
            }),
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    let path = format!("{path}.{name}");
                    match wanted.get(name) {
                        Some(schema) => check(root, schema, inner, &path, errors),
                        None => errors.push(format!("{path}: not described")),
                    }
                }
                true
            }
            unknown => panic!("{path}: unknown keyword {unknown}"),
        };
        if !fits {
            errors.push(format!("{path}: {keyword}"));
        }
    }
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        unknown => panic!("unknown type {unknown}"),
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn length(value: &Value) -> Option<f64> {
    value.as_str().map(|text| text.chars().count() as f64)
}
