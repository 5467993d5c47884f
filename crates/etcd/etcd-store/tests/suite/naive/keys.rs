//! GET, PUT, POST, DELETE and expiration, by kv.md 1.3-1.5 and 7.3.

use std::sync::Arc;

use bytes::Bytes;
use etcd_api::{Action, ApiError, ErrorCode, Event, Key, Node, Timestamp, to_text};
use etcd_store::{Change, Delete, Post, Put};

use super::{Naive, NaiveNode};

impl Naive {
    pub fn get(&self, key: &Key, recursive: bool) -> Result<Event, ApiError> {
        self.must_exist(key.as_bytes())?;
        Ok(Event { action: Action::Get, node: self.list(key.as_bytes(), true, recursive), prev_node: None })
    }

    fn list(&self, path: &[u8], children: bool, recursive: bool) -> Node {
        let mut node = self.to_node(path);
        if children {
            for other in self.nodes.keys().filter(|other| is_child(other, path)) {
                let name = other.rsplit(|byte| *byte == b'/').next().unwrap();
                if !name.starts_with(b"_") {
                    node.nodes.push(self.list(other, recursive, recursive));
                }
            }
        }
        node
    }

    pub fn put(&mut self, put: &Put) -> Result<Change, ApiError> {
        let path = put.key.as_bytes().to_vec();
        if path == b"/" {
            return Err(self.error(ErrorCode::RootReadOnly, &path));
        }
        let want_value = put.prev_value.clone().filter(|value| !value.is_empty());
        let want_index = put.prev_index.filter(|index| *index > 0);
        if put.prev_exist == Some(false) {
            return self.create(&path, put.dir, &put.value, put.expiration).map(Change::Event);
        }
        if want_value.is_some() || want_index.is_some() {
            self.must_exist(&path)?;
            self.must_be_file(&path)?;
            self.must_match(&path, want_value.as_ref(), want_index)?;
            return Ok(self.write(Action::CompareAndSwap, &path, put));
        }
        if put.prev_exist == Some(true) {
            self.must_exist(&path)?;
            if !put.value.is_empty() {
                self.must_be_file(&path)?;
            }
            return Ok(self.write(Action::Update, &path, put));
        }
        self.set(&path, put)
    }

    fn set(&mut self, path: &[u8], put: &Put) -> Result<Change, ApiError> {
        self.no_file_above(path)?;
        if put.refresh {
            self.must_exist(path)?;
        }
        let previous = self.nodes.contains_key(path).then(|| self.to_node(path));
        if previous.is_some() {
            self.must_be_file(path)?;
        }
        let old_value = previous.as_ref().and_then(|node| node.value.clone());
        let value = if put.refresh { old_value.unwrap() } else { put.value.clone() };
        self.place(path, put.dir, &value, put.expiration);
        Ok(self.finish(Action::Set, path, previous, put.refresh))
    }

    /// Update and compare-and-swap: replaces value and TTL of the node.
    fn write(&mut self, action: Action, path: &[u8], put: &Put) -> Change {
        let previous = self.to_node(path);
        let next = self.index + 1;
        let node = self.nodes.get_mut(path).unwrap();
        node.expiration = put.expiration;
        if node.value.is_some() {
            node.modified = next;
            if !put.refresh {
                node.value = Some(put.value.clone());
            }
        }
        self.finish(action, path, Some(previous), put.refresh)
    }

    pub fn post(&mut self, post: &Post) -> Result<Change, ApiError> {
        let mut path = post.key.as_bytes().to_vec();
        if path == b"/" {
            path.clear();
        }
        path.extend(format!("/{:020}", self.index + 1).bytes());
        self.create(&path, post.dir, &post.value, post.expiration).map(Change::Event)
    }

    fn create(
        &mut self,
        path: &[u8],
        dir: bool,
        value: &Bytes,
        until: Option<Timestamp>,
    ) -> Result<Arc<Event>, ApiError> {
        self.no_file_above(path)?;
        if self.nodes.contains_key(path) {
            return Err(self.error(ErrorCode::KeyExists, path));
        }
        self.place(path, dir, value, until);
        let event = Arc::new(Event { action: Action::Create, node: self.to_node(path), prev_node: None });
        self.record_event(Some(Arc::clone(&event)));
        Ok(event)
    }

    fn place(&mut self, path: &[u8], dir: bool, value: &Bytes, expiration: Option<Timestamp>) {
        let next = self.index + 1;
        for above in ancestors(path) {
            let directory = NaiveNode { value: None, created: next, modified: next, expiration: None };
            self.nodes.entry(above).or_insert(directory);
        }
        let value = (!dir).then(|| value.clone());
        self.nodes.insert(path.to_vec(), NaiveNode { value, created: next, modified: next, expiration });
    }

