//! Requests to each metadata service, and the resulting plan.
//!
//! Long because a test of all services needs the answers of each.

use std::sync::Mutex;

use crate::support::server::{Response, Server};
use crate::support::{Machine, RunOutput};

/// The key contains the addresses.
const CONFIG: &str = "#cloud-config\nssh_authorized_keys: \
                      ['own $private_ipv4|$public_ipv4|$private_ipv6|$public_ipv6']\n";
/// An undetected service fails the test within half a minute instead of five; slow responses are tolerated.
const SPEEDUP: [(&str, &str); 2] =
    [("COREOS_CLOUDINIT_TEST_HASTE", "10"), ("COREOS_CLOUDINIT_TEST_REQUEST_HASTE", "1")];
const TOKEN: &str = "AQAEALHq-secret";

fn plan(flag: &str, url: &str) -> RunOutput {
    Machine::new().start(&["-plan", &format!("-from-{flag}-metadata={url}")], &SPEEDUP, b"")
}

/// The steps without reasons and without those common to all runs.
fn steps(output: &RunOutput) -> Vec<String> {
    let lines = output.stdout.lines().filter(|line| !line.starts_with("{\"op\":\"unmask\""));
    lines
        .map(|line| line.split(",\"why\"").next().unwrap().split(",\"size\"").next().unwrap().to_owned())
        .collect()
}

fn hostname(name: &str) -> String {
    format!("{{\"op\":\"hostname\",\"name\":\"{name}\"")
}

fn keys(keys: &str) -> String {
    format!("{{\"op\":\"ssh-keys\",\"user\":\"core\",\"name\":\"coreos-cloudinit\",\"keys\":[{keys}]")
}

const ENVIRONMENT: &str = "{\"op\":\"write\",\"path\":\"/etc/environment\",\"mode\":\"0644\",\"owner\":\"\"";

// EC2

const EC2: &[(&str, &str)] = &[
    ("/2009-04-04/", "meta-data\nuser-data"),
    ("/2009-04-04/user-data", CONFIG),
    ("/2009-04-04/meta-data/instance-id", "i-10a64379"),
    ("/2009-04-04/meta-data/hostname", "ip-10-0-0-7.ec2.internal"),
    ("/2009-04-04/meta-data/local-ipv4", "10.0.0.7"),
    ("/2009-04-04/meta-data/public-ipv4", "54.1.2.3"),
    ("/2009-04-04/meta-data/public-keys", "0=first\n1=second"),
    ("/2009-04-04/meta-data/public-keys/0/openssh-key", "ssh-rsa A first\n"),
    ("/2009-04-04/meta-data/public-keys/1/openssh-key", "ssh-rsa B second\n"),
];

fn ec2_page(path: &str) -> Response {
    EC2.iter().find(|(at, _)| *at == path).map_or_else(Response::not_found, |(_, page)| Response::ok(page))
}

fn ec2_steps(ipv6: &str) -> Vec<String> {
    let own = format!("\"own 10.0.0.7|54.1.2.3||{ipv6}\",\"ssh-rsa A first\",\"ssh-rsa B second\"");
    vec![hostname("ip-10-0-0-7"), keys(&own), ENVIRONMENT.to_owned()]
}

#[test]
fn ec2_of_the_first_version() {
    for refusal in ["403 Forbidden", "405 Method Not Allowed", "501 Not Implemented"] {
        let server = Server::with_handler(move |request| match &*request.method {
            "PUT" => Response::status(refusal, ""),
            _ => ec2_page(&request.path),
        });
        let output = plan("ec2", &server.url("/"));
        output.expect(
            0,
            &["Fetching user-data from datasource of type \"ec2-metadata-service\"", "has no tokens"],
        );
        assert_eq!(steps(&output), ec2_steps(""), "{refusal}");
        assert!(server.requests().iter().all(|request| request.header("x-aws-ec2-metadata-token").is_none()));
    }
}

