use std::io::Write;
use std::sync::atomic::Ordering;

use cpio::newc;
use tempfile::TempDir;

use super::*;
use crate::fetch::sha256_of;
use crate::iso::{CUSTOM, CUSTOM_BYTES, INITRD};
use crate::iso_partition::tests::write_medium;
use crate::live::IMAGE;

static GO: AtomicBool = AtomicBool::new(false);

/// An archive of the kernel's with one file.
fn cpio(name: &str, content: &[u8]) -> Vec<u8> {
    let header = newc::Builder::new(name).mode(0o100_644);
    let mut entry = header.write(Vec::new(), u32::try_from(content.len()).unwrap());
    entry.write_all(content).unwrap();
    newc::trailer(entry.finish().unwrap()).unwrap()
}

/// The initrd of a live system, with an end that needs padding.
fn initrd(second: &str) -> Vec<u8> {
    let system = zstd::encode_all(&*cpio("init", b"system"), 1).unwrap();
    let padding = vec![0; system.len().next_multiple_of(4) - system.len()];
    [&*system, &padding, &cpio(second, &[7; 5001])].concat()
}

struct Fixture {
    folder: TempDir,
    iso: PathBuf,
    initrd: PathBuf,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let [iso, initrd_file] = ["a.iso", "initrd.img"].map(|name| folder.path().join(name));
    fs::write(&initrd_file, initrd(IMAGE)).unwrap();
    let blank = arguments_area::blank();
    let (entry, grub) = (format!("title A\noptions quiet\n{blank}"), format!("# here:\n{blank}"));
    let files: [(&str, &[u8]); 4] = [
        (INITRD, &initrd(IMAGE)),
        (CUSTOM, &vec![0; CUSTOM_BYTES]),
        ("loader/entries/live.conf", entry.as_bytes()),
        ("grub/arguments.cfg", grub.as_bytes()),
    ];
    write_medium(&iso, &files);
    Fixture { folder, iso, initrd: initrd_file }
}

fn contents() -> Contents {
    Contents {
        user_data: Some(b"#cloud-config\n".to_vec()),
        network: vec![("10-a.network".to_owned(), b"[Match]\n".to_vec())],
        install: Some("/dev/vda".to_owned()),
        install_user_data: Some(b"#cloud-config\nhostname: a\n".to_vec()),
        certificates: vec![("own.pem".to_owned(), b"pem".to_vec())],
        arguments: Vec::new(),
        oem: None,
    }
}

const PATHS: [&str; 5] = [
    "coreos-install/certificates/own.pem",
    "coreos-install/network/10-a.network",
    "coreos-install/user_data",
    "unattended-install/arguments",
    "unattended-install/user_data",
];

#[test]
fn a_reset_restores_the_original_bytes() {
    let fixture = fixture();
    let [to, again, back] = ["to", "again", "back"].map(|name| fixture.folder.path().join(name));
    for (file, arguments) in [(&fixture.iso, &["console=ttyS1", "debug"][..]), (&fixture.initrd, &[])] {
        let original = sha256_of(file).unwrap();
        assert!(customized(file).unwrap().is_empty());
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let contents = Contents { arguments: arguments.clone(), ..contents() };
        let written = customize(file, &contents, &to, &GO).unwrap();
        assert_ne!(sha256_of(&to).unwrap(), original);
        assert_eq!(customized(&to).unwrap(), written);
        assert_eq!(written.arguments, arguments);
        let paths: Vec<&str> = written.files.iter().map(|file| &*file.path).collect();
        assert_eq!(paths, PATHS);
        // The next customization replaces this one.
        let other = Contents { user_data: Some(b"#!/bin/sh\n".to_vec()), ..Contents::default() };
        customize(&to, &other, &again, &GO).unwrap();
        assert_eq!(customized(&again).unwrap().files.len(), 1);
        reset(&again, &back, &GO).unwrap();
        assert_eq!(sha256_of(&back).unwrap(), original);
        assert_eq!(sha256_of(file).unwrap(), original);
        // In place.
        customize(&back, &other, &back, &GO).unwrap();
        reset(&back, &back, &GO).unwrap();
        assert_eq!(sha256_of(&back).unwrap(), original);
    }
}

