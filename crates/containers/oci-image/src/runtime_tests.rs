use super::*;

fn config(json: &str) -> ContainerConfig {
    serde_json::from_str(json).unwrap()
}

fn list(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn entrypoint_and_command() {
    let check = |image: &str, entrypoint, command, expected: Result<&[&str], SettingsError>| {
        let overrides = Overrides { entrypoint, command, ..Overrides::default() };
        let found = settings(&config(image), &overrides).map(|settings| settings.arguments);
        assert_eq!(found, expected.map(|words| list(words).unwrap()), "{image}");
    };
    let both = r#"{"Entrypoint":["/e","1"],"Cmd":["c"]}"#;
    check(both, None, None, Ok(&["/e", "1", "c"]));
    check(both, None, list(&["d", ""]), Ok(&["/e", "1", "d", ""]));
    check(both, list(&["/f"]), None, Ok(&["/f"]));
    check(both, list(&["/f"]), list(&["d"]), Ok(&["/f", "d"]));
    check(both, list(&[]), list(&["d"]), Ok(&["d"]));
    check(r#"{"Cmd":["/bin/sh"]}"#, None, None, Ok(&["/bin/sh"]));
    check(r#"{"Entrypoint":null,"Cmd":null}"#, None, None, Err(SettingsError::NoCommand));
    check("{}", None, list(&[""]), Err(SettingsError::NoCommand));
    let nul = SettingsError::Nul { setting: "argument", value: "a\0".to_owned() };
    check("{}", None, list(&["a\0"]), Err(nul));
}

/// Settings that only need a command.
fn with_command(image: &str, overrides: Overrides) -> Result<RuntimeSettings, SettingsError> {
    settings(&config(image), &Overrides { command: list(&["a"]), ..overrides })
}

#[test]
fn environments_are_merged() {
    let check = |image: &str, added: &[(&str, &str)], expected: Result<&[(&str, &str)], &str>| {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = added.iter().map(pair).collect();
        let found = with_command(image, Overrides { environment, ..Overrides::default() });
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found.environment, expected.iter().map(pair).collect::<Vec<_>>(), "{image}");
            }
            (Err(error), Err(excerpt)) => assert!(error.to_string().contains(excerpt), "{error}"),
            (other, _) => panic!("{image}: {other:?}"),
        }
    };
    check("{}", &[], Ok(&[("PATH", DEFAULT_PATH)]));
    let image = r#"{"Env":["PATH=/b","A=1=2","EMPTY"]}"#;
    check(
        image,
        &[("A", "3"), ("N", ""), ("N", "4")],
        Ok(&[("PATH", "/b"), ("A", "3"), ("EMPTY", ""), ("N", "4")]),
    );
    check(r#"{"Env":["=x"]}"#, &[], Err("expected NAME=VALUE"));
    check("{}", &[("A=B", "x")], Err("expected NAME=VALUE"));
    check("{}", &[("A", "x\0")], Err("NUL"));
}

#[test]
fn paths_and_ports() {
    let check = |image: &str, directory: Option<&str>, expected: Result<(&str, &[&str], &[&str]), &str>| {
        let overrides = Overrides { directory: directory.map(str::to_owned), ..Overrides::default() };
        match (with_command(image, overrides), expected) {
            (Ok(found), Ok((directory, ports, volumes))) => {
                let names: Vec<_> = found.ports.iter().map(Port::name).collect();
                assert_eq!((found.directory.as_str(), names), (directory, list(ports).unwrap()), "{image}");
                assert!(found.volumes.iter().eq(volumes), "{image}: {:?}", found.volumes);
            }
            (Err(error), Err(excerpt)) => assert!(error.to_string().contains(excerpt), "{image}: {error}"),
            (other, _) => panic!("{image}: {other:?}"),
        }
    };
    check("{}", None, Ok(("/", &[], &[])));
    check(r#"{"WorkingDir":""}"#, None, Ok(("/", &[], &[])));
    let image =
        r#"{"WorkingDir":"/w","ExposedPorts":{"80/tcp":{},"53/udp":{},"443":{}},"Volumes":{"/data":{}}}"#;
    check(image, None, Ok(("/w", &["53-udp", "80-tcp", "443-tcp"], &["/data"])));
    check(image, Some("/x"), Ok(("/x", &["53-udp", "80-tcp", "443-tcp"], &["/data"])));
    check(image, Some("x"), Err("working directory \"x\""));
    check(r#"{"Volumes":{"/a/../../b":{}}}"#, None, Err("volume"));
    check(r#"{"ExposedPorts":{"0/tcp":{}}}"#, None, Err("port \"0/tcp\""));
    check(r#"{"ExposedPorts":{"80/x":{}}}"#, None, Err("port \"80/x\""));
    check(r#"{"ExposedPorts":{"65536":{}}}"#, None, Err("port \"65536\""));
}

#[test]
fn stop_signals() {
    let check = |text: &str, expected: Option<u8>| assert_eq!(parse_signal(text).ok(), expected, "{text}");
    check("SIGTERM", Some(15));
    check("term", Some(15));
    check("15", Some(15));
    check("SIGHUP", Some(1));
    check("SIGSYS", Some(31));
    check("SIGRTMIN+3", Some(37));
    check("RTMAX-1", Some(63));
    check("RTMIN", Some(34));
    for refused in ["", "0", "32", "65", "SIG", "SIGRTMIN+31", "RTMAX-31", "SIGRTMIN3", "-1", "SIGNONE"] {
        check(refused, None);
    }
}
