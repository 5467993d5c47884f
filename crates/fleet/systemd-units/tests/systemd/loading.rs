//! What loading writes, what it refuses, and what it leaves where it fails.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use systemd_units::{Error, Reread};

use super::fake::{Node, Unit, file, name, told};

const OLD: &str = "[Service]\nExecStart=/bin/sleep 1\n";
const NEW: &str = "# comment\n[Service]\n\nExecStart = /bin/sleep 2\n[Install]\nWantedBy=hello.service\n";
const NORMALISED: &str = "[Service]\nExecStart=/bin/sleep 2\n\n[Install]\nWantedBy=hello.service\n";

#[tokio::test]
async fn the_normalised_text_is_written_linked_and_enabled() {
    let node = Node::new();
    node.units.load(&name("a.service"), &file(NEW)).await.unwrap();
    assert_eq!(node.file("a.service").as_deref(), Some(NORMALISED));
    node.fake.state(|state| {
        assert_eq!(state.links()["a.service"], node.folder.join("a.service"));
        assert!(state.enabled.contains("a.service"));
    });
    node.units.load(&name("b.service"), &file(OLD)).await.unwrap();
    assert_eq!(node.fake.calls("EnableUnitFiles"), 1);
    assert_eq!(node.fake.calls("Reload"), 0);
    assert_eq!(fs::read_dir(&node.folder).unwrap().count(), 2);
}

/// Loads `NEW` where `refused` is refused by systemd, above the file of before; the error and the file of after.
async fn check_failure(refused: &str, nothing_to_enable: bool, before: Option<&str>, error: &str) {
    let node = Node::new();
    if let Some(before) = before {
        node.units.load(&name("a.service"), &file(before)).await.unwrap();
    }
    node.fake.state(|state| {
        state
            .refusals
            .insert(refused.to_owned(), ("org.freedesktop.DBus.Error.FileNotFound", "No such file"));
        state.nothing_to_enable = nothing_to_enable;
    });
    let failed = node.units.load(&name("a.service"), &file(NEW)).await.unwrap_err();
    assert_eq!(told(&failed), error);
    assert_eq!(node.file("a.service").as_deref(), before);
    node.fake.state(|state| {
        assert_eq!(state.links().contains_key("a.service"), before.is_some());
        assert!(state.enabled.is_empty());
    });
}

#[tokio::test]
async fn what_fails_is_undone() {
    let enable = "Failed to enable systemd unit a.service: EnableUnitFiles of a.service: \
                  org.freedesktop.DBus.Error.FileNotFound: No such file";
    let nothing = "Failed to enable systemd unit a.service: its [Install] section names nothing that it could be \
                   enabled by";
    for before in [None, Some(OLD)] {
        check_failure("EnableUnitFiles a.service", false, before, enable).await;
        check_failure("", true, before, nothing).await;
    }
}

#[tokio::test]
async fn a_bus_that_goes_away_leaves_no_half_loaded_unit() {
    let node = Node::new();
    node.fake.state(|state| state.cut_at = Some("EnableUnitFiles a.service".into()));
    let lost = node.units.load(&name("a.service"), &file(NEW)).await.unwrap_err();
    assert!(told(&lost).contains("the connection to systemd was lost"), "{lost}");
    assert_eq!(node.file("a.service"), None);
    assert!(node.fake.state(|state| state.links().is_empty()));
    node.units.load(&name("a.service"), &file(OLD)).await.unwrap();
    assert_eq!(node.file("a.service").as_deref(), Some(OLD));
}

#[tokio::test]
async fn a_link_that_cannot_be_made_leaves_no_file() {
    let node = Node::new();
    let in_the_way = node.fake.state(|state| state.link_folder.join("a.service"));
    fs::create_dir(&in_the_way).unwrap();
    let failed = node.units.load(&name("a.service"), &file(OLD)).await.unwrap_err();
    assert!(told(&failed).starts_with(&format!("cannot link {}: ", in_the_way.display())), "{failed}");
    assert_eq!(node.file("a.service"), None);
    assert!(in_the_way.is_dir());
}

/// systemd, asked to change links, takes every unit for changed on disk until it reads all of them again.
#[tokio::test]
async fn systemd_is_not_asked_to_change_links_of_units_that_nobody_wants() {
    let node = Node::new();
    node.units.load(&name("a.service"), &file(OLD)).await.unwrap();
    assert_eq!(node.fake.state(|state| state.links()["a.service"].clone()), node.folder.join("a.service"));
    node.units.start(&name("a.service")).await.unwrap();
    node.units.unload(&name("a.service")).await.unwrap();
    assert!(node.fake.state(|state| state.links().is_empty()));
    let calls = node.fake.state(|state| state.calls.clone());
    assert!(!calls.iter().any(|call| call.contains("UnitFiles")), "{calls:?}");
}

