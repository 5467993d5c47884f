//! The crate etcd 0.9 against one member: `rust-v2-client http://HOST:PORT`. Exits 1 at the first surprise.

use etcd::kv::{self, Action, GetOptions, WatchOptions};
use etcd::{stats, Client, Error};
use futures::Future;

fn main() {
    let url = std::env::args().nth(1).expect("a URL is given");
    let client = Client::new(&[&url], None).expect("the URL is good");
    let mut runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let mut run = |what: &str, work: Box<dyn Future<Item = kv::KeyValueInfo, Error = Vec<Error>> + Send>| {
        runtime.block_on(work).unwrap_or_else(|error| panic!("{what}: {error:?}")).data
    };

    let made = run("create", Box::new(kv::create(&client, "/rs/a", "1", Some(60)).map(|answer| answer.data)).into_data());
    assert_eq!((made.action, made.node.value.as_deref()), (Action::Create, Some("1")));
    println!("{:?}", made.node.key);
}