#[test]
fn ec2_of_the_second_version_with_tokens_that_end() {
    // Each token is valid for four requests.
    let issued = Mutex::new((0, 0));
    let server = Server::with_handler(move |request| {
        let (token, used) = &mut *issued.lock().unwrap();
        if request.method == "PUT" {
            assert_eq!(request.header("x-aws-ec2-metadata-token-ttl-seconds"), Some("21600"));
            (*token, *used) = (*token + 1, 0);
            return Response::ok(format!("{TOKEN}{token}"));
        }
        *used += 1;
        let is_good =
            request.header("x-aws-ec2-metadata-token") == Some(&format!("{TOKEN}{token}")) && *used <= 4;
        match &*request.path {
            _ if !is_good => Response::status("401 Unauthorized", ""),
            "/latest/meta-data/network/interfaces/macs/" => {
                Response::ok("02:29:96:8f:6a:2d/\n02:29:96:8f:6a:2e/")
            }
            "/latest/meta-data/network/interfaces/macs/02:29:96:8f:6a:2e/ipv6s" => {
                Response::ok("2600:1f18::1\n2600::2")
            }
            path => ec2_page(path),
        }
    });
    let output = plan("ec2", &server.url("/"));
    output.expect(0, &["asking for another one"]).never_contains(TOKEN);
    assert_eq!(steps(&output), ec2_steps("2600:1f18::1"));
    let request = server.request_lines();
    assert_eq!(request[..2], ["PUT /latest/api/token HTTP/1.1", "GET /2009-04-04/ HTTP/1.1"]);
    let puts = request.iter().filter(|line| **line == request[0]).count();
    let questions = request.len() - puts;
    // Each token but the first follows a rejected request.
    assert_eq!((questions - (puts - 1)).div_ceil(4), puts, "{puts} tokens in {request:#?}");
}

#[test]
fn ec2_that_never_accepts_a_token() {
    let server = Server::with_handler(|request| match &*request.method {
        "PUT" => Response::ok(TOKEN),
        _ => Response::status("401 Unauthorized", ""),
    });
    let machine = Machine::new();
    let from = format!("-from-ec2-metadata={}", server.url("/"));
    machine.start(&["-validate", &from], &[], b"").expect(1, &["HTTP status 401"]).never_contains(TOKEN);
    assert_eq!(server.request_lines().len(), 4);
    // An invalid token is neither sent nor logged.
    let server = Server::with_handler(|request| match &*request.method {
        "PUT" => Response::ok(format!("{TOKEN}\r\nx: y")),
        _ => ec2_page(&request.path),
    });
    let output = plan("ec2", &server.url("/"));
    output.expect(0, &["Warning: the metadata service's token is invalid"]).never_contains(TOKEN);
    assert_eq!(steps(&output), ec2_steps(""));
}

#[test]
fn ec2_tokens_are_for_its_own_server_only() {
    let other = Server::with_handler(|_| Response::ok("elsewhere"));
    let to = other.url("/name");
    let server = Server::with_handler(move |request| match (&*request.method, &*request.path) {
        ("PUT", _) => Response::ok(TOKEN),
        (_, "/2009-04-04/meta-data/hostname") => Response::redirect(&to),
        (_, "/2009-04-04/meta-data/local-ipv4") => Response::redirect("again"),
        (_, "/2009-04-04/meta-data/again") => {
            Response::ok(request.header("x-aws-ec2-metadata-token").map_or("", |_| "10.0.0.9"))
        }
        (_, path) => ec2_page(path),
    });
    let output = plan("ec2", &server.url("/"));
    let steps = steps(&output);
    assert_eq!(steps[0], hostname("elsewhere"));
    assert!(steps[1].contains("own 10.0.0.9|54.1.2.3"), "{steps:?}");
    assert_eq!(
        other.requests().iter().map(|request| request.header("x-aws-ec2-metadata-token")).collect::<Vec<_>>(),
        [None]
    );
}

