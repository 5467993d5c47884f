//! The registry in an etcd v2 service.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, DeleteOptions, Error, GetOptions, Node, PrevExist, SetOptions, Watcher};
use fleet_core::registry::Key;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use unit_file::UnitName;

use crate::store::{Change, Precondition, Snapshot, Store, StoreError, StoredValue, Watch};

/// Cheap to clone.
#[derive(Clone)]
pub struct EtcdStore {
    client: Client,
    /// Starts and ends with a slash.
    prefix: String,
    /// Until the response header.
    timeout: Duration,
    /// Whether the service can refresh a TTL without an event. Detected at first use.
    supports_refresh: Arc<OnceCell<bool>>,
}

pub struct EtcdWatch {
    watcher: Watcher,
    prefix: String,
}

/// Multiple of the timeout for header and body of a response.
const RESPONSE_TIMEOUTS: u32 = 2;
/// The same for a recursive read of the registry.
const READ_TIMEOUTS: u32 = 10;

impl EtcdStore {
    /// `client` must not retry after a timeout: only the caller knows whether a request is idempotent.
    pub fn new(client: Client, prefix: &str, timeout: Duration) -> Self {
        let prefix = match prefix.trim_matches('/') {
            "" => "/".to_owned(),
            inner => format!("/{inner}/"),
        };
        Self { client, prefix, timeout, supports_refresh: Arc::default() }.with_timeout(timeout)
    }

    /// The same store and preferred endpoint with another timeout.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let client = self.client.with_timeouts(timeout, timeout * READ_TIMEOUTS);
        Self { client, timeout, ..self.clone() }
    }

    async fn supports_refresh(&self) -> Result<bool, StoreError> {
        let detect = || async {
            let version = self.with_deadline(RESPONSE_TIMEOUTS, self.client.version()).await?;
            Ok(supports_refresh(&version.server))
        };
        self.supports_refresh.get_or_try_init(detect).await.copied()
    }

    async fn set(
        &self,
        key: &Key,
        value: &str,
        precondition: Precondition,
        mut options: SetOptions,
    ) -> Result<u64, StoreError> {
        match precondition {
            Precondition::Always => {}
            Precondition::Absent => options.prev_exist = PrevExist::NoExist,
            Precondition::Present => options.prev_exist = PrevExist::Exist,
            Precondition::Value(value) => options.prev_value = Some(value),
            Precondition::Index(index) => options.prev_index = Some(index),
        }
        let response =
            self.with_deadline(RESPONSE_TIMEOUTS, self.client.set(&self.path(key), value, &options)).await?;
        Ok(response.node().modified_index)
    }

    fn path(&self, key: &Key) -> String {
        format!("{}{}", self.prefix, key.path())
    }

    async fn with_deadline<T>(
        &self,
        times: u32,
        request: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, StoreError> {
        match timeout(self.timeout * times, request).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(store_error(&error)),
            Err(_) => Err(StoreError::Unavailable(format!("no response within {:?}", self.timeout * times))),
        }
    }
}

fn store_error(error: &Error) -> StoreError {
    if error.cleared_history().is_some() {
        return StoreError::HistoryCleared;
    }
    match error {
        Error::Api { code, .. } if *code < FIRST_SERVER_ERROR => StoreError::Rejected(error.to_string()),
        _ => {
            let causes: Vec<String> = error.attempts().iter().map(|attempt| format!("; {attempt}")).collect();
            StoreError::Unavailable(format!("{error}{}", causes.concat()))
        }
    }
}

/// Supported since etcd 2.3. Earlier versions would clear the value.
fn supports_refresh(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 3)
}

/// First error code that concerns the server, not the request.
const FIRST_SERVER_ERROR: u32 = 300;

impl Store for EtcdStore {
    type Watch = EtcdWatch;

