//! Requests from the examples of a document.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::document::{Document, Operation, parameter_name};
use crate::exchange::Request;
use crate::schema::pointer;

const FORM: &str = "application/x-www-form-urlencoded";

impl Document {
    /// Per operation: a request with the required parameters for each example of its body, and one for each optional
    /// parameter with an example. Panics if an example does not match its schema.
    pub fn examples(&self) -> Vec<Request> {
        self.operations().flat_map(|operation| self.examples_of(&operation)).collect()
    }

    fn examples_of(&self, operation: &Operation<'_>) -> Vec<Request> {
        let parameters = self.parameters(operation);
        let (mut base, optional): (Vec<&Value>, Vec<&Value>) =
            parameters.into_iter().partition(|parameter| parameter["required"] == true);
        let bodies = self.bodies(operation);
        let mut requests: Vec<Request> =
            bodies.iter().map(|body| self.request(operation, &base, body.as_ref())).collect();
        for parameter in optional.into_iter().filter(|parameter| parameter.get("example").is_some()) {
            base.push(parameter);
            requests.push(self.request(operation, &base, bodies[0].as_ref()));
            base.pop();
        }
        requests
    }

    /// Content type and text of each example; at least one element.
    fn bodies(&self, operation: &Operation<'_>) -> Vec<Option<(String, String)>> {
        let body = self.resolve(&operation.value["requestBody"]);
        let mut bodies = Vec::new();
        for (media, description) in body["content"].as_object().into_iter().flatten() {
            let several = description["examples"].as_object().into_iter().flatten();
            let several = several.map(|(_, example)| &self.resolve(example)["value"]);
            for example in several.chain(description.get("example")) {
                if let Some(schema) = description.get("schema") {
                    self.check_example(&format!("{} {media}", operation.line()), schema, example);
                }
                bodies.push(Some((media.clone(), text(media, example))));
            }
        }
        match bodies.is_empty() {
            true => vec![None],
            false => bodies,
        }
    }

    fn request(
        &self,
        operation: &Operation<'_>,
        parameters: &[&Value],
        body: Option<&(String, String)>,
    ) -> Request {
        let mut request = Request::new(&operation.line());
        let mut query = form_urlencoded::Serializer::new(String::new());
        for parameter in parameters {
            let name = parameter["name"].as_str().expect("the name of a parameter");
            let line = format!("{}: {name}", operation.line());
            let example = parameter.get("example").unwrap_or_else(|| panic!("{line} has no example"));
            self.check_example(&line, &parameter["schema"], example);
            match parameter["in"].as_str() {
                Some("path") => {
                    let value = utf8_percent_encode(&plain(example), NON_ALPHANUMERIC).to_string();
                    let segments = request.target.split('/').map(|segment| match parameter_name(segment) {
                        Some(found) if found == name => value.as_str(),
                        _ => segment,
                    });
                    request.target = segments.collect::<Vec<_>>().join("/");
                }
                Some("query") => match example {
                    Value::Array(values) => {
                        query.extend_pairs(values.iter().map(|value| (name, plain(value))));
                    }
                    value => {
                        query.append_pair(name, &plain(value));
                    }
                },
                Some("header") => request.headers.push((name.to_owned(), plain(example))),
                other => panic!("{line}: in {other:?}"),
            }
        }
        let query = query.finish();
        if !query.is_empty() {
            request.target.push_str(&format!("?{query}"));
        }
        match body {
            Some((media, text)) => request.body(media, text),
            None => request,
        }
    }

    fn check_example(&self, line: &str, schema: &Value, example: &Value) {
        let result = self.validator.check(&pointer(&self.root, schema), example);
        result.unwrap_or_else(|error| panic!("{line}: the example does not match its schema: {error}"));
    }
}

fn text(media: &str, example: &Value) -> String {
    match example {
        Value::Object(fields) if media == FORM => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(fields.iter().map(|(name, value)| (name, plain(value))));
            form.finish()
        }
        example if media.contains("json") => example.to_string(),
        example => plain(example),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
