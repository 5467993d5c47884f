//! From `os/` and `image/` to a disk that boots: packages, trees, `/usr`, the unified kernel image.
//!
//! The way of the data is the order of the modules: [`lock`] names packages, [`fetch`] brings them, [`unpack`]
//! makes trees of them, [`system`] the node's `/usr`, [`initrd`] and [`disk`] the image; [`build`] walks it, and
//! [`work`] remembers what was made from what. It must never need root, mount anything on the host, or let the
//! host's programs, time or paths into an image.

pub mod build;
mod built;
pub mod crates;
pub mod diff;
pub mod disk;
pub mod docker_archive;
pub mod enrolment;
pub mod fetch;
pub mod finished;
pub mod formats;
pub mod full_disk;
pub mod initrd;
pub mod kernel;
pub mod laid_out;
pub mod lock;
pub mod mirror;
pub mod options;
pub mod programs;
mod recipe;
pub mod release;
pub mod resolve;
pub mod sbom;
pub mod signature;
pub mod sparse;
mod strip;
pub mod system;
pub mod tool;
pub mod tree;
pub mod umask;
pub mod unpack;
pub mod verify;
pub mod work;
