//! What can grow, and how far.

/// Of one application. Who comes later is told so, and gets no updates.
pub const MACHINES: usize = 200_000;
pub const APPS: usize = 64;
/// Channels, groups or packages of one application.
pub const NAMED: usize = 1024;
/// What a machine says of itself, each.
pub const TEXT: usize = 128;
pub const NAME: usize = 64;
/// What is kept of a machine's past.
pub const HISTORY: usize = 12;
/// Versions that a machine gave up.
pub const GIVEN_UP: usize = 8;
/// The oldest go first.
pub const ACTIVITY: usize = 10_000;
/// Points of a group's time line.
pub const POINTS: usize = 1500;
pub const FURTHER_FILES: usize = 128;
pub const WINDOWS: usize = 32;
pub const WAVES: usize = 32;
pub const FLOORS: usize = 64;
/// A limit from here on is none, as in the original.
pub const UNLIMITED: u32 = 900_000;
/// Seconds in which progress of its download prolongs a machine's grant.
pub const DOWNLOAD: u64 = 24 * 3600;
/// Versions in statistics; the rest is counted as `other`, since machines can report any.
pub const VERSIONS: usize = 64;
/// Seconds without contact after which a machine that installed a version has failed. It checks every 40 to 50 minutes while
/// the reboot is pending, and minutes after it.
pub const LOST: u64 = 100 * 60;
