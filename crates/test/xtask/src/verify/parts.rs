//! Parts of steps that not every run includes: scenarios, image builds, soaks. Each is `STEP/PART`.

use serde::Deserialize;

use super::touched::{Area, Touched};

/// When a part runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In every run.
    Always,
    /// If a change touches this area, if its step is named, and in the rotation.
    Touched(Area),
    /// In the rotation, and with `--all`.
    Long,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `STEP/PART`.
    pub id: String,
    pub kind: Kind,
}

impl Part {
    pub fn new(id: impl Into<String>, kind: Kind) -> Self {
        Self { id: id.into(), kind }
    }

    pub fn step(&self) -> &str {
        step_of(&self.id)
    }

    pub fn is_touched(&self, touched: &Touched) -> bool {
        matches!(self.kind, Kind::Touched(area) if touched.touches(area))
    }
}

/// The step of `STEP/PART`.
pub fn step_of(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

/// The boot of a real disk image in every run: it asserts that dm-verity verifies `/usr`.
const ALWAYS_ON_QEMU: &str = "boots";

/// Packages of the machine itself.
const MACHINE: &[&str] = &["node", "initrd", "coreos-cloudinit", "machines", "image"];
/// Paths of the services whose scenarios run on nspawn machines in each run.
const KV: &[&str] =
    &["qemu/scenarios/kv", "units/usr/lib/systemd/system/etcd", "units/usr/lib/systemd/system/etcd2"];
const FLEET: &[&str] = &[
    "qemu/scenarios/fleet",
    "units/usr/lib/systemd/system/fleet",
    "units/usr/lib/systemd/system/fleet-fence",
];
const FLANNEL: &[&str] = &[
    "qemu/scenarios/flannel",
    "units/usr/lib/systemd/system/flanneld",
    "units/usr/lib/systemd/system/flannel-docker-opts",
    "units/usr/lib/systemd/system/flannel-docker-subnet",
    "qemu/user-data/flannel",
    "qemu/user-data/flannel-without-configuration",
];
const LOCKSMITH: &[&str] = &["qemu/scenarios/locksmith", "units/usr/lib/systemd/system/locksmithd"];

/// Name prefixes of scenarios, and the area that they exercise. The first match counts. Only the scenarios of the
/// machine itself run for every change of it: the others run on nspawn machines in each run, and rotate on QEMU.
const AREAS: [(&str, Area); 10] = [
    (
        "update",
        Area {
            packages: &["update-agent", "channel-server", "release-folder", "initrd", "node"],
            paths: &[
                "qemu/scenarios/updates",
                "qemu/signing.rs",
                "image/repart.d/",
                "image/esp/",
                "image/initrd/",
                "os/cmdline",
                "units/usr/lib/systemd/system/keelson-boot-limit",
                "units/usr/lib/systemd/system/update-engine",
            ],
            except: &[],
        },
    ),
    (
        "secure-boot",
        Area {
            packages: &["update-agent", "image"],
            paths: &["qemu/own_image.rs", "qemu/signing.rs"],
            except: &[],
        },
    ),
    (
        "platform",
        Area {
            packages: &["disk-formats"],
            paths: &[
                "crates/machines/machines/src/qemu/",
                "image/initrd",
                "image/oem/",
                "image/repart.d/",
                "os/cut",
                "qemu/own_image.rs",
                "qemu/scenarios/platforms",
            ],
            except: &[],
        },
    ),
    (
        "install",
        Area {
            packages: &["coreos-install", "disk-slots", "node"],
            paths: &[
                "crates/machines/machines/src/qemu/",
                "image/repart.d/",
                "os/rootfs/usr/lib/repart.d/",
                "qemu/own_image.rs",
                "qemu/scenarios/install",
                "qemu/scenarios/updates/installation",
                "units/usr/lib/systemd/system/keelson-installed-files",
                "units/usr/lib/systemd/system/user-cloudinit",
            ],
            except: &[],
        },
    ),
    ("kv", Area { packages: &["etcd", "etcdctl"], paths: KV, except: &[] }),
    ("fleet", Area { packages: &["fleetd", "fleetctl"], paths: FLEET, except: &[] }),
    ("flannel", Area { packages: &["flanneld"], paths: FLANNEL, except: &[] }),
    ("locksmith", Area { packages: &["locksmithd"], paths: LOCKSMITH, except: &[] }),
    (
        "attack",
        Area {
            packages: MACHINE,
            paths: &["os/", "image/", "units/", "qemu/user-data/", "qemu/scenarios/attacks", "cloud-config/"],
            except: &[],
        },
    ),
    (
        "",
        Area {
            packages: MACHINE,
            paths: &[
                "os/",
                "image/",
                "units/",
                "qemu/user-data/",
                "qemu/scenarios/boot",
                "qemu/scenarios/power",
                "qemu/scenarios/network",
                "qemu/scenarios/provisioning",
                "qemu/scenarios/tutorials",
                "cloud-config/",
            ],
            except: &[KV, FLEET, FLANNEL, LOCKSMITH],
        },
    ),
];

/// The area that a scenario on QEMU machines exercises.
pub fn area_of_scenario(name: &str) -> Area {
    let found = AREAS.iter().find(|(prefix, _)| name.starts_with(prefix));
    // invariant: the last prefix is empty, so that every name has an area.
    found.map_or(Area { packages: &[], paths: &[], except: &[] }, |(_, area)| *area)
}

/// One line of `keelson test --list --json`.
#[derive(Debug, Deserialize)]
pub struct Scenario {
    pub name: String,
    pub on: Vec<String>,
    pub long_on: Vec<String>,
    /// Back ends on which it is not a part: a row of scenarios or another back end runs it.
    pub by_name_on: Vec<String>,
}

/// The scenarios of a back end (`nspawn` or `qemu`) as parts of `step`.
pub fn of_scenarios(list: &[Scenario], back_end: &str, step: &str) -> Vec<Part> {
    let has = |list: &[String]| list.iter().any(|on| on == back_end);
    let listed = list.iter().filter(|scenario| has(&scenario.on) && !has(&scenario.by_name_on));
    listed
        .map(|scenario| {
            let kind = if has(&scenario.long_on) {
                Kind::Long
            } else if back_end == "nspawn" || scenario.name == ALWAYS_ON_QEMU {
                Kind::Always
            } else {
                Kind::Touched(area_of_scenario(&scenario.name))
            };
            Part::new(format!("{step}/{}", scenario.name), kind)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_parts_by_back_end() {
        let list: Vec<Scenario> = serde_json::from_str(
            r#"[{"name":"boots","on":["nspawn","qemu"],"long_on":[],"by_name_on":[]},
                {"name":"update","on":["qemu"],"long_on":[],"by_name_on":[]},
                {"name":"killed","on":["nspawn","qemu"],"long_on":["qemu"],"by_name_on":["qemu"]},
                {"name":"fleet","on":["nspawn","qemu"],"long_on":["qemu"],"by_name_on":[]}]"#,
        )
        .unwrap();
        let listed = |back_end: &str| -> Vec<(String, &str)> {
            let kind = |kind| match kind {
                Kind::Always => "always",
                Kind::Touched(_) => "touched",
                Kind::Long => "long",
            };
            of_scenarios(&list, back_end, "s").into_iter().map(|part| (part.id, kind(part.kind))).collect()
        };
        let expected =
            [("s/boots".into(), "always"), ("s/killed".into(), "always"), ("s/fleet".into(), "always")];
        assert_eq!(listed("nspawn"), expected);
        let expected =
            [("s/boots".into(), "always"), ("s/update".into(), "touched"), ("s/fleet".into(), "long")];
        assert_eq!(listed("qemu"), expected);
    }

    #[test]
    fn every_scenario_has_an_area() {
        assert_eq!(area_of_scenario("update-power").packages[0], "update-agent");
        assert_eq!(area_of_scenario("kv-tls").packages[0], "etcd");
        assert_eq!(area_of_scenario("reset").packages[0], "node");
    }
}
