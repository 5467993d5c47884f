//! The contract's recorded script (kv.md 1.8): requests as text, exact responses.

use bytes::Bytes;
use etcd_api::{ApiError, KeysRequest, Member, Method, RequestParts, RequestPath, Timestamp};
use etcd_store::{Command, CommandError, Store};

const NOW: Timestamp = Timestamp::from_unix_nanos(1_795_157_209_000_000_000);
const FORM: &[u8] = b"application/x-www-form-urlencoded";
/// The index after the first request, as recorded.
const B: u64 = 3;

/// Status, index and body of a response.
type Answer = (u16, u64, String);

fn ask(store: &mut Store, line: &str, body: &str) -> Answer {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let RequestPath::Clean(path) = RequestPath::parse(&format!("/v2/keys{path}"), query) else {
        panic!("{line}: not a clean path")
    };
    let method = Method::from_name(method).unwrap();
    let parts = RequestParts { method, path: &path, query, content_type: Some(FORM), body: body.as_bytes() };
    match KeysRequest::parse(parts) {
        Err(error) => failed(&error),
        Ok(KeysRequest::Get(get)) => match store.get(&get.key, get.recursive) {
            Ok(event) => (200, store.index(), text(event.to_json_line(NOW))),
            Err(error) => failed(&error),
        },
        Ok(KeysRequest::Watch(watch)) => {
            let event =
                store.scan_history(&watch.key, watch.recursive, watch.since.unwrap()).unwrap().unwrap();
            (200, store.index(), text(event.to_json_line(NOW)))
        }
        Ok(write) => {
            let outcome = store.apply(&Command::from_request(write, NOW).unwrap());
            match (outcome.event(), &outcome.result) {
                (Some(event), _) => {
                    let status = if event.is_created() { 201 } else { 200 };
                    (status, outcome.index, text(event.to_json_line(NOW)))
                }
                (None, Err(CommandError::Keys(error))) => failed(error),
                (None, other) => panic!("{line}: {other:?}"),
            }
        }
    }
}

fn failed(error: &ApiError) -> Answer {
    (error.http_status(), error.index, text(error.to_json_line()))
}

fn text(line: Vec<u8>) -> String {
    String::from_utf8(line).unwrap()
}

/// A store at index `B`, like that of a new single-member cluster.
fn fresh() -> Store {
    let mut store = Store::new();
    let urls = vec!["http://127.0.0.1:2380".to_owned()];
    let member = Member { id: 1, name: String::new(), peer_urls: urls.clone(), client_urls: Vec::new() };
    store.apply(&Command::AddMember(member));
    store.apply(&Command::PublishMember { id: 1, name: "n1".to_owned(), client_urls: urls });
    store.apply(&Command::SetClusterVersion { version: "2.3.0".to_owned() });
    assert_eq!(store.index(), B);
    store
}

/// Replaces the contract's `B+n` and `E` by numbers and times, and `D+n` by a name from POST.
fn fill(expect: &str) -> String {
    let mut text = expect.to_owned();
    for n in (1..=12).rev() {
        text = text.replace(&format!("D+{n}"), &format!("{:020}", B + n));
        text = text.replace(&format!("B+{n}"), &(B + n).to_string());
    }
    for seconds in [100, 60, 50] {
        let expires = NOW.plus_seconds(seconds).to_string();
        text = text.replace(&format!("\"E\",\"ttl\":{seconds}"), &format!("\"{expires}\",\"ttl\":{seconds}"));
    }
    format!("{text}\n")
}

#[test]
fn the_recorded_script() {
    let rows = include_str!("../contract_table.txt");
    let mut store = fresh();
    let mut seen = 0;
    for row in rows.lines().filter(|row| !row.starts_with('#')) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [line, body, status, index, expect] = cells[..] else { panic!("{row}: not five cells") };
        let index = if index == "0" { 0 } else { B + index.trim_start_matches("B+").parse::<u64>().unwrap() };
        let expect = (status.parse().unwrap(), index, fill(expect));
        assert_eq!(ask(&mut store, line, body.trim()), expect, "row {}: {line} {body}", seen + 1);
        seen += 1;
    }
    assert_eq!(seen, 27);
}

