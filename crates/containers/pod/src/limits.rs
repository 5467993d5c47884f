//! Limits of a pod.

/// Apps of a pod.
pub const MAX_APPS: usize = 64;
/// Volumes, mounts, ports, entries of hosts and name servers: of each as many.
pub const MAX_ENTRIES: usize = 512;
/// Bytes of a stored manifest.
pub const MAX_MANIFEST: u64 = 8 << 20;
/// Bytes of a file with environment variables.
pub const MAX_ENVIRONMENT_FILE: u64 = 1 << 20;
/// Characters of names of apps and volumes.
pub const MAX_NAME: usize = 63;
/// Characters of a host name: the kernel's limit.
pub const MAX_HOSTNAME: usize = 64;
