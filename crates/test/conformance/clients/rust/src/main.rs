//! Tests the crate etcd 0.9 against one member: `rust-v2-client http://HOST:PORT`. Panics on the first deviation.

use etcd::kv::{self, Action, GetOptions, KeyValueInfo, WatchOptions};
use etcd::{Client, Error, Response, members};
use futures::{Future, Stream};
use tokio::runtime::Runtime;

fn wait<T: Send + 'static, E: Send + std::fmt::Debug + 'static>(
    work: impl Future<Item = T, Error = E> + Send + 'static,
) -> Result<T, E> {
    Runtime::new().expect("a runtime starts").block_on(work)
}

fn expect_success(
    what: &str,
    work: impl Future<Item = Response<KeyValueInfo>, Error = Vec<Error>> + Send + 'static,
) -> KeyValueInfo {
    wait(work).unwrap_or_else(|error| panic!("{what}: {error:?}")).data
}

/// Returns the error code of the response.
fn refused(
    what: &str,
    work: impl Future<Item = Response<KeyValueInfo>, Error = Vec<Error>> + Send + 'static,
) -> u64 {
    match wait(work) {
        Ok(response) => panic!("{what}: {:?}", response.data),
        Err(errors) => match errors.first() {
            Some(Error::Api(error)) => error.error_code,
            other => panic!("{what}: {other:?}"),
        },
    }
}

fn main() {
    let url = std::env::args().nth(1).expect("a URL is given");
    let client = Client::new(&[&url], None).expect("the URL is good");
    let made = expect_success("create", kv::create(&client, "/rs/a", "1", Some(60)));
    assert_eq!(
        (made.action, made.node.value.as_deref(), made.node.ttl),
        (Action::Create, Some("1"), Some(60))
    );
    assert_eq!(refused("create twice", kv::create(&client, "/rs/a", "1", None)), 105);
    assert_eq!(expect_success("get", kv::get(&client, "/rs/a", GetOptions::default())).action, Action::Get);
    assert_eq!(refused("get", kv::get(&client, "/rs/none", GetOptions::default())), 100);
    assert_eq!(expect_success("set", kv::set(&client, "/rs/a", "2", None)).action, Action::Set);
    let updated = expect_success("update", kv::update(&client, "/rs/a", "3", None));
    assert_eq!(updated.prev_node.and_then(|node| node.value).as_deref(), Some("2"));
    let swap = kv::compare_and_swap(&client, "/rs/a", "4", None, Some("3"), None);
    assert_eq!(expect_success("swap", swap).action, Action::CompareAndSwap);
    let swap = kv::compare_and_swap(&client, "/rs/a", "5", None, Some("3"), None);
    assert_eq!(refused("swap", swap), 101);
    let since = updated.node.modified_index;
    let options = WatchOptions { index: since, ..WatchOptions::default() };
    let event = wait(kv::watch(&client, "/rs/a", options)).expect("watch").data;
    assert_eq!((event.action, event.node.modified_index), (Action::Update, since));
    expect_success("create_dir", kv::create_dir(&client, "/rs/d", None));
    let first = expect_success("in order", kv::create_in_order(&client, "/rs/d", "a", None));
    let second = expect_success("in order", kv::create_in_order(&client, "/rs/d", "b", None));
    assert!(first.node.key < second.node.key);
    assert_eq!(refused("delete_dir", kv::delete_dir(&client, "/rs/d")), 108);
    let deleted = kv::compare_and_delete(&client, "/rs/a", Some("4"), None);
    assert_eq!(expect_success("compare_and_delete", deleted).action, Action::CompareAndDelete);
    assert_eq!(expect_success("delete", kv::delete(&client, "/rs", true)).action, Action::Delete);
    assert!(!wait(members::list(&client)).expect("members").data.is_empty());
    for response in wait(client.health().collect()).expect("health") {
        assert_eq!(response.data.health, "true");
    }
}
