//! Loading: written files, conflicts and failures.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use systemd_units::{Error, NeedDaemonReload};

use super::fake_systemd::{Fixture, Unit, error_chain, file, name};

const OLD: &str = "[Service]\nExecStart=/bin/sleep 1\n";
const NEW: &str = "# comment\n[Service]\n\nExecStart = /bin/sleep 2\n[Install]\nWantedBy=hello.service\n";
const NORMALISED: &str = "[Service]\nExecStart=/bin/sleep 2\n\n[Install]\nWantedBy=hello.service\n";

#[tokio::test]
async fn the_normalised_text_is_written_linked_and_enabled() {
    let fixture = Fixture::new();
    fixture.units.load(&name("a.service"), &file(NEW)).await.unwrap();
    assert_eq!(fixture.file("a.service").as_deref(), Some(NORMALISED));
    fixture.systemd.state(|state| {
        assert_eq!(state.links()["a.service"], fixture.directory.join("a.service"));
        assert!(state.enabled.contains("a.service"));
    });
    fixture.units.load(&name("b.service"), &file(OLD)).await.unwrap();
    assert_eq!(fixture.systemd.calls("EnableUnitFiles"), 1);
    assert_eq!(fixture.systemd.calls("Reload"), 0);
    assert_eq!(fs::read_dir(&fixture.directory).unwrap().count(), 2);
}

