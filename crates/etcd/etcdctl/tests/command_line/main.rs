//! Tests of the program's interface to scripts: output and exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

#[allow(dead_code, reason = "the client's tests use all of it")]
#[path = "../../../etcd-client/tests/against_canned_servers/canned.rs"]
mod canned;
mod completions;
mod discovered;
mod failing_servers;
mod member_data;
mod program;
mod reference;
mod transcript;
mod without_server;
#[allow(dead_code, reason = "the lookups' own tests use all of it")]
#[path = "../../../srv-lookup/tests/kit/zone.rs"]
mod zone;