    async fn read(&self) -> Result<Snapshot, StoreError> {
        let options = GetOptions { recursive: true, sorted: false, quorum: true };
        let root = self.prefix.trim_end_matches('/');
        let request = async {
            match self.client.get(root, options).await {
                Err(error @ Error::Api { index, .. }) if error.is_key_not_found() => Ok((None, index)),
                response => response.map(|response| (Some(response.node()), response.index)),
            }
        };
        let (node, index) = self.with_deadline(READ_TIMEOUTS, request).await?;
        let mut pairs = Vec::new();
        if let Some(node) = node {
            leaves(node, &self.prefix, &mut pairs);
        }
        Ok(Snapshot { pairs, index })
    }

    fn watch(&self, after: u64) -> EtcdWatch {
        let options = etcd_client::WatchOptions { recursive: true, after: Some(after), stream: false };
        let watcher = self.client.watch(self.prefix.trim_end_matches('/'), options);
        EtcdWatch { watcher, prefix: self.prefix.clone() }
    }

    async fn get(&self, key: &Key) -> Result<Option<StoredValue>, StoreError> {
        let path = self.path(key);
        let options = GetOptions { quorum: true, ..GetOptions::default() };
        let request = async {
            match self.client.get(&path, options).await {
                Err(error) if error.is_key_not_found() => Ok(None),
                response => response.map(Some),
            }
        };
        let Some(response) = self.with_deadline(RESPONSE_TIMEOUTS, request).await? else { return Ok(None) };
        let node = response.node();
        let remaining = (node.expiration.is_some() || node.ttl != 0)
            .then(|| Duration::from_secs(u64::try_from(node.ttl).unwrap_or(0)));
        Ok(Some(StoredValue { value: node.value.unwrap_or_default(), index: node.modified_index, remaining }))
    }

    async fn put(
        &self,
        key: &Key,
        value: &str,
        ttl: Option<Duration>,
        precondition: Precondition,
    ) -> Result<u64, StoreError> {
        self.set(key, value, precondition, SetOptions { ttl, ..SetOptions::default() }).await
    }

    async fn refresh(
        &self,
        key: &Key,
        value: &str,
        ttl: Duration,
        precondition: Precondition,
    ) -> Result<u64, StoreError> {
        if !self.supports_refresh().await? {
            return self.put(key, value, Some(ttl), precondition).await;
        }
        self.set(key, "", precondition, SetOptions { ttl: Some(ttl), refresh: true, ..SetOptions::default() })
            .await
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<u64, StoreError> {
        let mut options = DeleteOptions::default();
        match precondition {
            Precondition::Always | Precondition::Present | Precondition::Absent => {}
            Precondition::Value(value) => options.prev_value = Some(value),
            Precondition::Index(index) => options.prev_index = Some(index),
        }
        let response =
            self.with_deadline(RESPONSE_TIMEOUTS, self.client.delete(&self.path(key), &options)).await?;
        Ok(response.node().modified_index)
    }

    async fn delete_job(&self, name: &UnitName) -> Result<u64, StoreError> {
        let options = DeleteOptions { recursive: true, dir: true, ..DeleteOptions::default() };
        let path = format!("{}job/{name}", self.prefix);
        let response = self.with_deadline(RESPONSE_TIMEOUTS, self.client.delete(&path, &options)).await?;
        Ok(response.node().modified_index)
    }
}

impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Change, StoreError> {
        let response = self.watcher.next().await.map_err(|error| store_error(&error))?;
        let node = response.node();
        let gone = matches!(response.event.action.as_str(), "delete" | "expire" | "compareAndDelete");
        let path = node.key.strip_prefix(&self.prefix).unwrap_or_default().to_owned();
        Ok(Change {
            index: node.modified_index,
            path,
            // A created directory has no value.
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
    for child in node.nodes {
        leaves(child, prefix, into);
    }
}

#[cfg(test)]
mod tests {
    use super::supports_refresh;

    #[test]
    fn refresh_needs_etcd_2_3() {
        for (version, expected) in
            [("2.3.8", true), ("3.4.23", true), ("2.2.5", false), ("0.4.9", false), ("", false)]
        {
            assert_eq!(supports_refresh(version), expected, "{version}");
        }
    }
}
