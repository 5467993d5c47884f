//! The document: its operations, and the check of a response.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::exchange::{Request, Response};
use crate::schema::{Validator, children, pointer};

/// Operations of a path. Other keys are not methods.
const METHODS: [&str; 7] = ["get", "head", "put", "post", "patch", "delete", "options"];

/// An OpenAPI document, and the operations that were checked with it.
pub struct Document {
    pub(crate) root: Value,
    pub(crate) validator: Validator,
    /// `GET /path 200`: the responses that were checked.
    seen: BTreeSet<String>,
}

/// An operation and its place in the document.
pub(crate) struct Operation<'a> {
    /// In upper case.
    pub method: String,
    /// With `{NAME}` for parameters.
    pub path: &'a str,
    pub item: &'a Value,
    pub value: &'a Value,
}

impl Document {
    /// Reads a YAML file. Panics if the document is not consistent in itself.
    pub fn read(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&text)
    }

    /// As [`Self::read`], of the text.
    pub fn parse(yaml: &str) -> Self {
        let root: Value = serde_yaml::from_str(yaml).expect("YAML");
        let version = root["openapi"].as_str().unwrap_or_default();
        assert!(version.starts_with("3.1."), "OpenAPI {version:?} instead of 3.1");
        assert_no_null(&root, "");
        let document = Self { validator: Validator::new(&root), root, seen: BTreeSet::new() };
        document.check_consistency();
        document
    }

    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.root["paths"].as_object().expect("paths").iter().flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(move |method| {
                let value = item.get(method)?;
                Some(Operation { method: method.to_uppercase(), path, item, value })
            })
        })
    }

    /// `METHOD /path/{PARAMETER}` of each operation.
    pub fn operation_lines(&self) -> BTreeSet<String> {
        self.operations().map(|operation| operation.line()).collect()
    }

    /// Follows a `$ref` within the document.
    pub(crate) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        target.unwrap_or_else(|| panic!("{reference} does not exist"))
    }

    /// Parameters of an operation and of its path. Those of the operation take precedence.
    pub(crate) fn parameters<'a>(&'a self, operation: &Operation<'a>) -> Vec<&'a Value> {
        let mut parameters: Vec<&Value> = Vec::new();
        for list in [operation.value.get("parameters"), operation.item.get("parameters")] {
            let list = list.and_then(Value::as_array).into_iter().flatten();
            for parameter in list.map(|parameter| self.resolve(parameter)) {
                let same =
                    |other: &&Value| other["name"] == parameter["name"] && other["in"] == parameter["in"];
                if !parameters.iter().any(same) {
                    parameters.push(parameter);
                }
            }
        }
        parameters
    }

    fn check_consistency(&self) {
        let mut ids = BTreeSet::new();
        for operation in self.operations() {
            let line = operation.line();
            let id =
                operation.value["operationId"].as_str().unwrap_or_else(|| panic!("{line}: no operationId"));
            assert!(ids.insert(id), "{line}: the operationId {id} is not unique");
            assert!(operation.value["summary"].is_string(), "{line}: no summary");
            let mut in_path: Vec<&str> = operation.path.split('/').filter_map(parameter_name).collect();
            let parameters = self.parameters(&operation);
            let described = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let mut described: Vec<&str> =
                described.filter_map(|parameter| parameter["name"].as_str()).collect();
            in_path.sort_unstable();
            described.sort_unstable();
            assert_eq!(in_path, described, "{line}: path parameters");
            for (status, response) in operation.responses() {
                let response = self.resolve(response);
                assert!(response["description"].is_string(), "{line}: {status} has no description");
            }
        }
    }

    /// The operations at a path: of several matching paths, the one with the fewest parameters.
    fn operations_at(&self, path: &str) -> Vec<Operation<'_>> {
        let parameters =
            |operation: &Operation<'_>| operation.path.split('/').filter_map(parameter_name).count();
        let matching = || self.operations().filter(|operation| matches_path(operation.path, path));
        let fewest = matching().map(|operation| parameters(&operation)).min();
        matching().filter(|operation| Some(parameters(operation)) == fewest).collect()
    }

    /// The documented methods of a request's path.
    pub fn methods(&self, request: &Request) -> BTreeSet<String> {
        self.operations_at(request.path()).into_iter().map(|operation| operation.method).collect()
    }

    /// Of several matching paths, the one with the fewest parameters that has the method.
    fn operation(&self, request: &Request) -> Option<Operation<'_>> {
        let matching = self.operations().filter(|operation| {
            operation.method == request.method && matches_path(operation.path, request.path())
        });
        matching.min_by_key(|operation| operation.path.split('/').filter_map(parameter_name).count())
    }

    /// Panics with every deviation of the response from the document.
    pub fn check(&mut self, request: &Request, response: &Response) {
        let line = request.line();
        let operation = self.operation(request).unwrap_or_else(|| panic!("{line} is not documented"));
        let status = response.status.to_string();
        let documented = operation.responses().get(&status).copied();
        let seen = format!("{} {status}", operation.line());
        let documented =
            documented.unwrap_or_else(|| panic!("{line}: {status} is not documented: {response:?}"));
        let errors = self.deviations(self.resolve(documented), response);
        assert!(errors.is_empty(), "{line}: {status}: {}\n{response:?}", errors.join("\n"));
        self.seen.insert(seen);
    }

    fn deviations(&self, documented: &Value, response: &Response) -> Vec<String> {
        let mut errors = Vec::new();
        for (name, header) in documented["headers"].as_object().into_iter().flatten() {
            let header = self.resolve(header);
            match response.header(name) {
                None if header["required"] == true => errors.push(format!("no header {name}")),
                None => {}
                Some(text) => {
                    let value = self.typed(&header["schema"], text);
                    let result = self.validator.check(&pointer(&self.root, &header["schema"]), &value);
                    errors.extend(result.err().map(|error| format!("header {name}: {error}")));
                }
            }
        }
        let content = documented["content"].as_object();
        let Some(content) = content.filter(|content| !content.is_empty()) else {
            errors.extend((!response.body.is_empty()).then(|| "a body is not documented".to_owned()));
            return errors;
        };
        let sent = response.header("content-type").unwrap_or_default();
        let Some((media, description)) = content.iter().find(|(media, _)| same_media_type(media, sent))
        else {
            errors.push(format!("the content type {sent:?} is not documented"));
            return errors;
        };
        let Some(schema) = description.get("schema") else { return errors };
        let value = match media.contains("json") {
            true => serde_json::from_str(&response.body).map_err(|error| format!("no JSON: {error}")),
            false => Ok(Value::String(response.body.clone())),
        };
        let result = value.and_then(|value| self.validator.check(&pointer(&self.root, schema), &value));
        errors.extend(result.err());
        errors
    }

    /// The text of a header as the type of its schema.
    fn typed(&self, schema: &Value, text: &str) -> Value {
        match self.resolve(schema)["type"].as_str() {
            Some("integer" | "number" | "boolean") => serde_json::from_str(text).unwrap_or(Value::from(text)),
            _ => Value::from(text),
        }
    }

    /// `METHOD /path STATUS` of the documented responses that were not checked.
    pub fn unseen(&self) -> BTreeSet<String> {
        let documented = self.operations().flat_map(|operation| {
            let line = operation.line();
            let statuses: Vec<String> = operation.responses().keys().map(|key| key.to_string()).collect();
            statuses.into_iter().map(move |status| format!("{line} {status}"))
        });
        documented.filter(|line| !self.seen.contains(line)).collect()
    }

    /// Checks that requests got every documented response, except those of some statuses.
    pub fn check_all_seen(&self, except: &[u16]) {
        let mut unseen = self.unseen();
        unseen.retain(|line| !except.iter().any(|status| line.ends_with(&format!(" {status}"))));
        assert_eq!(unseen, BTreeSet::new(), "documented responses that no request got");
    }
}

impl<'a> Operation<'a> {
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn responses(&self) -> BTreeMap<String, &'a Value> {
        let responses = self.value["responses"].as_object();
        let responses = responses.unwrap_or_else(|| panic!("{}: no responses", self.line()));
        responses.iter().map(|(status, response)| (status.clone(), response)).collect()
    }
}

/// In YAML, a comma in an unquoted text within braces begins another key, without a value.
fn assert_no_null(value: &Value, path: &str) {
    for (key, child) in children(value) {
        assert!(!child.is_null(), "{path}/{key} has no value");
        if !matches!(key.as_str(), "example" | "examples") {
            assert_no_null(child, &format!("{path}/{key}"));
        }
    }
}

/// `{NAME}`
pub(crate) fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn matches_path(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let same = |(part, segment): (&&str, &&str)| parameter_name(part).is_some() || part == segment;
    template.len() == path.len() && template.iter().zip(&path).all(same)
}

/// Parameters of the media type count only if they are documented.
fn same_media_type(documented: &str, sent: &str) -> bool {
    let plain = if documented.contains(';') { sent } else { sent.split(';').next().unwrap_or_default() };
    documented.eq_ignore_ascii_case(plain.trim())
}