#[test]
fn the_kernel_finds_the_files_after_the_others() {
    let fixture = fixture();
    let to = fixture.folder.path().join("to");
    customize(&fixture.initrd, &contents(), &to, &GO).unwrap();
    let bytes = fs::read(&to).unwrap();
    let original = fs::read(&fixture.initrd).unwrap();
    assert!(bytes.starts_with(&original));
    let start = original.len().next_multiple_of(4);
    let mut left = &bytes[start..];
    let mut found = Vec::new();
    loop {
        let entry = newc::Reader::new(left).unwrap();
        if entry.entry().is_trailer() {
            break;
        }
        found.push((entry.entry().name().to_owned(), entry.entry().mode()));
        left = entry.finish().unwrap();
    }
    assert_eq!(found[0], ("usr".to_owned(), 0o40_755));
    let mode = |path: &str| found.iter().find(|(name, _)| name == path).unwrap().1;
    assert_eq!(mode("usr/share/oem/coreos-install/user_data"), 0o100_600);
    assert_eq!(mode("usr/share/oem/coreos-install/network/10-a.network"), 0o100_644);
    let position = |path: &str| found.iter().position(|(name, _)| name == path).unwrap();
    assert!(position("usr/share/oem/coreos-install") < position("usr/share/oem/coreos-install/user_data"));
}

#[test]
fn what_does_not_fit_is_an_error_with_both_numbers_and_leaves_nothing() {
    let fixture = fixture();
    let to = fixture.folder.path().join("to");
    let check = |file: &Path, contents: &Contents, expected: &str| {
        let error = customize(file, contents, &to, &GO).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 2);
    };
    let large = Contents { user_data: Some(vec![b'a'; CUSTOM_BYTES]), ..Contents::default() };
    check(&fixture.iso, &large, "bytes; the maximum is 1048576");
    let arguments = vec!["a".repeat(2000)];
    check(
        &fixture.iso,
        &Contents { arguments, ..Contents::default() },
        "have 2000 bytes; the maximum is 1007",
    );
    let arguments = |text: &str| Contents { arguments: vec![text.to_owned()], ..Contents::default() };
    check(&fixture.iso, &arguments("a b"), "invalid kernel argument `a b`");
    check(&fixture.initrd, &arguments("debug"), "an initrd has no kernel arguments: debug");
    let device = Contents { install: Some("sda".to_owned()), ..Contents::default() };
    check(&fixture.iso, &device, "invalid device sda");
}

#[test]
fn other_files_are_refused() {
    let fixture = fixture();
    let path = |name: &str| fixture.folder.path().join(name);
    let check = |name: &str, content: &[u8], expected: &str| {
        fs::write(path(name), content).unwrap();
        let error = customized(&path(name)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("text", b"text", "neither an ISO image nor the initrd of a live system");
    check("plain", &initrd("live/other"), "it has no live/image.erofs");
    check("cut", &initrd(IMAGE)[..200], "is damaged");
    let blank = arguments_area::blank();
    let old = path("old.iso");
    write_medium(&old, &[(INITRD, b"initrd"), ("loader/entries/live.conf", blank.as_bytes())]);
    let error = customized(&old).unwrap_err().to_string();
    assert!(error.contains("has no room for a customization"), "{error}");
}

#[test]
fn files_of_a_folder_are_added_once() {
    let fixture = fixture();
    let (oem, to) = (fixture.folder.path().join("oem"), fixture.folder.path().join("to"));
    fs::create_dir_all(oem.join("coreos-install")).unwrap();
    fs::write(oem.join("cloud-config.yml"), "#cloud-config\n").unwrap();
    let with = |oem: &Path| Contents { oem: Some(oem.to_path_buf()), ..contents() };
    let written = customize(&fixture.iso, &with(&oem), &to, &GO).unwrap();
    assert_eq!(written.files[0].path, "cloud-config.yml");
    fs::write(oem.join("coreos-install/user_data"), "").unwrap();
    let error = customize(&fixture.iso, &with(&oem), &to, &GO).unwrap_err().to_string();
    assert_eq!(error, "two files for coreos-install/user_data");
    fs::remove_file(oem.join("coreos-install/user_data")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", oem.join("link")).unwrap();
    let error = customize(&fixture.iso, &with(&oem), &to, &GO).unwrap_err();
    assert!(matches!(error, CustomizeError::NotRegular(_)), "{error:?}");
    assert!(customize(&fixture.iso, &with(&oem.join("missing")), &to, &GO).is_err());
}

#[test]
fn an_interrupt_leaves_the_old_file() {
    let fixture = fixture();
    let to = fixture.folder.path().join("to");
    fs::write(&to, "old").unwrap();
    let cancel = AtomicBool::new(false);
    cancel.store(true, Ordering::Relaxed);
    let error = customize(&fixture.iso, &contents(), &to, &cancel).unwrap_err();
    assert!(matches!(error, CustomizeError::Interrupted), "{error:?}");
    assert_eq!(fs::read(&to).unwrap(), b"old");
    assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 3);
}
