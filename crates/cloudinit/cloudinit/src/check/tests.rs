use super::*;
use crate::yaml;

fn checked(text: &str) -> Result<Checked, Vec<Refusal>> {
    let document = yaml::read(text.as_bytes()).unwrap();
    check(&crate::config::read(document.root.as_deref()))
}

fn refused(text: &str, expect: &[(u32, &str)]) {
    let refusals = checked(text).map(|_| ()).unwrap_err();
    let got: Vec<_> = refusals.iter().map(|refusal| (refusal.location.line, &*refusal.failure)).collect();
    assert_eq!(got, expect, "{text}");
}

#[test]
fn permissions_are_octal_however_they_are_written() {
    for text in ["0644", "\"0644\"", "644", "'644'", "0o644"] {
        let config = format!("write_files:\n- path: /a\n  permissions: {text}\n");
        assert_eq!(checked(&config).unwrap().files[0].mode, 0o644, "{text}");
    }
    let config = "write_files:\n- {path: /a, permissions: 420}\n- {path: /b, permissions: 04755}\n";
    let modes: Vec<_> = checked(config).unwrap().files.iter().map(|file| file.mode).collect();
    assert_eq!(modes, [0o420, 0o4755]);
}

#[test]
fn paths_stay_below_the_root() {
    for (path, expect) in
        [("rel/b", "/rel/b"), ("/../../c", "/c"), ("a//b/./c", "/a/b/c"), ("/a/b/../../../etc/x", "/etc/x")]
    {
        let config = format!("write_files: [{{path: {path}}}]");
        assert_eq!(checked(&config).unwrap().files[0].path, expect);
    }
    refused("write_files:\n- content: x\n", &[(2, "file has no path")]);
    refused("write_files:\n- path: /a/..\n", &[(2, "path \"/a/..\" is no file")]);
}

#[test]
fn files_below_usr_are_skipped() {
    let config = "hostname: a\nwrite_files:\n- path: /etc/../usr/bin/x\n- path: /usrx/y\n- path: /user/z\n";
    let checked = checked(config).unwrap();
    assert_eq!(checked.hostname.as_deref(), Some("a"));
    let paths: Vec<_> = checked.files.iter().map(|file| &*file.path).collect();
    assert_eq!(paths, ["/usrx/y", "/user/z"]);
    let skipped: Vec<_> = checked.skipped.iter().map(|r| (r.location.line, &*r.failure)).collect();
    assert_eq!(skipped, [(3, "write /usr/bin/x: file cannot be written to a read-only filesystem")]);
}

#[test]
fn a_path_is_not_a_file_and_a_directory() {
    let problem = "path \"/a/b/c\" is below \"/a\", which is a file by line 3";
    refused("write_files:\n- path: /a/x/../b/c\n- path: a\n- path: /ab/c\n- path: /a\n", &[(2, problem)]);
    assert_eq!(checked("write_files: [{path: /a/b}, {path: /a/b}, {path: /a.b}]").unwrap().files.len(), 3);
}

#[test]
fn invalid_values_are_refused_with_their_line() {
    refused(
        "hostname: a_b\n",
        &[(1, "hostname \"a_b\" has characters other than letters, digits, '-' and '.'")],
    );
    refused(
        "coreos:\n  update:\n    reboot_strategy: never\n",
        &[(
            3,
            "invalid value \"never\" for option \"RebootStrategy\" (valid options: \"^(etcd-lock|reboot|off)$\")",
        )],
    );
    refused(
        "write_files:\n- path: /a\n  permissions: 9999\n- path: /b\n  content: '*'\n  encoding: b64\n",
        &[
            (3, "Unable to parse file permissions \"9999\" as integer"),
            (5, "Unable to decode base64: Invalid symbol 42, offset 0."),
        ],
    );
    refused("manage_etc_hosts: true\n", &[(1, "Invalid option to manage_etc_hosts")]);
    refused(
        "coreos:\n  units:\n  - name: ../x.service\n  - name: a\n  - name: b.service\n    command: bounce\n",
        &[
            (3, "unit name \"../x.service\" must not hold '/', '..', a line break or NUL"),
            (4, "unit name \"a\" has no known suffix such as .service"),
            (6, "Unsupported systemd command \"bounce\""),
        ],
    );
    refused(
        "coreos:\n  units:\n  - name: a b.service\n  - name: \"a\\u00a0.service\"\n  - name: -a.service\n  - {name: -.slice}\n",
        &[
            (3, "unit name \"a b.service\" must not hold blanks or start with '-'"),
            (4, "unit name \"a\\u{a0}.service\" must not hold blanks or start with '-'"),
            (5, "unit name \"-a.service\" must not hold blanks or start with '-'"),
        ],
    );
    refused(
        "users:\n- {name: a, homedir: /home/../etc}\n- {name: b, homedir: home}\n- {name: c, homedir: /home/..c}\n",
        &[
            (2, "homedir \"/home/../etc\" must be an absolute path without '..'"),
            (3, "homedir \"home\" must be an absolute path without '..'"),
        ],
    );
    refused(
        "users:\n- name: -x\n- name: y\n  passwd: 'a:b'\n",
        &[
            (2, "user name \"-x\" is not allowed: no leading '-', no blanks, ':', ',' or '/'"),
            (4, "passwd must be a hash: no ':', line break or NUL"),
        ],
    );
    refused(
        "coreos:\n  etcd2:\n    name: \"a\\nb\"\n",
        &[(3, "the value of ETCD_NAME must not hold a line break or NUL")],
    );
}

#[test]
fn old_and_lenient_values_pass() {
    let config = "coreos:\n  update: {reboot_strategy: best-effort}\n  etcd: {name: 1, snapshot: yes, verbose: 'true', \
                  cluster_active_size: 1.9, retry_interval: 0.5, peers: null}\nusers: [{gecos: x}]\n";
    let checked = checked(config).unwrap();
    assert_eq!(checked.update.reboot_strategy.as_deref(), Some(BEST_EFFORT));
    assert_eq!(checked.users, []);
    let variables: Vec<_> =
        checked.services[0].variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        variables,
        ["ETCD_CLUSTER_ACTIVE_SIZE=1", "ETCD_NAME=1", "ETCD_RETRY_INTERVAL=0.5", "ETCD_SNAPSHOT=true"]
    );
}
