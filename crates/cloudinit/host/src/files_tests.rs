use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

const OTHER_USER: u32 = 12345;

fn request<'a>(path: &'a str, mode: u32, content: &'a [u8]) -> Request<'a> {
    Request { path, mode, owner: Owner::default(), content, directory_mode: DIRECTORY_MODE }
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    let file = request("/etc/deep/x", 0o4640, b"content");
    assert_eq!(write(&root, &file).unwrap(), Outcome::Changed);
    let path = folder.path().join("etc/deep/x");
    let first = fs::metadata(&path).unwrap();
    assert_eq!(first.mode() & 0o7777, 0o4640);
    assert_eq!(write(&root, &file).unwrap(), Outcome::Unchanged);
    assert_eq!(fs::metadata(&path).unwrap().ino(), first.ino());
    assert_eq!(write(&root, &request("/etc/deep/x", 0o600, b"content")).unwrap(), Outcome::Changed);
    assert_eq!(write(&root, &request("/etc/deep/x", 0o600, b"other")).unwrap(), Outcome::Changed);
    assert_eq!(fs::read(&path).unwrap(), b"other");
    assert_eq!(names(path.parent().unwrap()), ["x"]);
}

#[test]
fn links_stay_inside_and_targets_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let root = Root::open(&folder.path().join(".")).unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    symlink(outside.path(), folder.path().join("absolute")).unwrap();
    symlink("/etc", folder.path().join("inside")).unwrap();
    symlink("../../../../../../etc", folder.path().join("climbing")).unwrap();
    symlink(outside.path().join("victim"), folder.path().join("etc/target")).unwrap();

    assert!(write(&root, &request("/absolute/x", 0o644, b"x")).is_err());
    write(&root, &request("/inside/a", 0o644, b"a")).unwrap();
    write(&root, &request("/climbing/b", 0o644, b"b")).unwrap();
    write(&root, &request("/etc/target", 0o644, b"c")).unwrap();
    assert_eq!(names(outside.path()), Vec::<String>::new());
    assert_eq!(names(&folder.path().join("etc")), ["a", "b", "target"]);
    assert!(fs::symlink_metadata(folder.path().join("etc/target")).unwrap().is_file());
}

#[test]
fn links_below_a_users_directory_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    symlink("/etc", home.join("link")).unwrap();
    let error = write(&root, &request("/home/link/x", 0o644, b"x")).unwrap_err();
    assert!(matches!(error, FileError::Link(_)), "{error}");
    assert_eq!(names(&folder.path().join("etc")), Vec::<String>::new());
}

#[test]
fn dangling_links_and_loops_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    symlink("turn", folder.path().join("etc/round")).unwrap();
    symlink("round", folder.path().join("etc/turn")).unwrap();
    symlink("/no/where", folder.path().join("etc/dangling")).unwrap();
    symlink("/etc/x", folder.path().join("etc/plain")).unwrap();
    for (path, expect) in [
        ("/etc/round/x", "/etc/round is one of a loop of symbolic links"),
        ("/etc/dangling/a/x", "/etc/dangling is a symbolic link to /no/where, which is not there"),
    ] {
        assert_eq!(write(&root, &request(path, 0o644, b"x")).unwrap_err().to_string(), expect);
    }
    let error = read_no_follow(&root, "/etc/plain", 9).unwrap_err();
    assert_eq!(error.to_string(), "/etc/plain is a symbolic link, and none is followed there");
    assert_eq!(names(&folder.path().join("etc")), ["dangling", "plain", "round", "turn"]);
    assert!(!folder.path().join("no").exists());
}

#[test]
fn a_file_in_the_way_of_a_directory_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    write(&root, &request("/a", 0o644, b"")).unwrap();
    let error = write(&root, &request("/a/b/c", 0o644, b"")).unwrap_err();
    assert_eq!(error.to_string(), "/a is not a directory");
    assert!(matches!(write(&root, &request("/", 0o644, b"")), Err(FileError::NoName(_))));
}

