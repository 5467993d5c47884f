//! Texts, options, normalization and hashes.

use proptest::prelude::*;
use unit_file::{LINE_BYTES, UNIT_BYTES, UnitFile, UnitHash, UnitOption};

fn check(text: &str, expected: &[(&str, &str, &str)]) {
    let file = UnitFile::from_text(text).unwrap();
    let options: Vec<_> = file
        .options()
        .iter()
        .map(|option| (option.section.as_str(), option.name.as_str(), option.value.as_str()))
        .collect();
    assert_eq!(options, expected, "{text:?}");
    assert_eq!(file.text(), text);
}

#[test]
fn options() {
    check("[Unit]\nA=1\nA=2\n", &[("Unit", "A", "1"), ("Unit", "A", "2")]);
    check("[Unit]\n[Service]\n", &[]);
    check("[Unit]\n  Some Thing =  a b \t\n", &[("Unit", "Some Thing", "a b")]);
    check("[Unit]\nA=", &[("Unit", "A", "")]);
    check("[Unit]\nA==b=c\n", &[("Unit", "A", "=b=c")]);
    check("[©]\nµ☃=Ç", &[("©", "µ☃", "Ç")]);
    check("[Unit] \t\r\nA=b\r\n\r\nC=d\r", &[("Unit", "A", "b"), ("Unit", "C", "d")]);
    check("", &[]);
}

#[test]
fn skipped_text() {
    check("A=1\ngarbage[Unit]\nB=2\n", &[("Unit", "B", "2")]);
    check("# [No]\n; x\n[Unit]\n#A=1\n ; B=2\nC=3 # stays\n", &[("Unit", "C", "3 # stays")]);
    // A backslash continues a comment, also before one blank.
    check("[Unit]\n# a \\\nA=1\n# b \\ \nB=2\n# c \\  \nC=3\n", &[("Unit", "C", "3")]);
    check("\u{feff}[Unit]\nA=1\n", &[("Unit", "A", "1")]);
}

#[test]
fn continuation_lines() {
    check("[S]\nA=b \\\n   c\nD=e\n", &[("S", "A", "b \\\n   c"), ("S", "D", "e")]);
    check("[S]\nA=b\\\n# no comment\\\nc\n", &[("S", "A", "b\\\n# no comment\\\nc")]);
    // A blank line ends the value; the newline is kept.
    check("[S]\nA=b \\\n \nC=d\n", &[("S", "A", "b \\\n"), ("S", "C", "d")]);
    check("[S]\nA=b \\\n", &[("S", "A", "b \\\n")]);
    check("[S]\nA=b \\", &[("S", "A", "b \\")]);
    // A backslash before a carriage return continues nothing.
    check("[S]\r\nA=b \\\r\nC=d\r\n", &[("S", "A", "b \\"), ("S", "C", "d")]);
}

fn check_error(text: &str, line: u32, column: u32, message: &str) {
    let error = UnitFile::from_text(text).unwrap_err();
    assert_eq!((error.position.line, error.position.column), (line, column), "{text:.80?}");
    assert_eq!(error.to_string(), message, "{text:.80?}");
}

#[test]
fn errors_have_positions() {
    check_error("[Unit]\nA=1\n [Service\nB=2\n", 3, 2, "unable to find end of section");
    check_error("[Service\nB=[2]\n", 1, 1, "unable to find end of section");
    check_error("[Unit]  pants\n", 1, 9, "found garbage after section name Unit: \"pants\"");
    let newline = "unexpected newline encountered while parsing option name";
    check_error("[Unit]\nA=1\n\n ö \nB=2\n", 4, 2, newline);
    check_error("[Unit]\nA=b\\\nc\nd\r\n", 4, 1, newline);
    check_error("[Unit]\nA", 2, 1, "unexpected end of the file encountered while parsing option name");
    let long = format!("[S]\nA={}\nB=1\n", "x".repeat(LINE_BYTES - 2));
    check_error(&long, 2, 1, "line too long (max 1048576 bytes)");
    let many = format!("[S]\n{}", "A=1\n".repeat(UNIT_BYTES / 4));
    check_error(&many, 262_145, 1, "unit file too long (max 1048576 bytes)");
    assert!(UnitFile::from_text(&many[..UNIT_BYTES]).is_ok());
}

#[test]
fn invalid_utf_8() {
    let error = UnitFile::from_bytes(b"[Unit]\nA=b\xffc\n").unwrap_err();
    assert_eq!((error.position.line, error.position.column), (2, 4));
    assert_eq!(error.to_string(), "not text: invalid UTF-8");
}

