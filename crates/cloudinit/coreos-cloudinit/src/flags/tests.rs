use super::*;

fn parsed(line: &str) -> Result<Request, UsageError> {
    let arguments: Vec<_> =
        line.split(' ').filter(|argument| !argument.is_empty()).map(str::to_owned).collect();
    parse(&arguments)
}

#[test]
fn flag_spellings_are_equivalent() {
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
    let request = parsed("-azure-report-ready=http://h/").unwrap();
    assert_eq!((request.task, request.fabric), (Task::ReportReady, Url::new("http://h/")));
    for (name, format) in [("ignition", Convert::Ignition), ("butane", Convert::Butane)] {
        let request = parsed(&format!("-convert={name} -plan -from-file=/a")).unwrap();
        assert_eq!(request.task, Task::Convert(format));
    }
    assert_eq!(parsed("-nope -h").unwrap_err().to_string(), "flag provided but not defined: -nope");
    assert_eq!(parsed("-h -nope").unwrap().task, Task::Help);
}

#[test]
fn usage_errors() {
    for (line, expect) in [
        (
            "",
            "Provide at least one of --from-file, --from-configdrive, --from-url, --from-ec2-metadata, \
             --from-gce-metadata, --from-digitalocean-metadata, --from-packet-metadata, --from-azure-metadata, \
             --from-openstack-metadata, --from-cloudsigma-metadata, --from-waagent, --from-vmware-guestinfo, \
             --from-vmware-ovf-env, --from-proc-cmdline, --from-fw-cfg, --from-credential, --from-nocloud, \
             --from-azure-ovf-env, --from-virtualbox",
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
            "Invalid option to -convert-netconf: 'x'. Supported options: 'debian, packet, vmware, cloud-init'",
        ),
        ("-from-file=/a -ssh-key-name=../x", "Invalid option to -ssh-key-name: '../x' is no file name"),
        ("-from-file=/a -from-url=http://b/ -if-changed", "-if-changed is for one -from-file"),
        ("-from-file=- -if-changed", "-if-changed is for one -from-file"),
        ("-from-credential=../x", "Invalid option to -from-credential: '../x' is no file name"),
        (
            "-convert=ct -from-file=/a",
            "Invalid option to -convert: 'ct'. Supported options: 'ignition, butane'",
        ),
    ] {
        assert_eq!(parsed(line).unwrap_err().to_string(), expect, "{line}");
    }
}

fn service(service: Service, url: &str) -> Source {
    Source::Service(service, Url::new(url))
}

#[test]
fn metadata_services() {
    for (flag, kind) in [
        ("ec2", Service::Ec2),
        ("gce", Service::Gce),
        ("digitalocean", Service::DigitalOcean),
        ("packet", Service::Packet),
        ("azure", Service::Azure),
        ("openstack", Service::OpenStack),
    ] {
        let request = parsed(&format!("-from-{flag}-metadata=http://x/")).unwrap();
        assert_eq!(request.sources, [service(kind, "http://x/")], "{flag}");
    }
    let link_local = service(Service::Ec2, "http://169.254.169.254/");
    let sources = |line: &str| parsed(line).unwrap().sources;
    assert_eq!(sources("-from-metadata-service"), std::slice::from_ref(&link_local));
    assert_eq!(
        sources("-from-metadata-service -from-ec2-metadata=http://169.254.169.254/ -from-file=false"),
        [Source::File("false".into()), link_local.clone()]
    );
    assert_eq!(
        sources("-from-metadata-service -from-ec2-metadata=http://x/"),
        [link_local, service(Service::Ec2, "http://x/")]
    );
}

#[test]
fn presets() {
    assert_eq!(parsed("-oem=rackspace-onmetal").unwrap().convert_network, Some(Format::Debian));
    assert_eq!(parsed("-from-file=/a").unwrap().convert_network, None);
    let drive = Source::ConfigDrive("/media/configdrive".into());
    for (line, expect) in [
        ("-oem=ec2-compat", vec![drive.clone(), service(Service::Ec2, "http://169.254.169.254/")]),
        ("-oem=gce", vec![service(Service::Gce, "http://metadata.google.internal/")]),
        ("-oem=digitalocean", vec![service(Service::DigitalOcean, "http://169.254.169.254/")]),
        ("-oem=packet", vec![service(Service::Packet, "https://metadata.packet.net/")]),
        ("-oem=packet -from-packet-metadata=http://x/", vec![service(Service::Packet, "http://x/")]),
        ("-from-ec2-metadata= -oem=ec2-compat", vec![drive]),
        (
            "-oem=azure",
            vec![
                Source::Azure {
                    service: Url::new("http://169.254.169.254/"),
                    disk: "/media/azure/ovf-env.xml".into(),
                    saved: "/var/lib/coreos-cloudinit/azure-custom-data".into(),
                },
                Source::Waagent("/var/lib/waagent".into()),
            ],
        ),
        (
            "-oem=azure -from-waagent= -from-azure-metadata= -from-azure-ovf-env= -from-file=/a",
            vec![Source::File("/a".into())],
        ),
    ] {
        assert_eq!(parsed(line).unwrap().sources, expect, "{line}");
    }
}
