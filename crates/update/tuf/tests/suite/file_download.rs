//! The suite's `test_file_download.py`.

use tuf::TargetFile;

use crate::simulator::*;

const PATH: &str = "target_file.txt";
const CONTENT: &[u8] = b"target file contents";

fn with_target(path: &str) -> (Simulator, Machine) {
    let mut repository = Simulator::new();
    let machine = Machine::new(&repository);
    repository.add_target(TARGETS, path, CONTENT);
    repository.publish(&UPDATE);
    (repository, machine)
}

#[test]
fn client_downloads_expected_file() {
    let (mut repository, mut machine) = with_target(PATH);
    machine.refresh(&mut repository).unwrap();
    assert!(repository.downloads.is_empty());
    machine.download(&mut repository, PATH).unwrap();
    assert_eq!(machine.downloaded[PATH], CONTENT);
}

#[test]
fn client_downloads_expected_file_in_sub_dir() {
    let path = "path/to/a/target_file.txt";
    let (mut repository, mut machine) = with_target(path);
    machine.download(&mut repository, path).unwrap();
    assert_eq!(machine.downloaded[path], CONTENT);
    let [name] = &repository.downloads[..] else { panic!("{:?}", repository.downloads) };
    assert!(name.starts_with("path/to/a/") && name.ends_with(".target_file.txt"), "{name}");
}

#[test]
fn repository_substitutes_target_file() {
    let (mut repository, mut machine) = with_target(PATH);
    repository.add_target(TARGETS, "another.txt", b"content");
    repository.publish(&UPDATE);
    machine.download(&mut repository, PATH).unwrap();
    let malicious = b"malicious data";
    repository.replace_target(PATH, malicious);
    repository.replace_target("another.txt", b"C0ntent");
    machine.download(&mut repository, PATH).unwrap();
    assert_eq!(machine.downloaded[PATH], CONTENT);
    refused(machine.download(&mut repository, "another.txt"), "target another.txt: another sha256 digest");
    machine.downloaded.clear();
    refused(machine.download(&mut repository, PATH), "14 bytes, expected 20");
    assert!(machine.downloaded.is_empty());
}

#[test]
fn multiple_changes_to_target() {
    let (mut repository, mut machine) = with_target(PATH);
    machine.download(&mut repository, PATH).unwrap();
    for round in 0..11 {
        let modified = format!("modified file contents {round}").into_bytes();
        let new = (format!("new-target-{round}"), format!("new file contents {round}").into_bytes());
        repository.add_target(TARGETS, PATH, &modified);
        repository.add_target(TARGETS, &new.0, &new.1);
        repository.publish(&UPDATE);
        if round % 5 > 0 {
            continue;
        }
        machine.download(&mut repository, PATH).unwrap();
        machine.download(&mut repository, &new.0).unwrap();
        assert_eq!((&machine.downloaded[PATH], &machine.downloaded[&new.0]), (&modified, &new.1));
        repository.replace_target(PATH, format!("malicious contents {round}").as_bytes());
        repository.publish(&UPDATE);
        machine.download(&mut repository, PATH).unwrap();
        assert_eq!(machine.downloaded[PATH], modified);
    }
}

fn download_with_hash_algorithms(algorithms: &[&str]) {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    let mut file = TargetFile::of(CONTENT);
    if algorithms.contains(&"sha512") {
        file.hashes.0.insert("sha512".to_owned(), CONTENT_SHA512.to_owned());
    }
    file.hashes.0.retain(|name, _| algorithms.contains(&&**name));
    assert_eq!(file.hashes.0.len(), algorithms.len());
    repository.add_target_file(TARGETS, PATH, file.clone(), CONTENT);
    repository.publish(&UPDATE);
    machine.download(&mut repository, PATH).unwrap();
    let [name] = &repository.downloads[..] else { panic!("{:?}", repository.downloads) };
    assert!(file.hashes.0.values().any(|digest| *name == format!("{digest}.{PATH}")), "{name}");
    assert_eq!(machine.downloaded[PATH], CONTENT);
}

/// `sha512sum` of [`CONTENT`].
const CONTENT_SHA512: &str = "07004dbf95b16d699fe6b36c1be7b659cff92f7a26b6dcdc5be9ef38aae9805ed4ccc1c73083445dbc4180c09ff6f077e32a7b26d19a7758d99e6e5e811f1e6c";

#[test]
fn download_with_hash_algorithms_sha256() {
    download_with_hash_algorithms(&["sha256"]);
}

#[test]
fn download_with_hash_algorithms_sha512() {
    download_with_hash_algorithms(&["sha512"]);
}

#[test]
fn download_with_hash_algorithms_sha256_and_sha512() {
    download_with_hash_algorithms(&["sha256", "sha512"]);
}

#[test]
fn download_with_unknown_hash_algorithm() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    let mut file = TargetFile::of(CONTENT);
    file.hashes.0 = [("unknown-hash".to_owned(), CONTENT_SHA512.to_owned())].into();
    repository.add_target_file(TARGETS, PATH, file, CONTENT);
    repository.files.insert(PATH.to_owned(), CONTENT.to_vec());
    repository.publish(&UPDATE);
    refused(machine.download(&mut repository, PATH), "no sha256 or sha512 digest is listed");
    assert!(machine.downloaded.is_empty());
}

#[test]
fn artifact_cache() {
    let (mut repository, mut machine) = with_target(PATH);
    machine.download(&mut repository, PATH).unwrap();
    machine.download(&mut repository, PATH).unwrap();
    assert_eq!(repository.downloads.len(), 1);
}
