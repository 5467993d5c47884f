//! What the metadata services of clouds serve, with their paths and headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::cloud::{Request, Respond, Response};

/// A cloud: the files of its OEM partition, and what its service tells a machine.
#[derive(Debug)]
pub struct Platform {
    /// Also in the machine's name, key and user-data.
    pub name: &'static str,
    pub cloud_config: &'static str,
    pub release: &'static str,
    /// Type of the datasource in logs.
    pub kind: &'static str,
    pub host_name: &'static str,
    pub private: &'static str,
    pub public: &'static str,
    pub service: fn(&Machine<'_>) -> Respond,
}

/// What a service serves to one machine.
pub struct Machine<'a> {
    pub platform: &'a Platform,
    pub keys: [&'a str; 2],
    pub user_data: &'a str,
}

macro_rules! files {
    ($name:literal) => {
        (
            include_str!(concat!("../../../image/oem/", $name, "/cloud-config.yml")),
            include_str!(concat!("../../../image/oem/", $name, "/oem-release")),
        )
    };
}

macro_rules! platform {
    ($name:literal, $kind:literal, $host_name:literal, $private:literal, $public:literal, $service:path) => {
        Platform {
            name: $name,
            cloud_config: files!($name).0,
            release: files!($name).1,
            kind: $kind,
            host_name: $host_name,
            private: $private,
            public: $public,
            service: $service,
        }
    };
}

pub const EC2: Platform =
    platform!("ec2", "ec2-metadata-service", "ip-10-0-0-7.ec2.internal", "10.0.0.7", "192.0.2.7", ec2);
pub const GCE: Platform =
    platform!("gce", "gce-metadata-service", "node-1.c.project.internal", "10.128.0.2", "192.0.2.2", gce);
pub const DIGITALOCEAN: Platform = platform!(
    "digitalocean",
    "digitalocean-metadata-service",
    "droplet-1",
    "10.132.255.113",
    "192.0.2.113",
    digitalocean
);
pub const OPENSTACK: Platform =
    platform!("openstack", "ec2-metadata-service", "nova-1.novalocal", "10.1.0.4", "192.0.2.4", openstack);
pub const PACKET: Platform =
    platform!("packet", "packet-metadata-service", "packet-1", "10.99.0.1", "192.0.2.99", packet);
pub const AZURE: Platform =
    platform!("azure", "azure-metadata-service", "azure-1", "10.0.0.4", "192.0.2.40", azure);

/// Paths and their bodies.
type Pages = Vec<(String, Vec<u8>)>;

fn page(path: impl Into<String>, body: impl Into<Vec<u8>>) -> (String, Vec<u8>) {
    (path.into(), body.into())
}

fn get(pages: &Pages, request: &Request) -> Response {
    let found = pages.iter().find(|(path, _)| request.method == "GET" && *path == request.path);
    found.map_or_else(|| Response::status("404 Not Found"), |(_, body)| Response::ok(body.clone()))
}

/// The interface of EC2, which others have too.
fn ec2_pages(machine: &Machine<'_>) -> Pages {
    let mut pages = vec![
        page("/2009-04-04/", "meta-data/\nuser-data"),
        page("/2009-04-04/user-data", machine.user_data),
        page("/2009-04-04/meta-data/instance-id", format!("i-{}", machine.platform.name)),
        page("/2009-04-04/meta-data/hostname", machine.platform.host_name),
        page("/2009-04-04/meta-data/local-ipv4", machine.platform.private),
        page("/2009-04-04/meta-data/public-ipv4", machine.platform.public),
        page("/2009-04-04/meta-data/public-keys", "0=keelson\n1=operator"),
    ];
    for (number, key) in machine.keys.iter().enumerate() {
        pages.push(page(
            format!("/2009-04-04/meta-data/public-keys/{number}/openssh-key"),
            format!("{key}\n"),
        ));
    }
    pages
}

/// The second version of the service, which requires a token (HttpTokens=required).
fn ec2(machine: &Machine<'_>) -> Respond {
    const TOKEN: &str = "AQAEALHq7Lkeelson";
    let pages = ec2_pages(machine);
    Box::new(move |request| {
        let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds");
        let ttl = ttl.and_then(|ttl| ttl.parse::<u32>().ok()).filter(|ttl| (1..=21600).contains(ttl));
        Some(match (&*request.method, &*request.path) {
            ("PUT", "/latest/api/token") if ttl.is_some() => Response::ok(TOKEN),
            ("PUT", _) => Response::status("400 Bad Request"),
            _ if request.header("x-aws-ec2-metadata-token") != Some(TOKEN) => {
                Response::status("401 Unauthorized")
            }
            _ => get(&pages, request),
        })
    })
}

/// EC2's interface without tokens, beside OpenStack's own; it fails at first, as a service that has just started does.
fn openstack(machine: &Machine<'_>) -> Respond {
    let mut pages = ec2_pages(machine);
    let meta = json!({
        "hostname": machine.platform.host_name,
        "public_keys": { "keelson": machine.keys[0], "operator": machine.keys[1] },
    });
    pages.push(page("/openstack/latest/meta_data.json", meta.to_string()));
    pages.push(page("/openstack/latest/user_data", machine.user_data));
    let mut failures = 4;
    Box::new(move |request| {
        if failures > 0 {
            failures -= 1;
            return Some(Response::status("500 Internal Server Error"));
        }
        Some(match &*request.method {
            "PUT" => Response::status("405 Method Not Allowed"),
            _ => get(&pages, request),
        })
    })
}

/// Requires its header, which keeps programs from being led to it. Its first responses are no HTTP.
fn gce(machine: &Machine<'_>) -> Respond {
    let at = |name: &str| format!("/computeMetadata/v1/instance/{name}");
    // Keys of its metadata are for an agent that manages accounts.
    let user_data = format!("{}ssh_authorized_keys: {}\n", machine.user_data, json!(machine.keys));
    let pages = vec![
        page("/computeMetadata/v1/", "instance/\noslogin/\nproject/\n"),
        page(at("attributes/user-data"), user_data),
        page(at("hostname"), machine.platform.host_name),
        page(at("id"), "4412879873829"),
        page(at("network-interfaces/0/ip"), machine.platform.private),
        page(at("network-interfaces/0/access-configs/0/external-ip"), machine.platform.public),
    ];
    let mut garbage = 3;
    Box::new(move |request| {
        if garbage > 0 {
            garbage -= 1;
            return None;
        }
        let mut response = match request.header("metadata-flavor") {
            Some("Google") => get(&pages, request),
            _ => Response::status("403 Forbidden"),
        };
        response.1 = "Metadata-Flavor: Google\r\nServer: Metadata Server for VM\r\n".to_owned();
        Some(response)
    })
}

fn digitalocean(machine: &Machine<'_>) -> Respond {
    let Platform { host_name, private, public, .. } = machine.platform;
    let droplet = json!({
        "droplet_id": 2_756_294,
        "hostname": host_name,
        "public_keys": machine.keys,
        "region": "nyc3",
        "interfaces": {
            "private": [{ "ipv4": { "ip_address": private, "netmask": "255.255.0.0", "gateway": "10.132.0.1" },
                          "mac": "54:11:00:00:00:00", "type": "private" }],
            "public": [{ "ipv4": { "ip_address": public, "netmask": "255.255.255.0", "gateway": "192.0.2.1" },
                         "mac": "04:01:2a:0f:2a:01", "type": "public" }],
        },
    });
    let pages = vec![
        page("/metadata/v1/", "id\nhostname\nuser-data\npublic-keys\nregion\ninterfaces/\n"),
        page("/metadata/v1/user-data", machine.user_data),
        page("/metadata/v1.json", droplet.to_string()),
    ];
    Box::new(move |request| {
        if request.path == "/metadata/v1" {
            let mut response = Response::status("301 Moved Permanently");
            response.1 = "Location: /metadata/v1/\r\n".to_owned();
            return Some(response);
        }
        Some(get(&pages, request))
    })
}

fn packet(machine: &Machine<'_>) -> Respond {
    let Platform { host_name, private, public, .. } = machine.platform;
    let address = |address: &str, public: bool| {
        json!({ "address_family": 4, "public": public, "address": address, "netmask": "255.255.255.254",
                "gateway": "192.0.2.98", "management": true, "enabled": true })
    };
    let document = json!({
        "id": "4c5a0a0b-0000-4000-8000-000000000001",
        "hostname": host_name,
        "ssh_keys": machine.keys,
        "network": {
            "bonding": { "mode": 4 },
            "interfaces": [{ "name": "eth0", "mac": "0c:c4:7a:00:00:01", "bond": "bond0" }],
            "addresses": [address(public, true), address(private, false)],
        },
    });
    let pages = vec![
        page("/", "metadata\nuserdata\n"),
        page("/metadata", document.to_string()),
        page("/userdata", machine.user_data),
    ];
    Box::new(move |request| Some(get(&pages, request)))
}

/// The fabric's path for reports.
pub const AZURE_HEALTH: &str = "/machine/?comp=health";

/// The service has user data in base64, but no custom data, which is on the provisioning disk only.
fn azure(machine: &Machine<'_>) -> Respond {
    let Platform { host_name, private, public, .. } = machine.platform;
    let keys = machine.keys.map(|key| json!({ "keyData": key, "path": "/home/core/.ssh/authorized_keys" }));
    let document = json!({
        "compute": {
            "azEnvironment": "AzurePublicCloud",
            "customData": "",
            "name": "vm-resource",
            "osProfile": { "adminUsername": "core", "computerName": host_name },
            "publicKeys": keys,
            "userData": STANDARD.encode(machine.user_data),
            "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
        },
        "network": { "interface": [{
            "ipv4": { "ipAddress": [{ "privateIpAddress": private, "publicIpAddress": public }],
                      "subnet": [{ "address": "10.0.0.0", "prefix": "24" }] },
            "ipv6": { "ipAddress": [] },
            "macAddress": "000D3AF806EC",
        }] },
    });
    let goal_state = "<GoalState><Incarnation>1</Incarnation><Container><ContainerId>container-1</ContainerId>\
        <RoleInstanceList><RoleInstance><InstanceId>instance-1</InstanceId></RoleInstance></RoleInstanceList>\
        </Container></GoalState>";
    let pages = vec![page("/metadata/instance?api-version=2021-02-01", document.to_string())];
    let fabric = vec![page("/machine/?comp=goalstate", goal_state)];
    Box::new(move |request| {
        Some(match request.header("metadata") {
            None if request.header("x-ms-version") == Some("2012-11-30") => match &*request.path {
                AZURE_HEALTH if request.method == "POST" => Response::ok(""),
                _ => get(&fabric, request),
            },
            Some("true") if request.header("x-forwarded-for").is_none() => get(&pages, request),
            _ => Response::status("400 Bad Request"),
        })
    })
}
