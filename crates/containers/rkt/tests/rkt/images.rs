//! `fetch`, `image` and `trust`, with files.

use std::fs;
use std::io::Cursor;

use serde_json::json;

use crate::archive;
use crate::lab::{IMAGE, Lab};

#[test]
fn unsigned_images_are_refused() {
    let Some(lab) = Lab::start("unsigned_images_are_refused") else { return };
    let file = lab.path("busybox.tar");
    lab.fails(&["fetch", &file], "the image is not trusted: no key is trusted for example.com/busybox:1");
    lab.fails(&["run", &file], "not trusted");
    lab.fails(
        &["run", "--pull-policy=never", "--insecure-options=image", IMAGE],
        "--pull-policy=never forbids",
    );
    assert_eq!(lab.ok(&["image", "list", "--no-legend"]), "");
    assert_eq!(lab.ok(&["list", "--no-legend"]), "");
    lab.ok(&["fetch", "--insecure-options=image", &file]);
    // Present, but not verified.
    lab.fails(&["run", "--pull-policy=never", IMAGE], "no trusted image");
}

#[test]
fn signed_images_run() {
    let Some(lab) = Lab::with_image("signed_images_run") else { return };
    let id = lab.ok(&["fetch", "--insecure-options=image", &lab.path("busybox.tar")]);
    let digest = id.trim().replace('-', ":");
    lab.ok(&["image", "rm", id.trim()]);
    let keys = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    fs::write(lab.path("team.pub"), keys.pk.to_box().unwrap().to_string()).unwrap();
    let sign = |text: &str| {
        minisign::sign(None, &keys.sk, Cursor::new(text.to_owned()), None, None).unwrap().to_string()
    };
    fs::write(lab.path("good"), sign(&digest)).unwrap();
    fs::write(lab.path("bad"), sign(&digest.replace(['0', '1'], "2"))).unwrap();
    lab.fails(&["trust", &lab.path("team.pub")], "--prefix is required");
    lab.fails(&["trust", "--prefix=../x", &lab.path("team.pub")], "prefix \"../x\"");
    lab.fails(&["trust", "--prefix=example.com", &lab.path("good")], "expected a public key");
    assert!(lab.ok(&["trust", "--prefix=example.com", &lab.path("team.pub")]).starts_with("Added key"));
    let file = lab.path("busybox.tar");
    let fetch = |signature: &str| format!("--signature={}", lab.path(signature));
    lab.fails(&["fetch", &file], "has no signature");
    lab.fails(&["fetch", &fetch("bad"), &file], "no signature of example.com/busybox:1");
    assert_eq!(lab.ok(&["fetch", &fetch("good"), &file]), id);
    let run = ["run", "--net=none", "--pull-policy=never", IMAGE, "--exec=echo", "--", "verified"];
    assert_eq!(lab.ok(&run), "verified\n");
    let signed = lab.ok(&["image", "list", "--no-legend", "--fields=signed"]);
    assert!(signed.trim().ends_with(".pub"), "{signed}");
    // A key that is removed no longer verifies.
    fs::remove_file(signed.trim()).unwrap();
    lab.fails(&run, "no trusted image");
}

#[test]
fn hostile_images_leave_nothing() {
    let Some(lab) = Lab::start("hostile_images_leave_nothing") else { return };
    lab.write_image("hostile.tar", &archive::hostile_layer(), &json!({ "Cmd": ["a"] }));
    let file = lab.path("hostile.tar");
    lab.fails(&["run", "--insecure-options=image", "--net=none", &file], "layer 1 of image");
    assert!(!fs::exists(lab.path("escaped")).unwrap());
    assert_eq!(lab.ok(&["list", "--no-legend"]), "");
    assert_eq!(fs::read_dir(lab.path("rkt/trees")).unwrap().count(), 0);
    assert_eq!(lab.ok(&["image", "list", "--no-legend"]), "");
    fs::write(lab.path("nonsense.tar"), "nonsense").unwrap();
    lab.fails(&["fetch", "--insecure-options=image", &lab.path("nonsense.tar")], "cannot import");
    lab.fails(&["fetch", "--insecure-options=image", &lab.path("none.tar")], "cannot open");
    lab.fails(&["fetch", &lab.path("x.aci")], "App Container image");
    lab.fails(&["fetch", "coreos.com/other,version=1"], "which no registry has");
}