/// Loads `NEW` over an existing file while systemd fails the call `refused`. Checks the error and the resulting file.
async fn check_failure(refused: &str, nothing_to_enable: bool, before: Option<&str>, error: &str) {
    let fixture = Fixture::new();
    if let Some(before) = before {
        fixture.units.load(&name("a.service"), &file(before)).await.unwrap();
    }
    fixture.systemd.state(|state| {
        state
            .error_replies
            .insert(refused.to_owned(), ("org.freedesktop.DBus.Error.FileNotFound", "No such file"));
        state.nothing_to_enable = nothing_to_enable;
    });
    let failed = fixture.units.load(&name("a.service"), &file(NEW)).await.unwrap_err();
    assert_eq!(error_chain(&failed), error);
    assert_eq!(fixture.file("a.service").as_deref(), before);
    fixture.systemd.state(|state| {
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
    let fixture = Fixture::new();
    fixture.systemd.state(|state| state.cut_at = Some("EnableUnitFiles a.service".into()));
    let lost = fixture.units.load(&name("a.service"), &file(NEW)).await.unwrap_err();
    assert!(error_chain(&lost).contains("the connection to systemd was lost"), "{lost}");
    assert_eq!(fixture.file("a.service"), None);
    assert!(fixture.systemd.state(|state| state.links().is_empty()));
    fixture.units.load(&name("a.service"), &file(OLD)).await.unwrap();
    assert_eq!(fixture.file("a.service").as_deref(), Some(OLD));
}

#[tokio::test]
async fn a_failed_link_leaves_no_file() {
    let fixture = Fixture::new();
    let in_the_way = fixture.systemd.state(|state| state.link_folder.join("a.service"));
    fs::create_dir(&in_the_way).unwrap();
    let failed = fixture.units.load(&name("a.service"), &file(OLD)).await.unwrap_err();
    assert!(error_chain(&failed).starts_with(&format!("cannot link {}: ", in_the_way.display())), "{failed}");
    assert_eq!(fixture.file("a.service"), None);
    assert!(in_the_way.is_dir());
}

/// After changing links over D-Bus, systemd considers every unit changed until the next daemon-reload.
#[tokio::test]
async fn systemd_is_not_asked_to_change_links_of_units_that_nobody_wants() {
    let fixture = Fixture::new();
    fixture.units.load(&name("a.service"), &file(OLD)).await.unwrap();
    assert_eq!(
        fixture.systemd.state(|state| state.links()["a.service"].clone()),
        fixture.directory.join("a.service")
    );
    fixture.units.start(&name("a.service")).await.unwrap();
    fixture.units.unload(&name("a.service")).await.unwrap();
    assert!(fixture.systemd.state(|state| state.links().is_empty()));
    let calls = fixture.systemd.state(|state| state.calls.clone());
    assert!(!calls.iter().any(|call| call.contains("UnitFiles")), "{calls:?}");
}

/// The result of loading `a@1.service` with a unit of the machine in this load state and file, and a loaded one in
/// this active state.
async fn check_clash(elsewhere: (&str, &'static str, &'static str), active: &str, expected: Option<&str>) {
    let fixture = Fixture::new();
    let (unit, load, fragment) = elsewhere;
    fixture.systemd.state(|state| {
        state.elsewhere.insert(unit.to_owned(), (load, fragment));
        if active != "inactive" {
            state.units.insert("a@1.service".to_owned(), Unit::of(load, active, Path::new(fragment)));
        }
    });
    let loaded = fixture.units.load(&name("a@1.service"), &file(OLD)).await;
    match (expected, loaded) {
        (None, loaded) => drop(loaded.unwrap()),
        (Some(expected), Err(Error::NameConflict { unit, path })) => {
            assert_eq!((unit.as_str(), path.as_path()), ("a@1.service", Path::new(expected)));
            assert_eq!(fixture.file("a@1.service"), None);
            assert!(fixture.systemd.state(|state| state.links().is_empty()));
        }
        (expected, loaded) => panic!("{expected:?} was expected, {loaded:?} came"),
    }
}

#[tokio::test]
async fn units_of_the_machine_are_not_replaced() {
    let etc = "/etc/systemd/system/a@1.service";
    check_clash(("a@1.service", "loaded", etc), "inactive", Some(etc)).await;
    check_clash(("a@1.service", "loaded", etc), "active", Some(etc)).await;
    check_clash(("a@1.service", "bad-setting", etc), "inactive", Some(etc)).await;
    check_clash(("a@1.service", "masked", "/dev/null"), "inactive", Some("/dev/null")).await;
    check_clash(("a@1.service", "masked", ""), "inactive", Some("/dev/null")).await;
    let transient = "/run/systemd/transient/a@1.service";
    check_clash(("a@1.service", "loaded", transient), "active", Some(transient)).await;
    // An instance's own file replaces a template, unless the instance runs.
    let template = "/usr/lib/systemd/system/a@.service";
    check_clash(("a@.service", "loaded", template), "inactive", None).await;
    check_clash(("a@.service", "loaded", template), "active", Some(template)).await;
    check_clash(("a@.service", "loaded", template), "deactivating", Some(template)).await;
    check_clash(("b.service", "loaded", "/etc/systemd/system/b.service"), "inactive", None).await;
    // A running unit without a file hides nothing.
    check_clash(("b.service", "not-found", ""), "active", None).await;
}

#[tokio::test]
async fn units_of_the_directory_do_not_conflict_with_themselves() {
    let fixture = Fixture::new();
    fixture.put("a.service", "active");
    fixture.units.load(&name("a.service"), &file(OLD)).await.unwrap();
    // Older versions report the link.
    let link = fixture.directory.with_file_name("a.service");
    symlink(fixture.directory.join("a.service"), &link).unwrap();
    fixture
        .systemd
        .state(|state| state.units.insert("a.service".into(), Unit::of("loaded", "active", &link)));
    fixture.units.load(&name("a.service"), &file(OLD)).await.unwrap();
}

/// Whether systemd must reload after `text` was loaded as `a@1.service`.
async fn check_reread(before: impl FnOnce(&Fixture), text: &str, expected: NeedDaemonReload) {
    let fixture = Fixture::new();
    before(&fixture);
    let loaded = fixture.units.load(&name("a@1.service"), &file(text)).await;
    assert_eq!(loaded.unwrap(), expected, "{:?}", fixture.systemd.state(|state| state.calls.clone()));
    assert_eq!(fixture.systemd.calls("Reload"), 0);
}

#[tokio::test]
async fn systemd_has_to_read_its_files_again_where_it_knows_the_unit() {
    use NeedDaemonReload::{No, Yes};
    let nothing = |_: &Fixture| {};
    check_reread(nothing, OLD, No).await;
    // The unit that wants it may be loaded already.
    check_reread(nothing, NEW, Yes).await;
    check_reread(|fixture| fixture.put("a@1.service", "active"), OLD, Yes).await;
    // systemd may know more of an earlier file than it reports.
    check_reread(|fixture| fs::write(fixture.directory.join("a@1.service"), OLD).unwrap(), OLD, Yes).await;
    let remains = |fixture: &Fixture| {
        fixture.put("a@1.service", "inactive");
        fs::remove_file(fixture.directory.join("a@1.service")).unwrap();
    };
    check_reread(remains, OLD, Yes).await;
    let template = |fixture: &Fixture| {
        let of = ("loaded", "/usr/lib/systemd/system/a@.service");
        fixture.systemd.state(|state| state.elsewhere.insert("a@.service".to_owned(), of));
    };
    check_reread(template, OLD, Yes).await;
}

#[tokio::test]
async fn discover_reloads_if_a_unit_is_not_found() {
    let fixture = Fixture::new();
    let names = ["a.service", "b.service", "c.service"].map(name);
    fixture.units.load(&names[0], &file(OLD)).await.unwrap();
    fixture.units.discover(&[names[0].clone(), name("no@.service")]).await.unwrap();
    assert_eq!(fixture.systemd.calls("Reload"), 0);
    // Another unit referred to it before its file existed.
    for unit in &names[1..] {
        let missing = Unit::of("not-found", "inactive", Path::new(""));
        fixture.systemd.state(|state| state.units.insert(unit.to_string(), missing));
        assert_eq!(fixture.units.load(unit, &file(OLD)).await.unwrap(), NeedDaemonReload::No);
    }
    fixture.units.discover(&names).await.unwrap();
    assert_eq!(fixture.systemd.calls("Reload"), 1);
    for unit in &names {
        fixture.units.start(unit).await.unwrap();
    }
}
