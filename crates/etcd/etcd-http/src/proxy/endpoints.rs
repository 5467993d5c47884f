//! Client URLs of the members that a proxy uses, in random order.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::upstream::Upstream;

/// Replaced at each refresh. Members that remain keep their connections and state.
#[derive(Debug, Default)]
pub(super) struct Endpoints(Mutex<Vec<Arc<Upstream>>>);

impl Endpoints {
    pub(super) fn replace(&self, urls: &[String]) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Vec::with_capacity(urls.len());
        for url in urls {
            let known = list.iter().find(|known| known.url == *url).cloned();
            new.push(known.unwrap_or_else(|| Arc::new(Upstream::new(url.clone()))));
        }
        shuffle(&mut new);
        *list = new;
    }

    /// Endpoints that have not failed within `wait`.
    pub(super) fn available(&self, wait: Duration) -> Vec<Arc<Upstream>> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter(|one| one.is_available(wait)).cloned().collect()
    }

    pub(super) fn urls(&self) -> Vec<String> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().map(|one| one.url.clone()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Proxies should not all start with the same member. The standard library's hash keys are random enough.
fn shuffle<T>(list: &mut [T]) {
    for last in (1..list.len()).rev() {
        let random = RandomState::new().build_hasher().finish();
        list.swap(last, (random % (last as u64 + 1)) as usize);
    }
}