#[test]
fn ec2_with_less_than_everything() {
    let server = Server::pages(&EC2[..1]);
    let output = plan("ec2", &server.url(""));
    output.expect(0, &[]);
    assert_eq!(steps(&output), [""; 0]);
    let server = Server::pages(&[
        EC2[0],
        EC2[1],
        ("/2009-04-04/meta-data/public-ipv4", "<html>"),
        ("/2009-04-04/meta-data/local-ipv4", "10.0.0.7\nsecond line"),
    ]);
    let output = plan("ec2", &server.url(""));
    output.expect(0, &["Warning: ignoring public-ipv4, which is no IPv4 address"]);
    assert_eq!(steps(&output), [keys("\"own 10.0.0.7|||\""), ENVIRONMENT.to_owned()]);
    // A compatible service may answer a missing item with an error.
    let server = Server::with_handler(|request| match ec2_page(&request.path) {
        Response::Bytes(page)
            if page.starts_with(b"HTTP/1.1 200") && !request.path.contains("instance-id") =>
        {
            Response::Bytes(page)
        }
        _ if request.method == "PUT" => Response::not_found(),
        _ => Response::status("500 Internal Server Error", ""),
    });
    let output = plan("ec2", &server.url(""));
    let without =
        "Warning: continuing without the IPv6 address: Unable to fetch data. Maximum retries reached: 3";
    output.expect(0, &["Warning: continuing without the instance's identity: ", without]);
    assert_eq!(steps(&output), ec2_steps(""));
    let server = Server::pages(&[EC2[0], EC2[1], ("/2009-04-04/meta-data/public-keys", "0=a\nfirst")]);
    let output = plan("ec2", &server.url(""));
    output.expect(1, &["Failed fetching meta-data from datasource: malformed public key: \"first\""]);
    assert_eq!(output.stdout, "");
}

#[test]
fn ec2_at_a_link_local_address() {
    let server = Server::at("[::1]:0", |request| ec2_page(&request.path));
    let output = plan("ec2", &server.url("/").replace("[::1]", "[::1%25lo]"));
    output.expect(0, &[]);
    assert_eq!(steps(&output), ec2_steps(""));
    assert!(server.requests().iter().all(|request| request.header("host") == Some(&*server.address)));
    let machine = Machine::new();
    machine
        .start(&["-from-ec2-metadata=http://[fe80::1%25nothing0]/"], &[], b"")
        .expect(1, &["this machine has no such network interface", "No datasources available in time"]);
}

// Google Compute Engine

const GCE: &str = "/computeMetadata/v1/";

/// The instance's pages and the project's user-data; requires the header.
fn gce(instance: &'static [(&str, &str)], project: Option<&'static str>) -> Server {
    Server::with_handler(move |request| {
        if request.header("metadata-flavor") != Some("Google") {
            return Response::status("403 Forbidden", "");
        }
        let path = request.path.strip_prefix(GCE).unwrap();
        let page = match (path, path.strip_prefix("instance/")) {
            ("", _) => Some("instance/\nproject/"),
            ("project/attributes/user-data", _) => project,
            (_, Some(path)) => instance.iter().find(|(at, _)| *at == path).map(|(_, page)| *page),
            _ => None,
        };
        page.map_or_else(Response::not_found, Response::ok)
    })
}

const GCE_INSTANCE: &[(&str, &str)] = &[
    ("network-interfaces/0/access-configs/0/external-ip", "35.1.2.3"),
    ("network-interfaces/0/ip", "10.128.0.2"),
    ("hostname", "node-1.c.my-project.internal"),
    ("id", "4412879873829"),
    ("attributes/startup-script", "#!/bin/sh\nhush"),
    ("attributes/user-data", CONFIG),
];

#[test]
fn gce_and_its_user_data() {
    let environment = ENVIRONMENT.to_owned();
    let own = [hostname("node-1"), keys("\"own 10.128.0.2|35.1.2.3||\""), environment.clone()];
    let server = gce(GCE_INSTANCE, Some("#cloud-config\nhostname: projects\n"));
    let output = plan("gce", &server.url("/"));
    output.expect(0, &["of type \"gce-metadata-service\""]).never_contains("startup-script");
    assert_eq!(steps(&output), own);

    let server = gce(&GCE_INSTANCE[..5], Some(CONFIG));
    let output = plan("gce", &server.url("/"));
    output
        .expect(0, &["The instance has no user-data, taking the project's"])
        .never_contains("startup-script,");
    assert_eq!(steps(&output), own);

    let server = gce(&GCE_INSTANCE[..5], None);
    let output = plan("gce", &server.url("/"));
    output.expect(0, &["no user-data, but a startup-script, which is not run here"]).never_contains("hush");
    assert_eq!(steps(&output), [hostname("node-1"), environment]);

    let server = gce(&[], None);
    let output = plan("gce", &server.url("/"));
    output.expect(0, &[]).never_contains("startup-script,");
    assert_eq!(steps(&output), [""; 0]);
}

