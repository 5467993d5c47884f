//! Measures puts through members over loopback TCP with real disks, without HTTP.
//!
//! Usage: `puts [members] [writers] [seconds] [current|multi]`. As in separate processes, each member has its own
//! runtime, which also runs its share of the writers.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_api::Key;
use etcd_raft::{InitialMember, Member, MemberConfig, Start, TcpNetwork, accept_upgrade};
use etcd_store::{Command, Put};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const VALUE_BYTES: usize = 256;
const KEYS_PER_WRITER: usize = 64;
const WARM_UP: Duration = Duration::from_millis(500);

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn argument<T: std::str::FromStr>(number: usize, default: T) -> T {
    std::env::args().nth(number).and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> Result<(), Failure> {
    let (members, writers) = (argument(1, 3_usize), argument(2, 64_usize));
    let seconds = Duration::from_secs(argument(3, 5));
    let multi = argument(4, String::from("current")) == "multi";
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    println!("one bare fdatasync of 4 KiB: p50 {:?}", bare_fdatasync(folder.path())?);
    let initial = reserve_ports(members)?;
    let (results, measured) = mpsc::channel();
    for (number, member) in initial.iter().enumerate() {
        let config = config(folder.path(), member, &initial);
        let share = writers / members + usize::from(number < writers % members);
        let results = results.clone();
        thread::spawn(move || {
            let measured = runtime(multi)
                .map_err(Failure::from)
                .and_then(|runtime| runtime.block_on(run(config, share, seconds)));
            results.send(measured).ok();
        });
    }
    let mut latencies = Vec::new();
    for _ in 0..members {
        latencies.extend(measured.recv()??);
    }
    latencies.sort_unstable();
    let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize];
    println!(
        "{members} members, {writers} writers: {:.0} puts/s, p50 {:?}, p99 {:?}",
        latencies.len() as f64 / seconds.as_secs_f64(),
        at(0.5),
        at(0.99)
    );
    Ok(())
}

fn runtime(multi: bool) -> std::io::Result<Runtime> {
    if multi {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    }
}

fn reserve_ports(members: usize) -> std::io::Result<Vec<InitialMember>> {
    let addresses = (0..members).map(|_| loopback_port::reserve()).collect::<Result<Vec<_>, _>>()?;
    let member = |(number, address): (usize, std::net::SocketAddr)| InitialMember {
        id: number as u64 + 1,
        name: format!("m{}", number + 1),
        peer_urls: vec![format!("http://{address}")],
    };
    Ok(addresses.into_iter().enumerate().map(member).collect())
}

fn config(folder: &Path, own: &InitialMember, initial: &[InitialMember]) -> MemberConfig {
    let mut config = MemberConfig::new(folder.join(&own.name), 1, own.id, &own.name);
    config.peer_urls = own.peer_urls.clone();
    config.start = Start::New(initial.to_vec());
    config
}

fn bare_fdatasync(folder: &Path) -> std::io::Result<Duration> {
    let mut file = File::create(folder.join("bare"))?;
    file.write_all(&vec![0; 8 << 20])?;
    file.sync_all()?;
    let block = [1; 4096];
    let mut times = Vec::new();
    for number in 0..500_u64 {
        let began = Instant::now();
        std::os::unix::fs::FileExt::write_all_at(&file, &block, number * 4096)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

async fn run(config: MemberConfig, writers: usize, seconds: Duration) -> Result<Vec<Duration>, Failure> {
    let address = config.peer_urls[0].trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind(address).await?;
    let member = Member::start(config, Arc::new(TcpNetwork::default())).await?;
    let serving = tokio::spawn(serve(listener, member.clone()));
    let id = member.status().member_id;
    member.propose(&put(id, usize::MAX, 0)?).await?;
    tokio::time::sleep(WARM_UP).await;
    let end = Instant::now() + seconds;
    let tasks = (0..writers).map(|writer| tokio::spawn(write(member.clone(), id, writer, end)));
    let mut latencies = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        latencies.extend(task.await??);
    }
    // Others may still be measured, so this member keeps serving them.
    tokio::time::sleep_until((end + Duration::from_secs(1)).into()).await;
    serving.abort();
    Ok(latencies)
}

async fn serve(listener: TcpListener, member: Member) {
    while let Ok((stream, _)) = listener.accept().await {
        let member = member.clone();
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let stream = accept_upgrade(stream).await?;
            member.serve_peer(stream).await.map_err(std::io::Error::other)
        });
    }
}

async fn write(member: Member, id: u64, writer: usize, end: Instant) -> Result<Vec<Duration>, Failure> {
    let mut latencies = Vec::new();
    for number in 0.. {
        let began = Instant::now();
        if began >= end {
            break;
        }
        member.propose(&put(id, writer, number % KEYS_PER_WRITER)?).await?;
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

fn put(id: u64, writer: usize, number: usize) -> Result<Command, Failure> {
    Ok(Command::Put(Put {
        key: Key::parse(format!("/bench/{id}-{writer}/{number}"))?,
        value: Bytes::from_static(&[b'v'; VALUE_BYTES]),
        dir: false,
        expiration: None,
        prev_exist: None,
        prev_value: None,
        prev_index: None,
        refresh: false,
    }))
}
