//! Which files become images of a release.

use super::*;
use crate::publish::tests::release;
use crate::rotate::tests::causes;

/// A folder with two finished files, and the folder of the release.
struct Fixture {
    folder: tempfile::TempDir,
    build: FinishedImages,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = vec![0; 3 * CHUNK];
        disk[CHUNK..CHUNK + 4].copy_from_slice(b"disk");
        // A hole at the end.
        fs::write(folder.path().join("keelson-1.0.0-alpha.raw"), &disk).unwrap();
        fs::write(folder.path().join("keelson-1.0.0-alpha-vagrant-libvirt.box"), b"box").unwrap();
        let file = |suffix: &str, format: &str| {
            let path = folder.path().join(format!("keelson-1.0.0-alpha{suffix}"));
            let sha256 = Digest::of(&fs::read(&path).unwrap()).to_string();
            FinishedImage { path, format: format.to_owned(), sha256, virtual_size: 4096 }
        };
        let build = FinishedImages {
            record: folder.path().join("keelson-1.0.0-alpha.json"),
            version: "1.0.0".to_owned(),
            channel: "alpha".to_owned(),
            root_hash: Digest([4; 32]).to_string(),
            files: vec![file(".raw", "raw"), file("-vagrant-libvirt.box", "box-libvirt")],
        };
        Self { folder, build }
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("release")
    }

    fn add(&self, builds: &[FinishedImages]) -> Result<ImageList, ImagesError> {
        add_image_files(&self.to(), &release("1.0.0"), builds, &mut |_, _| ()).map(|(list, _)| list)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.to()).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn files_are_copied_and_listed() {
    let fixture = Fixture::new();
    let mut reported = Vec::new();
    let builds = std::slice::from_ref(&fixture.build);
    let (list, bytes) = add_image_files(&fixture.to(), &release("1.0.0"), builds, &mut |done, total| {
        reported.push((done, total))
    })
    .unwrap();
    let total = 3 * CHUNK as u64 + 3;
    assert_eq!(reported.last(), Some(&(total, total)));
    assert_eq!(read_images(&fixture.to()).unwrap().unwrap(), (list.clone(), bytes));
    for (file, source) in list.files.iter().zip(&fixture.build.files) {
        let copy = fs::read(fixture.to().join(file.name.as_str())).unwrap();
        assert!(copy == fs::read(&source.path).unwrap(), "{file:?}");
        assert_eq!((file.size, file.sha256), (copy.len() as u64, Digest::of(&copy)));
        assert_eq!((&*file.channel, &file.format), ("alpha", &source.format));
    }
    // A change of the original does not change the release. The same files again are no change.
    let original = &fixture.build.files[1].path;
    fs::OpenOptions::new().append(true).open(original).unwrap().write_all(b"more").unwrap();
    assert_eq!(fixture.add(builds).unwrap(), list);
    let fewer = FinishedImages { files: fixture.build.files[..1].to_vec(), ..fixture.build.clone() };
    let error = fixture.add(&[fewer]).unwrap_err().to_string();
    assert!(
        error.ends_with("images.json already lists other images, and the images of a version are immutable")
    );
}

#[test]
fn images_of_another_release_are_refused_before_anything_is_copied() {
    let fixture = Fixture::new();
    let check = |change: &dyn Fn(&mut FinishedImages), expected: &str| {
        let mut build = fixture.build.clone();
        change(&mut build);
        let error = causes(&fixture.add(&[fixture.build.clone(), build]).unwrap_err());
        assert!(error.contains(expected), "{error}");
        assert!(fixture.names().is_empty(), "{:?}", fixture.names());
    };
    let foreign = "the images of ";
    check(&|build| build.version = "1.0.1".to_owned(), foreign);
    check(&|build| build.version = "1.0.1".to_owned(), "of version 1.0.1, the release has version 1.0.0");
    let other = Digest([5; 32]).to_string();
    check(
        &|build| build.root_hash.clone_from(&other),
        "another build of version 1.0.0: their /usr has root hash 0505",
    );
    check(
        &|build| build.channel = "beta".to_owned(),
        "the images are for channel beta, the release is for alpha",
    );
    check(
        &|build| build.files[0].path = fixture.folder.path().join("other.raw"),
        "other.raw is not named keelson-1.0.0-alpha.EXTENSION",
    );
}

#[test]
fn a_file_that_is_not_as_recorded_leaves_no_copy_and_no_list() {
    let fixture = Fixture::new();
    let path = &fixture.build.files[1].path;
    fs::write(path, "xxx").unwrap();
    let error = fixture.add(std::slice::from_ref(&fixture.build)).unwrap_err().to_string();
    assert!(error.contains("is not the file that its record lists: it has SHA-256 "), "{error}");
    assert_eq!(fixture.names(), ["keelson-1.0.0-alpha.raw"], "the complete copy is reused");
    // A copy that was interrupted, or damaged, is replaced.
    fs::write(path, "box").unwrap();
    fs::write(fixture.to().join("keelson-1.0.0-alpha.raw"), "damaged").unwrap();
    fs::write(fixture.to().join("keelson-1.0.0-alpha-vagrant-libvirt.box.part"), "bo").unwrap();
    let list = fixture.add(std::slice::from_ref(&fixture.build)).unwrap();
    assert_eq!(fixture.names().len(), 3, "{:?}", fixture.names());
    let copy = fs::read(fixture.to().join("keelson-1.0.0-alpha.raw")).unwrap();
    assert_eq!(Digest::of(&copy), list.files[0].sha256);
}