    fn finish(&mut self, action: Action, path: &[u8], previous: Option<Node>, refresh: bool) -> Change {
        let mut node = self.to_node(path);
        node.modified_index = self.index + 1;
        let event = Arc::new(Event { action, node, prev_node: previous });
        self.record_event((!refresh).then(|| Arc::clone(&event)));
        if refresh { Change::Refreshed(event) } else { Change::Event(event) }
    }

    pub fn delete(&mut self, delete: &Delete) -> Result<Change, ApiError> {
        let path = delete.key.as_bytes();
        let want_value = delete.prev_value.clone().filter(|value| !value.is_empty());
        let want_index = delete.prev_index.filter(|index| *index > 0);
        if want_value.is_some() || want_index.is_some() {
            if path == b"/" {
                return Err(self.error(ErrorCode::NotAFile, b""));
            }
            self.must_exist(path)?;
            self.must_be_file(path)?;
            self.must_match(path, want_value.as_ref(), want_index)?;
            return Ok(Change::Event(self.remove(Action::CompareAndDelete, path)));
        }
        if path == b"/" {
            return Err(self.error(ErrorCode::RootReadOnly, path));
        }
        self.must_exist(path)?;
        if !delete.dir && !delete.recursive {
            self.must_be_file(path)?;
        }
        if !delete.recursive && self.nodes.keys().any(|other| is_child(other, path)) {
            return Err(self.error(ErrorCode::DirectoryNotEmpty, path));
        }
        Ok(Change::Event(self.remove(Action::Delete, path)))
    }

    pub fn expire(&mut self, now: Timestamp) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        loop {
            let due = self.nodes.iter().filter_map(|(path, node)| Some((node.expiration?, path.clone())));
            let Some((_, path)) = due.filter(|(at, _)| *at <= now).min() else { return events };
            events.push(self.remove(Action::Expire, &path));
            self.counts.expire_count += 1;
        }
    }

    fn remove(&mut self, action: Action, path: &[u8]) -> Arc<Event> {
        let previous = self.to_node(path);
        let node = Node { value: None, expiration: None, modified_index: self.index + 1, ..previous.clone() };
        let below = [path, b"/"].concat();
        self.nodes.retain(|other, _| other != path && !other.starts_with(&below));
        let event = Arc::new(Event { action, node, prev_node: Some(previous) });
        self.record_event(Some(Arc::clone(&event)));
        event
    }

    fn must_exist(&self, path: &[u8]) -> Result<(), ApiError> {
        self.no_file_above(path)?;
        for part in ancestors(path).into_iter().chain([path.to_vec()]) {
            if !self.nodes.contains_key(&part) {
                return Err(self.error(ErrorCode::KeyNotFound, &part));
            }
        }
        Ok(())
    }

    fn no_file_above(&self, path: &[u8]) -> Result<(), ApiError> {
        for above in ancestors(path) {
            if self.nodes.get(&above).is_some_and(|node| node.value.is_some()) {
                return Err(self.error(ErrorCode::NotADirectory, &above));
            }
        }
        Ok(())
    }

    fn must_be_file(&self, path: &[u8]) -> Result<(), ApiError> {
        if self.nodes[path].value.is_none() { Err(self.error(ErrorCode::NotAFile, path)) } else { Ok(()) }
    }

    fn must_match(&self, path: &[u8], value: Option<&Bytes>, index: Option<u64>) -> Result<(), ApiError> {
        let node = &self.nodes[path];
        let have = node.value.clone().unwrap();
        let mut failures = Vec::new();
        if let Some(want) = value.filter(|want| **want != have) {
            failures.push(format!("[{} != {}]", to_text(want), to_text(&have)));
        }
        if let Some(want) = index.filter(|want| *want != node.modified) {
            failures.push(format!("[{want} != {}]", node.modified));
        }
        if failures.is_empty() {
            return Ok(());
        }
        Err(ApiError::new(ErrorCode::CompareFailed, failures.join(" "), self.index))
    }

    fn error(&self, code: ErrorCode, cause: &[u8]) -> ApiError {
        ApiError::new(code, to_text(cause), self.index)
    }
}

/// The paths between the root and `path`, exclusive, from the top.
fn ancestors(path: &[u8]) -> Vec<Vec<u8>> {
    let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| path[..at].to_vec()).collect()
}

fn is_child(path: &[u8], of: &[u8]) -> bool {
    let prefix = if of == b"/" { b"/".to_vec() } else { [of, b"/"].concat() };
    path != b"/" && path.strip_prefix(&prefix[..]).is_some_and(|name| !name.contains(&b'/'))
}
