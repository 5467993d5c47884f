use super::*;
use crate::cluster::tests::image;

fn background() -> Background {
    Background {
        program: "/bin/false".into(),
        lan: vec![],
        supervisor: vec![],
        qemu: vec![],
        discovery: vec![],
    }
}

fn lock(layout: &Layout) -> Lock {
    layout.lock("test", &AtomicBool::new(false), &mut |_| ()).unwrap()
}

/// A stopped cluster whose tools tree was removed, as after `cargo clean`.
fn without_tools(folder: &std::path::Path) -> Site {
    let layout = Layout::new(folder, "a").unwrap();
    let lock = lock(&layout);
    layout.save(&Cluster::new("a", &ClusterSpec { nodes: 1, ..ClusterSpec::default() }, image())).unwrap();
    Site::open(layout, lock, background(), Arc::default()).unwrap()
}

#[test]
fn machines_stop_and_are_removed_without_the_tools_tree() {
    let folder = tempfile::tempdir().unwrap();
    let site = without_tools(folder.path());
    site.crash("core-01").unwrap();
    site.down().unwrap();
    site.destroy().unwrap();
    assert!(!folder.path().join("a").exists());
}

#[test]
fn unreadable_user_data_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let site = without_tools(folder.path());
    let node = site.node("core-01").unwrap();
    assert_eq!(site.drive(&node).unwrap().files.len(), 2);
    std::fs::create_dir(site.layout.user_data()).unwrap();
    let error = site.drive(&node).unwrap_err().to_string();
    assert!(error.ends_with("a/user-data"), "{error}");
}
