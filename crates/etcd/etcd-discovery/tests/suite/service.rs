//! Tests over HTTP on loopback: tokens, limits, restart, and the discovery client.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use etcd_config::discovery::{Command, Discovery, DiscoveryUrl, Event, HttpResponse, Method, Registration};
use etcd_config::ids::Id;
use etcd_discovery::{JournalError, Settings, Store, Tokens, limits, serve};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const DEADLINE: Duration = Duration::from_secs(20);

struct Running {
    base: String,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), prometheus::Error>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Running {
    async fn start(tokens: Tokens) -> Self {
        Self::over(Store::local(tokens)).await
    }

    async fn over(store: Store) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, store, Settings::default(), async {
            stopped.await.unwrap_or(());
        }));
        Self { base, stop, task, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap().unwrap();
    }

    /// Returns status, `X-Etcd-Index` and body.
    async fn request(&self, method: &str, url: &str, value: Option<&str>) -> (u16, Option<u64>, String) {
        let url = if url.starts_with('/') { format!("{}{url}", self.base) } else { url.to_owned() };
        let body = value.map(|value| format!("value={}", value.replace('=', "%3D"))).unwrap_or_default();
        let request = hyper::Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = async {
            let response = self.client.request(request).await.unwrap();
            let index =
                response.headers().get("x-etcd-index").map(|index| index.to_str().unwrap().parse().unwrap());
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, index, String::from_utf8(body.to_vec()).unwrap())
        };
        tokio::time::timeout(DEADLINE, response).await.unwrap()
    }

    async fn new_token(&self, size: usize) -> String {
        let (status, _, url) = self.request("GET", &format!("/new?size={size}"), None).await;
        assert_eq!(status, 200, "{url}");
        url
    }

    /// Runs the discovery state machine until it finishes.
    async fn discover(&self, url: &str, number: u64) -> Command {
        let address = DiscoveryUrl::parse(url).unwrap();
        let own = Registration {
            id: Id(number),
            name: format!("core-{number}"),
            peer_urls: etcd_config::url::parse_list(&format!("http://10.0.0.{number}:2380")).unwrap(),
        };
        let mut machine = Discovery::new(address, Some(own));
        let mut todo = VecDeque::from(machine.start());
        while let Some(command) = todo.pop_front() {
            let event = match command {
                Command::Log(_) => continue,
                Command::Wait(_) => Event::TimerExpired,
                Command::Send(request) => {
                    let method = if request.method == Method::Put { "PUT" } else { "GET" };
                    let (status, index, body) =
                        self.request(method, &request.path, request.value.as_deref()).await;
                    Event::Response(HttpResponse { status, index, body: body.into_bytes() })
                }
                end => return end,
            };
            todo.extend(machine.step(event));
        }
        panic!("discovery stopped without an end");
    }
}

#[tokio::test]
async fn members_discover_each_other_and_late_ones_find_it_full() {
    let service = Running::start(Tokens::in_memory()).await;
    let url = service.new_token(3).await;
    let (one, two, three) =
        tokio::join!(service.discover(&url, 1), service.discover(&url, 2), service.discover(&url, 3));
    let Command::Done(cluster) = &one else { panic!("{one:?}") };
    assert_eq!((&one, &one), (&two, &three));
    let mut names: Vec<_> = cluster.split(',').map(|pair| pair.split_once('=').unwrap().0).collect();
    names.sort_unstable();
    assert_eq!(names, ["core-1", "core-2", "core-3"]);
    assert_eq!(service.discover(&url, 4).await, Command::Full(cluster.clone()));
    let again = service.discover(&url, 1).await;
    assert_eq!(again, Command::Failed(etcd_config::discovery::DiscoveryError::DuplicateId));
    service.stop().await;
}

