//! The reboot lock in etcd.

use etcd_client::{
    Client, Config, Credentials, Error, GetOptions, OpenError, Order, PrevExist, SetOptions, SlowReport,
    TlsFiles, Trace,
};
use locksmith_core::{
    Acquire, Acquired, CAS_ATTEMPTS, HolderMetadata, Keys, LockError, LockMetadata, Semaphore,
    SemaphoreError, StoreSettings, cas_backoff,
};
use thiserror::Error;

use crate::limits::{ETCD_REQUEST, ETCD_TOTAL};

/// The semaphore and its metadata, for one group.
#[derive(Clone)]
pub struct EtcdLock {
    client: Client,
    keys: Keys,
}

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{}", .0.with_attempts())]
    Etcd(#[from] Error),
    /// The semaphore refuses the operation.
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{key}: {error}")]
    Value { key: String, error: SemaphoreError },
}

impl EtcdLock {
    /// Does not connect yet. `trace` and `slow` are for interactive commands.
    pub fn open(
        store: &StoreSettings,
        trace: Option<Trace>,
        slow: Option<SlowReport>,
    ) -> Result<Self, OpenError> {
        let mut config = Config::of_urls(&store.endpoints)?;
        config.order = Order::Configured;
        config.request_timeout = ETCD_REQUEST;
        config.total_timeout = ETCD_TOTAL;
        config.trace = trace;
        config.slow = slow;
        if let Some(tls) = &store.tls {
            config.tls = TlsFiles {
                ca: Some(tls.ca.clone().into()),
                certificate: Some(tls.certificate.clone().into()),
                key: Some(tls.key.clone().into()),
            };
        }
        if let Some(user) = &store.user {
            config.credentials =
                Some(Credentials { user: user.name.clone(), password: user.password.clone() });
        }
        Ok(Self { client: Client::new(config)?, keys: store.keys.clone() })
    }

    /// Creates the key if it is missing.
    pub async fn create(&self) -> Result<(), StoreError> {
        match self.client.create(&self.keys.semaphore, Semaphore::default().encode(), None).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_key_exists() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The semaphore, its encoding, and the index for a compare-and-swap.
    async fn read(&self) -> Result<(Semaphore, String, u64), StoreError> {
        let node = self
            .client
            .get(&self.keys.semaphore, GetOptions { quorum: true, ..GetOptions::default() })
            .await?
            .node();
        let text = node.value.unwrap_or_default();
        let semaphore = Semaphore::decode(&text)
            .map_err(|error| StoreError::Value { key: self.keys.semaphore.clone(), error })?;
        Ok((semaphore, text, node.modified_index))
    }

    pub async fn semaphore(&self) -> Result<Semaphore, StoreError> {
        Ok(self.read().await?.0)
    }

    /// Applies `modify` with compare-and-swap and retries on conflicts. `modify` returns its result and whether
    /// to write.
    pub async fn update<T: Clone>(
        &self,
        modify: impl Fn(&mut Semaphore) -> Result<(T, bool), LockError>,
    ) -> Result<T, StoreError> {
        let mut pending: Option<(String, T)> = None;
        let mut attempt = 1;
        loop {
            let (mut semaphore, text, index) = self.read().await?;
            // The previous write had succeeded, but its response was lost.
            if let Some((written, result)) = &pending
                && *written == text
            {
                return Ok(result.clone());
            }
            let (result, changed) = modify(&mut semaphore)?;
            if !changed {
                return Ok(result);
            }
            let value = semaphore.encode();
            match self.client.compare_and_swap(&self.keys.semaphore, &value, index, None).await {
                Ok(_) => return Ok(result),
                Err(error) if error.is_compare_failed() && attempt < CAS_ATTEMPTS => {
                    tokio::time::sleep(cas_backoff(attempt, fastrand::u64(..))).await;
                    attempt += 1;
                    pending = Some((value, result));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the lock for an operator.
    pub async fn lock(&self, id: &str) -> Result<(), StoreError> {
        self.update(|semaphore| semaphore.lock(id).map(|()| ((), true))).await
    }

    pub async fn unlock(&self, id: &str) -> Result<(), StoreError> {
        self.update(|semaphore| semaphore.unlock(id).map(|()| ((), true))).await
    }

    /// Returns the previous maximum.
    pub async fn set_max(&self, max: i64) -> Result<i64, StoreError> {
        self.update(|semaphore| semaphore.set_max(max).map(|old| (old, true))).await
    }

    /// Takes the lock for the daemon; succeeds if it is held already.
    pub async fn acquire(&self, id: &str) -> Result<Acquired, StoreError> {
        self.update(|semaphore| {
            Ok(match semaphore.acquire(id)? {
                Acquire::New => (Acquired::New, true),
                Acquire::Held => (Acquired::AlreadyHeld, false),
            })
        })
        .await
    }

    /// Returns whether `id` held the lock.
    pub async fn release(&self, id: &str) -> Result<bool, StoreError> {
        match self.unlock(id).await {
            Ok(()) => Ok(true),
            Err(StoreError::Lock(LockError::NoSuchHolder)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub async fn metadata(&self) -> Result<LockMetadata, StoreError> {
        Ok(self.read_metadata().await?.0)
    }

    /// Also returns the key's index, `None` if the key is missing. An invalid value counts as empty.
    async fn read_metadata(&self) -> Result<(LockMetadata, Option<u64>), StoreError> {
        match self.client.get(&self.keys.metadata, GetOptions { quorum: true, ..GetOptions::default() }).await
        {
            Ok(response) => {
                let node = response.node();
                let metadata = LockMetadata::decode(&node.value.unwrap_or_default()).unwrap_or_default();
                Ok((metadata, Some(node.modified_index)))
            }
            Err(error) if error.is_key_not_found() => Ok((LockMetadata::default(), None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets or removes the metadata of `holder`, and removes that of former holders.
    pub async fn write_metadata(
        &self,
        holder: &str,
        holder_metadata: Option<&HolderMetadata>,
    ) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            // The order matters: see `retain_holders`.
            let (old, index) = self.read_metadata().await?;
            let mut metadata = old.clone();
            metadata.retain_holders(&self.semaphore().await?);
            if let Some(holder_metadata) = holder_metadata {
                metadata.insert(holder, holder_metadata.clone());
            }
            if metadata == old {
                return Ok(());
            }
            let exists = if index.is_none() { PrevExist::NoExist } else { PrevExist::Ignore };
            let options = SetOptions { prev_exist: exists, prev_index: index, ..SetOptions::default() };
            match self.client.set(&self.keys.metadata, metadata.encode(), &options).await {
                Ok(_) => return Ok(()),
                Err(error)
                    if (error.is_compare_failed() || error.is_key_exists()) && attempt < CAS_ATTEMPTS =>
                {
                    tokio::time::sleep(cas_backoff(attempt, fastrand::u64(..))).await;
                    attempt += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
