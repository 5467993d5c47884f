use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use disk_formats::deflate::Deflater;

use super::*;
use crate::built::Built;

/// A disk with data at both ends.
fn disk(folder: &Path) -> PathBuf {
    let raw = folder.join("disk.raw");
    let file = File::create(&raw).unwrap();
    for at in [0, (4 << 20) - 5] {
        std::os::unix::fs::FileExt::write_all_at(&file, b"data\n", at).unwrap();
    }
    raw
}

fn encode(encoding: Encoding, folder: &Path, to: &str) -> PathBuf {
    encode_until(Arc::default(), encoding, folder, to).unwrap()
}

fn encode_until(
    cancel: Arc<AtomicBool>,
    encoding: Encoding,
    folder: &Path,
    to: &str,
) -> Result<PathBuf, EncodeError> {
    let raw = disk(folder);
    let mut built = Built::of_disk(&folder.join("work"), &raw);
    built.checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    built.tools = "/nonexistent".into();
    built.cancel = cancel;
    let source = Source {
        raw: &raw,
        digest: crate::sparse::digest(&raw).unwrap(),
        sha256: None,
        name: "keelson-1.0.0-alpha",
        scratch: folder,
        deflater: &Deflater::new(None),
        built: &built,
    };
    let to = folder.join(to);
    source.encode(encoding, "file", &to)?;
    Ok(to)
}

#[test]
fn an_interrupt_ends_an_encoding() {
    let folder = tempfile::tempdir().unwrap();
    for encoding in [
        Encoding::Gzip,
        Encoding::Zstd,
        Encoding::SparseTarGz,
        Encoding::Vdi,
        Encoding::Vhdx,
        Encoding::Vmdk(Adapter::Ide),
        Encoding::VirtualBoxOva,
        Encoding::VirtualBoxBox,
    ] {
        let cancel = Arc::new(AtomicBool::new(true));
        let error = encode_until(cancel, encoding, folder.path(), "disk").unwrap_err();
        assert!(base_text(&error).contains("interrupted"), "{encoding:?}: {error:?}");
    }
}

fn base_text(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), base_text)
}

/// Names and contents of an archive, which may be compressed.
fn members(archive: impl Read) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), content)
    });
    entries.collect()
}

#[test]
fn a_box_has_what_vagrant_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = encode(Encoding::VirtualBoxBox, folder.path(), "a.box");
    let members = members(flate2::read::GzDecoder::new(File::open(path).unwrap()));
    let names: Vec<_> = members.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["metadata.json", "Vagrantfile", "box.ovf", "disk.vmdk"]);
    let metadata: serde_json::Value = serde_json::from_slice(&members[0].1).unwrap();
    assert_eq!(metadata["provider"], "virtualbox");
    let vagrantfile = String::from_utf8_lossy(&members[1].1);
    for part in ["configure_networks_cloud_init", "\"--firmware\", \"efi\""] {
        assert!(vagrantfile.contains(part), "{vagrantfile}");
    }
    let description = String::from_utf8_lossy(&members[2].1);
    assert!(description.contains(&format!("ovf:size=\"{}\"", members[3].1.len())), "{description}");
    assert!(!folder.path().join(DISK_FILE).exists());
}

#[test]
fn an_ova_has_its_members_in_order_and_their_digests() {
    let folder = tempfile::tempdir().unwrap();
    let path = encode(Encoding::VirtualBoxOva, folder.path(), "a.ova");
    let members = members(File::open(path).unwrap());
    let names: Vec<_> = members.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["keelson-1.0.0-alpha.ovf", "keelson-1.0.0-alpha.mf", "disk.vmdk"]);
    let digest = |number: usize| hex(&<sha2::Sha256 as sha2::Digest>::digest(&members[number].1));
    let manifest =
        format!("SHA256(keelson-1.0.0-alpha.ovf)= {}\nSHA256(disk.vmdk)= {}\n", digest(0), digest(2));
    assert_eq!(String::from_utf8_lossy(&members[1].1), manifest);
    let description = String::from_utf8_lossy(&members[0].1).into_owned();
    assert!(description.contains(&format!("ovf:size=\"{}\"", members[2].1.len())), "{description}");
    assert!(!folder.path().join(DISK_FILE).exists());
}

#[test]
fn the_same_disk_has_the_same_bytes_in_every_format() {
    let encodings = [
        Encoding::Raw,
        Encoding::Gzip,
        Encoding::Zstd,
        Encoding::Vmdk(Adapter::Ide),
        Encoding::Vdi,
        Encoding::FixedVhd,
        Encoding::Vhdx,
        Encoding::VirtualBoxOva,
        Encoding::VmwareOva,
        Encoding::VirtualBoxBox,
        Encoding::SparseTarGz,
    ];
    for encoding in encodings {
        let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let read = |folder: &Path, name| fs::read(encode(encoding, folder, name)).unwrap();
        assert!(read(one.path(), "a") == read(two.path(), "another"), "{encoding:?}");
    }
}

#[test]
fn an_archive_with_the_image_follows_the_initrd_and_ends_with_the_root_hash() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let raw = disk(folder);
    let mut built = Built::of_disk(&folder.join("work"), &raw);
    built.initrd = folder.join("initrd");
    built.usr_root_hash = "5".repeat(64);
    // Of a length that the second archive cannot follow at once.
    std::fs::write(&built.initrd, "system").unwrap();
    // The image exists: no tool is needed.
    std::fs::write(folder.join("live.erofs"), "image").unwrap();
    let source = Source {
        raw: &raw,
        digest: String::new(),
        sha256: None,
        name: "keelson-1.0.0-alpha",
        scratch: folder,
        deflater: &Deflater::new(None),
        built: &built,
    };
    let to = folder.join("out");
    source.encode(Encoding::LiveInitrd, "out", &to).unwrap();
    let bytes = std::fs::read(&to).unwrap();
    let second = bytes.strip_prefix(b"system\0\0").unwrap();
    let mut archive = second;
    let mut files = Vec::new();
    loop {
        let mut entry = cpio::newc::Reader::new(archive).unwrap();
        if entry.entry().is_trailer() {
            break;
        }
        let (name, mut content) = (entry.entry().name().to_owned(), Vec::new());
        entry.read_to_end(&mut content).unwrap();
        files.push((name, content));
        archive = entry.finish().unwrap();
    }
    let names: Vec<_> = files.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["live", "live/image.conf", "live/ipxe", "live/image.erofs"]);
    assert_eq!(files[1].1, format!("USR_ROOT_HASH={}\n", built.usr_root_hash).into_bytes());
    assert_eq!(files[2].1, b"\n-----BEGIN\n");
    let image = &files[3].1;
    assert_eq!(image.len(), 5 + 4096);
    assert!(image.starts_with(b"image ") && image.ends_with(built.usr_root_hash.as_bytes()));
}