#[test]
fn gce_with_a_bad_address() {
    let server = gce(&[("network-interfaces/0/ip", "10.128.0")], None);
    let output = plan("gce", &server.url("/"));
    output
        .expect(1, &["Failed fetching meta-data from datasource: couldn't parse \"10.128.0\" as IP address"]);
    assert_eq!(output.stdout, "");
}

// DigitalOcean

const DROPLET: &str = r#"{"droplet_id": 2756294, "hostname": "sample.example", "public_keys": ["ssh-rsa A", "ssh-rsa B"],
    "interfaces": {"private": [{"ipv4": {"ip_address": "10.132.255.113"}}],
                   "public": [{"ipv4": {"ip_address": "104.131.20.105"}, "ipv6": {"ip_address": "2604:A880::1"}}]}}"#;

#[test]
fn digitalocean() {
    let first = ("/metadata/v1", "id\nhostname");
    let server = Server::pages(&[first, ("/metadata/v1/user-data", CONFIG), ("/metadata/v1.json", DROPLET)]);
    let output = plan("digitalocean", &server.url("/"));
    output.expect(0, &["of type \"digitalocean-metadata-service\""]);
    let own = "\"own 10.132.255.113|104.131.20.105||2604:a880::1\",\"ssh-rsa A\",\"ssh-rsa B\"";
    assert_eq!(steps(&output), [hostname("sample"), keys(own), ENVIRONMENT.to_owned()]);
    let server = Server::pages(&[first]);
    assert_eq!(steps(plan("digitalocean", &server.url("/")).expect(0, &[])), [""; 0]);
    let server = Server::pages(&[first, ("/metadata/v1.json", "<html>")]);
    plan("digitalocean", &server.url("/"))
        .expect(1, &["meta-data from datasource: metadata/v1.json is not valid"]);
}

// Packet

const PACKET: &str = r#"{"id": "4c5a0a0b", "hostname": "node-1", "ssh_keys": ["ssh-rsa A"], "network": {"addresses": [
    {"address_family": 4, "public": true, "address": "147.75.1.1", "netmask": "255.255.255.254"},
    {"address_family": 6, "public": false, "address": "2604:1380::3"},
    {"address_family": 4, "public": false, "address": "10.99.0.1"}, 7]}}"#;

#[test]
fn packet() {
    let server = Server::pages(&[("/", "metadata\nuserdata"), ("/userdata", CONFIG), ("/metadata", PACKET)]);
    for url in [server.url("/"), server.url("")] {
        let output = plan("packet", &url);
        output.expect(
            0,
            &[
                "of type \"packet-metadata-service\"",
                "ignoring network.addresses.3 of metadata, which is no object",
            ],
        );
        let own = "\"own 10.99.0.1|147.75.1.1||2604:1380::3\",\"ssh-rsa A\"";
        assert_eq!(steps(&output), [hostname("node-1"), keys(own), ENVIRONMENT.to_owned()]);
    }
    let server = Server::pages(&[("/", "")]);
    assert_eq!(steps(plan("packet", &server.url("/")).expect(0, &[])), [""; 0]);
}

// Azure

/// The custom data is `#cloud-config` with a key that has all addresses.
const AZURE: &str = r#"{"compute": {"customData":
    "I2Nsb3VkLWNvbmZpZwpzc2hfYXV0aG9yaXplZF9rZXlzOiBbJ293biAkcHJpdmF0ZV9pcHY0fCRwdWJsaWNfaXB2NHwkcHJpdmF0ZV9pcHY2J10K",
    "osProfile": {"computerName": "node-1"}, "publicKeys": [{"keyData": "ssh-rsa A\r\n"}], "vmId": "02aab8a4"},
    "network": {"interface": [{"ipv4": {"ipAddress": [{"privateIpAddress": "10.0.0.4", "publicIpAddress": "20.1.2.3"}]},
                               "ipv6": {"ipAddress": [{"privateIpAddress": "fd00::4"}]}}]}}"#;

fn azure(document: String) -> Server {
    Server::with_handler(move |request| match (&*request.path, request.header("metadata")) {
        ("/metadata/instance?api-version=2021-02-01", Some("true")) => Response::ok(&document),
        (_, None) => Response::status("400 Bad Request", "{\"error\": \"no Metadata header\"}"),
        _ => Response::not_found(),
    })
}

