//! The registry in an etcd v2 service, ours or another.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, DeleteOptions, Error, GetOptions, Node, PrevExist, SetOptions, Watcher};
use fleet_core::registry::Key;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use unit_file::UnitName;

use crate::store::{Change, Only, Reading, Store, StoreError, Stored, Watch};

/// Cheap to clone.
#[derive(Clone)]
pub struct EtcdStore {
    client: Client,
    /// Begins and ends with a slash.
    prefix: String,
    /// Until the response header of a request.
    timeout: Duration,
    /// Whether the service knows how to renew a TTL without an event; asked when that is first wanted.
    refreshes: Arc<OnceCell<bool>>,
}

pub struct EtcdWatch {
    watcher: Watcher,
    prefix: String,
}

/// The body of a response may take as long as its header.
const ANSWERING: u32 = 2;
/// A recursive read of the registry takes longer.
const READING: u32 = 10;

impl EtcdStore {
    /// `client` must not retry after a timeout: only the caller knows whether a request is idempotent.
    pub fn new(client: Client, prefix: &str, timeout: Duration) -> Self {
        let prefix = match prefix.trim_matches('/') {
            "" => "/".to_owned(),
            inner => format!("/{inner}/"),
        };
        Self { client, prefix, timeout, refreshes: Arc::default() }.patient(timeout)
    }

    /// The same store, through the same preferred endpoint, with a longer timeout.
    pub fn patient(&self, timeout: Duration) -> Self {
        let client = self.client.with_timeouts(timeout, timeout * READING);
        Self { client, timeout, ..self.clone() }
    }

    async fn knows_refresh(&self) -> Result<bool, StoreError> {
        let ask = || async {
            let version = self.within(ANSWERING, self.client.version()).await?;
            Ok(knows_refresh(&version.server))
        };
        self.refreshes.get_or_try_init(ask).await.copied()
    }

    async fn set(&self, key: &Key, value: &str, only: Only, mut how: SetOptions) -> Result<u64, StoreError> {
        match only {
            Only::Always => {}
            Only::Absent => how.prev_exist = PrevExist::NoExist,
            Only::Present => how.prev_exist = PrevExist::Exist,
            Only::Value(value) => how.prev_value = Some(value),
            Only::Index(index) => how.prev_index = Some(index),
        }
        let answer = self.within(ANSWERING, self.client.set(&self.path(key), value, &how)).await?;
        Ok(answer.node().modified_index)
    }

    fn path(&self, key: &Key) -> String {
        format!("{}{}", self.prefix, key.path())
    }

    async fn within<T>(
        &self,
        times: u32,
        asked: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, StoreError> {
        match timeout(self.timeout * times, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err(StoreError::Away(format!("no answer within {:?}", self.timeout * times))),
        }
    }
}

fn told(error: &Error) -> StoreError {
    if error.cleared_history().is_some() {
        return StoreError::Cleared;
    }
    match error {
        Error::Api { code, .. } if *code < SERVERS_OWN => StoreError::Refused(error.to_string()),
        _ => {
            let causes: Vec<String> = error.attempts().iter().map(|attempt| format!("; {attempt}")).collect();
            StoreError::Away(format!("{error}{}", causes.concat()))
        }
    }
}

/// etcd 2.3 and later do; earlier ones would empty the key.
fn knows_refresh(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 3)
}

/// Error codes from here on are about the server, not the request.
const SERVERS_OWN: u32 = 300;

impl Store for EtcdStore {
    type Watch = EtcdWatch;

    async fn read(&self) -> Result<Reading, StoreError> {
        let how = GetOptions { recursive: true, sorted: false, quorum: true };
        let root = self.prefix.trim_end_matches('/');
        let asked = async {
            match self.client.get(root, how).await {
                Err(error @ Error::Api { index, .. }) if error.is_key_not_found() => Ok((None, index)),
                answer => answer.map(|answer| (Some(answer.node()), answer.index)),
            }
        };
        let (node, index) = self.within(READING, asked).await?;
        let mut pairs = Vec::new();
        if let Some(node) = node {
            leaves(node, &self.prefix, &mut pairs);
        }
        Ok(Reading { pairs, index })
    }

