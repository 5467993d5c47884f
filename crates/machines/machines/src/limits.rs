//! All limits, sizes and durations of this crate.

use std::time::Duration;

/// Nodes of one cluster: their LAN addresses are 10.77.0.11 to 10.77.0.242.
pub const NODES_MAX: usize = 232;
/// Host part of the first node's LAN address.
pub const FIRST_HOST: u8 = 11;
pub const MEMORY_MIB: u32 = 1024;
/// Memory below which the image does not boot.
pub const MEMORY_MIN_MIB: u32 = 256;
pub const CPUS: u32 = 2;
/// Virtual size of a node's disk; the file is sparse.
pub const DISK_GIB: u32 = 8;

/// Longest path of a unix socket (`sun_path` less the final NUL).
pub const SOCKET_PATH_MAX: usize = 107;
/// Bytes before the number in a node's name. [`SOCKET_PATH_MAX`] must also hold a home folder, the longest cluster
/// name, `-01` and the socket's name.
pub const NAME_PREFIX_MAX: usize = 16;
/// Length of the suffix that ssh appends to the path of a shared connection's socket before it listens.
pub const SSH_SOCKET_SUFFIX: usize = 17;
/// How long an idle shared connection stays open.
pub const SSH_PERSIST: Duration = Duration::from_secs(120);
/// Largest frame that QEMU sends over a stream netdev (its NET_BUFSIZE).
pub const FRAME_MAX: usize = 4096 + 65536;
/// Frames queued for one port; more are dropped.
pub const PORT_QUEUE: usize = 1024;
/// MAC addresses that the switch remembers.
pub const ADDRESSES_MAX: usize = 1024;
/// Longest line on the switch's control socket.
pub const CONTROL_LINE_MAX: usize = 4096;

/// Size of the config drive, slightly more than the largest user-data.
pub const CONFIG_DRIVE_BYTES: u64 = 32 * 1024 * 1024;
/// Largest user-data of a node.
pub const USER_DATA_MAX: u64 = 16 * 1024 * 1024;
/// Bytes read from the end of a console or log file.
pub const TAIL_BYTES: u64 = 64 * 1024;
/// Disk space of a log above which its middle is discarded; less than half of it is kept.
pub const LOG_MAX: u64 = 8 * 1024 * 1024;
/// Bytes kept from the start of each boot.
pub const LOG_HEAD: u64 = 256 * 1024;
/// Number of boots whose start is kept.
pub const LOG_BOOTS: usize = 8;
/// Bytes kept at the end.
pub const LOG_TAIL: u64 = 1024 * 1024;
pub const EVENT_LINE_MAX: usize = 64 * 1024;
/// Lines of console or log in an error.
pub const TAIL_LINES: usize = 10;
/// Longest readiness line of a node.
pub const READY_LINE_MAX: u64 = 64 * 1024;

/// Distinct console lines that count as progress of a boot.
pub const PROGRESS_LINES_MAX: usize = 4096;
/// Sampling interval of a machine's processor time, and the share, used or waited for, that counts as busy. A machine
/// that waits uses less.
pub const CPU_SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
pub const CPU_BUSY_SHARE: f64 = 0.1;
/// Processor time that a boot may use without output. From the firmware to the login prompt an emulated machine uses 30 s
/// on a fast idle host, and 60 s beside two others at 35 % of two processors.
pub const CPU_SILENT_MAX: Duration = Duration::from_secs(300);
/// Time without progress after which a wait gives up; longer for emulated machines, whose host may swap.
pub const SILENCE: Duration = Duration::from_secs(180);
pub const SILENCE_EMULATED: Duration = Duration::from_secs(300);
pub const TICK: Duration = Duration::from_millis(200);
pub const LOG_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// Time for the firmware of the KVM probe guest to print; a working one needs half a second.
pub const PROBE: Duration = Duration::from_secs(6);
/// Time for a started QEMU to respond on its QMP socket.
pub const QMP_ANSWER: Duration = Duration::from_secs(20);
/// Time for a clean shutdown before the power is cut, without what the host delays the machine.
pub const SHUTDOWN: Duration = Duration::from_secs(45);
pub const SHUTDOWN_EMULATED: Duration = Duration::from_secs(180);
/// Time for a killed process to exit.
pub const KILL: Duration = Duration::from_secs(10);
/// Time for every thread of a process to obey SIGSTOP; only an unresponsive disk delays it.
pub const FREEZE: Duration = Duration::from_secs(60);
/// Time for an etcd member to use new certificates; it checks for them twice a second.
pub const CERTIFICATES_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for nspawn to start a node's init, and for the node's network.
pub const NSPAWN_START: Duration = Duration::from_secs(60);
/// Time for a background process to open its socket.
pub const BACKGROUND_START: Duration = Duration::from_secs(10);
/// Pause between two polls of a condition on a node.
pub const RETRY: Duration = Duration::from_millis(500);
/// Default limit of a scenario's command on a node.
pub const COMMAND: Duration = Duration::from_secs(120);
