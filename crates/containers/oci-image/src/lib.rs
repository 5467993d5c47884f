//! OCI and Docker images as data: names, digests, manifests, platforms, settings of a container, credentials and
//! signatures.
//!
//! It reads no file and no socket. Every document from a registry or an archive is checked here before anything else
//! uses it.

#![warn(missing_docs)]

pub mod app_name;
pub mod challenge;
pub mod config;
pub mod credentials;
pub mod digest;
mod document;
pub mod image_name;
pub mod limits;
pub mod manifest;
pub mod media_type;
pub mod name_error;
pub mod platform;
pub mod reference;
mod reference_grammar;
pub mod runtime;
pub mod selection;
pub mod signature;
pub mod user;

pub use digest::Digest;
pub use image_name::ImageName;
pub use manifest::{Blob, Document, Index, Layer, Manifest};
pub use name_error::NameError;
pub use platform::Platform;
pub use reference::Reference;
