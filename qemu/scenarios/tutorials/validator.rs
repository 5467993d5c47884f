//! Row A8: errors of a cloud-config are reported with their lines before it is used: by coreos-cloudinit on the
//! machine, and by the web validator.

use std::process::{Command, Stdio};

use machines::cluster::HOST_NAME;

use super::super::kv::SOON;
use super::host::Running;
use machines::cluster::BackendKind::Qemu;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const VALIDATOR: Scenario = Scenario {
    name: "validator",
    about: "errors and warnings of a cloud-config are told with their lines, by -validate and by the web validator (A8)",
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: validator,
    ..DEFAULTS
};

const BAD: &str = "#cloud-config\nhostnme: a\nwrite_files:\n  - path: /usr/bin/x\n    permissions: \"rw\"\n";
const FINDINGS: [(&str, u32, &str); 3] = [
    ("warning", 2, "unrecognized key \"hostnme\""),
    ("error", 4, "file cannot be written to a read-only filesystem"),
    ("error", 5, "invalid value rw"),
];
const GOOD: &str = "#cloud-config\nhostname: a\ncoreos: {units: [{name: etcd.service, command: start}]}\n";

fn validator(context: &Context<'_>) -> Result<(), Failure> {
    let (served, port) = serve(context)?;
    context.boot()?;
    let machine = context.machine(1);
    for (name, text) in [("bad.yaml", BAD), ("good.yaml", GOOD)] {
        machine.write(&format!("/home/core/{name}"), text.as_bytes())?;
    }
    // As core: it needs no privileges.
    machine.succeed("coreos-cloudinit -validate -from-file=good.yaml")?;
    let output = machine.fail("coreos-cloudinit -validate -from-file=bad.yaml")?;
    let lines: Vec<_> =
        output.lines().filter_map(|line| line.find(" line ").map(|at| &line[at + 1..])).collect();
    for (kind, line, message) in FINDINGS {
        let wanted = format!("line {line}: {kind}: {message}");
        let told = lines.iter().any(|line| line.starts_with(&wanted));
        expect(told, &wanted, &output)?;
    }
    let put = |file: &str| {
        let curl = "curl -sf -X PUT --data-binary";
        machine.wait_until_succeeds(&format!("{curl} @{file} http://{HOST_NAME}:{port}/validate"), SOON)
    };
    let good = put("good.yaml")?;
    expect(good.trim() == "{\"result\":null}", "no finding", &good)?;
    let bad = put("bad.yaml")?;
    for (kind, line, message) in FINDINGS {
        let message = message.replace('"', "\\\"");
        let (kind, line) =
            (format!("\"kind\":\"{kind}\",\"line\":{line},"), format!("\"message\":\"{message}"));
        expect(bad.contains(&kind) && bad.contains(&line), &format!("{kind} {line}"), &bad)?;
    }
    drop(served);
    Ok(())
}

/// Starts the web validator on the host and returns its port.
fn serve(context: &Context<'_>) -> Result<(Running, u16), Failure> {
    let mut command = Command::new(&context.run.background.program);
    command.args(["validate", "--serve", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut served = Running::start(command)?;
    let url = served.first_line()?;
    let port = url.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok());
    let Some(port) = port else {
        return Err(Failure::Expected(format!("expected the validator's URL; seen: {url}")));
    };
    context.site.expose_host_port(port)?;
    Ok((served, port))
}
