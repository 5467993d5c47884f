//! Which events a watch receives, by kv.md 1.6, on paths as text.

use etcd_api::{Action, Event, Key};

pub fn sees(watched: &Key, recursive: bool, event: &Event) -> bool {
    let watched = format!("{}/", String::from_utf8_lossy(watched.as_bytes()).trim_end_matches('/'));
    let changed = format!("{}/", String::from_utf8_lossy(event.node.key.as_bytes()).trim_end_matches('/'));
    if watched == changed {
        return true;
    }
    let goes = matches!(event.action, Action::Delete | Action::CompareAndDelete | Action::Expire);
    if goes && event.prev_node.as_ref().unwrap().dir && watched.starts_with(&changed) {
        return true;
    }
    let Some(relative) = changed.strip_prefix(&watched) else { return false };
    recursive && !relative.split('/').any(|name| name.starts_with('_'))
}