#[test]
fn images_are_listed_copied_and_removed() {
    let Some(lab) = Lab::with_image("images_are_listed_copied_and_removed") else { return };
    let id = lab.ok(&["image", "list", "--full", "--no-legend", "--fields=id"]);
    let id = id.trim();
    assert!(id.starts_with("sha256-") && id.len() == 71, "{id}");
    assert!(lab.ok(&["image", "list"]).starts_with("ID"));
    assert!(lab.ok(&["image", "list", "--json"]).contains(id));
    assert!(lab.ok(&["image", "cat-manifest", &id[..15]]).contains("PATH=/bin"));
    lab.fails(&["image", "cat-manifest", "sha256-0000"], "the store has no image");
    lab.fails(&["image", "list", "--fields=x"], "field \"x\"");
    // The ID is also rkt's of old, and runs without a name.
    let old = id.replace("sha256", "sha512");
    assert_eq!(lab.ok(&["run", "--net=none", &old[..20], "--exec=echo", "--", "x"]), "x\n");
    let folder = lab.path("extracted");
    lab.ok(&["image", "extract", IMAGE, &folder]);
    assert!(fs::exists(format!("{folder}/rootfs/bin/busybox")).unwrap());
    lab.fails(&["image", "extract", IMAGE, &folder], "exists; replace it with --overwrite");
    lab.ok(&["image", "extract", "--rootfs-only", "--overwrite", IMAGE, &folder]);
    assert!(fs::exists(format!("{folder}/bin/busybox")).unwrap());
    let exported = lab.path("exported.tar");
    lab.ok(&["image", "export", IMAGE, &exported]);
    lab.ok(&["gc", "--grace-period=0s"]);
    lab.ok(&["image", "rm", IMAGE]);
    lab.fails(&["image", "rm", IMAGE], "the store has no image");
    assert_eq!(fs::read_dir(lab.path("rkt/blobs/sha256")).unwrap().count(), 0);
    assert_eq!(lab.ok(&["fetch", "--insecure-options=image", &exported]).trim(), id);
}

#[test]
fn a_damaged_image_does_not_hide_the_others() {
    let Some(lab) = Lab::with_image("a_damaged_image_does_not_hide_the_others") else { return };
    let id = lab.ok(&["image", "list", "--full", "--no-legend", "--fields=id"]).trim().to_owned();
    lab.write_image("other.tar", &archive::layer(b"other"), &json!({ "Cmd": ["other"] }));
    lab.ok(&["fetch", "--insecure-options=image", &lab.path("other.tar")]);
    let manifest = lab.path(&format!("rkt/blobs/sha256/{}", id.trim_start_matches("sha256-")));
    fs::write(manifest, "damaged").unwrap();
    for format in [&["--fields=id,size"], &["--json"]] {
        let listed = lab.rkt(&[&["image", "list", "--full"], format.as_slice()].concat());
        assert_eq!(listed.code, Some(254), "{listed:?}");
        assert_eq!(listed.stdout.matches("sha256-").count(), 2, "{listed:?}");
        assert!(listed.stderr.contains(&format!("rkt image rm {id}")), "{listed:?}");
    }
    lab.ok(&["image", "rm", &id]);
    assert_eq!(lab.ok(&["image", "list", "--no-legend"]).lines().count(), 1);
}

#[test]
fn changed_files_are_found() {
    let Some(lab) = Lab::with_image("changed_files_are_found") else { return };
    let tree = fs::read_dir(lab.path("rkt/trees")).unwrap().next().unwrap().unwrap().path();
    fs::write(tree.join("rootfs/etc/passwd"), "changed").unwrap();
    lab.fails(&["image", "verify", IMAGE], "was changed");
}
