use super::*;

const GLOBAL: &[Flag] = &[Flag::new("insecure-options", command_line::ValueKind::Text, "")];

fn parsed(line: &str) -> Result<PodRequest, String> {
    let arguments: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    parse(GLOBAL, &arguments).map_err(|error| error.to_string())
}

#[test]
fn images_flags_and_arguments() {
    let check = |line: &str, expected: &[(&str, Option<&str>, &[&str])]| {
        let request = parsed(line).unwrap();
        let found: Vec<_> = request
            .apps
            .iter()
            .map(|app| {
                let arguments: Vec<&str> = app.arguments.iter().map(String::as_str).collect();
                (app.image.clone(), app.exec.clone(), arguments)
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(image, exec, arguments)| {
                ((*image).to_owned(), exec.map(str::to_owned), arguments.to_vec())
            })
            .collect();
        assert_eq!(found, expected, "{line}");
    };
    check("busybox", &[("busybox", None, &[])]);
    check("busybox --exec /bin/date", &[("busybox", Some("/bin/date"), &[])]);
    check(
        "busybox --exec=ls -- -l / --- etcd",
        &[("busybox", Some("ls"), &["-l", "/"]), ("etcd", None, &[])],
    );
    check("a b", &[("a", None, &[]), ("b", None, &[])]);
    check("--net=host a --exec x b --exec y", &[("a", Some("x"), &[]), ("b", Some("y"), &[])]);
    check("a -- --exec -- b", &[("a", None, &["--exec", "--", "b"])]);
    check("a --- b -- c", &[("a", None, &[]), ("b", None, &["c"])]);
    check("a -- 1 --- b -- 2", &[("a", None, &["1"]), ("b", None, &["2"])]);
    check("--insecure-options=image a", &[("a", None, &[])]);
    check("a --insecure-options image --net=none", &[("a", None, &[])]);
}

#[test]
fn units_of_coreos() {
    let line = "--uuid-file-save=/run/kubelet.uuid --volume dns,kind=host,source=/etc/resolv.conf,readOnly=true \
                --mount volume=dns,target=/etc/resolv.conf --net=host --set-env=A=b --dns=host \
                --hosts-entry=host --stage1-from-dir=stage1-fly.aci quay.io/coreos/hyperkube:v1 --exec=/kubelet \
                --memory=50M --cpu=500m --user 1 --group=2 --name=k -- --v=2";
    let request = parsed(line).unwrap();
    assert_eq!(request.flags.text("uuid-file-save"), Some("/run/kubelet.uuid"));
    assert_eq!((request.network, request.fly), (NetworkMode::Host, true));
    assert_eq!(request.environment, [("A".to_owned(), "b".to_owned())]);
    assert_eq!(request.hosts, [HostsEntry::Host]);
    assert!(request.dns.is_host());
    let app = &request.apps[0];
    assert_eq!((app.memory, app.cpu), (Some(50_000_000), Some(500)));
    assert_eq!((app.user.as_deref(), app.group.as_deref()), (Some("1"), Some("2")));
    assert_eq!(app.name.as_deref(), Some("k"));
    assert_eq!(app.mounts.len(), 1);
    assert_eq!(app.arguments, ["--v=2"]);
}

#[test]
fn mounts_of_all_apps_and_of_one() {
    let volumes = "--volume a,kind=empty --volume b,kind=empty";
    let request =
        parsed(&format!("{volumes} --mount volume=a,target=/a x --mount volume=b,target=/a y")).unwrap();
    let found: Vec<_> = request.apps.iter().map(|app| app.mounts[0].volume.as_str()).collect();
    assert_eq!(found, ["b", "a"]);
}

#[test]
fn invalid_command_lines() {
    let check = |line: &str, expected: &str| {
        let error = parsed(line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    };
    check("", "an image is required");
    check("--net=host", "an image is required");
    check("-- ls", "must precede them");
    check("--exec=ls a", "--exec belongs to an image");
    check("--bogus a", "flag provided but not defined: -bogus");
    check("a --memory", "flag needs an argument: -memory");
    check("a --memory=1", "memory \"1\"; expected");
    check("a --cpu=x", "cpu \"x\"; expected");
    check("--net=mynet a", "network \"mynet\"");
    check("--net=host --port=80-tcp:80 a", "--port needs --net=default");
    check("--port=http:80 a", "port \"http:80\"");
    check("--volume=x a", "kind is missing");
    check("a --mount volume=x,target=/x", "no volume \"x\"");
    check("--volume x,kind=empty --volume x,kind=empty a", "defined twice");
    check("--set-env=A a", "--set-env \"A\"; expected NAME=VALUE");
    check("a --environment==b", "--environment \"=b\"");
    check("--hosts-entry=a a", "--hosts-entry \"a\"");
    check("--dns=example.com a", "--dns \"example.com\"");
    check("--hostname=a_b a", "host name \"a_b\"");
    check("--interactive a b", "exactly one app, not 2");
    check("a --name=A", "app name \"A\"");
    check("a --name=x b --name=x", "same name");
    check("a --caps-retain=X", "no capability");
    check("--stage1-name=coreos.com/rkt/stage1-kvm:1.0 a", "virtual machines");
    check("--stage1-path=/x/other.aci a", "only the default stage1");
    check("--private-users a", "--private-users is not supported");
    check("--pull-policy=sometimes a", "pull-policy");
    check("a --oom-score-adj=2000", "expected -1000 to 1000");
    check("a --supplementary-gids=a", "numbers joined by commas");
    check("a --exec=", "--exec is empty");
    let many = vec!["a"; 65].join(" ");
    check(&many, "more than 64 apps");
}

#[test]
fn help_needs_no_image() {
    assert!(parsed("--help").unwrap().flags.wants_help());
}
