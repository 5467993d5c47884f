//! The D-Bus face (the contract's 2.2), on the system bus.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use update_core::status::{Operation, Status};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, fdo, interface};

use crate::engine::{Order, Shared};

pub const NAME: &str = "com.coreos.update1";
pub const PATH: &str = "/com/coreos/update1";

/// `com.coreos.update1.Manager`.
pub struct Manager {
    pub shared: Arc<Shared>,
    pub orders: Sender<Order>,
}

impl Manager {
    fn order(&self, order: Order) -> fdo::Result<()> {
        self.orders.send(order).map_err(|_| fdo::Error::Failed("the update engine is stopping".to_owned()))
    }

    fn is_at_rest(&self) -> bool {
        matches!(self.shared.status().operation, Operation::Idle | Operation::NeedReboot)
    }
}

#[interface(name = "com.coreos.update1.Manager")]
impl Manager {
    /// While an update goes on this does nothing, and that is a success.
    fn attempt_update(&self) -> fdo::Result<()> {
        if self.is_at_rest() { self.order(Order::Check) } else { Ok(()) }
    }

    async fn reset_status(&self) -> fdo::Result<()> {
        match self.shared.status().operation {
            Operation::Idle => return Ok(()),
            Operation::NeedReboot => {}
            other => return Err(fdo::Error::Failed(format!("an update goes on: {}", other.name()))),
        }
        let (answer, done) = oneshot::channel();
        self.order(Order::Reset(answer))?;
        let done = done.await.map_err(|_| fdo::Error::Failed("the update engine is stopping".to_owned()))?;
        done.map_err(fdo::Error::Failed)
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

/// What only we have: for `update-agent`.
pub struct Additions {
    pub orders: Sender<Order>,
}

#[interface(name = "io.keelson.Update1")]
impl Additions {
    /// Another program changed the slots: look again.
    fn refresh(&self) -> fdo::Result<()> {
        let stopping = |_| fdo::Error::Failed("the update engine is stopping".to_owned());
        self.orders.send(Order::Refresh).map_err(stopping)
    }
}

fn fields(status: Status) -> (i64, f64, String, String, i64) {
    let Status { last_checked, progress, operation, new_version, new_size } = status;
    (last_checked, progress, operation.name().to_owned(), new_version, new_size)
}

/// Tells every change of the status, until the daemon ends.
pub async fn tell(connection: Connection, mut changes: UnboundedReceiver<Status>) -> zbus::Result<()> {
    let emitter = SignalEmitter::new(&connection, PATH)?;
    while let Some(status) = changes.recv().await {
        let (checked, progress, operation, version, size) = fields(status);
        Manager::status_update(&emitter, checked, progress, &operation, &version, size).await?;
    }
    Ok(())
}
