use super::*;

const MAC: &str = "52:54:00:12:34:56";

fn parse(text: &str) -> Result<Rules, RulesError> {
    Rules::parse(text, Path::new("/missing"))
}

#[test]
fn the_first_match_applies() {
    let rules = parse(
        r#"
[[rule]]
mac = ["52:54:00:12:34:56", "52-54-00-12-34-57"]
version = "1.0.0"

[[rule]]
uuid = "6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54"
mac = "52:54:00:12:34:58"
version = "2.0.0"

[[rule]]
serial = "ABC 1"
version = "3.0.0"

[[rule]]
match = "*"
version = "4.0.0"
"#,
    )
    .unwrap();
    let check =
        |mac: Option<&str>, uuid: Option<&str>, serial: Option<&str>, expect: &str, is_final: bool| {
            let serial: Option<Label> = serial.map(|text| text.parse().unwrap());
            let machine = Identity {
                mac: mac.map(|text| text.parse().unwrap()),
                uuid: uuid.map(|text| text.parse().unwrap()),
                serial: serial.as_ref(),
            };
            let Some(ImageChoice::Newest { version, .. }) = rules.find(&machine).map(|rule| &rule.image)
            else {
                panic!("no rule")
            };
            assert_eq!(version.as_deref(), Some(expect), "{machine:?}");
            assert_eq!(rules.is_final(&machine), is_final, "{machine:?}");
        };
    let uuid = Some("6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54");
    check(Some(MAC), None, Some("ABC 1"), "1.0.0", true);
    check(Some("52:54:00:12:34:57"), uuid, None, "1.0.0", true);
    check(Some("52:54:00:12:34:58"), uuid, None, "2.0.0", true);
    check(Some("52:54:00:12:34:58"), None, None, "4.0.0", false);
    check(None, uuid, Some("ABC 1"), "3.0.0", true);
    check(None, None, Some("abc 1"), "4.0.0", true);
}

#[test]
fn no_rule_may_match() {
    let rules = parse("[[rule]]\nmac = \"52:54:00:12:34:56\"\n").unwrap();
    assert_eq!(rules.find(&Identity::default()), None);
    assert!(rules.is_final(&Identity::default()));
    assert!(parse("").unwrap().find(&Identity::default()).is_none());
    assert!(Rules::live(None).find(&Identity::default()).is_some());
}

#[test]
fn everything_of_a_rule() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("etcd.yaml"), "#cloud-config\n").unwrap();
    let text = r#"
[[rule]]
match = "*"
kernel = "vmlinuz"
initrd = ["a.img", "oem.cpio.gz"]
uki = "a.efi"
user-data = "etcd.yaml"
options = "console=ttyS0,115200  coreos.autologin"
install = "once"
device = "/dev/vda"
sshkeys = ["ssh-ed25519 AAAA me@example"]
"#;
    let rules = Rules::parse(text, folder.path()).unwrap();
    let rule = rules.iter().next().unwrap();
    let initrds = vec!["a.img".to_owned(), "oem.cpio.gz".to_owned()];
    let set = FileSet { kernel: "vmlinuz".to_owned(), initrds, uki: Some("a.efi".to_owned()) };
    assert_eq!(rule.image, ImageChoice::Files(set));
    assert!(rule.prefers_uki);
    assert_eq!(rule.user_data.as_deref(), Some(&*folder.path().join("etcd.yaml")));
    assert_eq!(rule.options, ["console=ttyS0,115200", "coreos.autologin"]);
    assert_eq!(rule.boot, Boot::Install { device: "/dev/vda".to_owned(), once: true });
    assert_eq!(rule.ssh_keys, ["ssh-ed25519 AAAA me@example"]);
    assert!(rules.names("oem.cpio.gz") && rules.names("vmlinuz") && rules.names("a.efi"));
    assert!(!rules.names("etcd.yaml"));
}