/// A unit of the machine itself, in its load state and by its file, and one that is in the memory in an active state.
/// What loading `a@1.service` says to that.
async fn check_clash(elsewhere: (&str, &'static str, &'static str), active: &str, expected: Option<&str>) {
    let node = Node::new();
    let (unit, load, fragment) = elsewhere;
    node.fake.state(|state| {
        state.elsewhere.insert(unit.to_owned(), (load, fragment));
        if active != "inactive" {
            state.units.insert("a@1.service".to_owned(), Unit::of(load, active, Path::new(fragment)));
        }
    });
    let loaded = node.units.load(&name("a@1.service"), &file(OLD)).await;
    match (expected, loaded) {
        (None, loaded) => drop(loaded.unwrap()),
        (Some(expected), Err(Error::Clash { unit, path })) => {
            assert_eq!((unit.as_str(), path.as_path()), ("a@1.service", Path::new(expected)));
            assert_eq!(node.file("a@1.service"), None);
            assert!(node.fake.state(|state| state.links().is_empty()));
        }
        (expected, loaded) => panic!("{expected:?} was expected, {loaded:?} came"),
    }
}

#[tokio::test]
async fn units_of_the_machine_itself_are_left_alone() {
    let etc = "/etc/systemd/system/a@1.service";
    check_clash(("a@1.service", "loaded", etc), "inactive", Some(etc)).await;
    check_clash(("a@1.service", "loaded", etc), "active", Some(etc)).await;
    check_clash(("a@1.service", "bad-setting", etc), "inactive", Some(etc)).await;
    check_clash(("a@1.service", "masked", "/dev/null"), "inactive", Some("/dev/null")).await;
    check_clash(("a@1.service", "masked", ""), "inactive", Some("/dev/null")).await;
    let transient = "/run/systemd/transient/a@1.service";
    check_clash(("a@1.service", "loaded", transient), "active", Some(transient)).await;
    // A template gives way to a file of the instance's own, but not a running one.
    let template = "/usr/lib/systemd/system/a@.service";
    check_clash(("a@.service", "loaded", template), "inactive", None).await;
    check_clash(("a@.service", "loaded", template), "active", Some(template)).await;
    check_clash(("a@.service", "loaded", template), "deactivating", Some(template)).await;
    check_clash(("b.service", "loaded", "/etc/systemd/system/b.service"), "inactive", None).await;
    // What runs without a file has none to be hidden.
    check_clash(("b.service", "not-found", ""), "active", None).await;
}

#[tokio::test]
async fn a_unit_of_the_folder_is_no_stranger_to_itself() {
    let node = Node::new();
    node.put("a.service", "active");
    node.units.load(&name("a.service"), &file(OLD)).await.unwrap();
    // Older ones show the link.
    let link = node.folder.with_file_name("a.service");
    symlink(node.folder.join("a.service"), &link).unwrap();
    node.fake.state(|state| state.units.insert("a.service".into(), Unit::of("loaded", "active", &link)));
    node.units.load(&name("a.service"), &file(OLD)).await.unwrap();
}

/// Loads `text` as `a@1.service` after `before`; whether systemd has to read its files again then.
async fn check_reread(before: impl FnOnce(&Node), text: &str, expected: Reread) {
    let node = Node::new();
    before(&node);
    let loaded = node.units.load(&name("a@1.service"), &file(text)).await;
    assert_eq!(loaded.unwrap(), expected, "{:?}", node.fake.state(|state| state.calls.clone()));
    assert_eq!(node.fake.calls("Reload"), 0);
}

#[tokio::test]
async fn systemd_has_to_read_its_files_again_where_it_knows_the_unit() {
    use Reread::{Needed, NotNeeded};
    let nothing = |_: &Node| {};
    check_reread(nothing, OLD, NotNeeded).await;
    // What is to want it may be there already.
    check_reread(nothing, NEW, Needed).await;
    check_reread(|node| node.put("a@1.service", "active"), OLD, Needed).await;
    // Of a file of before, systemd may have more than it shows.
    check_reread(|node| fs::write(node.folder.join("a@1.service"), OLD).unwrap(), OLD, Needed).await;
    let remains = |node: &Node| {
        node.put("a@1.service", "inactive");
        fs::remove_file(node.folder.join("a@1.service")).unwrap();
    };
    check_reread(remains, OLD, Needed).await;
    let template = |node: &Node| {
        let of = ("loaded", "/usr/lib/systemd/system/a@.service");
        node.fake.state(|state| state.elsewhere.insert("a@.service".to_owned(), of));
    };
    check_reread(template, OLD, Needed).await;
}

#[tokio::test]
async fn new_files_are_found_or_all_are_read_again() {
    let node = Node::new();
    let names = ["a.service", "b.service", "c.service"].map(name);
    node.units.load(&names[0], &file(OLD)).await.unwrap();
    node.units.find(&[names[0].clone(), name("no@.service")]).await.unwrap();
    assert_eq!(node.fake.calls("Reload"), 0);
    // What another unit names was looked for before its file was there.
    for unit in &names[1..] {
        let missing = Unit::of("not-found", "inactive", Path::new(""));
        node.fake.state(|state| state.units.insert(unit.to_string(), missing));
        assert_eq!(node.units.load(unit, &file(OLD)).await.unwrap(), Reread::NotNeeded);
    }
    node.units.find(&names).await.unwrap();
    assert_eq!(node.fake.calls("Reload"), 1);
    for unit in &names {
        node.units.start(unit).await.unwrap();
    }
}
