use super::*;
use crate::cpu_time::within_time_limit;

/// Formats the tree compactly, with scalars as written.
fn show(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.to_string(),
        Value::List(list) => {
            format!("[{}]", list.iter().map(|item| show(&item.node)).collect::<Vec<_>>().join(","))
        }
        Value::Mapping(mapping) => {
            let entries =
                mapping.entries().iter().map(|entry| format!("{}:{}", entry.key, show(&entry.node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
    }
}

fn check(text: &str, expect: &str) {
    let document = read(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(document.root.as_deref().map(show).unwrap_or_default(), expect, "{text:?}");
}

fn check_error(text: &[u8], line: u32, column: u32, message: &str) {
    let error = read(text).map(|document| document.root.as_deref().map(show)).unwrap_err();
    let text_lossy = String::from_utf8_lossy(text);
    assert_eq!(
        (error.location.line, error.location.column, &*error.message),
        (line, column, message),
        "{text_lossy:?}"
    );
}

#[test]
fn trees() {
    check("", "");
    check("#cloud-config", "");
    check("a: 1\r\nb-c: [x, 'y']\r\n", "{a:1,b_c:[x,y]}");
    check("a: |\r\n  one\r\n  two\r\n", "{a:one\ntwo\n}");
    check("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\n", "{base:{x:1,y:2},use:{y:3,x:1}}");
    check("a: !!binary aGk=\n", "{a:aGk=}");
}

#[test]
fn duplicates_are_merged_as_the_last_release_did() {
    check("a: 1\na: 2\n", "{a:2}");
    check("c: {x: 1}\nc: {y: 2, x: 3}\n", "{c:{x:3,y:2}}");
    check("write-files: [a]\nwrite_files: [b]\n", "{write_files:[a,b]}");
    let document = read(b"hostname: a\nb: 1\nhostname: c\n").unwrap();
    assert_eq!(
        document.notes,
        [Note {
            location: Location { line: 3, column: 1 },
            message: "duplicate key \"hostname\" (first at line 1)".into()
        }]
    );
}

#[test]
fn second_document_is_reported_as_unused() {
    let document = read(b"a: 1\n---\nb: 2\n").unwrap();
    assert_eq!(document.notes[0].location.line, 2);
    assert_eq!(document.notes[0].message, "only the first YAML document is used");
}

#[test]
fn errors_point_at_the_token() {
    check_error(b"a: b: c\n", 1, 5, "mapping values are not allowed in this context");
    check_error(
        b"a:\n\tb: c\n",
        2,
        1,
        "found character that cannot start any token (tabs cannot be used for indentation)",
    );
    check_error(b"a: *x\n", 1, 4, "Unknown anchor 'x' referenced");
    check_error(b"a: &x [*x]\n", 1, 8, "Anchor 'x' value contains itself");
    check_error(b"a: \"open\nb: c\n", 2, 1, "found unexpected end of stream");
    check_error(b"x: 1\n# \xff\n", 2, 3, "invalid leading UTF-8 octet");
    check_error(b"x: 1\ny: \x01\n", 2, 4, "control characters are not allowed");
    check_error(b"a: !!binary '###'\n", 1, 4, "!!binary value contains invalid base64 data");
}

#[test]
fn bombs_are_refused_early() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let error = read(bomb.as_bytes()).unwrap_err();
    assert_eq!(error.message, "document contains excessive aliasing");
    assert!((5..=8).contains(&error.location.line), "{error}");

    let mut merges = String::from("a0: &a0 {k0: 1, k1: 2}\n");
    for level in 1..40 {
        let last = level - 1;
        merges.push_str(&format!("a{level}: &a{level} {{<<: [*a{last}, *a{last}, *a{last}]}}\n"));
    }
    assert_eq!(read(merges.as_bytes()).unwrap_err().message, "document contains excessive aliasing");

    let big = "x".repeat(1 << 20);
    let repeated = format!("a: &a {big}\nb: [{}]\n", vec!["*a"; 100].join(","));
    assert_eq!(read(repeated.as_bytes()).unwrap_err().message, "document contains excessive aliasing");

    let deep = "[".repeat(100_000);
    assert_eq!(read(deep.as_bytes()).unwrap_err().message, "document is nested deeper than 100 levels");
    let wide = format!("a: [{}]", "1,".repeat(600_000));
    assert_eq!(read(wide.as_bytes()).unwrap_err().message, "document has more than 500000 values");
    let long = format!("a: [\n{}]\n", "1,\n".repeat(300_000));
    assert!(within_time_limit(|| read(long.as_bytes())).is_ok());
    check("a: &a [1]\nb: [*a, *a]\n", "{a:[1],b:[[1],[1]]}");
}

#[test]
fn list_entries_are_located_at_their_dash() {
    let text = "a:\n- x\n-\n  # about y\n\n  k: y\n- - p\n  - q\nb: [r,\n  s]\nc:\n  - \"-\"\n";
    let document = read(text.as_bytes()).unwrap();
    let root = document.root.unwrap();
    let locations = |node: &Node| -> Vec<(u32, u32)> {
        node.list().unwrap().iter().map(|item| (item.location.line, item.location.column)).collect()
    };
    let of = |key: &str| root.mapping().unwrap().get(key).unwrap().node.clone();
    assert_eq!(locations(&of("a")), [(2, 1), (3, 1), (7, 1)]);
    assert_eq!(locations(&of("a").list().unwrap()[2].node), [(7, 3), (8, 3)]);
    assert_eq!(locations(&of("b")), [(9, 5), (10, 3)]);
    assert_eq!(locations(&of("c")), [(12, 3)]);
}