#[test]
fn what_a_machine_boots_from() {
    let check = |text: &str, expect: Boot| {
        let rules = parse(&format!("[[rule]]\nmatch = \"*\"\n{text}\n")).unwrap();
        assert_eq!(rules.iter().next().unwrap().boot, expect, "{text}");
    };
    let install = |once| Boot::Install { device: "smallest".to_owned(), once };
    check("", Boot::Live);
    check("boot = \"network\"", Boot::Live);
    check("boot = \"disk\"", Boot::Disk);
    check("install = \"no\"", Boot::Live);
    check("install = \"once\"", install(true));
    check("install = \"always\"\ndevice = \"smallest\"", install(false));
}

#[test]
fn what_http_boot_starts() {
    let check = |text: &str, prefers_uki: bool| {
        let rules = parse(&format!("[[rule]]\nmatch = \"*\"\n{text}\n")).unwrap();
        assert_eq!(rules.iter().next().unwrap().prefers_uki, prefers_uki, "{text}");
    };
    check("", false);
    check("http-boot = \"ipxe\"", false);
    check("http-boot = \"uki\"", true);
    check("kernel = \"a\"", false);
    check("kernel = \"a\"\nuki = \"a.efi\"", true);
    check("kernel = \"a\"\nuki = \"a.efi\"\nhttp-boot = \"ipxe\"", false);
}

#[test]
fn errors_have_their_line() {
    let check = |rule: &str, line: usize, expect: &str| {
        let error = parse(&format!("[[rule]]\nmac = \"{MAC}\"\n{rule}\n")).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(error.message.contains(expect), "{error}");
    };
    check("imag = \"a\"", 3, "unknown field `imag`");
    check("channel = 7", 3, "expected a string");
    check("channel = \"a", 3, "basic string");
    check("uuid = \"7\"", 3, "invalid UUID `7`");
    check("serial = []", 3, "empty");
    check("serial = 7", 3, "expected a text or a list of texts");
    check("match = \"*\"", 3, "excludes mac");
    check("initrd = \"a\"", 3, "need a kernel");
    check("kernel = \"a\"\nversion = \"1\"", 4, "kernel excludes version");
    check("user-data = \"a.yaml\"", 3, "/missing/a.yaml is not a file");
    check("options = \"a\\nb\"", 3, "one line");
    check("boot = \"cd\"", 3, "\"network\" or \"disk\"");
    check("boot = \"disk\"\ninstall = \"once\"", 3, "installs nothing");
    check("install = \"yes\"", 3, "\"no\", \"once\" or \"always\"");
    check("install = \"no\"\ndevice = \"/dev/vda\"", 4, "needs install");
    for device in ["vda", "/dev/vd a", "/dev/${x}"] {
        check(&format!("install = \"once\"\ndevice = \"{device}\""), 4, "/dev/vda");
    }
    check("http-boot = \"pxe\"", 3, "\"ipxe\" or \"uki\"");
    check("kernel = \"a\"\nhttp-boot = \"uki\"", 4, "needs uki");
    check("sshkeys = \"AAAA\"", 3, "is not the line of a public key");
    check("sshkeys = 'ssh-rsa AAAA\"'", 3, "is not the line of a public key");
    check(&format!("options = \"{}\"", "a".repeat(COMMAND_LINE_BYTES)), 1, "put keys into user-data");
    let error = parse("\n[[rule]]\nchannel = \"a\"\n").unwrap_err();
    assert_eq!((error.line, error.column), (2, 1));
    assert!(error.message.contains("match = \"*\""), "{error}");
    assert!(parse("[[rule]]\nmatch = \"all\"\n").unwrap_err().message.contains("\"*\""));
    assert!(parse(&"#".repeat(RULES_BYTES + 1)).unwrap_err().message.contains("bytes"));
    let many = "[[rule]]\nmatch = \"*\"\n".repeat(RULES + 1);
    assert_eq!(parse(&many).unwrap_err().line, 2 * RULES + 1);
}