#[test]
fn nothing_is_left_behind_by_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    fs::create_dir_all(folder.path().join("etc/taken/full")).unwrap();
    assert!(write(&root, &request("/etc/taken", 0o644, b"x")).is_err());
    assert_eq!(names(&folder.path().join("etc")), ["taken"]);
}

#[test]
#[ignore = "wants root: cargo verify wants"]
fn owners_and_directories_in_a_users_home() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    let owner = Owner { uid: Some(OTHER_USER), gid: Some(OTHER_USER) };
    let file = Request { owner, directory_mode: 0o700, ..request("/home/.ssh/keys", 0o600, b"k") };
    write(&root, &file).unwrap();
    let directory = fs::metadata(home.join(".ssh")).unwrap();
    assert_eq!((directory.uid(), directory.mode() & 0o777), (OTHER_USER, 0o700));
    let keys = fs::metadata(home.join(".ssh/keys")).unwrap();
    assert_eq!((keys.uid(), keys.gid(), keys.mode() & 0o777), (OTHER_USER, OTHER_USER, 0o600));
}

#[test]
fn masks() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    write(&root, &request("/etc/u.service", 0o644, b"[Unit]\n")).unwrap();
    assert_eq!(unmask(&root, "/etc/u.service").unwrap(), Unmasked::Refused);
    assert_eq!(mask(&root, "/etc/u.service").unwrap(), Outcome::Changed);
    assert_eq!(mask(&root, "/etc/u.service").unwrap(), Outcome::Unchanged);
    assert_eq!(
        fs::read_link(folder.path().join("etc/u.service")).unwrap(),
        std::path::Path::new("/dev/null")
    );
    assert_eq!(unmask(&root, "/etc/u.service").unwrap(), Unmasked::Removed);
    assert_eq!(unmask(&root, "/etc/u.service").unwrap(), Unmasked::NotFound);
    assert_eq!(unmask(&root, "/no/u.service").unwrap(), Unmasked::NotFound);
    write(&root, &request("/etc/e.service", 0o644, b"")).unwrap();
    assert_eq!(unmask(&root, "/etc/e.service").unwrap(), Unmasked::Removed);
}

#[test]
fn staged_files_are_visible_after_commit() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    let etc = folder.path().join("etc");
    write(&root, &request("/etc/1", 0o644, b"old")).unwrap();
    assert!(stage(&root, &request("/etc/1", 0o644, b"old")).unwrap().is_none());
    let paths: Vec<_> = (0..20).map(|number| format!("/etc/{number}")).collect();
    let mut staged: Vec<_> =
        paths.iter().map(|path| stage(&root, &request(path, 0o600, b"new")).unwrap().unwrap()).collect();
    sync(staged.iter_mut().collect());
    assert!(staged.iter().all(|file| matches!(file.synced, Some(Ok(())))));
    assert_eq!(fs::read(etc.join("1")).unwrap(), b"old");
    assert_eq!(names(&etc).iter().filter(|name| !name.starts_with('.')).count(), 1);
    // The last three are dropped without a commit.
    staged.truncate(17);
    for file in staged {
        assert_eq!(file.commit().unwrap(), Outcome::Changed);
    }
    assert_eq!(names(&etc).len(), 17);
    assert_eq!(fs::read(etc.join("1")).unwrap(), b"new");
    assert_eq!(fs::metadata(etc.join("1")).unwrap().mode() & 0o7777, 0o600);
    let unsynced = stage(&root, &request("/etc/0", 0o600, b"newer")).unwrap().unwrap();
    assert_eq!(
        (unsynced.commit().unwrap(), fs::read(etc.join("0")).unwrap()),
        (Outcome::Changed, b"newer".to_vec())
    );
}

/// A file with a failed fsync is never renamed.
#[test]
fn unsynced_files_are_not_committed() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    let mut file = stage(&root, &request("/x", 0o600, b"new")).unwrap().unwrap();
    file.synced = Some(Err(io::Error::from_raw_os_error(5)));
    assert!(file.commit().is_err());
    assert_eq!(names(folder.path()), Vec::<String>::new());
}
