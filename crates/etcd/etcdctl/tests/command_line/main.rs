//! The program as scripts see it: what it prints where, and its exit code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

#[allow(dead_code, reason = "the client's tests use all of it")]
#[path = "../../../etcd-client/tests/against_canned_servers/canned.rs"]
mod canned;
mod completions;
mod discovered;
mod member_data;
mod program;
mod reference;
mod servers_that_fail;
mod transcript;
mod without_server;
#[allow(dead_code, reason = "the lookups' own tests use all of it")]
#[path = "../../../srv-lookup/tests/kit/zone.rs"]
mod zone;
