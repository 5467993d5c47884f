use super::*;
use crate::cluster::tests::image;

fn background() -> Background {
    Background { program: "/bin/false".into(), lan: vec![], keeper: vec![], discovery: vec![] }
}

fn lock(layout: &Layout) -> Lock {
    layout.lock("test", &AtomicBool::new(false), &mut |_| ()).unwrap()
}

/// A cluster whose machines are off and whose tools tree is gone, as after `cargo clean`.
fn without_tools(folder: &std::path::Path) -> Site {
    let layout = Layout::new(folder, "a").unwrap();
    let lock = lock(&layout);
    layout.save(&Cluster::new("a", &Wish { nodes: 1, ..Wish::default() }, image())).unwrap();
    Site::open(layout, lock, background(), Arc::default()).unwrap()
}

#[test]
fn machines_can_be_stopped_and_removed_without_the_tools_that_start_them() {
    let folder = tempfile::tempdir().unwrap();
    let site = without_tools(folder.path());
    site.crash("core-01").unwrap();
    site.down().unwrap();
    site.destroy().unwrap();
    assert!(!folder.path().join("a").exists());
}

#[test]
fn user_data_that_cannot_be_read_is_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let site = without_tools(folder.path());
    let node = site.node("core-01").unwrap();
    assert_eq!(site.drive(&node).unwrap().files.len(), 2);
    std::fs::create_dir(site.layout.user_data()).unwrap();
    let error = site.drive(&node).unwrap_err().to_string();
    assert!(error.ends_with("a/user-data"), "{error}");
}