#[tokio::test]
async fn paths_and_rejections() {
    let service = Running::start(Tokens::in_memory()).await;
    let url = service.new_token(2).await;
    let token = url.strip_prefix(&format!("{}/", service.base)).unwrap();
    assert!(token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    let unknown = "0".repeat(32);
    for (method, path, value, status, text) in [
        ("GET", "/health".to_owned(), None, 200, "OK"),
        ("GET", "/metrics".to_owned(), None, 200, "etcd_discovery_tokens 1"),
        ("GET", "/".to_owned(), None, 200, "/new?size=3"),
        ("GET", "/nothing".to_owned(), None, 404, "404 page not found"),
        ("GET", "/new?size=x".to_owned(), None, 400, "strconv.Atoi: parsing \"x\": invalid syntax"),
        ("GET", format!("/{token}/_config/size"), None, 200, "\"value\":\"2\""),
        ("GET", format!("/{token}"), None, 200, "\"dir\":true"),
        ("PUT", format!("/{token}/a?prevExist=false"), Some("a=http://a:1"), 201, "\"action\":\"create\""),
        ("PUT", format!("/{token}/a?prevExist=false"), Some("a=http://a:1"), 412, "\"errorCode\":105"),
        ("GET", format!("/{token}/"), None, 200, "\"value\":\"a=http://a:1\""),
        ("DELETE", format!("/{token}/a"), None, 200, "\"action\":\"delete\""),
        ("DELETE", format!("/{token}"), None, 404, "404"),
        ("POST", format!("/{token}/a"), None, 404, "404"),
        ("PUT", format!("/{token}/_config/size"), Some("9"), 404, "404"),
        ("GET", format!("/{unknown}/_config/size"), None, 404, "\"errorCode\":100"),
        ("PUT", format!("/{unknown}/a"), Some("x"), 404, "\"errorCode\":100"),
        ("GET", format!("/{token}?recursive=maybe"), None, 400, "\"errorCode\":209"),
    ] {
        let (got, _, body) = service.request(method, &path, value).await;
        assert!(got == status && body.contains(text), "{method} {path}: {got} {body}");
    }
    let metrics = service.client.get(format!("{}/metrics", service.base).parse().unwrap()).await.unwrap();
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4");
    let large = "x".repeat(limits::MAX_BODY_BYTES + 1);
    assert_eq!(service.request("PUT", &format!("/{token}/a"), Some(&large)).await.0, 413);
    for number in 0..limits::MAX_REGISTRATIONS {
        let path = format!("/{token}/m{number}");
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut status = service.request("PUT", &path, Some("v")).await.0;
        while status == 429 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
            status = service.request("PUT", &path, Some("v")).await.0;
        }
        assert_eq!(status, 201, "{number}");
    }
    // Lets the rate limit recover.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(service.request("PUT", &format!("/{token}/more"), Some("v")).await.0, 403);
    assert_eq!(service.request("PUT", &format!("/{token}/m0"), Some("w")).await.0, 200);
    service.stop().await;
}

#[tokio::test]
async fn rate_limit_exempts_health() {
    let service = Running::start(Tokens::in_memory()).await;
    let mut rejected = 0;
    for _ in 0..100 {
        rejected += u32::from(service.request("GET", "/new", None).await.0 == 429);
    }
    assert!(rejected > 10, "{rejected}");
    assert_eq!(service.request("GET", "/health", None).await.0, 200);
    service.stop().await;
}

#[tokio::test]
async fn a_watch_sends_headers_immediately_and_ends_with_the_client() {
    let service = Running::start(Tokens::in_memory()).await;
    let url = service.new_token(2).await;
    let request = hyper::Request::get(format!("{url}?wait=true&recursive=true&stream=true"))
        .body(Full::default())
        .unwrap();
    let response = tokio::time::timeout(DEADLINE, service.client.request(request)).await.unwrap().unwrap();
    assert!(response.headers().contains_key("x-etcd-index"));
    let mut body = response.into_body();
    for name in ["a", "b"] {
        service.request("PUT", &format!("{url}/{name}"), Some("v")).await;
        let frame = tokio::time::timeout(DEADLINE, body.frame()).await.unwrap().unwrap().unwrap();
        let line = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        // The refresh of the token is not an event.
        assert!(line.contains(&format!("/{name}\"")) && line.ends_with("}\n"), "{line}");
    }
    assert!(service.request("GET", "/metrics", None).await.2.contains("etcd_discovery_watches 1\n"));
    drop(body);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let text = service.request("GET", "/metrics", None).await.2;
        if text.contains("etcd_discovery_watches 0\n") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    service.stop().await;
}

