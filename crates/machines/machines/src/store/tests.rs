use super::*;
use crate::cluster::{ClusterSpec, tests::image};

#[test]
fn an_unfinished_write_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path(), "a").unwrap();
    assert_eq!(layout.load().unwrap(), None);
    let cluster = Cluster::new("a", &ClusterSpec::default(), image());
    layout.save(&cluster).unwrap();
    assert_eq!(layout.load().unwrap().as_ref(), Some(&cluster));
    // A partial temporary file does not affect the state.
    std::fs::write(folder.path().join("a/.tmpXYZ"), b"{\"format\":1").unwrap();
    assert_eq!(layout.load().unwrap(), Some(cluster));
    let names = std::fs::read_dir(folder.path().join("a")).unwrap().count();
    assert_eq!(names, 2, "save leaves no temporary file");
}

#[test]
fn readers_never_load_a_partial_state() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path(), "a").unwrap();
    let small = Cluster::new("a", &ClusterSpec { nodes: 1, ..ClusterSpec::default() }, image());
    let large = Cluster::new("a", &ClusterSpec { nodes: 200, ..ClusterSpec::default() }, image());
    layout.save(&small).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..20 {
                layout.save(&large).unwrap();
                layout.save(&small).unwrap();
            }
        });
        while !writer.is_finished() {
            let loaded = layout.load().unwrap().unwrap();
            assert!(loaded == small || loaded == large);
        }
    });
}

#[test]
fn a_damaged_or_newer_state_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path(), "a").unwrap();
    replace(&layout.state(), b"{\"format\":1").unwrap();
    assert!(matches!(layout.load(), Err(StoreError::Damaged { .. })));
    replace(&layout.state(), b"{\"format\":7}").unwrap();
    assert!(matches!(layout.load(), Err(StoreError::Format { has: 7, .. })));
}

#[test]
fn a_waiting_locker_is_notified_of_the_holder() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path(), "a").unwrap();
    let never = AtomicBool::new(false);
    let held = layout.lock("up", &never, &mut |_| panic!("nobody holds it")).unwrap();
    let stop = AtomicBool::new(false);
    let mut reported = String::new();
    let error = layout
        .lock("down", &stop, &mut |holder| {
            reported = holder.to_owned();
            stop.store(true, Ordering::Relaxed);
        })
        .unwrap_err();
    assert!(matches!(error, StoreError::Interrupted { .. }));
    assert_eq!(reported, format!("keelson up (process {})", std::process::id()));
    drop(held);
    layout.lock("down", &never, &mut |_| panic!("it is free")).unwrap();
}

#[test]
fn a_waiter_locks_the_recreated_folder_after_destroy() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path(), "a").unwrap();
    let never = AtomicBool::new(false);
    let held = layout.lock("destroy", &never, &mut |_| ()).unwrap();
    std::thread::scope(|scope| {
        let (waits, started_at) = std::sync::mpsc::channel();
        let waiter = scope.spawn({
            let (layout, never) = (&layout, &never);
            move || layout.lock("up", never, &mut |_| waits.send(()).unwrap()).unwrap()
        });
        started_at.recv().unwrap();
        std::fs::remove_dir_all(layout.root()).unwrap();
        drop(held);
        let _lock = waiter.join().unwrap();
        let third = layout.lock("down", &AtomicBool::new(true), &mut |_| ());
        assert!(matches!(third, Err(StoreError::Interrupted { .. })), "two have the lock");
    });
}

/// The folder contains disks and user-data, which hold secrets.
#[test]
fn the_cluster_folder_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(&folder.path().join("state"), "a").unwrap();
    drop(layout.lock("up", &AtomicBool::new(false), &mut |_| ()).unwrap());
    assert_eq!(layout.root().metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn invalid_names_and_long_paths_are_rejected() {
    let check = |name: &str| assert!(matches!(Layout::new(Path::new("/s"), name), Err(StoreError::Name(_))));
    check("");
    check("a/b");
    check("..");
    check(&"a".repeat(33));
    let long = PathBuf::from(format!("/{}", "d".repeat(80)));
    assert!(matches!(Layout::new(&long, "a"), Err(StoreError::LongPath { .. })));
}
