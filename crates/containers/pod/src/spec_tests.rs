use oci_image::Digest;
use oci_spec::runtime::Spec;

use super::*;
use crate::capabilities::Capabilities;
use crate::insecure::InsecureOptions;
use crate::manifest::Dns;
use crate::network::NetworkMode;
use crate::uuid::Uuid;
use crate::volume::Mount;

fn pod() -> PodManifest {
    let app = App {
        name: "app".to_owned(),
        image: Digest::of(b""),
        image_name: "busybox".to_owned(),
        arguments: vec!["/bin/sh".to_owned(), "-c".to_owned(), "true".to_owned()],
        environment: vec![("PATH".to_owned(), "/bin".to_owned())],
        uid: 0,
        gid: 0,
        groups: vec![7],
        directory: "/".to_owned(),
        mounts: vec![
            Mount { volume: "host".to_owned(), target: "/srv".to_owned() },
            Mount { volume: "empty".to_owned(), target: "/data".to_owned() },
        ],
        capabilities: Capabilities::default(),
        memory: None,
        cpu: None,
        stop_signal: 15,
        read_only: false,
        oom_score_adj: Some(-5),
    };
    PodManifest {
        uuid: Uuid::from_random([1; 16]),
        created: 1,
        apps: vec![app],
        volumes: vec![
            "host,kind=host,source=/srv/host,readOnly=true".parse().unwrap(),
            "empty,kind=empty".parse().unwrap(),
        ],
        network: NetworkMode::None,
        ports: Vec::new(),
        hostname: None,
        dns: Dns::default(),
        hosts: Vec::new(),
        insecure: InsecureOptions::default(),
        interactive: false,
        fly: false,
    }
}

/// With all capabilities but one.
fn machine() -> Machine {
    let all = Capabilities::default().list(true).into_iter().filter(|name| *name != "CAP_SYS_BOOT");
    Machine { architecture: "x86_64", capabilities: all.map(str::to_owned).collect(), terminal: true }
}

fn spec(pod: &PodManifest) -> Value {
    let paths = AppPaths {
        rootfs: "/pods/rootfs".into(),
        volumes: [("empty".to_owned(), "/pods/volumes/empty".into())].into(),
        files: vec![("/etc/hosts", "/pods/hosts".into())],
    };
    let spec = runtime_spec(pod, &pod.apps[0], &paths, &machine());
    // What crates that implement the specification read.
    let typed: Spec = serde_json::from_value(spec.clone()).unwrap();
    assert_eq!(typed.process().as_ref().unwrap().args().as_deref(), Some(pod.apps[0].arguments.as_slice()));
    spec
}

/// Lines that two specifications do not share, without white space.
fn changes(change: impl Fn(&mut PodManifest)) -> Vec<String> {
    let mut changed = pod();
    change(&mut changed);
    let lines = |spec: &Value| {
        let text = serde_json::to_string_pretty(spec).unwrap();
        text.lines().map(|line| line.trim().trim_end_matches(',').to_owned()).collect::<Vec<_>>()
    };
    let (before, after) = (lines(&spec(&pod())), lines(&spec(&changed)));
    let removed = before.iter().filter(|line| !after.contains(line)).map(|line| format!("-{line}"));
    let added = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+{line}"));
    removed.chain(added).collect()
}

#[test]
fn what_the_machine_lacks_is_left_out() {
    let mut changed = pod();
    changed.insecure.capabilities = true;
    let spec = spec(&changed);
    let bounding = spec["process"]["capabilities"]["bounding"].as_array().unwrap();
    assert!(bounding.contains(&"CAP_SYS_ADMIN".into()) && !bounding.contains(&"CAP_SYS_BOOT".into()));
}

#[test]
fn the_default_specification() {
    let text = format!("{}\n", serde_json::to_string_pretty(&spec(&pod())).unwrap());
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/config.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap());
}

#[test]
fn options_change_what_they_are_for() {
    let check = |change: &dyn Fn(&mut PodManifest), expected: &[&str]| {
        let found = changes(change);
        for line in expected {
            assert!(found.iter().any(|one| one == line), "{line}: {found:#?}");
        }
        assert_eq!(expected.is_empty(), found.is_empty(), "{found:#?}");
    };
    check(&|_| (), &[]);
    check(&|pod| pod.insecure.seccomp = true, &["-\"defaultAction\": \"SCMP_ACT_ERRNO\""]);
    check(&|pod| pod.insecure.paths = true, &["-\"/proc/kcore\"", "+\"maskedPaths\": []"]);
    check(&|pod| pod.insecure.capabilities = true, &["+\"CAP_SYS_ADMIN\"", "+\"clone3\""]);
    check(&|pod| pod.fly = true, &["+\"CAP_SYS_ADMIN\"", "+\"rshared\"", "-\"/proc/kcore\""]);
    check(&|pod| pod.apps[0].uid = 33, &["+\"uid\": 33", "+\"effective\": []", "+\"permitted\": []"]);
    check(&|pod| pod.apps[0].read_only = true, &["+\"readonly\": true"]);
    check(&|pod| pod.interactive = true, &["+\"terminal\": true", "+\"TERM=xterm\""]);
    let retain = |pod: &mut PodManifest| {
        pod.apps[0].capabilities = Capabilities::parse(&["CAP_SYS_TIME".to_owned()], &[]).unwrap();
    };
    check(&retain, &["+\"CAP_SYS_TIME\"", "-\"CAP_CHOWN\""]);
}

/// A mount of the user's replaces the pod's file.
#[test]
fn mounts_replace_files() {
    let mounts = |pod: &PodManifest| {
        let spec = spec(pod);
        let all = spec["mounts"].as_array().unwrap().clone();
        let of_hosts = all.into_iter().filter(|mount| mount["destination"] == "/etc/hosts");
        of_hosts.map(|mount| mount["source"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut changed = pod();
    assert_eq!(mounts(&changed), ["/pods/hosts"]);
    changed.apps[0].mounts[0].target = "/etc/hosts".to_owned();
    assert_eq!(mounts(&changed), ["/srv/host"]);
}
