use super::*;
use crate::user_data::decode;

fn converted(raw: &[u8], format: Format) -> Converted {
    convert(&decode(raw.to_vec()).unwrap(), format).unwrap()
}

fn list(converted: &Converted) -> String {
    converted.unsupported.iter().map(|entry| format!("{entry}\n")).collect()
}

/// Compares both formats and the unsupported keys with the golden files.
fn golden(raw: &str, ignition: &str, butane: &str, unsupported: &str) {
    for (format, expect) in [(Format::Ignition, ignition), (Format::Butane, butane)] {
        let got = converted(raw.as_bytes(), format);
        assert!(got.text == expect, "--- got\n{}--- expected\n{expect}", got.text);
        let got = list(&got);
        assert!(got == unsupported, "--- got\n{got}--- expected\n{unsupported}");
    }
}

#[test]
fn the_tutorials_file() {
    golden(
        include_str!("../../tests/data/tutorial.yml"),
        include_str!("../../tests/data/convert/tutorial.ign"),
        include_str!("../../tests/data/convert/tutorial.bu"),
        include_str!("../../tests/data/convert/tutorial.without"),
    );
}

#[test]
fn every_kind_of_step() {
    golden(
        include_str!("../../tests/data/full.yml"),
        include_str!("../../tests/data/convert/full.ign"),
        include_str!("../../tests/data/convert/full.bu"),
        include_str!("../../tests/data/convert/full.without"),
    );
}

#[test]
fn supported_and_unsupported_keys() {
    golden(
        include_str!("../../tests/data/convert/every.yml"),
        include_str!("../../tests/data/convert/every.ign"),
        include_str!("../../tests/data/convert/every.bu"),
        include_str!("../../tests/data/convert/every.without"),
    );
}

#[test]
fn several_parts() {
    golden(
        include_str!("../../tests/data/convert/parts.mime"),
        include_str!("../../tests/data/convert/parts.ign"),
        include_str!("../../tests/data/convert/parts.bu"),
        include_str!("../../tests/data/convert/parts.without"),
    );
}

#[test]
fn unsupported_user_data_is_refused() {
    for (text, expect) in [
        ("#!/bin/sh\n", "the user-data is a script, which"),
        ("{\"ignition\": {\"version\": \"3.3.0\"}}", "the user-data is an Ignition config already"),
        ("hello", "the user-data is not valid"),
        ("#cloud-config\nhostname: a b\n", "the user-data is not valid"),
        ("#cloud-config\na: [\n", "the user-data is not valid"),
    ] {
        let error = convert(&decode(text.into()).unwrap(), Format::Butane).err().unwrap().to_string();
        assert!(error.starts_with(expect), "{text}: {error}");
    }
    assert_eq!(converted(b"", Format::Butane).text, "variant: flatcar\nversion: 1.0.0\n");
    assert_eq!(
        converted(b"#cloud-config\n", Format::Ignition).text,
        "{\n  \"ignition\": {\n    \"version\": \"3.3.0\"\n  }\n}\n"
    );
}

/// All contents survive the conversion unchanged.
#[test]
fn contents_are_kept() {
    let contents: Vec<Vec<u8>> = [
        "",
        "\n",
        " a\n",
        "a",
        "a\n\n",
        "\n a\n",
        "a \nb\t\n",
        "- a: b # c\n%d\n",
        "~",
        "a\r\nb\r\n",
        "\u{feff}a\u{85}\u{2028}\u{1f600}\n",
        "#!/bin/sh\n\ttab\n  blanks\n",
        "a%20+b&c?d;e,f",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([vec![0], vec![0xff, 0xfe], (0..=255).collect()])
    .collect();
    for content in contents {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let packed = STANDARD.encode(&content);
        let text =
            format!("#cloud-config\nwrite_files: [{{path: /a, encoding: b64, content: '{packed}'}}]\n");
        let json = converted(text.as_bytes(), Format::Ignition).text;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let url = json["storage"]["files"][0]["contents"]["source"].as_str().unwrap();
        assert_eq!(from_url(url), content, "{url}");
        let yaml = converted(text.as_bytes(), Format::Butane).text;
        for read in [serde_yaml::from_str(&yaml).unwrap(), with_libyaml(&yaml)] {
            let contents = &read["storage"]["files"][0]["contents"];
            let got = match contents["inline"].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => from_url(contents["source"].as_str().unwrap()),
            };
            assert_eq!(got, content, "{yaml}");
        }
    }
}

/// Ignition downloads files, too, but has no fallback content.
#[test]
fn fetched_contents() {
    let text = b"#cloud-config\nwrite_files:\n  - path: /a\n    content: x\n    source:\n      uri: https://h/b\n      headers: {X-A: c}\n";
    let json = converted(text, Format::Ignition);
    let file = &serde_json::from_str::<serde_json::Value>(&json.text).unwrap()["storage"]["files"][0];
    let expect = serde_json::json!({"source": "https://h/b", "httpHeaders": [{"name": "X-A", "value": "c"}]});
    assert_eq!(file["contents"], expect);
    let unsupported: Vec<_> = json.unsupported.iter().map(ToString::to_string).collect();
    assert_eq!(
        unsupported,
        ["line 4: content: a failed download stops the first boot; there is no equivalent"]
    );
    let yaml: serde_yaml::Value = serde_yaml::from_str(&converted(text, Format::Butane).text).unwrap();
    assert_eq!(yaml["storage"]["files"][0]["contents"]["http_headers"][0]["value"].as_str(), Some("c"));
}

fn from_url(url: &str) -> Vec<u8> {
    use base64::Engine;
    if let Some(packed) = url.strip_prefix("data:;base64,") {
        return base64::engine::general_purpose::STANDARD.decode(packed).unwrap();
    }
    let text = url.strip_prefix("data:,").unwrap();
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// Parsed by libyaml, with the types of YAML 1.1.
fn with_libyaml(text: &str) -> serde_yaml::Value {
    fn value(node: &yaml::Node) -> serde_yaml::Value {
        match &node.value {
            yaml::Value::Scalar(scalar) => scalar.text.to_string().into(),
            yaml::Value::List(items) => items.iter().map(|item| value(&item.node)).collect(),
            yaml::Value::Mapping(mapping) => serde_yaml::Value::Mapping(
                mapping
                    .entries()
                    .iter()
                    .map(|entry| (entry.key.to_string().into(), value(&entry.node)))
                    .collect(),
            ),
        }
    }
    value(&yaml::read(text.as_bytes()).unwrap().root.unwrap())
}
