//! The members' client URLs that a proxy tries, in an order of its own.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::upstream::Upstream;

/// The list; replaced whole at each refresh. A member that stays keeps its connections and its mark.
#[derive(Debug, Default)]
pub(super) struct Endpoints(Mutex<Vec<Arc<Upstream>>>);

impl Endpoints {
    pub(super) fn replace(&self, urls: &[String]) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = Vec::with_capacity(urls.len());
        for url in urls {
            let known = list.iter().find(|known| known.url == *url).cloned();
            fresh.push(known.unwrap_or_else(|| Arc::new(Upstream::new(url.clone()))));
        }
        shuffle(&mut fresh);
        *list = fresh;
    }

    /// Those that did not fail within `wait`.
    pub(super) fn good(&self, wait: Duration) -> Vec<Arc<Upstream>> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter(|one| one.is_good(wait)).cloned().collect()
    }

    pub(super) fn urls(&self) -> Vec<String> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().map(|one| one.url.clone()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Many proxies shall not all choose the same member first. The standard library's random hash keys are
/// random enough for that.
fn shuffle<T>(list: &mut [T]) {
    for last in (1..list.len()).rev() {
        let random = RandomState::new().build_hasher().finish();
        list.swap(last, (random % (last as u64 + 1)) as usize);
    }
}
