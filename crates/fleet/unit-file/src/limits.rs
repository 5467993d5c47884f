//! Limits of unit files.

/// Bytes of a unit name, inclusive.
pub const NAME_BYTES: usize = 256;
/// Lines of this many bytes or more are refused: systemd's limit.
pub const LINE_BYTES: usize = 1024 * 1024;
/// Bytes of a unit file, inclusive.
pub const UNIT_BYTES: usize = 1024 * 1024;
/// Values in one unit's `[X-Fleet]`, since each is compared with many names.
pub const FLEET_VALUES: usize = 1024;
/// Bytes of `MemoryRequest`, so that sums over all units do not overflow: 128 TiB.
pub(crate) const MAX_MEMORY_REQUEST: u64 = 1 << 47;
/// Thousandths of a processor in `CPURequest`.
pub(crate) const MAX_CPU_REQUEST: u64 = 100_000_000;