    fn watch(&self, after: u64) -> EtcdWatch {
        let how = etcd_client::WatchOptions { recursive: true, after: Some(after), stream: false };
        let watcher = self.client.watch(self.prefix.trim_end_matches('/'), how);
        EtcdWatch { watcher, prefix: self.prefix.clone() }
    }

    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        let path = self.path(key);
        let how = GetOptions { quorum: true, ..GetOptions::default() };
        let asked = async {
            match self.client.get(&path, how).await {
                Err(error) if error.is_key_not_found() => Ok(None),
                answer => answer.map(Some),
            }
        };
        let Some(answer) = self.within(ANSWERING, asked).await? else { return Ok(None) };
        let node = answer.node();
        let remaining = (node.expiration.is_some() || node.ttl != 0)
            .then(|| Duration::from_secs(u64::try_from(node.ttl).unwrap_or(0)));
        Ok(Some(Stored { value: node.value.unwrap_or_default(), index: node.modified_index, remaining }))
    }

    async fn put(
        &self,
        key: &Key,
        value: &str,
        ttl: Option<Duration>,
        only: Only,
    ) -> Result<u64, StoreError> {
        self.set(key, value, only, SetOptions { ttl, ..SetOptions::default() }).await
    }

    async fn refresh(&self, key: &Key, value: &str, ttl: Duration, only: Only) -> Result<u64, StoreError> {
        if !self.knows_refresh().await? {
            return self.put(key, value, Some(ttl), only).await;
        }
        self.set(key, "", only, SetOptions { ttl: Some(ttl), refresh: true, ..SetOptions::default() }).await
    }

    async fn delete(&self, key: &Key, only: Only) -> Result<u64, StoreError> {
        let mut how = DeleteOptions::default();
        match only {
            Only::Always | Only::Present | Only::Absent => {}
            Only::Value(value) => how.prev_value = Some(value),
            Only::Index(index) => how.prev_index = Some(index),
        }
        let answer = self.within(ANSWERING, self.client.delete(&self.path(key), &how)).await?;
        Ok(answer.node().modified_index)
    }

    async fn delete_job(&self, name: &UnitName) -> Result<u64, StoreError> {
        let how = DeleteOptions { recursive: true, dir: true, ..DeleteOptions::default() };
        let path = format!("{}job/{name}", self.prefix);
        let answer = self.within(ANSWERING, self.client.delete(&path, &how)).await?;
        Ok(answer.node().modified_index)
    }
}

impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Change, StoreError> {
        let answer = self.watcher.next().await.map_err(|error| told(&error))?;
        let node = answer.node();
        let gone = matches!(answer.event.action.as_str(), "delete" | "expire" | "compareAndDelete");
        let path = node.key.strip_prefix(&self.prefix).unwrap_or_default().to_owned();
        Ok(Change {
            index: node.modified_index,
            path,
            // A directory that was made says nothing.
            value: if gone { None } else { Some(node.value.unwrap_or_default()) },
        })
    }
}

fn leaves(node: Node, prefix: &str, into: &mut Vec<(String, String)>) {
    if let (Some(value), false) = (node.value, node.dir)
        && let Some(path) = node.key.strip_prefix(prefix)
    {
        into.push((path.to_owned(), value));
    }
    for below in node.nodes {
        leaves(below, prefix, into);
    }
}

#[cfg(test)]
mod tests {
    use super::knows_refresh;

    #[test]
    fn which_services_renew_without_an_event() {
        for (version, expected) in
            [("2.3.8", true), ("3.4.23", true), ("2.2.5", false), ("0.4.9", false), ("", false)]
        {
            assert_eq!(knows_refresh(version), expected, "{version}");
        }
    }
}
