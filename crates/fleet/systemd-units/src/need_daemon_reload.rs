//! Whether systemd works with the files as they are.

/// systemd keeps what it has read of a unit, and reads all files again when it is told to, which takes a tenth of a
/// second and more. Meanwhile it answers nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedDaemonReload {
    /// It may have read something else than what is there now.
    Yes,
    /// It has nothing of the unit in its memory: it reads what is there when it is asked for it.
    No,
}
