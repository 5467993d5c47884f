//! Disk fault injection: QEMU throttles a running machine's requests or lets them fail.

use serde_json::{Value, json};

use super::qmp::{Qmp, QmpError};
use crate::backend::DiskFault;

/// The disk's drive id on the command line.
const DISK: &str = "disk";
/// Node name of the fault-injecting filter.
const FILTER: &str = "failing";
const INPUT_OUTPUT_ERROR: i32 = 5;

/// Sets the disk's fault, whatever it was before.
pub(super) fn set(qmp: &mut Qmp, fault: DiskFault) -> Result<(), QmpError> {
    let disk = Disk::find(qmp)?;
    disk.heal(qmp)?;
    match fault {
        DiskFault::None => Ok(()),
        DiskFault::Slow { operations } => disk.throttle(qmp, operations),
        DiskFault::Failing => disk.fail(qmp),
    }
}

/// The disk's current block graph.
#[derive(Debug, PartialEq, Eq)]
struct Disk {
    /// QOM path of the device.
    device: String,
    /// Node that the device uses: the image or the filter.
    node: String,
    /// The image below the filter, if there is one.
    filtered_image: Option<String>,
}

impl Disk {
    fn find(qmp: &mut Qmp) -> Result<Self, QmpError> {
        let drives = qmp.run("query-block")?;
        let nodes = qmp.run("query-named-block-nodes")?;
        Self::from_query(&drives, &nodes).ok_or_else(|| QmpError::Refused {
            command: "query-block".into(),
            message: "the machine has no disk".into(),
        })
    }

    fn from_query(drives: &Value, nodes: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let drive = drives.as_array()?.iter().find(|drive| drive["device"] == DISK)?;
        let node = text(&drive["inserted"]["node-name"])?;
        // The device's own object, or a child of it that has the drive.
        let device = text(&drive["qdev"])?;
        let filter = nodes.as_array()?.iter().find(|known| known["node-name"] == node.as_str())?;
        let children = filter["children"].as_array();
        let filtered_image = children.and_then(|all| all.iter().find(|child| child["child"] == "image"));
        let filtered_image =
            filtered_image.filter(|_| node == FILTER).and_then(|child| text(&child["node-name"]));
        Some(Self { device, node, filtered_image })
    }

    fn heal(&self, qmp: &mut Qmp) -> Result<(), QmpError> {
        self.throttle(qmp, 0)?;
        if let Some(image) = &self.filtered_image {
            self.attach(qmp, image)?;
            qmp.run_with("blockdev-del", &json!({ "node-name": FILTER }))?;
        }
        Ok(())
    }

    /// Limits the operations per second; 0 is unlimited.
    fn throttle(&self, qmp: &mut Qmp, operations: u64) -> Result<(), QmpError> {
        let none = ["bps", "bps_rd", "bps_wr", "iops_rd", "iops_wr"];
        let mut limits: serde_json::Map<_, _> =
            none.into_iter().map(|name| (name.to_owned(), json!(0))).collect();
        limits.insert("device".to_owned(), json!(DISK));
        limits.insert("iops".to_owned(), json!(operations));
        qmp.run_with("block_set_io_throttle", &Value::Object(limits)).map(drop)
    }

    fn fail(&self, qmp: &mut Qmp) -> Result<(), QmpError> {
        let image = self.filtered_image.as_ref().unwrap_or(&self.node);
        let inject = |kind: &str| json!({ "event": "none", "iotype": kind, "errno": INPUT_OUTPUT_ERROR });
        let kinds = ["write", "write-zeroes", "discard", "flush"].map(inject);
        let filter =
            json!({ "driver": "blkdebug", "node-name": FILTER, "image": image, "inject-error": kinds });
        qmp.run_with("blockdev-add", &filter)?;
        self.attach(qmp, FILTER)
    }

    fn attach(&self, qmp: &mut Qmp, node: &str) -> Result<(), QmpError> {
        let change = json!({ "path": self.device, "property": "drive", "value": node });
        qmp.run_with("qom-set", &change).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_found_with_and_without_a_filter() {
        let drives = |node: &str| {
            json!([
                { "device": "pflash0", "inserted": { "node-name": "#block1" } },
                { "device": "disk", "qdev": "/machine/d", "inserted": { "node-name": node } },
            ])
        };
        let image =
            json!({ "node-name": "#block9", "children": [{ "child": "file", "node-name": "#block8" }] });
        let filter =
            json!({ "node-name": FILTER, "children": [{ "child": "image", "node-name": "#block9" }] });
        let nodes = json!([image, filter]);
        let disk = |node: &str, filtered_image: Option<&str>| Disk {
            device: "/machine/d".to_owned(),
            node: node.to_owned(),
            filtered_image: filtered_image.map(str::to_owned),
        };
        assert_eq!(Disk::from_query(&drives("#block9"), &nodes), Some(disk("#block9", None)));
        assert_eq!(Disk::from_query(&drives(FILTER), &nodes), Some(disk(FILTER, Some("#block9"))));
        assert_eq!(Disk::from_query(&json!([]), &nodes), None);
    }
}