#[test]
fn azure_gives_everything_in_one_document() {
    let server = azure(AZURE.to_owned());
    let output = plan("azure", &server.url("/"));
    output.expect(0, &["of type \"azure-metadata-service\""]).never_contains("base64");
    let own = "\"own 10.0.0.4|20.1.2.3|fd00::4\",\"ssh-rsa A\"";
    assert_eq!(steps(&output), [hostname("node-1"), keys(own), ENVIRONMENT.to_owned()]);

    let broken = azure(AZURE.replace("I2Nsb3Vk", "#cloud-c"));
    let output = plan("azure", &broken.url("/"));
    output.expect(1, &["Failed fetching user-data from datasource: customData is not valid: its user-data cannot be decoded: Unable to decode base64"]);
    assert_eq!(steps(&output), [hostname("node-1"), keys("\"ssh-rsa A\""), ENVIRONMENT.to_owned()]);

    let server = azure("{}".to_owned());
    assert_eq!(steps(plan("azure", &server.url("/")).expect(0, &[])), [""; 0]);
}

// OpenStack

const OPENSTACK: &[(&str, &str)] = &[
    (
        "/openstack/latest/meta_data.json",
        r#"{"uuid": "i-1", "hostname": "node-1.novalocal", "public_keys": {"mine": "ssh-rsa A\n", "bad": 3},
            "network_config": {"content_path": "/content/0000"}}"#,
    ),
    ("/openstack/latest/user_data", CONFIG),
    ("/openstack/latest/network_data.json", r#"{"networks": [{"type": "ipv4", "ip_address": "10.0.0.7"}]}"#),
    ("/openstack/content/0000", "auto eth0\niface eth0 inet dhcp\n"),
];

#[test]
fn openstack_answers_as_the_config_drive() {
    let server = Server::pages(OPENSTACK);
    let output = plan("openstack", &server.url("/"));
    output.expect(
        0,
        &[
            "of type \"openstack-metadata-service\"",
            "Warning: ignoring key \"bad\" in public_keys of openstack/latest/meta_data.json",
        ],
    );
    let own = "\"own 10.0.0.7|10.0.0.7||\",\"ssh-rsa A\"";
    assert_eq!(steps(&output), [hostname("node-1"), keys(own), ENVIRONMENT.to_owned()]);
    assert!(server.request_lines().contains(&"GET /openstack/content/0000 HTTP/1.1".to_owned()));

    let machine = Machine::new();
    for (path, page) in OPENSTACK {
        machine.put(&format!("/drive{path}"), page);
    }
    let drive = format!("-from-configdrive={}", machine.path("/drive").display());
    let output = machine.start(&["-plan", &drive], &[], b"");
    assert_eq!(steps(&output), [hostname("node-1"), keys(own), ENVIRONMENT.to_owned()]);

    let server = Server::pages(&[("/openstack/latest/meta_data.json", "{}")]);
    assert_eq!(steps(plan("openstack", &server.url("/")).expect(0, &[])), [""; 0]);
}

/// From the probe to the printed plan.
#[test]
fn nothing_is_requested_twice() {
    let ec2 = Server::with_handler(|request| match &*request.method {
        "PUT" => Response::ok(TOKEN),
        _ if request.header("x-aws-ec2-metadata-token") == Some(TOKEN) => ec2_page(&request.path),
        _ => Response::status("401 Unauthorized", ""),
    });
    let droplet = [("/metadata/v1", ""), ("/metadata/v1/user-data", CONFIG), ("/metadata/v1.json", DROPLET)];
    for (flag, server, questions) in [
        ("azure", azure(AZURE.to_owned()), 1),
        ("digitalocean", Server::pages(&droplet), 3),
        ("ec2", ec2, 14),
        ("gce", gce(GCE_INSTANCE, None), 6),
        ("openstack", Server::pages(OPENSTACK), 4),
        ("packet", Server::pages(&[("/", ""), ("/userdata", CONFIG), ("/metadata", PACKET)]), 3),
    ] {
        plan(flag, &server.url("/")).expect(0, &["\"own 1"]);
        let mut request = server.request_lines();
        request.sort();
        request.dedup();
        assert_eq!(
            (request.len(), server.request_lines().len()),
            (questions, questions),
            "{:#?}",
            server.request_lines()
        );
    }
}
