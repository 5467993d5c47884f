//! Images from files: refused, trusted, exported, prepared.

use std::io::Cursor;

use machines::machine::Machine;

use super::super::kv::expect_output;
use crate::failure::{Failure, expect};

/// The image in `/usr`: an archive of `docker save`.
const DOCKER_ARCHIVE: &str = "/usr/share/keelson/images/busybox.tar";
/// The same image as an archive of an OCI layout, and its signature.
const FILE: &str = "/home/core/app.tar";
const SIGNATURE: &str = "/home/core/app.tar.minisig";
const KEY: &str = "/home/core/team.pub";
/// The beginning of the image's name.
const PREFIX: &str = "docker.io/library";

/// The team's keys, and somebody else's.
pub struct Keys {
    team: minisign::KeyPair,
    other: minisign::KeyPair,
}

impl Keys {
    pub fn generate() -> Result<Self, Failure> {
        let pair = || minisign::KeyPair::generate_unencrypted_keypair().map_err(failed);
        Ok(Self { team: pair()?, other: pair()? })
    }
}

fn failed(error: minisign::PError) -> Failure {
    Failure::Expected(format!("expected a key pair and a signature; seen: {error}"))
}

fn sign(pair: &minisign::KeyPair, id: &str) -> Result<Vec<u8>, Failure> {
    let digest = id.replace('-', ":");
    let signed = minisign::sign(None, &pair.sk, Cursor::new(digest), None, None);
    Ok(signed.map_err(failed)?.to_string().into_bytes())
}

/// Fetches the image by the team's signature.
pub fn trusted(machine: &Machine<'_>, keys: &Keys) -> Result<(), Failure> {
    let fetch = format!("sudo rkt fetch {FILE}");
    let refused = machine.fail(&format!("sudo rkt fetch {DOCKER_ARCHIVE}"))?;
    expect(refused.contains("the image is not trusted"), "no unsigned image", &refused)?;
    let id = machine.succeed(&format!("sudo rkt fetch --insecure-options=image {DOCKER_ARCHIVE}"))?;
    machine.succeed(&format!(
        "sudo rkt image export {} {FILE} && sudo rkt image rm {}",
        id.trim(),
        id.trim()
    ))?;
    let key = keys.team.pk.to_box().map_err(failed)?.to_string();
    machine.write(KEY, key.as_bytes())?;
    let added = machine.succeed(&format!("sudo rkt trust --prefix={PREFIX} {KEY}"))?;
    expect(added.starts_with("Added key"), "an added key", &added)?;
    let refused = machine.fail(&fetch)?;
    expect(refused.contains("has no signature"), "no image without a signature", &refused)?;
    machine.write(SIGNATURE, &sign(&keys.other, id.trim())?)?;
    let refused = machine.fail(&fetch)?;
    expect(refused.contains("no signature of"), "no image that another key signed", &refused)?;
    machine.write(SIGNATURE, &sign(&keys.team, id.trim())?)?;
    expect_output(machine, &fetch, &id)?;
    let listed = machine.succeed("sudo rkt image list --no-legend --fields=name,signed")?;
    expect(
        listed.starts_with(&format!("{PREFIX}/busybox:latest")) && listed.contains("/trustedkeys/"),
        "the key of the image",
        &listed,
    )
}

/// Pods that are no units.
pub fn commands(machine: &Machine<'_>) -> Result<(), Failure> {
    let prepared =
        machine.succeed("sudo rkt prepare --net=none docker://busybox --exec=/bin/echo -- prepared")?;
    let uuid = prepared.trim();
    state(machine, uuid, "prepared")?;
    expect_output(machine, &format!("sudo rkt run-prepared {uuid}"), "prepared\n")?;
    state(machine, uuid, "exited")?;
    let status = machine.succeed(&format!("sudo rkt status {uuid}"))?;
    expect(status.contains("exited=true\napp-busybox=0\n"), "the app's exit status", &status)?;
    expect_output(machine, &format!("sudo rkt rm {uuid}"), &format!("\"{uuid}\"\n"))?;
    expect_output(machine, "sudo rkt list --no-legend", "")?;
    let run = "sudo rkt run --net=none docker://busybox --exec=/bin/sh -- -c 'exit 7'; echo $?";
    expect_output(machine, run, "7\n")
}

/// Checks the state of a pod in the list.
pub fn state(machine: &Machine<'_>, uuid: &str, expected: &str) -> Result<(), Failure> {
    let listed = machine.succeed("sudo rkt list --full --no-legend | tr -s '\\t' | tr '\\t' ' '")?;
    let has = |line: &str| line.starts_with(uuid) && line.contains(&format!(" {expected} "));
    expect(listed.lines().any(has), &format!("pod {uuid} {expected}"), &listed)
}