/// Linear cost for a unit of maximum length, with as many options or sections as fit.
#[test]
fn long_units_are_read_in_one_go() {
    let options = format!("[S]\n{}", "A=\n".repeat(UNIT_BYTES / 4));
    let file = UnitFile::from_text(&options).unwrap();
    assert_eq!(file.options().last().unwrap().position.unwrap().line, 262_145);
    let sections: String = (0..UNIT_BYTES / 12).map(|number| format!("[{number:x}]\na=\n")).collect();
    assert_eq!(
        UnitFile::from_text(&sections).unwrap().normalised().len(),
        sections.len() + UNIT_BYTES / 12 - 1
    );
}

const HELLO: &str = "# fleet's own example
[Unit]
Description=Hello World

[Service]
ExecStart=/bin/bash -c \"while true; do echo \\\"Hello, world\\\"; sleep 1; done\"
";

/// The contract's vectors, recorded with the original programs.
#[test]
fn hashes() {
    let hash = |text| UnitFile::from_text(text).unwrap().hash();
    assert_eq!(hash(HELLO).to_string(), "e55c0aeb44ba0b68004ceb8a200e685194448b45");
    assert_eq!(hash(HELLO).short(), "e55c0ae");
    assert_eq!(hash("[Service]\nExecStart=/bin/sleep 1\n").short(), "0291f12");
    let global = "[Service]\nExecStart=/bin/sleep 1\n\n[X-Fleet]\nGlobal=true\n";
    assert_eq!(hash(global).to_string(), "db8384a7a3673c7722a7ff813a42b2f036b1fce3");
    let apart = "[Service]\n\nExecStart = /bin/sleep 1\n;\n\n\n[X-Fleet]\nGlobal=true";
    assert_eq!(hash(apart), hash(global));
    let text = hash(global).to_string();
    assert_eq!(text.parse::<UnitHash>().unwrap(), hash(global));
    assert!(text[1..].parse::<UnitHash>().is_err());
    assert!("+b8384a7a3673c7722a7ff813a42b2f036b1fce3".parse::<UnitHash>().is_err());
}

#[test]
fn sections_are_merged() {
    let file = UnitFile::from_text("[B]\n1=x\n[A]\n\n2=y\n[Empty]\n[B]\n3=\n").unwrap();
    assert_eq!(file.normalised(), "[B]\n1=x\n3=\n\n[A]\n2=y\n");
    assert_eq!(UnitFile::from_options(Vec::new()).normalised(), "");
}

#[test]
fn remarks() {
    let file = UnitFile::from_text("[A]\n=x\nB=c \\").unwrap();
    let said: Vec<_> = file.remarks().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "line 2, column 1: warning: an option without a name does nothing",
            "line 3, column 1: warning: B ends in a backslash, but no line follows"
        ]
    );
}

fn option() -> impl Strategy<Value = UnitOption> {
    let name = "[A-Za-z][A-Za-z ]{0,6}[a-z]";
    let line = "[a-z\"%= ]{0,8}[a-z]";
    let value = prop_oneof![
        Just(String::new()),
        line.prop_map(String::from),
        (line, line).prop_map(|(one, other)| format!("{}\\\n  {other}", one.trim_start())),
    ];
    ("[A-C]", name, value).prop_map(|(section, name, value)| UnitOption {
        section,
        name,
        value: value.trim().to_owned(),
        position: None,
    })
}

proptest! {
    /// Options of the API survive a round trip through the store.
    #[test]
    fn normalization_is_idempotent(options in prop::collection::vec(option(), 0..12)) {
        let file = UnitFile::from_options(options);
        let again = UnitFile::from_text(&file.normalised()).unwrap();
        prop_assert_eq!(again.normalised(), file.normalised());
        for section in ["A", "B", "C"] {
            let of_section = |file: &UnitFile| {
                let options = file.options().iter().filter(|option| option.section == section);
                options.map(|option| (option.name.clone(), option.value.clone())).collect::<Vec<_>>()
            };
            prop_assert_eq!(of_section(&again), of_section(&file));
        }
    }

    /// Comments, blank lines and blanks around names and values do not affect the hash.
    #[test]
    fn insignificant_text_is_kept(options in prop::collection::vec(option(), 0..8), noise in "[ \t]{0,2}") {
        let file = UnitFile::from_options(options);
        let mut text = String::from("before the first section\n");
        for option in file.options() {
            text += &format!("{noise}[{}]{noise}\n; comment\n", option.section);
            text += &format!("\n{noise}{}{noise}={noise}{}\n\n", option.name, option.value);
        }
        let noisy = UnitFile::from_text(&text).unwrap();
        prop_assert_eq!(noisy.hash(), file.hash());
        prop_assert_eq!(noisy.text(), text);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[\\[\\]=\\\\#;a \n\r]{0,40}") {
        if let Ok(file) = UnitFile::from_text(&text) {
            prop_assert!(UnitFile::from_text(&file.normalised()).is_ok());
        }
    }
}
