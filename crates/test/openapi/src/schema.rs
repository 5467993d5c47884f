//! JSON Schema validation of values. OpenAPI 3.1 schemas are those of draft 2020-12.

use std::collections::BTreeMap;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

const LOCATION: &str = "https://localhost/openapi.json";

pub struct Validator {
    schemas: Schemas,
    by_pointer: BTreeMap<String, SchemaIndex>,
}

impl Validator {
    /// Compiles all schemas of a document. Panics if one is invalid.
    pub fn new(root: &Value) -> Self {
        let mut pointers = Vec::new();
        find_schemas(root, "", &mut pointers);
        let mut closed = root.clone();
        for pointer in &pointers {
            close(closed.pointer_mut(pointer).expect("a schema"));
        }
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.enable_content_assertions();
        compiler.add_resource(LOCATION, closed).expect("a document");
        let mut schemas = Schemas::new();
        let compile = |pointer: String| {
            let index = compiler.compile(&format!("{LOCATION}#{}", encoded(&pointer)), &mut schemas);
            let index = index.unwrap_or_else(|error| panic!("{pointer}: {error:#}"));
            (pointer, index)
        };
        let by_pointer = pointers.into_iter().map(compile).collect();
        Self { schemas, by_pointer }
    }

    pub fn check(&self, pointer: &str, value: &Value) -> Result<(), String> {
        let index = self.by_pointer.get(pointer).unwrap_or_else(|| panic!("{pointer}: no schema"));
        self.schemas.validate(value, *index).map_err(|error| format!("{error:#}"))
    }
}

/// The path of a part of the document.
pub fn pointer(root: &Value, part: &Value) -> String {
    fn search(value: &Value, part: &Value, path: &mut String) -> bool {
        if std::ptr::eq(value, part) {
            return true;
        }
        children(value).any(|(key, child)| {
            let length = path.len();
            path.push_str(&format!("/{}", escape(&key)));
            let found = search(child, part, path);
            if !found {
                path.truncate(length);
            }
            found
        })
    }
    let mut path = String::new();
    assert!(search(root, part, &mut path), "not a part of the document: {part}");
    path
}

/// Paths of all schemas: the values of `schema`, and those of `components/schemas`.
fn find_schemas(value: &Value, path: &str, into: &mut Vec<String>) {
    for (key, child) in children(value) {
        let path = format!("{path}/{}", escape(&key));
        let is_schema = key == "schema" || path.strip_prefix("/components/schemas/").is_some();
        match is_schema {
            true => into.push(path),
            false if !matches!(key.as_str(), "example" | "examples") => find_schemas(child, &path, into),
            false => {}
        }
    }
}

/// An object has only the properties that are described.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let open = map.contains_key("properties") && !map.contains_key("additionalProperties");
            if open {
                map.insert("additionalProperties".into(), Value::Bool(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

/// Keys and values, of an array its positions.
pub fn children(value: &Value) -> Box<dyn Iterator<Item = (String, &Value)> + '_> {
    match value {
        Value::Array(list) => Box::new(list.iter().enumerate().map(|(at, child)| (at.to_string(), child))),
        Value::Object(map) => Box::new(map.iter().map(|(key, child)| (key.clone(), child))),
        _ => Box::new(std::iter::empty()),
    }
}

/// A key in a JSON pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A JSON pointer in a URL.
fn encoded(pointer: &str) -> String {
    percent_encoding::utf8_percent_encode(pointer, percent_encoding::CONTROLS)
        .to_string()
        .replace(['{'], "%7B")
        .replace('}', "%7D")
        .replace(' ', "%20")
}
