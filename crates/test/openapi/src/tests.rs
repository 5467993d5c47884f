//! The checker finds each kind of deviation.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Document, Request, Response};

const DOCUMENT: &str = r##"
openapi: 3.1.0
info: {title: Things, version: "1"}
paths:
  /things/{name}:
    parameters:
      - {name: name, in: path, required: true, schema: {type: string}, example: a/b}
    put:
      operationId: putThing
      summary: Stores a thing.
      parameters:
        - {name: force, in: query, schema: {type: boolean}, example: true}
      requestBody:
        content:
          application/json:
            schema: {$ref: "#/components/schemas/Thing"}
            example: {id: 1}
      responses:
        "200":
          description: Stored.
          headers:
            X-Index: {required: true, schema: {type: integer}}
          content:
            application/json: {schema: {$ref: "#/components/schemas/Thing"}}
        "204": {description: Nothing.}
components:
  schemas:
    Thing:
      type: object
      required: [id]
      properties:
        id: {type: integer}
        parts: {type: array, items: {$ref: "#/components/schemas/Thing"}}
"##;

fn response(status: u16, body: &str) -> Response {
    let headers = [("content-type", "application/json"), ("x-index", "7")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Response { status, headers: headers.into(), body: body.to_owned() }
}

fn check(request: &str, response: &Response, expect: Result<(), &str>) {
    let mut document = Document::parse(DOCUMENT);
    let request = Request::new(request);
    let result = catch_unwind(AssertUnwindSafe(|| document.check(&request, response)));
    match (result, expect) {
        (Ok(()), Ok(())) => {}
        (Err(panic), Err(expect)) => {
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains(expect), "{text}");
        }
        (result, expect) => panic!("{result:?} instead of {expect:?}: {response:?}"),
    }
}

#[test]
fn deviations_are_found() {
    let put = "PUT /things/x";
    check(put, &response(200, r#"{"id":1,"parts":[{"id":2}]}"#), Ok(()));
    check(put, &response(204, ""), Ok(()));
    check(put, &response(201, ""), Err("201 is not documented"));
    check(put, &response(204, "x"), Err("a body is not documented"));
    check("GET /things/x", &response(200, ""), Err("GET /things/x is not documented"));
    check("PUT /things/x/y", &response(200, ""), Err("PUT /things/x/y is not documented"));
    check(put, &response(200, "{"), Err("no JSON"));
    check(put, &response(200, "{}"), Err("missing properties 'id'"));
    check(put, &response(200, r#"{"id":"1"}"#), Err("want integer"));
    check(put, &response(200, r#"{"id":1,"parts":[{"id":2,"new":3}]}"#), Err("'new' not allowed"));
    let mut other = response(200, r#"{"id":1}"#);
    other.headers[0].1 = "text/plain".into();
    check(put, &other, Err("the content type \"text/plain\" is not documented"));
    other.headers.truncate(1);
    check(put, &other, Err("no header X-Index"));
    let mut other = response(200, r#"{"id":1}"#);
    other.headers[1].1 = "seven".into();
    check(put, &other, Err("header X-Index"));
}

#[test]
fn requests_of_examples() {
    let examples = Document::parse(DOCUMENT).examples();
    let lines: Vec<_> =
        examples.iter().map(|request| format!("{} {}", request.line(), request.body)).collect();
    assert_eq!(lines, [r#"PUT /things/a%2Fb {"id":1}"#, r#"PUT /things/a%2Fb?force=true {"id":1}"#]);
}

#[test]
fn unseen_responses() {
    let mut document = Document::parse(DOCUMENT);
    document.check(&Request::new("PUT /things/x"), &response(204, ""));
    assert_eq!(document.unseen().into_iter().collect::<Vec<_>>(), ["PUT /things/{name} 200"]);
}

#[test]
fn table_of_operations() {
    let document = Document::parse(DOCUMENT);
    assert_eq!(document.table(), "| `/things/{name}` | PUT | Stores a thing |\n");
    document.check_page(&format!("# Things\n\n{}", document.table()));
    assert!(catch_unwind(AssertUnwindSafe(|| document.check_page("# Things"))).is_err());
}
