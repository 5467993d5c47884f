//! What may not grow without end.

/// A unit's name, in bytes; exactly as many are allowed.
pub const NAME_BYTES: usize = 256;
/// A physical line of this many bytes or more is refused: systemd's own limit.
pub const LINE_BYTES: usize = 1024 * 1024;
/// A unit's text. More is refused.
pub const UNIT_BYTES: usize = 1024 * 1024;
/// Values of one unit's `[X-Fleet]`: of patterns and pairs, each is compared with many names.
pub const FLEET_VALUES: usize = 1024;
/// Bytes of one unit's `MemoryRequest`, so that sums over all units stay numbers: 128 TiB.
pub(crate) const MAX_MEMORY_REQUEST: u64 = 1 << 47;
/// Thousandths of a processor of one unit's `CPURequest`.
pub(crate) const MAX_CPU_REQUEST: u64 = 100_000_000;
