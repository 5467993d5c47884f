//! Whether systemd's memory matches the unit files.

/// systemd caches loaded unit files. A daemon-reload reads all files again and blocks systemd for a tenth of a second
/// or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedDaemonReload {
    /// systemd may have an older version in memory.
    Yes,
    /// systemd has nothing of the unit in memory and loads its file on demand.
    No,
}