#[test]
fn more_of_the_decision_tables() {
    let mut store = fresh();
    let mut check = |line: &str, body: &str, status: u16, part: &str| {
        let answer = ask(&mut store, line, body);
        assert!(answer.0 == status && answer.2.contains(part), "{line} {body}: {answer:?}");
    };
    check("PUT /f", "value=1", 201, "set");
    check("PUT /f?dir=true&prevExist=true", "", 200, r#""action":"update","node":{"key":"/f","value":"""#);
    check("PUT /f?dir=true", "", 200, r#""prevNode":{"key":"/f","value":"""#);
    check("PUT /f?dir=true", "", 403, r#""errorCode":102,"message":"Not a file","cause":"/f""#);
    check("PUT /f?prevExist=true", "value=x", 403, r#""errorCode":102"#);
    check("PUT /f?prevIndex=1", "value=x", 403, r#""errorCode":102"#);
    check("PUT /f?prevExist=false", "dir=true", 412, r#""errorCode":105"#);
    check("PUT /f?dir=true&prevExist=true", "ttl=60&refresh=true", 200, r#""ttl":60"#);
    check("PUT /f?dir=true&prevExist=true", "", 200, r#""ttl":60,"modifiedIndex":6"#);
    check("PUT /f", "refresh=true&ttl=5", 403, r#""errorCode":102"#);
    check("PUT /none", "refresh=true&ttl=5", 404, r#""cause":"/none""#);
    check("PUT /none?prevExist=true", "refresh=true&ttl=5", 404, r#""cause":"/none""#);
    check("PUT /new?prevExist=false", "refresh=true&ttl=5", 201, r#""action":"create""#);
    check("PUT /z?ttl=0", "value=now", 201, &format!(r#""expiration":"{NOW}","modifiedIndex""#));
    check("POST /", "value=r", 201, r#""action":"create","node":{"key":"/0000"#);
    check("POST /z", "value=r", 400, r#""errorCode":104,"message":"Not a directory","cause":"/z""#);
    check("POST /a/b", "dir=true&ttl=9", 201, r#""dir":true"#);
    check("GET /z/x", "", 400, r#""cause":"/z""#);
    check("DELETE /z?recursive=true", "", 200, r#""node":{"key":"/z","modifiedIndex":"#);
    check("DELETE /?recursive=true", "", 400, r#""errorCode":107,"message":"Root is read only","cause":"/""#);
    check("DELETE /?prevIndex=1", "", 403, "{\"errorCode\":102,\"message\":\"Not a file\",\"index\":");
    check("DELETE /a?prevIndex=1", "", 403, r#""errorCode":102,"message":"Not a file","cause":"/a""#);
    check("DELETE /gone", "", 404, r#""cause":"/gone""#);
    for query in ["", "?dir=true", "?prevExist=true", "?prevExist=false", "?prevIndex=3"] {
        check(
            &format!("PUT /{query}"),
            "",
            400,
            r#""errorCode":107,"message":"Root is read only","cause":"/""#,
        );
    }
}

#[test]
fn history_is_cleared_after_a_thousand() {
    let mut store = Store::new();
    let put = |key: &str, value: &str| format!("PUT /{key}?value={value}");
    for number in 1..=1086 {
        ask(&mut store, &put("k", &number.to_string()), "");
    }
    let scan = |since| store.scan_history(&etcd_api::Key::parse("/k").unwrap(), false, since);
    let error = scan(86).unwrap_err();
    assert_eq!(
        text(error.to_json_line()),
        "{\"errorCode\":401,\"message\":\"The event in requested index is outdated and cleared\",\"cause\":\"the requested history has been cleared [87/86]\",\"index\":1086}\n"
    );
    let event = scan(87).unwrap().unwrap();
    assert_eq!((event.index(), event.node.value.clone()), (87, Some(Bytes::from_static(b"87"))));
    assert_eq!(scan(1086).unwrap().unwrap().index(), 1086);
    assert_eq!(scan(1087), Ok(None));
    assert_eq!(scan(u64::MAX), Ok(None));
}
