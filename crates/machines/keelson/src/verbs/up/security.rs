//! Requirements of TLS and Secure Boot, which are fixed when machines are created, on the image and on existing
//! machines; forwarded ports that the machines' firewall closes.

use anyhow::bail;
use machines::cluster::{BackendKind, Cluster, ClusterSpec, Forward};
use machines::image::Image;

use crate::boot_image;

/// TCP ports that a machine's firewall closes to other networks than the cluster's.
const CLUSTER_PORTS: [u16; 4] = [2379, 2380, 4001, 7001];

/// New machines enrol the image's keys at their first boot; without keys they would stay in setup mode, in which the
/// firmware runs unsigned code. `cluster` is the existing cluster.
pub fn check_image(cluster: Option<&Cluster>, image: &Image, spec: &ClusterSpec) -> anyhow::Result<()> {
    if !needs_keys(cluster, spec) || boot_image::has_keys(image)? {
        return Ok(());
    }
    bail!(
        "Secure Boot needs a signed image that contains its keys; {} of {} does not: \
         keelson image build --sign KEY builds one, keelson up --image FILE boots it",
        image.version,
        image.channel
    );
}

/// Whether new machines with Secure Boot will be created; existing ones keep their disks.
fn needs_keys(cluster: Option<&Cluster>, spec: &ClusterSpec) -> bool {
    let secure = cluster.map_or(spec.secure_boot, |cluster| cluster.secure_boot);
    let made = cluster.iter().flat_map(|cluster| &cluster.nodes).filter(|node| node.made_from.is_some());
    secure && made.count() < spec.nodes
}

/// Certificates, firmware variables and devices are fixed when machines are created.
pub fn check_machines(cluster: &Cluster, spec: &ClusterSpec) -> anyhow::Result<()> {
    let wanted = [("TLS", spec.tls, cluster.tls), ("Secure Boot", spec.secure_boot, cluster.secure_boot)];
    if spec.hardware != cluster.hardware {
        bail!(
            "the machines of {} have hardware {}; only new machines can have another (keelson destroy)",
            cluster.name,
            cluster.hardware
        );
    }
    match wanted.into_iter().find(|(_, wanted, has)| *wanted && !has) {
        Some((feature, ..)) => bail!(
            "the machines of {} were created without {feature}; only new machines can have it (keelson destroy)",
            cluster.name
        ),
        None => Ok(()),
    }
}

/// What the operator should know about the machines' place on this host.
pub fn warnings(spec: &ClusterSpec) -> Vec<String> {
    let mut warnings = Vec::new();
    // The machines' firewall accepts connections to the cluster's ports from their LAN, but QEMU's user network forwards.
    let closed = |forward: &&Forward| CLUSTER_PORTS.contains(&forward.guest);
    if spec.backend == BackendKind::Qemu
        && let Some(Forward { guest, .. }) = spec.forwards.iter().find(closed)
    {
        warnings.push(format!(
            "warning: $forwarded_ports: the machines accept connections to port {guest} from their LAN only; \
             docs/how-to/firewall.md shows how to open it"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forwards_are_warned_of() {
        let forwards = |guest| vec![Forward { host: 1, guest }];
        for (backend, guest, expect) in [
            (BackendKind::Qemu, 80, &[][..]),
            (BackendKind::Qemu, 2379, &["port 2379 from their LAN only"]),
            (BackendKind::Nspawn, 2379, &[]),
        ] {
            let spec = ClusterSpec { backend, forwards: forwards(guest), ..ClusterSpec::default() };
            let warnings = warnings(&spec);
            assert_eq!(warnings.len(), expect.len(), "{warnings:?}");
            assert!(
                warnings.iter().zip(expect).all(|(warning, text)| warning.contains(text)),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn only_new_machines_with_secure_boot_need_an_image_s_keys() {
        let image: Image = serde_json::from_value(serde_json::json!({
            "version": "1", "channel": "alpha", "raw": "/r", "usr_tree": "/u", "usr_erofs": "/e", "tools": "/"
        }))
        .unwrap();
        let spec = |nodes, secure_boot| ClusterSpec { nodes, secure_boot, ..ClusterSpec::default() };
        let cluster = |nodes, secure_boot| {
            let mut cluster = Cluster::new("a", &spec(nodes, secure_boot), image.clone());
            cluster.nodes.iter_mut().for_each(|node| node.made_from = Some("/r".into()));
            cluster
        };
        assert!(!needs_keys(None, &spec(1, false)));
        assert!(needs_keys(None, &spec(1, true)));
        let (plain, secure) = (cluster(2, false), cluster(2, true));
        assert!(!needs_keys(Some(&secure), &spec(2, false)), "they start again from what they have");
        assert!(needs_keys(Some(&secure), &spec(3, false)), "a new one is as the others");
        assert!(!needs_keys(Some(&plain), &spec(3, true)), "refused for another reason");
        check_machines(&secure, &spec(2, false)).unwrap();
        let tls = ClusterSpec { tls: true, ..spec(2, false) };
        for (spec, feature) in [(spec(2, true), "Secure Boot"), (tls, "TLS")] {
            let refused = check_machines(&plain, &spec).unwrap_err().to_string();
            assert!(refused.contains(&format!("created without {feature}")), "{refused}");
        }
    }
}
