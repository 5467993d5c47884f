use super::*;

fn parsed(line: &str) -> Result<Request, UsageError> {
    let arguments: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    parse(&arguments)
}

#[test]
fn all_spellings_are_one() {
    for line in
        ["-from-file /a", "--from-file /a", "-from-file=/a", "--from-file=/a", "-from-file=/a x -nope"]
    {
        let request = parsed(line).unwrap();
        assert_eq!(request.sources, [Source::File("/a".into())], "{line}");
        assert_eq!(request.task, Task::Apply);
    }
    let request = parsed("-validate=false --plan -from-configdrive=/m -root /r -workspace=/w").unwrap();
    assert_eq!((request.task, request.root), (Task::Plan, PathBuf::from("/r")));
    assert_eq!(request.workspace, "/w");
    let request = parsed("-validate -validate-format=json -from-file=-").unwrap();
    assert_eq!((request.task, request.sources), (Task::Validate { json: true }, vec![Source::Stdin]));
    assert_eq!(parsed("-version").unwrap().task, Task::Version);
    assert_eq!(parsed("-nope -h").unwrap_err().to_string(), "flag provided but not defined: -nope");
    assert_eq!(parsed("-h -nope").unwrap().task, Task::Help);
}

#[test]
fn wrong_use() {
    for (line, expect) in [
        (
            "",
            "Provide at least one of --from-file, --from-configdrive, --from-url, --from-proc-cmdline, --from-fw-cfg",
        ),
        ("-from-file", "flag needs an argument: -from-file"),
        ("-validate=maybe", "invalid boolean value \"maybe\" for -validate: parse error"),
        ("---x", "bad flag syntax: ---x"),
        (
            "-oem=moon -version",
            "Invalid option to -oem: \"moon\". Supported options: [\"azure\" \"cloudsigma\" \"digitalocean\" \
             \"ec2-compat\" \"gce\" \"packet\" \"rackspace-onmetal\" \"vmware\"]",
        ),
        (
            "-convert-netconf=x",
            "Invalid option to -convert-netconf: 'x'. Supported options: 'debian, packet, vmware'",
        ),
        ("-from-file=/a -ssh-key-name=../x", "Invalid option to -ssh-key-name: '../x' is no file name"),
        (
            "-from-ec2-metadata=http://x/",
            "-from-ec2-metadata is not supported yet: metadata services come later",
        ),
    ] {
        assert_eq!(parsed(line).unwrap_err().to_string(), expect, "{line}");
    }
}
