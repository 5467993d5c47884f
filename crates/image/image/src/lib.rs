//! Builds bootable disk images from `os/` and `image/`: packages, trees, `/usr`, the unified kernel image.
//!
//! Data flow: [`lock`] lists packages, [`fetch`] downloads them, [`unpack`] creates trees, [`system`] the node's
//! `/usr`, [`initrd`] and [`disk`] the image. [`build`] runs the steps, and [`work`] caches their results by their
//! inputs. Builds must not need root, must not mount anything on the host, and must not let the host's programs, time
//! or paths into an image.

mod arguments_area;
mod boot_image;
pub mod build;
mod built;
pub mod config_iso;
pub mod crates;
pub mod customize;
pub mod diff;
pub mod disk;
mod disk_file;
pub mod disk_full;
pub mod docker_archive;
mod encode;
pub mod enrolment;
mod etc_files;
mod fat;
pub mod fetch;
pub mod finish;
pub mod formats;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod import;
mod import_line;
pub mod initrd;
pub mod installed;
mod iso;
mod iso_partition;
pub mod kernel;
mod live;
pub mod lock;
pub mod mirror;
pub mod options;
mod partition_table;
mod platform_disk;
pub mod prebuilt;
pub mod programs;
mod recipe;
pub mod release;
pub mod resolve;
pub mod sbom;
pub mod signature;
mod source;
pub mod sparse;
mod strip;
pub mod system;
pub mod tool;
pub mod toolbox;
pub mod tree;
pub mod umask;
pub mod unpack;
pub mod verify;
pub mod work;
