//! Every format of `image build`: the same bytes elsewhere, and a whole image inside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use progress::Progress;
use sandbox::Sandbox;

use crate::harness::{Build, Finished, first, folder};
use crate::verify_and_diff::failed;

const ALL: &str =
    "raw,raw.gz,raw.zst,qcow2,vmdk,vdi,vhd,ova,vmware,box,box-libvirt,ec2,openstack,gce,azure,vhdx,pxe,iso";

/// Of all files, by name. A format may have several.
fn digests(finished: &Finished) -> BTreeMap<String, &str> {
    let name = |file: &serde_json::Value| {
        let path = Path::new(file["path"].as_str().unwrap());
        path.file_name().unwrap().to_string_lossy().into_owned()
    };
    finished.files().iter().map(|file| (name(file), file["sha256"].as_str().unwrap())).collect()
}

#[test]
#[ignore = "builds whole images: cargo verify --all image"]
fn all_formats_contain_the_image_and_are_the_same_elsewhere() {
    let build = |name: &str| Build { formats: ALL, ..Build::resumed(name, &[]) };
    let here = build("formats").in_shell(&[], "umask 077; exec \"$@\"");
    let finished = here.run();
    for format in ALL.split(',') {
        assert_eq!(failed(&finished.path(format)), [""; 0], "{format}");
    }
    let sizes = |format: &str| finished.file(format)["virtual_size"].as_u64().unwrap();
    assert_eq!((sizes("ova"), sizes("azure")), (16 << 30, 4 << 30));
    assert_eq!(finished.sha256("raw"), first().finished.sha256("raw"));
    let mut elsewhere = build("formats in a folder of another length");
    elsewhere.environment = vec![("TZ", "Asia/Kathmandu".into()), ("LANG", "tr_TR.UTF-8".into())];
    assert_eq!(digests(&elsewhere.run()), digests(&finished));
}

#[test]
#[ignore = "builds whole images: cargo verify --all image"]
fn a_format_that_is_killed_leaves_no_file_and_is_written_by_the_next_build() {
    let build = Build { formats: "vmdk", ..Build::resumed("formats-killed", &[]) };
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&build.out).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut running = build.start();
    running.wait_until("a partial disk", |_| names().iter().any(|name| name.ends_with(".vmdk.partial")));
    kill(Pid::from_raw(running.child.id().cast_signed()), Signal::SIGKILL).unwrap();
    assert!(!running.end().status.success());
    assert!(names().iter().all(|name| name.starts_with('.')), "{:?}", names());
    let finished = build.run();
    assert_eq!(failed(&finished.path("vmdk")), [""; 0]);
    assert!(names().iter().all(|name| !name.contains("partial")), "{:?}", names());
}

#[test]
#[ignore = "builds whole images: cargo verify --all image"]
fn a_config_drive_is_the_same_elsewhere_and_has_its_files() {
    const USER_DATA: &str = "#cloud-config\nhostname: core-01\n";
    let build = &first().build;
    let write = |name: &str, zone: &str| -> PathBuf {
        let place = folder().join(name);
        fs::create_dir(&place).unwrap();
        let [user_data, iso] = ["user-data", "drive.iso"].map(|file| place.join(file));
        fs::write(&user_data, USER_DATA).unwrap();
        let mut command = build.keelson(&["config-drive", "--user-data"]);
        command.arg(&user_data).arg("-o").arg(&iso).env("TZ", zone);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        iso
    };
    let here = write("config-drive", "UTC");
    let bytes = fs::read(&here).unwrap();
    assert!(bytes == fs::read(write("config-drive of another name", "Asia/Kathmandu")).unwrap());
    // The volume id of the first descriptor.
    assert_eq!(&bytes[0x8028..0x8048], format!("{:32}", "config-2").as_bytes());
    let tools = image::build::locked_tools::tools(&build.options(), Progress::Quiet).unwrap();
    let place = here.parent().unwrap();
    let tools = Sandbox::new(&tools.path).unwrap().share(place);
    let mut extract = tools.command("xorriso").unwrap();
    extract.args(["-osirrox", "on", "-indev"]).arg(&here).args(["-extract", "/"]).arg(place.join("content"));
    assert!(extract.output().unwrap().status.success());
    let user_data = fs::read(place.join("content/openstack/latest/user_data")).unwrap();
    assert_eq!(user_data, USER_DATA.as_bytes());
}
