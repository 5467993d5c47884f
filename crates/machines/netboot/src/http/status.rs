//! `/status.json`: images, machines, and packets without an answer.

use serde_json::{Value, json};

use crate::server::{Server, now};

/// Times are Unix times in seconds.
pub fn status(server: &Server) -> Value {
    let machines = server.machines.lock();
    json!({
        "now": now(),
        "url": server.url(),
        "images": server.catalog().images(),
        "machines": machines.iter().collect::<Vec<_>>(),
        "ignored": server.ignored(),
    })
}
