use super::*;
use crate::cpu_time::within_time_limit;

/// Formats each leaf as `number type line: body`, followed by the notes.
fn show(text: &str) -> Vec<String> {
    let mime = split(text.as_bytes());
    let body = |leaf: &Leaf<'_>| match &leaf.body {
        Ok(body) => String::from_utf8_lossy(body).into_owned(),
        Err(error) => format!("! {error}"),
    };
    let leaves = mime.leaves.iter().map(|leaf| {
        format!("{} {} {}: {}", leaf.number, leaf.media_type, leaf.line, body(leaf).replace('\n', "|"))
    });
    let notes = |kind: &'static str, notes: &[Note]| {
        notes.iter().map(|note| format!("{kind} {}: {}", note.line, note.message)).collect::<Vec<_>>()
    };
    leaves.chain(notes("warning", &mime.warnings)).chain(notes("error", &mime.errors)).collect()
}

const NESTED: &str = "MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=\"out\"

preamble
--out
Content-Type: text/cloud-config

#cloud-config
hostname: a

--out
Content-Type: multipart/alternative; boundary=out2

--out2

no type
--out2
Content-Type: text/x-shellscript
Content-Transfer-Encoding: base64

IyEvYmluL3NoCg==
--out2--
epilogue
--out  \t
Content-Type: TEXT/Plain; charset=utf-8
Content-Transfer-Encoding: uuencode

x
--out--
--out

never
";

#[test]
fn leaves_in_order_with_their_lines() {
    let expect = [
        "1 text/cloud-config 8: #cloud-config|hostname: a|",
        "2  16: no type",
        "3 text/x-shellscript 21: #!/bin/sh|",
        "4 text/plain 28: ! unknown Content-Transfer-Encoding \"uuencode\"",
    ];
    assert_eq!(show(NESTED), expect);
    let windows = show(&NESTED.replace('\n', "\r\n"));
    let lines: Vec<_> = windows.iter().map(|line| line.replace('\r', "")).collect();
    assert_eq!(lines, expect);
}

#[test]
fn missing_and_excess_parts() {
    let headers = "Content-Type: multipart/mixed; boundary=b\n\n";
    for (text, expect) in [
        ("Content-Type: multipart/mixed\n\n--b\n", &["error 3: multipart without a boundary"][..]),
        (&format!("{headers}text\n"), &["error 3: multipart whose boundary \"b\" does not occur"]),
        (&format!("{headers}--b\n\nx\n"), &["1  5: x|", "warning 5: the end marker \"--b--\" is missing"]),
        (&format!("{headers}--b--\n\nx\n"), &[]),
        (&format!("{headers}--b\n--b\n\ny\n--b--\n"), &["1  4: ", "2  6: y"]),
        (
            &format!("{headers}--b\nno header\n--b\n\ny\n--b--"),
            &["1  7: y", "error 4: a part's headers cannot be read"],
        ),
        (
            &format!("Content-Transfer-Encoding: base64\n{headers}--b--\n"),
            &["error 4: multipart with Content-Transfer-Encoding \"base64\""],
        ),
    ] {
        assert_eq!(show(text), expect, "{text:?}");
    }
    let mut deep = String::new();
    for level in 0..6 {
        deep.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n"));
    }
    let notes = show(&deep);
    assert!(
        notes.contains(&"error 15: multipart inside of multipart, more than 4 levels deep".into()),
        "{notes:?}"
    );
    let many = format!("{headers}{}", "--b\n\nx\n".repeat(MAX_MIME_PARTS + 9));
    let notes = show(&many);
    assert_eq!(notes.len(), MAX_MIME_PARTS + 1);
    assert!(notes[MAX_MIME_PARTS].ends_with("more than 1000 parts; the rest is ignored"));
}

/// Megabytes of delimiters, headers and similar lines are parsed in linear time.
#[test]
fn parsing_takes_linear_time() {
    let headers = "Content-Type: multipart/mixed; boundary=b\n\n";
    for piece in ["--b", "--b\n", "--b\nX: y\n", "\n", "Content-Type: multipart/mixed; boundary=b\n\n--b\n"] {
        let text = format!("{headers}{}", piece.repeat((8 << 20) / piece.len()));
        within_time_limit(|| drop(split(text.as_bytes())));
    }
}
