//! Images in one directory: fetched from registries, imported from files, verified, and unpacked to root file systems.
//!
//! Nothing enters the store before its digest matches, and nothing is used before it is complete: files and trees are
//! created in a folder of their own and renamed. No path of an image leads out of its tree. Several processes may use
//! a store at the same time.

#![warn(missing_docs)]

mod blob;
mod confined;
mod decompress;
mod folder;
mod gc;
mod import;
mod lock;
mod meter;
mod record;
mod registry;
mod store;
mod store_error;
mod tree_digest;
mod trust;
mod unpack;

pub use decompress::{DECOMPRESSOR_NAME, Decompression, run_decompressor};
pub use gc::{Collected, GcError};
pub use import::{ImportError, ImportOptions, Imported};
pub use record::ImageRecord;
pub use registry::{PullError, PullOptions, Pulled, RegistryError, RegistryOptions, Transfer};
pub use store::Store;
pub use store_error::StoreError;
pub use tree_digest::VerifyError;
pub use trust::{MAX_KEY, TrustPolicy, TrustStoreError, read_all_trust, read_trust};
pub use unpack::{DeviceNodes, EntryError, Owners, Tree, UnpackError, UnpackLimits, UnpackOptions};
