//! Certificates that cloud-config writes to `/etc/ssl/certs`: the image's update program adds all of them to
//! the bundle.

use std::fs;
use std::path::Path;
use std::process::Command;

fn certificate(name: &str) -> String {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.pem().replace("\r\n", "\n")
}

/// Runs the update program on `root` and returns its warnings.
fn update(root: &Path) -> String {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../os/rootfs/usr/sbin/update-ca-certificates");
    let output = Command::new("sh").arg(program).arg(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
#[ignore = "the image's program runs openssl: cargo verify wants"]
fn every_certificate_of_a_file_is_trusted_and_nothing_else_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for place in ["etc/ssl/certs", "etc/ca-certificates", "usr/share/ca-certificates/mozilla"] {
        fs::create_dir_all(root.join(place)).unwrap();
    }
    let names = ["own", "first", "second", "third", "single", "lost"];
    let [own, first, second, third, single, lost] = names.map(certificate);
    let bundle = || fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    fs::write(root.join("usr/share/ca-certificates/mozilla/own.crt"), &own).unwrap();
    let chain = format!("# root\n{first}# intermediate\n{second}\n{third}");
    fs::write(root.join("etc/ssl/certs/chain.pem"), chain).unwrap();
    fs::write(root.join("etc/ca-certificates/single.crt"), &single).unwrap();
    assert_eq!(update(root), "");
    for trusted in [&own, &first, &second, &third, &single] {
        assert!(bundle().contains(trusted.trim()), "not in the bundle: {trusted}");
    }
    assert_eq!(bundle().matches("BEGIN").count(), 5, "{}", bundle());
    assert!(!bundle().contains("# root"));

    let damaged = format!("{first}{}", lost.replacen("MII", "XXX", 1));
    fs::write(root.join("etc/ssl/certs/chain.pem"), damaged).unwrap();
    fs::write(root.join("etc/ssl/certs/none.pem"), "no certificate\n").unwrap();
    let warnings = update(root);
    assert!(warnings.contains("only the first 1 of 2 certificates of "), "{warnings}");
    assert!(warnings.contains("none.pem holds no certificate: skipped"), "{warnings}");
    assert_eq!(bundle().matches("BEGIN").count(), 3);
}
