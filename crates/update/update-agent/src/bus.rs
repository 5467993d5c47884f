//! The D-Bus interface on the system bus (contract 2.2).

use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use update_core::status::{Operation, Status};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, fdo, interface};

use crate::engine::{Command, Shared};

pub const NAME: &str = "com.coreos.update1";
pub const PATH: &str = "/com/coreos/update1";

/// `com.coreos.update1.Manager`.
pub struct Manager {
    pub shared: Arc<Shared>,
    pub commands: Sender<Command>,
}

impl Manager {
    fn command(&self, command: Command) -> fdo::Result<()> {
        self.commands
            .send(command)
            .map_err(|_| fdo::Error::Failed("the update engine is stopping".to_owned()))
    }

    fn is_idle(&self) -> bool {
        matches!(self.shared.status().operation, Operation::Idle | Operation::NeedReboot)
    }
}

#[interface(name = "com.coreos.update1.Manager")]
impl Manager {
    /// Does nothing, successfully, while an update is in progress.
    fn attempt_update(&self) -> fdo::Result<()> {
        if self.is_idle() { self.command(Command::Check) } else { Ok(()) }
    }

    async fn reset_status(&self) -> fdo::Result<()> {
        match self.shared.status().operation {
            Operation::Idle => return Ok(()),
            Operation::NeedReboot => {}
            other => return Err(fdo::Error::Failed(format!("an update is in progress: {}", other.name()))),
        }
        let (reply, result) = oneshot::channel();
        self.command(Command::Reset(reply))?;
        let result =
            result.await.map_err(|_| fdo::Error::Failed("the update engine is stopping".to_owned()))?;
        result.map_err(fdo::Error::Failed)
    }

    fn get_status(&self) -> (i64, f64, String, String, i64) {
        fields(self.shared.status())
    }

    #[zbus(signal)]
    async fn status_update(
        emitter: &SignalEmitter<'_>,
        last_checked_time: i64,
        progress: f64,
        current_operation: &str,
        new_version: &str,
        new_size: i64,
    ) -> zbus::Result<()>;
}

/// Interface for `update-agent`.
pub struct KeelsonManager {
    pub commands: Sender<Command>,
}

#[interface(name = "io.keelson.Update1")]
impl KeelsonManager {
    /// Reads the slots again after another program changed them.
    fn refresh(&self) -> fdo::Result<()> {
        let stopping = |_| fdo::Error::Failed("the update engine is stopping".to_owned());
        self.commands.send(Command::Refresh).map_err(stopping)
    }
}

fn fields(status: Status) -> (i64, f64, String, String, i64) {
    let Status { last_checked, progress, operation, new_version, new_size } = status;
    (last_checked, progress, operation.name().to_owned(), new_version, new_size)
}

/// Emits a signal for each status change.
pub async fn emit_changes(
    connection: Connection,
    mut changes: UnboundedReceiver<Status>,
) -> zbus::Result<()> {
    let emitter = SignalEmitter::new(&connection, PATH)?;
    while let Some(status) = changes.recv().await {
        let (checked, progress, operation, version, size) = fields(status);
        Manager::status_update(&emitter, checked, progress, &operation, &version, size).await?;
    }
    Ok(())
}
