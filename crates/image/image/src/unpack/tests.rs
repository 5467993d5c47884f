use super::*;

#[test]
fn paths_are_mapped_to_usr_and_cannot_leave_the_tree() {
    let check = |from: &str, to: Option<&str>| {
        assert_eq!(target_path(Path::new(from)).as_deref(), to.map(Path::new), "{from}");
    };
    check("./usr/bin/a", Some("usr/bin/a"));
    check("./lib/systemd/x", Some("usr/lib/systemd/x"));
    check("./boot/vmlinuz-6.12", Some("usr/lib/modules/6.12/vmlinuz"));
    check("./boot/System.map-6.12", None);
    check("./bin", None);
    check("./var/lib/x", None);
    check("./etc/../../x", None);
    check("./", None);
}

/// The copyright files of most packages refer to them.
#[test]
fn the_texts_of_licences_are_not_cut() {
    let exclusions =
        Exclusions::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../os/cut")).unwrap();
    assert!(!exclusions.excludes(Path::new("usr/share/common-licenses/GPL-3")));
    assert!(exclusions.excludes(Path::new("usr/share/man/man1/ls.1.gz")));
}

#[test]
fn included_paths_take_precedence() {
    let exclusions =
        Exclusions::parse("usr/share/doc/**\n!usr/share/doc/*/copyright # wanted\n", Path::new("c")).unwrap();
    assert!(exclusions.excludes(Path::new("usr/share/doc/a/README")));
    assert!(!exclusions.excludes(Path::new("usr/share/doc/a/copyright")));
    let error = Exclusions::parse("ok\n[x\n", Path::new("c")).unwrap_err();
    assert!(error.to_string().starts_with("c:2: "), "{error}");
}

/// A scratch folder with the tree `tree`, beside which nothing may change.
struct Scratch(tempfile::TempDir);

/// Path, link target (links) and content (files) in a package.
type Entry<'a> = (&'a str, EntryType, &'a str);

impl Scratch {
    fn new() -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        for folder in ["tree", "outside"] {
            fs::create_dir(scratch.path(folder)).unwrap();
        }
        fs::set_permissions(scratch.path("outside"), Permissions::from_mode(0o700)).unwrap();
        fs::write(scratch.path("outside/passwd"), "host").unwrap();
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Unpacks a package into the tree.
    fn unpack(&self, name: &str, entries: &[Entry<'_>]) -> Result<(), String> {
        let mut data = tar::Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            let content = if kind.is_file() { *text } else { "" };
            header.set_size(content.len() as u64);
            match kind {
                EntryType::Symlink | EntryType::Link => data.append_link(&mut header, path, text),
                _ => data.append_data(&mut header, path, content.as_bytes()),
            }
            .unwrap();
        }
        let data = data.into_inner().unwrap();
        let (mut control, text) = (tar::Builder::new(Vec::new()), format!("Package: {name}\nVersion: 1\n"));
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        control.append_data(&mut header, "./control", text.as_bytes()).unwrap();
        let control = control.into_inner().unwrap();
        let mut deb = ar::Builder::new(Vec::new());
        deb.append(&ar::Header::new(b"control.tar".to_vec(), control.len() as u64), &*control).unwrap();
        deb.append(&ar::Header::new(b"data.tar".to_vec(), data.len() as u64), &*data).unwrap();
        let deb = deb.into_inner().unwrap();
        let package = Package {
            name: name.to_owned(),
            version: "1".to_owned(),
            architecture: "all".to_owned(),
            source: None,
            path: String::new(),
            size: deb.len() as u64,
            sha256: hex(&Sha256::digest(&deb)),
            trees: Vec::new(),
        };
        let cache = DebCache::open(self.0.path()).unwrap();
        fs::write(cache.path(&package), deb).unwrap();
        let (none, stop) = (Exclusions::parse("", Path::new("none")).unwrap(), AtomicBool::new(false));
        let unpacked = unpack(&[&package], &cache, &none, &self.path("tree"), &stop, &|_| ());
        unpacked.map_err(|error| service::error::chain(&error))
    }

    fn assert_outside_is_unchanged(&self) {
        let outside = self.path("outside");
        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["passwd"]);
        assert_eq!(fs::read_to_string(outside.join("passwd")).unwrap(), "host");
        assert_eq!(fs::metadata(outside.join("passwd")).unwrap().permissions().mode() & 0o111, 0);
        assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn links_of_another_package_do_not_lead_out_of_the_tree() {
    use EntryType::{Directory, Link, Regular, Symlink};
    let check = |link: &str, entry: Entry<'_>| {
        let scratch = Scratch::new();
        let link = link.replace("OUTSIDE", scratch.path("outside").to_str().unwrap());
        scratch.unpack("evil", &[("./etc/x", Symlink, &link)]).unwrap();
        let error = scratch.unpack("innocent", &[entry]).unwrap_err();
        let place =
            format!("innocent 1: cannot unpack {}: ", entry.0.trim_start_matches("./").trim_end_matches('/'));
        assert!(
            error.starts_with(&place) && error.contains("leads out of the tree"),
            "{link} {entry:?}: {error}"
        );
        scratch.assert_outside_is_unchanged();
    };
    for link in ["OUTSIDE", "../../outside", "../etc/../../outside"] {
        check(link, ("./etc/x/new", Regular, "evil"));
        check(link, ("./etc/x/new/file", Regular, "evil"));
        check(link, ("./etc/x/new/", Directory, ""));
        // Its mode would be set.
        check(link, ("./etc/x/", Directory, ""));
        check(link, ("./etc/x/new", Symlink, "target"));
        // A name for a file of the host in the tree.
        check(link, ("./etc/stolen", Link, "./etc/x/passwd"));
    }
}

#[test]
fn links_inside_the_tree_are_followed() {
    use EntryType::{Directory, Link, Regular, Symlink};
    let scratch = Scratch::new();
    let read = |path: &str| fs::read_to_string(scratch.path("tree").join(path)).unwrap();
    scratch.unpack("a", &[("./usr/lib/a/", Directory, ""), ("./etc/a", Symlink, "../usr/lib/a")]).unwrap();
    let entries =
        [("./etc/a/file", Regular, "text"), ("./etc/a/", Directory, ""), ("./lib/b", Link, "./etc/a/file")];
    scratch.unpack("b", &entries).unwrap();
    assert_eq!((read("usr/lib/a/file"), read("usr/lib/b")), ("text".to_owned(), "text".to_owned()));
    assert!(scratch.path("tree/etc/a").is_symlink());
    // An existing link is not written through.
    scratch.unpack("c", &[("./etc/l", Symlink, "../../outside/passwd")]).unwrap();
    assert!(scratch.unpack("d", &[("./etc/l", Regular, "evil")]).unwrap_err().contains("exists"));
    scratch.assert_outside_is_unchanged();
}

#[test]
fn a_link_in_the_place_of_the_mount_point_is_not_followed() {
    let scratch = Scratch::new();
    let outside = scratch.path("outside/passwd");
    let link = [("./etc/resolv.conf", EntryType::Symlink, outside.to_str().unwrap())];
    scratch.unpack("evil", &link).unwrap();
    assert!(make_mount_point(&scratch.path("tree")).is_err());
    scratch.assert_outside_is_unchanged();
    let scratch = Scratch::new();
    for _ in 0..2 {
        make_mount_point(&scratch.path("tree")).unwrap();
    }
    assert!(scratch.path("tree/etc/resolv.conf").is_file());
}
