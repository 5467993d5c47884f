//! The lock in an etcd.

use etcd_client::{
    Client, Config, Credentials, Endpoint, Error, GetOptions, Order, PrevExist, SetOptions, SlowReport,
    TlsFiles, Trace,
};
use locksmith_core::{
    Acquire, Acquired, CAS_ATTEMPTS, Keys, LockError, Note, Notes, Semaphore, SemaphoreError, Store,
    cas_pause,
};
use thiserror::Error;

use crate::limits::{ETCD_REQUEST, ETCD_TOTAL};

/// The semaphore and its notes, in one group.
#[derive(Clone)]
pub struct EtcdLock {
    client: Client,
    keys: Keys,
}

#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{0}")]
    Endpoint(#[from] etcd_client::EndpointError),
    #[error("{0}")]
    Tls(#[from] etcd_client::TlsError),
}

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{}", with_attempts(.0))]
    Etcd(#[from] Error),
    /// The semaphore says no.
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{key}: {problem}")]
    Value { key: String, problem: SemaphoreError },
}

/// Go's client adds what each endpoint said.
fn with_attempts(error: &Error) -> String {
    let mut text = error.to_string();
    if let Error::Unavailable { attempts } | Error::Deadline { attempts } = error {
        for (number, attempt) in attempts.iter().enumerate() {
            text.push_str(&format!("; error #{number}: {attempt}"));
        }
    }
    text
}

impl EtcdLock {
    /// Opens no connection yet. `trace` and `slow` are for interactive commands.
    pub fn open(store: &Store, trace: Option<Trace>, slow: Option<SlowReport>) -> Result<Self, OpenError> {
        let endpoints: Result<Vec<Endpoint>, _> = store.endpoints.iter().map(|text| text.parse()).collect();
        let mut config = Config::new(endpoints?);
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

    /// Makes the key where there is none: whoever looks at the lock creates it.
    pub async fn create(&self) -> Result<(), StoreError> {
        match self.client.create(&self.keys.semaphore, Semaphore::default().encode(), None).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_key_exists() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The semaphore, its text, and the index that a change of it names.
    async fn read(&self) -> Result<(Semaphore, String, u64), StoreError> {
        let node = self
            .client
            .get(&self.keys.semaphore, GetOptions { quorum: true, ..GetOptions::default() })
            .await?
            .node();
        let text = node.value.unwrap_or_default();
        let semaphore = Semaphore::decode(&text)
            .map_err(|problem| StoreError::Value { key: self.keys.semaphore.clone(), problem })?;
        Ok((semaphore, text, node.modified_index))
    }

    pub async fn semaphore(&self) -> Result<Semaphore, StoreError> {
        Ok(self.read().await?.0)
    }

    /// Changes the semaphore as it is now; where others are faster, tries again. `act` says what came of it, and
    /// whether it is to be written at all.
    pub async fn change<T: Clone>(
        &self,
        act: impl Fn(&mut Semaphore) -> Result<(T, bool), LockError>,
    ) -> Result<T, StoreError> {
        let mut wrote: Option<(String, T)> = None;
        let mut attempt = 1;
        loop {
            let (mut semaphore, text, index) = self.read().await?;
            // A write whose answer was lost was sent again, and refused because it had been done.
            if let Some((written, done)) = &wrote
                && *written == text
            {
                return Ok(done.clone());
            }
            let (done, changed) = act(&mut semaphore)?;
            if !changed {
                return Ok(done);
            }
            let value = semaphore.encode();
            match self.client.compare_and_swap(&self.keys.semaphore, &value, index, None).await {
                Ok(_) => return Ok(done),
                Err(error) if error.is_compare_failed() && attempt < CAS_ATTEMPTS => {
                    tokio::time::sleep(cas_pause(attempt, fastrand::u64(..))).await;
                    attempt += 1;
                    wrote = Some((value, done));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the lock as an operator does.
    pub async fn lock(&self, id: &str) -> Result<(), StoreError> {
        self.change(|semaphore| semaphore.lock(id).map(|()| ((), true))).await
    }

    pub async fn unlock(&self, id: &str) -> Result<(), StoreError> {
        self.change(|semaphore| semaphore.unlock(id).map(|()| ((), true))).await
    }

    /// The maximum before.
    pub async fn set_max(&self, max: i64) -> Result<i64, StoreError> {
        self.change(|semaphore| semaphore.set_max(max).map(|old| (old, true))).await
    }

    /// Takes the lock as a daemon does, which goes on where it has it.
    pub async fn acquire(&self, id: &str) -> Result<Acquired, StoreError> {
        self.change(|semaphore| {
            Ok(match semaphore.acquire(id)? {
                Acquire::New => (Acquired::Now, true),
                Acquire::Held => (Acquired::Before, false),
            })
        })
        .await
    }

    /// Gives the lock back where `id` holds it; whether it did.
    pub async fn release(&self, id: &str) -> Result<bool, StoreError> {
        match self.unlock(id).await {
            Ok(()) => Ok(true),
            Err(StoreError::Lock(LockError::NoSuchHolder)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub async fn notes(&self) -> Result<Notes, StoreError> {
        Ok(self.read_notes().await?.0)
    }

    /// With the index of the key; `None` where there is none. What is no list of notes is none.
    async fn read_notes(&self) -> Result<(Notes, Option<u64>), StoreError> {
        match self.client.get(&self.keys.notes, GetOptions { quorum: true, ..GetOptions::default() }).await {
            Ok(answer) => {
                let node = answer.node();
                let notes = Notes::decode(&node.value.unwrap_or_default()).unwrap_or_default();
                Ok((notes, Some(node.modified_index)))
            }
            Err(error) if error.is_key_not_found() => Ok((Notes::default(), None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes down why `holder` holds the lock, with `None` nothing; and forgets all notes of those who do not.
    pub async fn note(&self, holder: &str, note: Option<&Note>) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            // In this order: see `keep_holders_of`.
            let (before, index) = self.read_notes().await?;
            let mut notes = before.clone();
            notes.keep_holders_of(&self.semaphore().await?);
            if let Some(note) = note {
                notes.put(holder, note.clone());
            }
            if notes == before {
                return Ok(());
            }
            let exists = if index.is_none() { PrevExist::NoExist } else { PrevExist::Ignore };
            let how = SetOptions { prev_exist: exists, prev_index: index, ..SetOptions::default() };
            match self.client.set(&self.keys.notes, notes.encode(), &how).await {
                Ok(_) => return Ok(()),
                Err(error)
                    if (error.is_compare_failed() || error.is_key_exists()) && attempt < CAS_ATTEMPTS =>
                {
                    tokio::time::sleep(cas_pause(attempt, fastrand::u64(..))).await;
                    attempt += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