/// A stopped service in this process keeps the file until its last connection has ended.
async fn opened(path: &Path) -> Tokens {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        match Tokens::open(path) {
            Err(JournalError::Locked { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokens => return tokens.unwrap(),
        }
    }
}

async fn register(path: &Path, names: &[&str], url: Option<String>) -> String {
    let service = Running::start(opened(path).await).await;
    let token = match url {
        Some(token) => token,
        None => service.new_token(3).await.rsplit('/').next().unwrap().to_owned(),
    };
    for name in names {
        let (status, _, body) = service.request("PUT", &format!("/{token}/{name}"), Some("v")).await;
        assert_eq!(status, 201, "{body}");
    }
    service.stop().await;
    token
}

#[tokio::test]
async fn tokens_survive_restarts_and_truncation_of_the_last_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let token = register(&path, &["a"], None).await;
    let before = std::fs::read(&path).unwrap().len();
    register(&path, &["b"], Some(token.clone())).await;
    let complete = std::fs::read(&path).unwrap();
    assert!(complete.len() > before);
    // Opening writes a snapshot; "b" follows it.
    let snapshot = {
        let copy = folder.path().join("copy");
        std::fs::write(&copy, &complete).unwrap();
        drop(Tokens::open(&copy).unwrap());
        std::fs::read(&copy).unwrap()
    };
    assert_ne!(snapshot, complete);
    let mut lost = 0;
    for cut in (complete.len() - 60)..=complete.len() {
        let copy = folder.path().join(format!("cut{cut}"));
        std::fs::write(&copy, &complete[..cut]).unwrap();
        let service = Running::start(Tokens::open(&copy).unwrap()).await;
        assert_eq!(service.request("GET", &format!("/{token}/a"), None).await.0, 200, "{cut}");
        lost += usize::from(service.request("GET", &format!("/{token}/b"), None).await.0 == 404);
        service.stop().await;
    }
    assert!(lost > 20, "only {lost} cuts took the last write: the file ends otherwise than thought");
    let last = folder.path().join(format!("cut{}", complete.len()));
    let service = Running::start(Tokens::open(&last).unwrap()).await;
    assert_eq!(
        service.request("GET", &format!("/{token}/b"), None).await.0,
        200,
        "nothing cut, nothing lost"
    );
    service.stop().await;
}

#[tokio::test]
async fn pending_work_finishes_before_the_service_ends() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = Arc::new(Mutex::new(Tokens::open(&folder.path().join("tokens")).unwrap()));
    let (held, hold) = std::sync::mpsc::channel::<()>();
    let (taken, is_taken) = oneshot::channel();
    let holder = tokens.clone();
    let holding = std::thread::spawn(move || {
        let _guard = holder.lock().unwrap();
        taken.send(()).unwrap();
        hold.recv().unwrap();
    });
    is_taken.await.unwrap();
    // The first expiration is at startup and waits for the lock.
    let service = Running::over(Store::Local(tokens.clone())).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut stopping = tokio::spawn(service.stop());
    let early = tokio::time::timeout(Duration::from_millis(100), &mut stopping).await;
    assert!(early.is_err(), "it ended, and its look for what has expired goes on");
    held.send(()).unwrap();
    stopping.await.unwrap();
    holding.join().unwrap();
    assert_eq!(Arc::strong_count(&tokens), 1);
}

#[tokio::test]
async fn damage_is_reported_and_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    register(&path, &["a", "b"], None).await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = Tokens::open(&path).err().unwrap().to_string();
    assert!(error.contains("tokens: the record at byte 16 is damaged"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "the file is left as it is");
    std::fs::write(&path, b"something else").unwrap();
    assert!(Tokens::open(&path).err().unwrap().to_string().contains("no journal of this version"));
}

#[tokio::test]
async fn a_second_process_fails_to_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let first = Tokens::open(&path).unwrap();
    assert!(Tokens::open(&path).err().unwrap().to_string().contains("in use"));
    drop(first);
    Tokens::open(&path).unwrap();
}
