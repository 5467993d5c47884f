//! Every limit, size and time of this crate, in one place.

use std::time::Duration;

/// Nodes of one cluster: their LAN addresses are 10.77.0.11 to 10.77.0.242.
pub const NODES_MAX: usize = 232;
/// Host part of the first node's LAN address.
pub const FIRST_HOST: u8 = 11;
/// Memory a node has unless told otherwise.
pub const MEMORY_MIB: u32 = 1024;
/// Memory below which the image does not boot.
pub const MEMORY_MIN_MIB: u32 = 256;
pub const CPUS: u32 = 2;
/// Size a node's disk is grown to; the file stays sparse.
pub const DISK_GIB: u32 = 8;

/// Longest path of a unix socket (`sun_path` less the final NUL).
pub const SOCKET_PATH_MAX: usize = 107;
/// Bytes before the number in a node's name: with `-01` and the socket's own name it must leave room, in
/// [`SOCKET_PATH_MAX`], for a home folder and the longest name of a cluster.
pub const NAME_PREFIX_MAX: usize = 16;
/// What ssh appends to the path of a shared connection's socket until it is listened on.
pub const SSH_SOCKET_SUFFIX: usize = 17;
/// How long a shared connection stays without a command.
pub const SSH_PERSIST: Duration = Duration::from_secs(120);
/// Largest frame that QEMU sends over a stream netdev (its NET_BUFSIZE).
pub const FRAME_MAX: usize = 4096 + 65536;
/// Frames that wait for one port; more are dropped, as a real switch does.
pub const PORT_QUEUE: usize = 1024;
/// Hardware addresses that the switch remembers.
pub const ADDRESSES_MAX: usize = 1024;
/// Longest line on the switch's control socket.
pub const CONTROL_LINE_MAX: usize = 4096;

/// Size of the config drive; the largest user-data that is accepted on it is a bit less.
pub const CONFIG_DRIVE_BYTES: u64 = 32 * 1024 * 1024;
/// Largest user-data that is handed to a node.
pub const USER_DATA_MAX: u64 = 16 * 1024 * 1024;
/// Bytes at the end of a console or log file that are looked at.
pub const TAIL_BYTES: u64 = 64 * 1024;
/// Bytes that a log may take on its disk before its middle is left out; what is kept of it is less than half.
pub const LOG_MAX: u64 = 8 * 1024 * 1024;
/// Bytes that are kept of the beginning of each boot.
pub const LOG_HEAD: u64 = 256 * 1024;
/// Boots whose beginning is kept.
pub const LOG_BOOTS: usize = 8;
/// Bytes that are kept at the end.
pub const LOG_TAIL: u64 = 1024 * 1024;
/// Longest line of QEMU's machine protocol that is read.
pub const EVENT_LINE_MAX: usize = 64 * 1024;
/// Lines of console or log that an error shows.
pub const TAIL_LINES: usize = 10;
/// Longest readiness line of a node.
pub const READY_LINE_MAX: u64 = 64 * 1024;

/// Different lines of a booting machine that count as movement.
pub const MOVEMENTS_MAX: usize = 4096;
/// Between two looks at a silent machine's processor time, and the share that is work: waiting takes less.
pub const WORK_LOOK: Duration = Duration::from_secs(5);
pub const WORK_SHARE: f64 = 0.1;
/// Processor time that a boot may take without showing anything: an emulated kernel and initrd take 40 s.
pub const WORK_UNSEEN: Duration = Duration::from_secs(200);
/// Machines of which none changes for so long are given up; emulated ones may wait for a host that swaps.
pub const SILENCE: Duration = Duration::from_secs(180);
pub const SILENCE_EMULATED: Duration = Duration::from_secs(300);
/// How often a wait looks for Ctrl-C.
pub const TICK: Duration = Duration::from_millis(200);
/// How often logs are looked at.
pub const LOG_LOOK: Duration = Duration::from_secs(30);
/// Time in which the firmware of the KVM probe guest has to speak; a working one needs half a second.
pub const PROBE: Duration = Duration::from_secs(6);
/// Time in which a started QEMU has to answer on its QMP socket.
pub const QMP_ANSWER: Duration = Duration::from_secs(20);
/// Time for an orderly shutdown before the power is cut.
pub const SHUTDOWN: Duration = Duration::from_secs(45);
/// Time for a killed process to disappear.
pub const KILL: Duration = Duration::from_secs(10);
/// Within it every thread of a process has obeyed SIGSTOP; only a disk that does not answer holds one up.
pub const FREEZE: Duration = Duration::from_secs(60);
/// Time in which a member of etcd has to use new certificates; it looks for them twice a second.
pub const CERTIFICATES_SEEN: Duration = Duration::from_secs(30);
/// Time in which a background process has to open its socket.
pub const BACKGROUND_START: Duration = Duration::from_secs(10);
/// Pause between two tries of a condition inside a node.
pub const RETRY: Duration = Duration::from_millis(500);
/// Time one command of a scenario may take inside a node unless the scenario says otherwise.
pub const COMMAND: Duration = Duration::from_secs(120);
