//! Limits of everything that can grow.

/// Machines of an application that are registered, and as many that are not. A further unregistered one replaces a
/// provisional one; without one it gets no updates.
pub const MACHINES: usize = 200_000;
/// Unregistered machines per application and source: an IPv4 address, or the first 64 bits of an IPv6 address. Loopback, where a reverse
/// proxy is, has no limit of its own.
pub const MACHINES_PER_SOURCE: usize = 20_000;
/// Seconds between the first and the last request below which a machine is provisional. Machines check every 40 to 50
/// minutes.
pub const PROVISIONAL: u64 = 30 * 60;
/// Seconds after its first request in which a machine that came after a rollout began does not count, unless it is
/// registered. Seconds after the last request of a registered machine in which nobody else uses its id.
pub const NEWCOMER: u64 = 24 * 3600;
pub(crate) const APPS: usize = 64;
/// Channels, groups or packages per application.
pub const ITEMS_PER_APP: usize = 1024;
/// Bytes of each text that a machine reports.
pub const TEXT: usize = 128;
pub(crate) const NAME: usize = 64;
/// Status changes kept per machine.
pub const HISTORY: usize = 12;
/// Versions kept that a machine gave up.
pub const GIVEN_UP: usize = 8;
/// Activity entries. The oldest are dropped first.
pub const ACTIVITY: usize = 10_000;
/// Points of a group's timeline.
pub const POINTS: usize = 1500;
pub(crate) const FURTHER_FILES: usize = 128;
pub(crate) const WINDOWS: usize = 32;
pub(crate) const WAVES: usize = 32;
pub(crate) const FLOORS: usize = 64;
/// Limits of a policy from here on mean "unlimited", as in CoreUpdate.
pub const UNLIMITED: u32 = 900_000;
/// Seconds in which download progress renews a machine's grant.
pub const DOWNLOAD: u64 = 24 * 3600;
/// Versions in statistics. The rest is counted as `other`, since machines can report any text.
pub const VERSIONS: usize = 64;
/// Seconds without contact after which a machine that installed a version counts as failed. It checks every 40 to 50
/// minutes while the reboot is pending, and minutes after it.
pub const LOST_AFTER: u64 = 100 * 60;
