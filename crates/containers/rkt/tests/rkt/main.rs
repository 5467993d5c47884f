//! The program as its users see it: with crun, as root, on images that the tests build.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod archive;
mod crashes;
mod decompression;
mod images;
mod isolation;
mod lab;
mod leftovers;
mod networks;
mod pods;
mod registry;
mod seccomp;
mod volumes;
