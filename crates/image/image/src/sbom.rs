//! The image's software bill of materials: one list of components, written as SPDX 2.3 and as CycloneDX 1.6.
//!
//! Both documents have the same components, and the same bytes for the same image.

mod components;
pub mod cyclonedx;
pub mod spdx;

pub use components::{Bom, BuiltProgram};
pub use spdx::CRATE_ID;

#[cfg(test)]
mod tests;
